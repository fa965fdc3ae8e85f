"""Choose the run whose policies demonstrate on a map (stage `choose_expert`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dm2.scripts import options


def main(
    run_directories: Annotated[list[Path], typer.Argument(help="Folders of the condition's finished runs on the map.")],
    output: options.Output,
) -> None:
    """Name the run that wins most in the end, and what all candidates win."""
    from dm2.play.experts import choose_expert

    choose_expert(run_directories).to_yaml(output)


if __name__ == "__main__":
    options.run(main)
