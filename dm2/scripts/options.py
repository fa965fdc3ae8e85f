"""Options that several stages share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from dm2.core.errors import report_errors

Settings = Annotated[Path, typer.Option(help="Settings file, YAML.", exists=True, dir_okay=False)]
Output = Annotated[Path, typer.Option(help="File to write.", dir_okay=False)]
Threads = Annotated[int, typer.Option(help="CPU threads for the battles; the results are the same for any.", min=1)]
Curves = Annotated[Path, typer.Option(help="learning_curves.csv of the scale.", exists=True, dir_okay=False)]
DemonstrationTable = Annotated[
    Path, typer.Option("--demonstrations", help="demonstrations.csv of the scale.", exists=True, dir_okay=False)
]
PaperCurves = Annotated[Path, typer.Option(help="The paper's learning curves.", exists=True, dir_okay=False)]
ConfigFolder = Annotated[Path, typer.Option(help="Folder of config.yaml.", exists=True, file_okay=False)]


def run(main: Callable[..., Any]) -> None:
    """Run a stage as a program of its own; an error that names its cause is shown without a traceback."""
    with report_errors():
        typer.run(main)
