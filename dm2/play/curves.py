"""Runs' learning curves on one grid of env steps, and where they end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def common_grid(env_steps: Sequence[NDArray[np.integer]], until: int | None = None) -> NDArray[np.int64]:
    """Evenly spaced env steps that every run covers.

    Runs are evaluated at the first step past each multiple of the evaluation interval, so their steps differ a little,
    and runs may have different lengths: the grid spans their common part.

    Args:
        env_steps: evaluation steps of each run, increasing, each [evaluations of that run].
        until: env step at which the grid ends at the latest.

    Returns:
        Grid of env steps, [points]; as many points as the run with the fewest evaluations has in the common part.

    Raises:
        ValueError: no run, or runs that have no stretch of training in common.
    """
    if not env_steps:
        raise ValueError("found no run to put on a grid, expected at least one")
    first = max(int(steps[0]) for steps in env_steps)
    last = min([int(steps[-1]) for steps in env_steps] + ([] if until is None else [until]))
    if last < first:
        raise ValueError(f"found runs that begin at {first} and end at {last} env steps, expected a common part")
    points = min(int(np.sum((steps >= first) & (steps <= last))) for steps in env_steps)
    return np.rint(np.linspace(first, last, max(points, 2 if last > first else 1))).astype(np.int64)


def on_grid(
    env_steps: NDArray[np.integer], values: NDArray[np.float64], grid: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Values at the grid's steps, linear between a run's evaluations.

    Args:
        env_steps: evaluation steps, increasing, [evaluations].
        values: what was measured there, [evaluations].
        grid: env steps within the run, [points].

    Returns:
        Values on the grid, [points].

    Raises:
        ValueError: the grid reaches outside the run.
    """
    if grid[0] < env_steps[0] or grid[-1] > env_steps[-1]:
        raise ValueError(
            f"found a grid of {grid[0]}..{grid[-1]} env steps for a run of {env_steps[0]}..{env_steps[-1]}, "
            "expected one within the run (common_grid makes one)"
        )
    return np.interp(grid, env_steps, values)


def final_value(
    env_steps: NDArray[np.integer], values: NDArray[np.float64], share: float = 0.05
) -> NDArray[np.float64]:
    """Mean of the evaluations in the last `share` of training.

    Args:
        env_steps: increasing steps, [points].
        values: curves at those steps, [..., points].
        share: share of the training length counted as its end, in (0, 1].

    Returns:
        Final value, [...]. A run with fewer than 1 / share evaluations ends with its last one alone.
    """
    return values[..., env_steps >= (1 - share) * env_steps[-1]].mean(axis=-1)
