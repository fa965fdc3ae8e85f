"""Judge the paper's claims from the tables of a scale (stage `judge_claims`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dm2.scripts import options


def main(
    curves: options.Curves,
    demonstrations: options.DemonstrationTable,
    paper_curves: options.PaperCurves,
    paper_demonstrations: Annotated[
        Path, typer.Option(help="The paper's demonstrations.", exists=True, dir_okay=False)
    ],
    output: options.Output,
    markdown: Annotated[Path, typer.Option(help="The verdicts as Markdown, to write.", dir_okay=False)],
) -> None:
    """Judge every claim of the paper by its rule; what a scale does not run is not judged."""
    from dm2.analysis.evidence import Tables
    from dm2.analysis.judgement import judge, to_markdown
    from dm2.analysis.tables import CURVES, DEMONSTRATIONS, PAPER_CURVES, PAPER_DEMONSTRATIONS, read_table, write_table
    from dm2.core.files import atomic_write

    judged = judge(
        Tables(
            read_table(curves, CURVES),
            read_table(demonstrations, DEMONSTRATIONS, may_be_empty=True),
            read_table(paper_curves, PAPER_CURVES),
            read_table(paper_demonstrations, PAPER_DEMONSTRATIONS),
        )
    )
    write_table(judged, output)
    with atomic_write(markdown, "w") as file:
        file.write(to_markdown(judged))


if __name__ == "__main__":
    options.run(main)
