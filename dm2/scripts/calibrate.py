"""Compare the simulator with StarCraft II and with closed forms (`make calibrate`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dm2.scripts import options

TRAINED = [Path("results/calibration/learning_curves.csv"), Path("results/laptop/learning_curves.csv")]


def main(
    logs: Annotated[Path, typer.Option(help="Folder of the real game's logs.")] = Path("results/starcraft2"),
    output: Annotated[Path, typer.Option(help="Folder for the tables and the scatter plot.")] = Path(
        "results/calibration"
    ),
    battles: Annotated[
        int, typer.Option(min=16, help="Battles per map and policy; a sixteenth of them each way to walk.")
    ] = 1600,
    scripted_battles: Annotated[int, typer.Option(min=1, help="Battles per map and scripted team.")] = 256,
    learning_runs: Annotated[
        int, typer.Option(min=1, help="Runs of QMIX per map for their first 10,000 env steps.")
    ] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the battles.")] = 1,
    curves: Annotated[
        list[Path], typer.Option(help="Learning curves of trained teams; several are one table.")
    ] = TRAINED,
    paper_curves: Annotated[Path, typer.Option(help="The paper's digitised curves.", dir_okay=False)] = Path(
        "results/paper/paper_curves.csv"
    ),
    paper_ends: Annotated[Path, typer.Option(help="How the paper's curves end.", dir_okay=False)] = Path(
        "results/paper/paper_final.csv"
    ),
    paper_demonstrations: Annotated[Path, typer.Option(help="The paper's demonstrations.", dir_okay=False)] = Path(
        "results/paper/demo_win_rates.csv"
    ),
) -> None:
    """Set random, passive, walking, heuristic and trained teams and duels beside what is known of them."""
    from dm2.analysis.curve_figures import save
    from dm2.analysis.tables import CURVES, PAPER_CURVES, PAPER_DEMONSTRATIONS, PAPER_ENDS, read_table
    from dm2.calibration import win_rates
    from dm2.calibration.tables import markdown, origin, tables
    from dm2.core.files import atomic_write

    learned = win_rates.without_demonstrations([read_table(path, CURVES) for path in curves])
    made = tables(
        logs,
        learned,
        read_table(paper_curves, PAPER_CURVES),
        read_table(paper_ends, PAPER_ENDS),
        read_table(paper_demonstrations, PAPER_DEMONSTRATIONS),
        battles=battles,
        scripted_battles=scripted_battles,
        learning_runs=learning_runs,
        seed=seed,
    )
    output.mkdir(parents=True, exist_ok=True)
    save(win_rates.scatter(made["win_rates"], origin(learned)), output / "win_rates")
    for name, table in made.items():
        text = markdown(name, table)
        for suffix, content in ((".csv", table.to_csv(index=False)), (".md", text)):
            with atomic_write(output / f"{name}{suffix}", "w") as file:
                file.write(content)
        typer.echo(text)


if __name__ == "__main__":
    options.run(main)
