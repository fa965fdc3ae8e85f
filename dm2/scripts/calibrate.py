"""Compare the simulator with logs of the real game on 3m, 8m and 2s3z (`make calibrate`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dm2.scripts import options


def main(
    logs: Annotated[Path, typer.Option(help="Folder of the real game's logs.")] = Path("results/starcraft2"),
    output: Annotated[Path, typer.Option(help="Folder for calibration.csv and calibration.md.")] = Path(
        "results/calibration"
    ),
    battles: Annotated[int, typer.Option(min=1, help="Battles per map and policy.")] = 4000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the battles.")] = 1,
) -> None:
    """Play random and passive teams in the simulator and set the outcomes beside those of the real game."""
    from dm2.battle.calibration import compare, to_markdown
    from dm2.storage import atomic_write

    table = compare(logs, battles, seed)
    output.mkdir(parents=True, exist_ok=True)
    for name, text in (("calibration.csv", table.to_csv(index=False)), ("calibration.md", to_markdown(table))):
        with atomic_write(output / name, "w") as file:
            file.write(text)
    typer.echo(to_markdown(table))


if __name__ == "__main__":
    options.run(main)
