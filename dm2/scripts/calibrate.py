"""Compare the simulator with StarCraft II and with closed forms (`make calibrate`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dm2.scripts import options


def main(
    logs: Annotated[Path, typer.Option(help="Folder of the real game's logs.")] = Path("results/starcraft2"),
    output: Annotated[Path, typer.Option(help="Folder for the tables and the scatter plot.")] = Path(
        "results/calibration"
    ),
    battles: Annotated[int, typer.Option(min=1, help="Battles per map and policy.")] = 4000,
    scripted_battles: Annotated[int, typer.Option(min=1, help="Battles per map and scripted team.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the battles.")] = 1,
    runs: Annotated[list[Path] | None, typer.Option(help="Directory of a run of a trained team; repeatable.")] = None,
) -> None:
    """Play random, passive and heuristic teams and duels, and set the outcomes beside the known ones."""
    from dm2 import win_rates
    from dm2.battle.calibration import compare
    from dm2.battle.duels import measure
    from dm2.figures import save
    from dm2.markdown import markdown_table
    from dm2.storage import atomic_write

    curves = win_rates.curves_of(runs or [])
    ours = [win_rates.scripted(scripted_battles, seed), *([win_rates.trained(curves)] if runs else [])]
    rates = win_rates.beside_published(ours, logs / "published_win_rates.csv")
    tables = {"calibration": compare(logs, battles, seed), "duels": measure(), "win_rates": rates}
    if runs:
        lengths = logs / "real_battles_length_by_win_rate.csv"
        tables["lengths_and_losses"] = win_rates.lengths_and_losses(curves, lengths)
    output.mkdir(parents=True, exist_ok=True)
    if runs:  # what is published of scripted teams alone is one point
        save(win_rates.scatter(rates), output / "win_rates")
    for name, table in tables.items():
        text = markdown_table(table, {"difference": "+.2f", "relative_difference": "+.1%"})
        for suffix, content in ((".csv", table.to_csv(index=False)), (".md", text)):
            with atomic_write(output / f"{name}{suffix}", "w") as file:
                file.write(content)
        typer.echo(text)


if __name__ == "__main__":
    options.run(main)
