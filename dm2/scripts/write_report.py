"""Gather a scale's figures, tables and verdicts on one page (stage `write_report`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dm2.scripts import options


def main(
    results: Annotated[Path, typer.Option(help="Folder of the scale's tables.", exists=True, file_okay=False)],
    output: options.Output,
    figures: Annotated[
        list[Path] | None,
        typer.Argument(help="Figures to show, PNG; none if none shows the scale's runs.", exists=True, dir_okay=False),
    ] = None,
) -> None:
    """Write one self-contained HTML page about a scale."""
    from dm2.analysis.report import write_report

    write_report(results, figures or [], output)


if __name__ == "__main__":
    options.run(main)
