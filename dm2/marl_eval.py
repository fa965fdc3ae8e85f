"""Learning curves in the JSON layout of marl-eval, the evaluation tool of Gorsane et al. 2022.

"Towards a Standardised Performance Evaluation Protocol for Cooperative MARL"; the layout stands in marl-eval's README,
section "Data structure for raw experiment data":

    environment -> task -> algorithm -> run -> step_1 ... step_k: {step_count: int, metric: [value]}
                                            -> absolute_metrics: {metric: [value]}

Here the environment is the engine, a task a map, an algorithm a condition and a run a seed. marl-eval lowers the case
of the names that it looks up, and wants the same algorithms, as many runs and as many steps everywhere. So what is
written are the conditions and seeds that all maps share, on grids of equally many env steps, linear between a run's
evaluations. A value is one number, the mean over an evaluation's episodes.

The absolute metric of the protocol is that of the best policy over ten times as many episodes. The learning curves do
not hold it: in its place stands the value at the end, the mean of the evaluations in the last 5 % of training.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dm2.results import ResultsError, engine_name
from dm2.statistics import common_grid, final_value, on_grid

METRICS = {"win_rate": "win_rate", "return": "return_mean"}
"""Names in marl-eval, and the columns of the learning curves that they hold."""
Layout = dict[str, dict[str, dict[str, dict[str, dict[str, Any]]]]]


def marl_eval_layout(curves: pd.DataFrame, maps: Sequence[str] = ()) -> Layout:
    """The runs that all maps share, in marl-eval's layout.

    Args:
        curves: table of `learning_curves`.
        maps: maps to take; none: all.

    Returns:
        Nested mappings that JSON can hold.

    Raises:
        ResultsError: a map has no runs, or the maps have no condition and seed in common.
    """
    chosen = list(dict.fromkeys(maps)) or sorted(curves["map_name"].unique())
    runs = {map_name: _runs(curves, map_name) for map_name in chosen}
    shared = [run for run in next(iter(runs.values())) if all(run in found for found in runs.values())]
    if not shared:
        raise ResultsError(f"found no condition and seed that all of {', '.join(chosen)} share; export fewer maps")
    grids = {map_name: _grid([found[run] for run in shared]) for map_name, found in runs.items()}
    points = min(len(grid) for grid in grids.values())
    tasks: dict[str, Any] = {}
    for map_name, found in runs.items():
        algorithms = tasks.setdefault(map_name.lower(), {})
        for condition, seed in shared:
            run = _run(found[condition, seed], grids[map_name], points)
            algorithms.setdefault(condition.lower(), {})[f"seed_{seed}"] = run
    return {environment_name(str(curves["backend"].iloc[0])): tasks}


def left_out(curves: pd.DataFrame, layout: Layout) -> list[str]:
    """The runs of the layout's maps that it does not hold, as map/condition/seed."""
    (tasks,) = layout.values()
    rows = curves[["map_name", "condition", "seed"]].drop_duplicates().itertuples(index=False)
    return [
        f"{map_name}/{condition}/seed-{seed}"
        for map_name, condition, seed in rows
        if map_name.lower() in tasks and f"seed_{seed}" not in tasks[map_name.lower()].get(condition.lower(), {})
    ]


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
