"""From the tables of a scale, and of the paper, to the numbers that claims are judged by.

The paper's curves are means and sds over five seeds. So that the same rules can read them they stand for five runs,
spread evenly (normal scores) about the mean with the sd, each of which keeps its rank throughout training: the widest
spread of areas under the curve that the sds allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dm2.analysis.claims import Contrast, Ladder, Measure, Side
from dm2.analysis.few_seeds import Share
from dm2.analysis.statistics import Floats, area_under_curve
from dm2.analysis.tables import ResultsError, SeedCurves, comparable_curves, paper_curve, seed_curves
from dm2.analysis.verdicts import Pair, Rungs, Runs
from dm2.play.curves import final_value

NORMAL_SCORES = np.array([-1.163, -0.495, 0.0, 0.495, 1.163])
"""Expected order statistics of five standard normal numbers."""
PAPER_DEMONSTRATION_EPISODES = 126
"""Episodes behind the paper's win rates of demonstrations, by their fractions (39/126, 45/126)."""


@dataclass(frozen=True)
class Tables:
    """What claims are judged from.

    Args:
        curves: `results/<scale>/learning_curves.csv`.
        demonstrations: `results/<scale>/demonstrations.csv`.
        paper_curves: `results/paper/paper_curves.csv`.
        paper_demonstrations: `results/paper/demo_win_rates.csv`.
    """

    curves: pd.DataFrame
    demonstrations: pd.DataFrame
    paper_curves: pd.DataFrame
    paper_demonstrations: pd.DataFrame


@dataclass(frozen=True)
class DemonstrationFacts:
    """The demonstrations that a condition learns from.

    Args:
        expert: condition of the expert who plays them.
        checkpoint_percent: how far the expert was trained.
        seeds: the expert's seeds, in words.
        episodes: how many they are.
        won: battles that the expert wins by its best actions; None where nobody has counted them.
    """

    expert: str
    checkpoint_percent: int
    seeds: str
    episodes: int
    won: Share | None


# --- ours ----------------------------------------------------------------------------------------------------------


def condition_run(side: Side, map_name: str, curves: pd.DataFrame) -> tuple[str, bool]:
    """The side's condition on a map, and whether it was run there."""
    run = set(curves.loc[curves["map_name"] == map_name, "condition"])
    return next(((name, True) for name in side.conditions if name in run), (side.conditions[0], False))


def our_pair(contrast: Contrast, measure: Measure, tables: Tables) -> tuple[Pair, int]:
    """What a contrast compares at the scale, and the training length that both sides share; both must have been run."""
    names = [condition_run(side, contrast.map_name, tables.curves)[0] for side in contrast.sides]
    curves = list(comparable_curves(tables.curves, contrast.map_name, names).values())
    runs = [_runs(one.env_steps, one.values, measure) for one in curves]
    env_steps = int(curves[0].env_steps[-1])
    if isinstance(contrast.second, Side):
        return Pair(runs[0], runs[1]), env_steps
    if contrast.second is None:
        return Pair(runs[0], _experts_won(tables, contrast.map_name, names[0])), env_steps
    return Pair(runs[0], contrast.second, _best_final(tables.curves, contrast.map_name, names[0])), env_steps


def our_rungs(ladder: Ladder, map_name: str, tables: Tables) -> tuple[Rungs, int] | None:
    """The rungs of a ladder that were run on a map, and the longest training; None where fewer than two were."""
    names = ladder_run(ladder, map_name, tables)
    if len(names) < 2:
        return None
    curves = [seed_curves(tables.curves, map_name, name) for name in names]
    numbers = [
        _experts_won(tables, map_name, name).mean
        if ladder.against == "win_rate"
        else float(_known_demonstrations(tables, map_name, name).episodes)
        for name in names
    ]
    ends = [final_value(one.env_steps, one.values) for one in curves]
    return Rungs(ends, np.array(numbers)), max(int(one.env_steps[-1]) for one in curves)


def ladder_run(ladder: Ladder, map_name: str, tables: Tables) -> list[str]:
    """The conditions of a ladder that were run on a map."""
    rungs = [condition_run(side, map_name, tables.curves) for side in ladder.rungs]
    return [name for name, was_run in rungs if was_run]


def experts(conditions: Sequence[str], map_name: str, tables: Tables) -> str:
    """The experts that the conditions' demonstrations on a map are from, in words; empty where none learns from any."""
    sets = [one for name in conditions if (one := demonstrations_of(tables, map_name, name))]
    percents: dict[tuple[str, str], list[int]] = {}
    for one in sets:
        percents.setdefault((one.expert, one.seeds), []).append(one.checkpoint_percent)
    return " and ".join(
        f"{expert} at {min(at)}{f' to {max(at)}' if max(at) > min(at) else ''} %, seed {seeds}"
        for (expert, seeds), at in percents.items()
    )


def demonstrations_of(tables: Tables, map_name: str, condition: str) -> DemonstrationFacts | None:
    """The row of a condition on a map in demonstrations.csv; None where it has none."""
    table = tables.demonstrations
    chosen = table[(table["map_name"] == map_name) & (table["condition"] == condition)]
    if chosen.empty:
        return None
    row = chosen.iloc[0]
    return DemonstrationFacts(
        expert=row["expert"],
        checkpoint_percent=int(row["checkpoint_percent"]),
        seeds=row["expert_seeds"].replace(" ", ", "),
        episodes=int(row["episodes"]),
        won=_won(row["greedy_win_rate"], row["greedy_episodes"]),
    )


def _won(win_rate: float, episodes: float) -> Share | None:
    return None if np.isnan(win_rate) else Share(round(win_rate * episodes), int(episodes))


def _experts_won(tables: Tables, map_name: str, condition: str) -> Share:
    won = _known_demonstrations(tables, map_name, condition).won
    if won is None:
        raise ResultsError(f"found no greedy win rate of the experts of {condition} on {map_name}; sample them again")
    return won


def _known_demonstrations(tables: Tables, map_name: str, condition: str) -> DemonstrationFacts:
    found = demonstrations_of(tables, map_name, condition)
    if found is None:
        raise ResultsError(f"found no demonstrations of {condition} on {map_name} in the table, expected one row")
    return found


def _runs(env_steps: NDArray[np.integer], win_rate: Floats, measure: Measure) -> Runs:
    final = final_value(env_steps, win_rate)
    if measure == "final":
        return Runs(final, final)
    begin = 0.5 if measure == "AUC of the last half" else 0.0
    return Runs(area_under_curve(env_steps, win_rate, begin), final)


def _best_final(curves: pd.DataFrame, map_name: str, condition: str) -> float:
    """Win rate at the end of the best run on a map of any other condition; 0 where there is none."""
    others = set(curves.loc[curves["map_name"] == map_name, "condition"]) - {condition}
    runs: list[SeedCurves] = [seed_curves(curves, map_name, other) for other in sorted(others)]
    return max((float(final_value(one.env_steps, one.values).max()) for one in runs), default=0.0)


# --- the paper's -----------------------------------------------------------------------------------------------------


def paper_pair(
    contrast: Contrast, measure: Measure, paper_figure: str, tables: Tables, until: int | None = None
) -> Pair | None:
    """What a contrast compares in the paper's figures, up to an env step; None where they do not show it."""
    curves = [_paper_side(side, contrast.map_name, paper_figure, tables) for side in contrast.sides]
    if any(curve.empty for curve in curves) or isinstance(contrast.second, float):
        return None
    ends = [curve["env_steps"].iloc[-1] for curve in curves]
    last = min(ends if until is None else [*ends, until])
    shown = [curve[curve["env_steps"] <= last] for curve in curves]
    if min(map(len, shown)) < 2:
        return None
    runs = [_paper_runs(curve, measure) for curve in shown]
    if len(runs) == 2:
        return Pair(runs[0], runs[1])
    level = _paper_demonstrations(tables, contrast.map_name, curves[0], "demo_win_rate")
    if level is None:
        return None
    return Pair(runs[0], Share(round(level * PAPER_DEMONSTRATION_EPISODES), PAPER_DEMONSTRATION_EPISODES))


def paper_rungs(ladder: Ladder, map_name: str, tables: Tables) -> Rungs | None:
    """A ladder on a map in the paper's figures; None where they do not show it."""
    curves = [_paper_side(side, map_name, ladder.paper_figure, tables) for side in ladder.rungs]
    if any(curve.empty for curve in curves):
        return None
    win_rates = [_paper_demonstrations(tables, map_name, curve, "demo_qual") for curve in curves]
    numbers = np.array([np.nan if one is None else one for one in win_rates])
    return None if np.isnan(numbers).any() else Rungs([_paper_runs(one, "final").final for one in curves], numbers)


def _paper_side(side: Side, map_name: str, paper_figure: str, tables: Tables) -> pd.DataFrame:
    curves = [paper_curve(tables.paper_curves, map_name, name, paper_figure) for name in (*side.paper, None)]
    return next((curve for curve in curves if len(curve)), curves[-1])


def _paper_runs(curve: pd.DataFrame, measure: Measure) -> Runs:
    """Five runs with the curve's mean and sd; see the head of the module."""
    scores = NORMAL_SCORES / NORMAL_SCORES.std(ddof=1)
    win_rate = curve["win_rate"].to_numpy(float) + scores[:, None] * curve["sd"].to_numpy(float)  # [runs, points]
    return _runs(curve["env_steps"].to_numpy(), win_rate, measure)


def _paper_demonstrations(tables: Tables, map_name: str, curve: pd.DataFrame, listed_in: str) -> float | None:
    checkpoint = str(curve["condition"].iloc[0]).rsplit("_", 1)[1]  # dm2_ippo_demo_5m -> 5m
    table = tables.paper_demonstrations
    source = (table["demo_source"] == "ippo") & (table["demo_checkpoint"] == checkpoint)
    listed = (table["used"] == "yes") & (table["dict"] == listed_in)
    chosen = table.loc[(table["map"] == map_name) & source & listed, "win_rate"]
    return None if chosen.empty else float(chosen.iloc[0])
