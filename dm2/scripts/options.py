"""Options that several stages share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from dm2.errors import report_errors

Settings = Annotated[Path, typer.Option(help="Settings file, YAML.", exists=True, dir_okay=False)]
Output = Annotated[Path, typer.Option(help="File to write.", dir_okay=False)]
Threads = Annotated[int, typer.Option(help="CPU threads for battles and networks.", min=1)]
ConfigFolder = Annotated[Path, typer.Option(help="Folder of config.yaml.", exists=True, file_okay=False)]


def run(main: Callable[..., Any]) -> None:
    """Run a stage as a program of its own; an error that names its cause is shown without a traceback."""
    with report_errors():
        typer.run(main)
