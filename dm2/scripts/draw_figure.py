"""Draw one figure of a scale from its tables (stage `draw_figure`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from dm2.scripts import options


def main(
    figure: Annotated[str, typer.Argument(help="Figure of config/experiments.yaml.")],
    curves: options.Curves,
    demonstrations: options.DemonstrationTable,
    paper_curves: options.PaperCurves,
    stem: Annotated[Path, typer.Option(help="Files to write, without suffix.")],
    configuration: Annotated[str, typer.Option(help="Keys of the scale that replace its file's, JSON.")] = "{}",
    config_folder: options.ConfigFolder = Path("config"),
) -> None:
    """Draw one figure: STEM.pdf, STEM.png and STEM.csv, the numbers that are drawn."""
    from dm2.analysis.curve_figures import describe, make_figure, of_what_was_run
    from dm2.analysis.interval_figures import make_interval_figure
    from dm2.analysis.tables import CURVES, DEMONSTRATIONS, PAPER_CURVES, read_table
    from dm2.settings.matrix import Matrix

    matrix = Matrix.load(config_folder, json.loads(configuration))
    runs, settings = read_table(curves, CURVES), matrix.figures[figure]
    description = describe(matrix, figure)
    found = of_what_was_run(description, runs, settings.needs, settings.baseline)
    description = found or description  # which then says that nothing was run
    if settings.shows != "win_rate":
        make_interval_figure(settings.shows, description, runs, stem, settings.baseline)
        return
    make_figure(
        description,
        runs,
        read_table(demonstrations, DEMONSTRATIONS, may_be_empty=True),
        read_table(paper_curves, PAPER_CURVES),
        stem,
    )


if __name__ == "__main__":
    options.run(main)
