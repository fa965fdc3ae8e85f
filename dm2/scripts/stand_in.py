"""The simulator as a program in StarCraft II's place (`dm2 stand-in`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The simulator as a program in StarCraft II's place.", no_args_is_help=True)


@app.callback()
def _commands() -> None:
    pass


@app.command()
def install(folder: Annotated[Path, typer.Argument(help="New folder, for SC2PATH.", file_okay=False)]) -> None:
    """Lay out a folder that pysc2, and SMAC with it, take for StarCraft II."""
    from dm2.adapters.stand_in.install import lay_out

    lay_out(folder)
    typer.echo(f"export SC2PATH={folder.resolve()}")
