"""All tables of `make calibrate`: the simulator beside logs, closed forms and published numbers of the real game."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from dm2.analysis.markdown import markdown_table
from dm2.analysis.tables import engine_name
from dm2.backends.make_env import env_spec
from dm2.calibration import duels, logs, win_rates

_WHOLE = dict.fromkeys(["half_after", "half_after_paper", "half_after_paper_expert"], ",.0f")
"""How env steps are written that some rows have not."""
_FORMATS = {
    "calibration": dict.fromkeys(["starcraft2", "standard_error", "simulator", "simulator_error"], ".3f")
    | {"difference": "+.3f", "relative_difference": "+.1%"},
    "nearness": {"root_mean_square": ".3f", "largest": "+.3f"},
}


def tables(
    folder: Path,
    learned: pd.DataFrame,
    paper: pd.DataFrame,
    paper_ends: pd.DataFrame,
    paper_demonstrations: pd.DataFrame,
    *,
    battles: int,
    scripted_battles: int,
    learning_runs: int,
    seed: int,
) -> dict[str, pd.DataFrame]:
    """Play what is to be compared, and compare it.

    Args:
        folder: the real game's logs.
        learned: learning curves of trained teams.
        paper: the paper's learning curves.
        paper_ends: how they end.
        paper_demonstrations: the win rates of the paper's demonstrations.
        battles: per map and team of the logs.
        scripted_battles: per map and scripted team.
        learning_runs: per map.
        seed: of the battles.

    Returns:
        The tables by name.
    """
    teams = [win_rates.scripted(scripted_battles, seed), win_rates.trained(learned, paper)]
    learning = logs.learning_beside_logs(folder, learning_runs, seed)
    certificate = pd.concat([logs.beside_logs(folder, None, battles, seed), learning], ignore_index=True)
    return {
        "calibration": certificate,
        "nearness": logs.nearness(certificate),
        "assumptions": logs.assumptions(folder, battles // 4, seed),
        "walk": logs.walk(folder),
        "duels": duels.measure(),
        "win_rates": win_rates.beside_published(teams, folder / "published_win_rates.csv"),
        "learning_speed": win_rates.learning_speed(learned, paper, paper_ends, paper_demonstrations),
        "lengths_and_losses": win_rates.lengths_and_losses(learned, folder / "real_battles_length_by_win_rate.csv"),
    }


def markdown(name: str, table: pd.DataFrame) -> str:
    """A table as a person reads it."""
    return markdown_table(table, _FORMATS.get(name, {}) | _WHOLE)


def origin(learned: pd.DataFrame) -> str:
    """Which engines and which scales the tables are of."""
    scripted = engine_name(env_spec("simulator", "3m").backend)
    trained = " and ".join(map(engine_name, learned.backend.unique()))
    engines = trained if trained == scripted else f"{trained} (trained),\n{scripted} (scripted)"
    return f"{engines}, scale {' and '.join(learned.scale.unique())}"
