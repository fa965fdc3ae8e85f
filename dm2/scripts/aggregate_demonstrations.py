"""Gather what the demonstrations of a scale are worth into one table (stage `aggregate_demonstrations`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dm2.scripts import options


def main(
    run_directories: Annotated[list[Path], typer.Argument(help="Folders of runs; their archives are looked up.")],
    output: options.Output,
) -> None:
    """Gather win rate and return of the demonstrations that runs learn from."""
    from dm2.analysis.tables import demonstration_table, write_table

    write_table(demonstration_table(run_directories), output)


if __name__ == "__main__":
    options.run(main)
