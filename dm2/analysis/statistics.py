"""Statistics over seeds: aggregates and bootstrap intervals.

The aggregates are those of Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice":
interquartile mean, probability of improvement, and percentile intervals from a bootstrap that resamples runs within
each stratum (a stratum is one condition on one map). Everything here is a pure function of its arguments; what draws
random numbers takes the generator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Statistic = Callable[[Sequence[Floats]], Floats]
"""Takes strata, each [resamples, runs, ...], and reduces the runs of all of them: [resamples, ...]."""

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate with its bootstrap interval; arrays of one shape, one entry per point of a curve, or scalars."""

    estimate: Floats
    low: Floats
    high: Floats

    def wholly_above(self, bound: float) -> bool:
        """Whether the whole interval lies above `bound`."""
        return bool(np.all(self.low > bound))

    def wholly_below(self, bound: float) -> bool:
        """Whether the whole interval lies below `bound`."""
        return bool(np.all(self.high < bound))

    def inside(self, tolerance: float) -> bool:
        """Whether the whole interval lies within `tolerance` of zero."""
        return bool(np.all((self.low >= -tolerance) & (self.high <= tolerance)))


def mean_and_sd(values: Floats) -> tuple[Floats, Floats]:
    """Mean and sample standard deviation (n - 1) over seeds; the sd of one seed is nan.

    Args:
        values: one row per seed, [seeds, ...].

    Returns:
        Mean and sd, each [...].
    """
    mean = values.mean(axis=0)
    sd = values.std(axis=0, ddof=1) if len(values) > 1 else np.full_like(mean, np.nan)
    return mean, sd


def area_under_curve(env_steps: NDArray[np.integer], values: Floats, begin: float = 0.0) -> Floats:
    """Mean of a curve over training: its trapezoid integral divided by its length.

    On an evenly spaced, dense grid this is the mean over the evaluations; it stays right on an uneven one.

    Args:
        env_steps: increasing steps, [points].
        values: curves at those steps, [..., points].
        begin: share of training left out at the start, in [0, 1); 0.5 is the last half.

    Returns:
        Mean value, [...].
    """
    start = env_steps[0] + begin * (env_steps[-1] - env_steps[0])
    if start > env_steps[0]:
        at_start = np.apply_along_axis(lambda curve: np.interp(start, env_steps, curve), -1, values)
        later = env_steps > start
        values = np.concatenate([at_start[..., None], values[..., later]], axis=-1)
        env_steps = np.concatenate([[start], env_steps[later]])
    if len(env_steps) == 1:
        return values[..., 0]
    return np.trapezoid(values, env_steps, axis=-1) / (env_steps[-1] - env_steps[0])


def steps_to_threshold(env_steps: NDArray[np.integer], values: Floats, threshold: float = 0.5) -> float:
    """First env step of the grid at which a curve is at or above the threshold; nan when it never is.

    Args:
        env_steps: increasing steps, [points].
        values: one curve (usually the mean over seeds), [points].
        threshold: win rate to reach.
    """
    reached = np.flatnonzero(values >= threshold)
    return float(env_steps[reached[0]]) if len(reached) else float("nan")


def interquartile_mean(strata: Sequence[Floats]) -> Floats:
    """Mean of the middle half of all runs of all strata: the lowest and highest quarter are cut off. A `Statistic`.

    As rliable's: of n values floor(n / 4) are dropped at each end, so four runs or fewer lose at most one each side.

    Args:
        strata: arrays [resamples, runs, ...].

    Returns:
        Interquartile mean, [resamples, ...].
    """
    pooled = np.sort(np.concatenate(list(strata), axis=1), axis=1)
    cut = pooled.shape[1] // 4
    return pooled[:, cut : pooled.shape[1] - cut].mean(axis=1)


def probability_of_improvement(n_maps: int) -> Statistic:
    """Chance that a random run of X beats a random run of Y on the same map, ties counted half, averaged over maps.

    Args:
        n_maps: the strata are X on each of `n_maps` maps, then Y on the same maps in the same order.
    """

    def statistic(strata: Sequence[Floats]) -> Floats:
        pairs = zip(strata[:n_maps], strata[n_maps:], strict=True)
        return np.mean([_share_of_pairs_won(x, y) for x, y in pairs], axis=0)

    return statistic


def _share_of_pairs_won(x: Floats, y: Floats) -> Floats:
    # [resamples, runs of x, runs of y, ...]: Mann-Whitney's U divided by the number of pairs
    x, y = x[:, :, None], y[:, None, :]
    return ((x > y) + 0.5 * (x == y)).mean(axis=(1, 2))


def stratified_bootstrap(
    strata: Sequence[Floats],
    statistic: Statistic,
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Percentile interval of a statistic when runs are resampled with replacement within each stratum.

    Args:
        strata: runs of each condition and map, each [runs, ...] with the same trailing shape.
        statistic: reduces the resampled strata.
        generator: source of the resampling.
        resamples: number of bootstrap resamples.
        level: coverage of the interval, in (0, 1).

    Returns:
        The statistic of the runs themselves with its interval.

    Raises:
        ValueError: no stratum, or one without runs.
    """
    if not strata or any(len(stratum) == 0 for stratum in strata):
        raise ValueError(f"found strata of {[len(stratum) for stratum in strata]} runs, expected at least one run each")
    estimate = statistic([stratum[None] for stratum in strata])[0]
    chosen = [generator.integers(len(stratum), size=(resamples, len(stratum))) for stratum in strata]
    resampled = statistic([stratum[index] for stratum, index in zip(strata, chosen, strict=True)])
    tail = (1 - level) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail], axis=0)
    return Interval(np.asarray(estimate), low, high)
