"""Draw one figure of a scale from its tables (stage `draw_figure`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from dm2.scripts import options


def main(
    figure: Annotated[str, typer.Argument(help="Figure of config/experiments.yaml.")],
    curves: Annotated[Path, typer.Option(help="learning_curves.csv of the scale.", exists=True, dir_okay=False)],
    demonstrations: Annotated[Path, typer.Option(help="demonstrations.csv of the scale.", exists=True, dir_okay=False)],
    paper: Annotated[Path, typer.Option(help="The paper's curves.", exists=True, dir_okay=False)],
    stem: Annotated[Path, typer.Option(help="Files to write, without suffix.")],
    configuration: Annotated[str, typer.Option(help="Keys of the scale that replace its file's, JSON.")] = "{}",
    config_folder: options.ConfigFolder = Path("config"),
) -> None:
    """Draw one figure: STEM.pdf, STEM.png and STEM.csv, the numbers that are drawn."""
    import pandas as pd

    from dm2.experiments import Matrix
    from dm2.figures import describe, make_figure

    description = describe(Matrix.load(config_folder, json.loads(configuration)), figure)
    make_figure(description, *(pd.read_csv(path) for path in (curves, demonstrations, paper)), stem)


if __name__ == "__main__":
    options.run(main)
