"""Which run is the expert behind demonstrations: of a condition's runs on a map the one that wins most in the end.

"In the end" is the mean win rate of the last 5 % of training, `final` in the tables; of equals it is the run with the
lower seed. The paper's experts were the best of its five seeds too, whose numbers mean nothing in another engine.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from dm2.core.errors import UserError
from dm2.core.run_directory import RunDirectory
from dm2.play.curves import common_grid, final_value, on_grid
from dm2.settings.base import Name, Probability, Seed, Settings
from dm2.settings.run import RunSettings


class Candidate(Settings):
    """A run that an expert is chosen from."""

    seed: Seed
    """Seed of the run."""
    final_win_rate: Probability
    """Mean win rate of the last 5 % of its training."""


class ExpertChoice(Settings):
    """The run that demonstrates on a map, and what it was chosen from."""

    scale: Name
    """Scale of the runs."""
    map_name: Name
    """Map of the runs."""
    condition: Name
    """Condition of the runs."""
    seed: Seed
    """Seed of the run that was chosen."""
    candidates: tuple[Candidate, ...] = Field(min_length=1)
    """All runs that it was chosen from, by seed."""


def choose_expert(run_directories: Iterable[Path]) -> ExpertChoice:
    """Choose the expert among finished runs of one condition on one map.

    Args:
        run_directories: each holds `settings.yaml`, `metrics.csv` and `run.json`.

    Raises:
        UserError: no run, runs of several conditions or maps, a run twice, or one whose files cannot be used.
    """
    runs = sorted(
        ((RunSettings.from_yaml(run.settings), run) for run in map(RunDirectory, run_directories)),
        key=lambda run: run[0].seed,
    )
    kinds = sorted({(settings.scale, settings.map_name, settings.condition) for settings, _ in runs})
    if len(kinds) != 1:
        found = ", ".join(f"{condition} on {map_name} ({scale})" for scale, map_name, condition in kinds) or "nothing"
        raise UserError(f"found runs of {found}, expected one condition on one map; choose from them apart")
    seeds = [settings.seed for settings, _ in runs]
    if len(set(seeds)) < len(seeds):
        raise UserError(f"found runs of the seeds {', '.join(map(str, seeds))}, expected each once")
    finals = dict(zip(seeds, _final_win_rates([run for _, run in runs]), strict=True))
    scale, map_name, condition = kinds[0]
    return ExpertChoice(
        scale=scale,
        map_name=map_name,
        condition=condition,
        seed=max(seeds, key=lambda seed: finals[seed]),  # the first of equals
        candidates=tuple(Candidate(seed=seed, final_win_rate=final) for seed, final in finals.items()),
    )


def _final_win_rates(runs: Iterable[RunDirectory]) -> list[float]:
    """As in the tables: on the grid that all runs cover."""
    curves = [_win_rates(run) for run in runs]
    grid = common_grid([env_steps for env_steps, _ in curves])
    return final_value(grid, np.stack([on_grid(*curve, grid) for curve in curves])).tolist()


def _win_rates(run: RunDirectory) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Env steps and win rates of a run's evaluations, each [evaluations]."""
    run.check_metrics()
    table = pd.read_csv(run.metrics, usecols=["env_steps", "win_rate"])
    return table["env_steps"].to_numpy(np.int64), table["win_rate"].to_numpy(float)
