"""Learning curves in the JSON layout of marl-eval, the evaluation tool of Gorsane et al. 2022.

"Towards a Standardised Performance Evaluation Protocol for Cooperative MARL"; the layout stands in marl-eval's README,
section "Data structure for raw experiment data":

    environment -> task -> algorithm -> run -> step_1 ... step_k: {step_count: int, metric: [value]}
                                            -> absolute_metrics: {metric: [value]}

Here the environment is the engine, a task a map, an algorithm a condition and a run a seed. marl-eval lowers the case
of the names that it looks up, and wants the same algorithms, runs and number of steps everywhere. So what is written
are the conditions that were run on all maps with all seeds, on grids of equally many env steps, linear between a run's
evaluations. A value is one number, the mean over an evaluation's episodes.

The absolute metric of the protocol is that of the best policy over ten times as many episodes. It stands in the runs'
records; the learning curves do not hold it, and without the records its place is taken by the value at the end, the
mean of the evaluations in the last 5 % of training.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dm2.analysis.tables import ResultsError, engine_name
from dm2.core.files import read_json
from dm2.play.curves import common_grid, final_value, on_grid

METRICS = {"win_rate": "win_rate", "return": "return_mean"}
"""Names in marl-eval, and the columns of the learning curves that they hold."""
SAME_INTERVAL = 0.02
"""Relative difference of evaluation intervals that are meant to be the same."""
RunName = tuple[str, str, int]
"""Map, condition and seed."""
Layout = dict[str, dict[str, dict[str, dict[str, dict[str, Any]]]]]


def marl_eval_layout(
    curves: pd.DataFrame, maps: Sequence[str] = (), absolute: Mapping[RunName, Mapping[str, float]] | None = None
) -> Layout:
    """The conditions that all maps share with all seeds, in marl-eval's layout.

    Args:
        curves: table of `learning_curves`.
        maps: maps to take; none: all.
        absolute: the absolute metrics of every run, by the names of `METRICS`; None: the values at the end instead.

    Returns:
        Nested mappings that JSON can hold.

    Raises:
        ResultsError: a map has no runs, or the maps have no run in common.
    """
    chosen = list(dict.fromkeys(maps)) or sorted(curves["map_name"].unique())
    runs = {map_name: _runs(curves, map_name) for map_name in chosen}
    shared = _shared(list(runs.values()))
    if not shared:
        raise ResultsError(f"found no run that all of {', '.join(chosen)} share; export fewer maps")
    grids = {map_name: _grid([found[run] for run in shared]) for map_name, found in runs.items()}
    points = min(len(grid) for grid in grids.values())
    tasks: dict[str, Any] = {}
    for map_name, found in runs.items():
        algorithms = tasks.setdefault(map_name.lower(), {})
        for condition, seed in shared:
            run = _run(found[condition, seed], grids[map_name], points)
            if absolute is not None:
                values = absolute[map_name, condition, seed]
                run["absolute_metrics"] = {name: [values[name]] for name in METRICS}
            algorithms.setdefault(condition.lower(), {})[f"seed_{seed}"] = run
    return {environment_name(str(curves["backend"].iloc[0])): tasks}


def absolute_metrics(curves: pd.DataFrame, runs: Path) -> dict[RunName, dict[str, float]]:
    """The absolute metrics of every run in the learning curves, from their records.

    Args:
        curves: table of `learning_curves`.
        runs: `results/<scale>/runs`.

    Raises:
        StorageError: a record is missing.
        ResultsError: a record has no absolute metric.
    """
    names = curves[["map_name", "condition", "seed"]].drop_duplicates().itertuples(index=False)
    return {
        (map_name, condition, int(seed)): _absolute(runs / map_name / condition / f"seed-{seed}" / "run.json")
        for map_name, condition, seed in names
    }


def _absolute(path: Path) -> dict[str, float]:
    best = read_json(path).get("absolute_metric", {}).get("best")
    if best is None:
        raise ResultsError(f"{path}: found no absolute_metric; train the run again, or export without records")
    return {name: float(best[column]) for name, column in METRICS.items()}


def left_out(curves: pd.DataFrame, layout: Layout) -> list[str]:
    """The runs of the layout's maps that it does not hold, as map/condition/seed."""
    (tasks,) = layout.values()
    rows = curves[["map_name", "condition", "seed"]].drop_duplicates().itertuples(index=False)
    return [
        f"{map_name}/{condition}/seed-{seed}"
        for map_name, condition, seed in rows
        if map_name.lower() in tasks and f"seed_{seed}" not in tasks[map_name.lower()].get(condition.lower(), {})
    ]


def evaluation_intervals(layout: Layout) -> dict[str, int]:
    """Env steps between two evaluations of the layout, by task.

    marl-eval takes one time axis for all tasks: where the intervals differ, what it plots over time is wrong.
    """
    (tasks,) = layout.values()
    runs = {task: next(iter(next(iter(algorithms.values())).values())) for task, algorithms in tasks.items()}
    return {
        task: run["step_2"]["step_count"] - run["step_1"]["step_count"] for task, run in runs.items() if "step_2" in run
    }


def intervals_differ(intervals: Mapping[str, int]) -> bool:
    """Whether time axes differ by more than the steps by which an evaluation comes late."""
    return bool(intervals) and max(intervals.values()) > (1 + SAME_INTERVAL) * min(intervals.values())


def environment_name(backend: str) -> str:
    """The engine in lower case without blanks, as marl-eval looks it up, e.g. smac_built_in_simulator_1."""
    return re.sub(r"[^a-z0-9]+", "_", f"smac {engine_name(backend)}".lower())


def _runs(curves: pd.DataFrame, map_name: str) -> dict[tuple[str, int], pd.DataFrame]:
    here = curves[curves["map_name"] == map_name]
    if here.empty:
        found = ", ".join(curves["map_name"].unique())
        raise ResultsError(f"found no run on {map_name!r} in the learning curves, expected one of {found}")
    keys = here[["condition", "seed"]].drop_duplicates().itertuples(index=False)
    return {
        (condition, int(seed)): here[(here["condition"] == condition) & (here["seed"] == seed)]
        for condition, seed in keys
    }


def _shared(maps: Sequence[Mapping[tuple[str, int], pd.DataFrame]]) -> list[tuple[str, int]]:
    """Condition and seed of the runs that every map has, of the conditions with the most seeds."""
    seeds: dict[str, list[int]] = {}
    for condition, seed in maps[0]:
        if all((condition, seed) in found for found in maps):
            seeds.setdefault(condition, []).append(seed)
    most = max(seeds.values(), key=len, default=[])
    return [(condition, seed) for condition, found in seeds.items() if set(found) == set(most) for seed in most]


def _grid(runs: Sequence[pd.DataFrame]) -> NDArray[np.int64]:
    return common_grid([run["env_steps"].to_numpy() for run in runs])


def _run(run: pd.DataFrame, grid: NDArray[np.int64], points: int) -> dict[str, Any]:
    """One run: its evaluations on as many `points`, then its end on the whole grid."""
    steps = run["env_steps"].to_numpy()
    columns = {name: run[column].to_numpy(float) for name, column in METRICS.items()}
    evaluations: dict[str, Any] = {
        f"step_{i + 1}": {"step_count": int(at)}
        | {name: on_grid(steps, values, np.array([at])).tolist() for name, values in columns.items()}
        for i, at in enumerate(np.rint(np.linspace(grid[0], grid[-1], points)).astype(np.int64))
    }
    ends = {name: [float(final_value(grid, on_grid(steps, values, grid)))] for name, values in columns.items()}
    return evaluations | {"absolute_metrics": ends}
