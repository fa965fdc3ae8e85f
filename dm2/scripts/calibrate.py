"""Compare the simulator with StarCraft II and with closed forms (`make calibrate`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dm2.scripts import options

WHOLE = dict.fromkeys(["half_after", "half_after_paper", "half_after_paper_expert"], ",.0f")
"""How env steps are written that some rows have not."""
FORMATS = {
    "calibration": dict.fromkeys(["starcraft2", "standard_error", "simulator", "simulator_error"], ".3f")
    | {"difference": "+.3f", "relative_difference": "+.1%"},
    "nearness": {"root_mean_square": ".3f", "largest": "+.3f"},
}


def main(
    logs: Annotated[Path, typer.Option(help="Folder of the real game's logs.")] = Path("results/starcraft2"),
    output: Annotated[Path, typer.Option(help="Folder for the tables and the scatter plot.")] = Path(
        "results/calibration"
    ),
    battles: Annotated[int, typer.Option(min=1, help="Battles per map and policy.")] = 1600,
    scripted_battles: Annotated[int, typer.Option(min=1, help="Battles per map and scripted team.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the battles.")] = 1,
    curves: Annotated[Path, typer.Option(help="Learning curves of trained teams.", exists=True, dir_okay=False)] = Path(
        "results/calibration/learning_curves.csv"
    ),
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
    from dm2.analysis.markdown import markdown_table
    from dm2.analysis.tables import CURVES, PAPER_CURVES, PAPER_DEMONSTRATIONS, PAPER_ENDS, engine_name, read_table
    from dm2.backends.make_env import env_spec
    from dm2.calibration import win_rates
    from dm2.calibration.duels import measure
    from dm2.calibration.logs import assumptions, beside_logs, nearness, walk
    from dm2.core.files import atomic_write

    learned, paper = read_table(curves, CURVES), read_table(paper_curves, PAPER_CURVES)
    teams = [win_rates.scripted(scripted_battles, seed), win_rates.trained(learned, paper)]
    rates = win_rates.beside_published(teams, logs / "published_win_rates.csv")
    certificate = beside_logs(logs, None, battles, seed)
    tables = {
        "calibration": certificate,
        "nearness": nearness(certificate),
        "assumptions": assumptions(logs, battles // 4, seed),
        "walk": walk(logs),
        "duels": measure(),
        "win_rates": rates,
        "learning_speed": win_rates.learning_speed(
            learned,
            paper,
            read_table(paper_ends, PAPER_ENDS),
            read_table(paper_demonstrations, PAPER_DEMONSTRATIONS),
        ),
        "lengths_and_losses": win_rates.lengths_and_losses(learned, logs / "real_battles_length_by_win_rate.csv"),
    }
    output.mkdir(parents=True, exist_ok=True)
    trained, scripted = engine_name(learned.backend.iloc[0]), engine_name(env_spec("simulator", "3m").backend)
    engines = trained if trained == scripted else f"{trained} (trained),\n{scripted} (scripted)"
    origin = f"{engines}, scale {learned.scale.iloc[0]}"
    save(win_rates.scatter(rates, origin), output / "win_rates")
    for name, table in tables.items():
        text = markdown_table(table, FORMATS.get(name, {}) | WHOLE)
        for suffix, content in ((".csv", table.to_csv(index=False)), (".md", text)):
            with atomic_write(output / f"{name}{suffix}", "w") as file:
                file.write(content)
        typer.echo(text)


if __name__ == "__main__":
    options.run(main)
