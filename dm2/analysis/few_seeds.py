"""Intervals and chances that hold their level with five runs a side.

A percentile bootstrap of five runs is too narrow: where nothing is there it says "above" 6 to 10 % of the time instead
of 2.5. What is here instead, by what is compared:

- Two conditions: exchanges of runs between them (Fisher's permutation test, turned into an interval: the differences
  that it does not reject), exact where the runs of both are distributed alike, whatever the shape; and Welch's t
  interval, which holds where normal runs spread differently. Both must agree: the interval is the hull of the two.
  Neither can see a failure that no run showed: a condition that fails once in five times, beside a steady one of the
  same mean, looks better in the one case of three in which all five of its runs succeed.
- One condition and a level: Gaffke's bound for the mean of numbers in [0, 1] (Gaffke 2005, "Three test statistics for a
  nonparametric one-sided hypothesis on the mean of a nonnegative variable"), whatever their distribution. On wins and
  losses it is Clopper's and Pearson's; so a level that is itself a share of battles won comes in by the same draws
  (Fay, Proschan and Brittain 2015, "Combining one-sample confidence procedures for inference in the two-sample case").
  It asks for much: five runs that all lose leave the mean anywhere up to 0.52.
- An order of rungs: permutations of the rungs, which are the units; their seeds only make each rung's mean sharper.

Over several maps, every map has the same weight. Everything is a pure function of its arguments and the generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from math import comb, sqrt

import numpy as np
from numpy.typing import NDArray

from dm2.analysis.statistics import LEVEL, Floats, Interval

MIN_SEEDS = 5
"""Fewest runs a side that decide anything."""
MIN_RUNGS = 6
"""Fewest rungs whose order says anything: of six, an order must be among the 18 most extreme of 720."""
ORDERS = 10_000
"""Exchanges and permutations drawn where there are more than so many, the one observed among them."""
DRAWS = 20_000


@dataclass(frozen=True)
class Share:
    """Battles won out of those played."""

    won: int
    episodes: int

    @property
    def mean(self) -> float:
        """Win rate."""
        return self.won / self.episodes


# --- two conditions ------------------------------------------------------------------------------------------------


def difference_interval(
    first: Sequence[Floats], second: Sequence[Floats], generator: np.random.Generator, level: float = LEVEL
) -> Interval:
    """The mean over maps of the difference of two conditions' means.

    Args:
        first: one number per run of the one condition on each map, each [runs], two runs or more.
        second: of the other, on the same maps in the same order.
        generator: draws the exchanges where there are too many to go through.
        level: coverage of the interval, in (0, 1).

    Returns:
        The difference with the hull of the exchange and the Welch interval; infinite limits where the runs are too few
        for the level.
    """
    estimate = np.mean([x.mean() - y.mean() for x, y in zip(first, second, strict=True)])
    tail = (1 - level) / 2
    limits = np.array([_exchange_limits(first, second, tail, generator), _welch_limits(first, second, tail)])
    # to a fixed number of digits: a limit that ties with a threshold must not pass it by rounding
    low, high = np.round([limits[:, 0].min(), limits[:, 1].max()], 12)
    return Interval(estimate, low, high)


def _exchange_limits(
    first: Sequence[Floats], second: Sequence[Floats], tail: float, generator: np.random.Generator
) -> tuple[float, float]:
    """The differences d that exchanging runs does not reject, when each of the first has d taken off.

    An exchange of j runs a side ties with what was observed at d = the difference of means of the runs exchanged; it
    counts against every d below. So the limits are order statistics of such differences.
    """
    per_map = [_exchanges(x, y, generator) for x, y in zip(first, second, strict=True)]
    if len(per_map) > 1:
        chosen = [generator.integers(len(moved), size=ORDERS) for _, moved in per_map]
        for order in chosen:
            order[0] = 0  # the one observed
        per_map = [(lost[i], moved[i]) for (lost, moved), i in zip(per_map, chosen, strict=True)]
    lost, moved = (np.sum(parts, axis=0) for parts in zip(*per_map, strict=True))
    ties_at = np.sort(lost[moved > 0] / moved[moved > 0])
    beyond = int(tail * len(moved) + 1e-9) - int(np.sum(moved == 0))  # what exchanges nothing counts against every d
    if beyond < 0:
        return -np.inf, np.inf
    return float(ties_at[beyond]), float(ties_at[-1 - beyond])


def _exchanges(x: Floats, y: Floats, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """For each exchange of runs, none first: the difference of means lost, and how much of a shift of x it moves."""
    n, m = len(x), len(y)
    stays = _orders(n, m, generator)  # [exchanges, n + m]: who is in the first group
    both = np.concatenate([x, y])
    lost = x.mean() - y.mean() - (stays @ both / n - (~stays) @ both / m)
    moved = (~stays[:, :n]).sum(axis=1) * (1 / n + 1 / m)
    return lost, moved


def _orders(n: int, m: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    if comb(n + m, n) <= ORDERS:
        return _all_orders(n, m)
    stays = generator.permuted(np.tile(np.arange(n + m) < n, (ORDERS, 1)), axis=1)
    stays[0] = np.arange(n + m) < n
    return stays


@cache
def _all_orders(n: int, m: int) -> NDArray[np.bool_]:
    groups = np.array(list(combinations(range(n + m), n)))  # the first is 0 ... n - 1
    stays = np.zeros((len(groups), n + m), bool)
    np.put_along_axis(stays, groups, True, axis=1)
    return stays


def _welch_limits(first: Sequence[Floats], second: Sequence[Floats], tail: float) -> tuple[float, float]:
    """Welch's t interval of the mean over maps of the differences, its degrees of freedom by Satterthwaite."""
    strata = [*first, *second]
    estimate = np.mean([x.mean() for x in first]) - np.mean([y.mean() for y in second])
    errors = np.array([stratum.var(ddof=1) / len(stratum) for stratum in strata])  # squared errors of the means
    if not errors.any():
        return float(estimate), float(estimate)
    degrees = errors.sum() ** 2 / np.sum(errors**2 / [len(stratum) - 1 for stratum in strata])
    half = t_quantile(1 - tail, float(degrees)) * sqrt(errors.sum()) / len(first)
    return float(estimate - half), float(estimate + half)


def t_quantile(share: float, degrees: float) -> float:
    """Quantile of Student's t distribution.

    With t = sqrt(degrees) tan(a), the angle a has the density cos(a)^(degrees - 1), which is integrated on a grid.

    Args:
        share: probability below the quantile, in (0, 1).
        degrees: degrees of freedom, 1 or more, whole or not.
    """
    angle = np.linspace(-np.pi / 2, np.pi / 2, 8193)
    density = np.cos(angle) ** (degrees - 1)
    below = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return float(sqrt(degrees) * np.tan(np.interp(share, below / below[-1], angle)))


# --- one condition and a level ---------------------------------------------------------------------------------------


def level_interval(
    runs: Sequence[Floats],
    levels: Sequence[float | Share],
    generator: np.random.Generator,
    level: float = LEVEL,
) -> Interval:
    """The mean over maps of a condition's mean minus a level.

    Args:
        runs: win rates on each map, each [runs], in [0, 1].
        levels: what they are compared with on each map: a number, or a share of battles won with its binomial error.
        generator: source of the draws.
        level: coverage of the interval, in (0, 1).

    Raises:
        ValueError: a win rate outside [0, 1], where the bound says nothing.
    """
    if any(((x < 0) | (x > 1)).any() for x in runs):
        raise ValueError("found win rates outside [0, 1], expected shares")
    pairs = list(zip(runs, levels, strict=True))
    estimate = np.mean([x.mean() - (one.mean if isinstance(one, Share) else one) for x, one in pairs])
    tail = (1 - level) / 2
    below, above = (np.mean([_level_draws(one, bound, generator) for _, one in pairs], axis=0) for bound in (0, 1))
    low, high = (_mean_draws(runs, bound, generator) for bound in (0, 1))
    return Interval(np.asarray(estimate), np.quantile(low - above, tail), np.quantile(high - below, 1 - tail))


def _mean_draws(runs: Sequence[Floats], bound: int, generator: np.random.Generator) -> Floats:
    """Means of all runs and `bound` under random weights; their quantile is the bound on the mean, [DRAWS].

    Runs of several maps count as one sample. Of wins and losses with one mean chance those with equal chances vary most
    (Hoeffding 1956), so that this errs on the safe side.
    """
    n_runs = sum(map(len, runs))
    counts = [np.full(len(x), n_runs / len(runs) / len(x)) for x in runs]  # ones, where all maps have as many runs
    weights = generator.dirichlet(np.concatenate([*counts, [1.0]]), size=DRAWS)
    return weights @ np.concatenate([*runs, [bound]])


def _level_draws(level: float | Share, bound: int, generator: np.random.Generator) -> Floats:
    if not isinstance(level, Share):
        return np.full(DRAWS, float(level))
    won, lost = level.won + bound, level.episodes - level.won + 1 - bound  # the same draws of a list of ones and zeros
    return generator.beta(won, lost, size=DRAWS) if won and lost else np.full(DRAWS, float(bound))


# --- an order of rungs -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Order:
    """A rank correlation, and how often permuted rungs have one as high, or as low."""

    estimate: float
    chance_as_high: float
    chance_as_low: float


def order_of_rungs(ends: Sequence[Floats], numbers: Sequence[Floats], generator: np.random.Generator) -> Order:
    """The mean over maps of Spearman's rank correlation between how rungs end and a number of each; ties share a rank.

    Args:
        ends: one number per rung on each map, each [rungs].
        numbers: what the rungs are ordered by on each map, each [rungs].
        generator: draws the permutations.

    Raises:
        ValueError: rungs of a map that all end alike, or all have one number: they have no order.
    """
    permuted = np.zeros(ORDERS)
    for end, number in zip(ends, numbers, strict=True):
        x, y = _unit_ranks(end), _unit_ranks(number)
        shuffled = generator.permuted(np.tile(y, (ORDERS, 1)), axis=1)
        shuffled[0] = y  # the order observed is one of them
        permuted += shuffled @ x / len(ends)
    means = permuted.round(12)
    estimate = float(means[0])
    return Order(estimate, float(np.mean(means >= estimate)), float(np.mean(means <= estimate)))


def _unit_ranks(values: Floats) -> Floats:
    """Ranks counted from the middle, values below minus values above, scaled to length 1: [values]."""
    ranks = np.sign(values[:, None] - values[None, :]).sum(axis=1)
    if not ranks.any():
        raise ValueError(f"found {len(values)} equal values, expected some order")
    return ranks / np.linalg.norm(ranks)
