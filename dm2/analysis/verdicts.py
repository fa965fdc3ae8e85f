"""From numbers of runs to a verdict: the rules by which claims are judged.

A comparison takes a number per run (the mean win rate over training, its last half, or the win rate at the end) and the
difference of two conditions' means, or of a condition's mean and a level, with an interval that holds its level at five
runs a side (`dm2.analysis.few_seeds`): when nothing is there, at most 2.5 % of intervals lie above 0 and 2.5 % below.
Its rule turns the interval into a verdict:

    above      reproduced if wholly above 0 and the estimate above 0.02; not reproduced if wholly below 0 or within 0.02
    not above  the opposite of `above`
    not below  reproduced if wholly above -0.02; not reproduced if wholly below -0.02
    within     reproduced if within 0.1 of 0; not reproduced if wholly outside

Anything else is undecided. So is a comparison

- with fewer than five seeds on a side: their interval is not shown either;
- where nobody learned: `not above`, `not below` and `within` hold trivially of two conditions that win nothing. The
  second condition, which is the reference, must end at a win rate of 0.1; for `above`, either of the two. Where the
  reference is a level that counts as a map won, some closed-loop run must win that map.

A comparison over several maps is judged on each and pooled, every map with the same weight, maps where nobody learned
left out, and those with fewer than five seeds where another has them: the pooled row decides. Whether one main effect
is larger than another in a table of two by two, |J| - |C|, follows from its diagonals p = J + C and q = J - C: J is
larger where they have one sign. Each has an interval at 97.5 %, so that both hold at 95, and |J| - |C| has its range
over the two.

A ladder, whose rungs are the units, is `above` where at most 2.5 % of the permutations of its rungs have as high a rank
correlation, and below 0 where as few have as low a one; it needs six rungs.

A claim with several comparisons has the verdict that all of them share; it is partial when some are reproduced and
others are not reproduced; else undecided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dm2.analysis.few_seeds import (
    MIN_RUNGS,
    MIN_SEEDS,
    Order,
    Share,
    difference_interval,
    level_interval,
    order_of_rungs,
)
from dm2.analysis.statistics import LEVEL, Floats, Interval

Rule = Literal["above", "not above", "not below", "within"]

REPRODUCED, NOT_REPRODUCED, UNDECIDED, PARTIAL = "reproduced", "not reproduced", "undecided", "partial"
NOT_RUN = "not run"
NEGLIGIBLE = 0.02
"""Difference in win rate that counts as none."""
SIMILAR = 0.1
"""Difference in win rate within which two conditions count as alike."""
LEARNED = 0.1
"""Win rate at the end from which a condition counts as having learned."""
WON = 0.5
"""Win rate at the end from which a map counts as won."""


@dataclass(frozen=True)
class Runs:
    """The runs of one condition on one map.

    Args:
        measured: the number compared, [runs].
        final: win rate at the end, [runs].
    """

    measured: Floats
    final: Floats


@dataclass(frozen=True)
class Pair:
    """What is compared on one map.

    Args:
        first: runs of the condition that the rule is about.
        second: runs of the reference; or a level: a number, or a share of battles won.
        closed_loop: win rate at the end of the best closed-loop run on the map, where the level is a number.
    """

    first: Runs
    second: Runs | float | Share
    closed_loop: float = 0.0

    @property
    def n_seeds(self) -> int:
        """Runs of the side that has fewer."""
        sides = [self.first, self.second] if isinstance(self.second, Runs) else [self.first]
        return min(len(side.measured) for side in sides)

    @property
    def difference(self) -> float:
        """Of the means, or of the first's mean and the level."""
        level = self.second.measured.mean() if isinstance(self.second, Runs) else self.second
        return float(self.first.measured.mean() - (level.mean if isinstance(level, Share) else level))

    def somebody_learned(self, rule: Rule) -> bool:
        """Whether the rule says anything here; see the head of the module."""
        if isinstance(self.second, float):
            return self.closed_loop >= WON
        reference = self.second.final.mean() if isinstance(self.second, Runs) else self.second.mean
        better = max(reference, self.first.final.mean())
        return bool((better if rule == "above" else reference) >= LEARNED)


@dataclass(frozen=True)
class Rungs:
    """A ladder on one map.

    Args:
        ends: win rates at the end of each rung's runs, [rungs][runs].
        numbers: what the rungs are ordered by, [rungs].
    """

    ends: Sequence[Floats]
    numbers: Floats

    @property
    def means(self) -> Floats:
        """How each rung ends, [rungs]."""
        return np.array([runs.mean() for runs in self.ends])

    @property
    def n_seeds(self) -> int:
        """Runs of the rung that has fewest."""
        return min(map(len, self.ends))

    @property
    def silent(self) -> str:
        """Why the rungs say nothing; empty where they do."""
        if len(self.ends) < MIN_RUNGS:
            return f"sets of demonstrations: {len(self.ends)}, at least {MIN_RUNGS} needed"
        if self.n_seeds < MIN_SEEDS:
            return _seeds_lack(self.n_seeds)
        if self.means.max() < LEARNED:
            return "nobody learned"
        return "" if np.ptp(self.means) and np.ptp(self.numbers) else "all sets of demonstrations alike"


@dataclass(frozen=True)
class Verdict:
    """A verdict with its numbers and, where these do not explain it, a reason; no limits where no interval is shown."""

    verdict: str
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""


def judge_pairs(rule: Rule, pairs: Sequence[Pair], generator: np.random.Generator) -> Verdict:
    """Judge a comparison on one map, or pooled over several; maps where nobody learned are left out.

    Args:
        rule: how the interval becomes a verdict.
        pairs: one per map, one or more; all with a level or all without.
        generator: source of exchanges and draws.
    """
    telling = [pair for pair in pairs if pair.somebody_learned(rule)]
    if not telling:
        return Verdict(UNDECIDED, reason="nobody learned")
    if reason := _too_few(telling):
        return Verdict(UNDECIDED, float(np.mean([pair.difference for pair in telling])), reason=reason)
    return verdict_of_interval(rule, pairs_interval(telling, generator))


def judge_effects(rule: Rule, p: Pair, q: Pair, generator: np.random.Generator) -> Verdict:
    """Judge |(p + q) / 2| - |(p - q) / 2|, the difference in size of two main effects; see the head of the module."""
    if not any(pair.somebody_learned("above") for pair in (p, q)):
        return Verdict(UNDECIDED, reason="nobody learned")
    estimate = _larger_by(p.difference, q.difference)
    if reason := _too_few([p, q]):
        return Verdict(UNDECIDED, estimate, reason=reason)
    x, y = (pairs_interval([pair], generator, level=1 - (1 - LEVEL) / 2) for pair in (p, q))
    corners = [_larger_by(float(a), float(b)) for a in (x.low, x.high) for b in (y.low, y.high)]  # its extremes
    return verdict_of_interval(rule, Interval(*map(np.asarray, (estimate, min(corners), max(corners)))))


def _larger_by(p: float, q: float) -> float:
    return abs(p + q) / 2 - abs(p - q) / 2


def judge_ladder(maps: Sequence[Rungs], generator: np.random.Generator) -> Verdict:
    """Judge whether rungs with a higher number end higher, on one map or pooled over several.

    Args:
        maps: the rungs on each map; maps whose rungs say nothing are left out.
        generator: source of the permutations.
    """
    telling = [rungs for rungs in maps if not rungs.silent]
    if not telling:
        return Verdict(UNDECIDED, reason="; ".join(dict.fromkeys(rungs.silent for rungs in maps)))
    order = order_of_rungs([one.means for one in telling], [one.numbers for one in telling], generator)
    return verdict_of_order(order)


def pairs_interval(pairs: Sequence[Pair], generator: np.random.Generator, level: float = LEVEL) -> Interval:
    """The mean over maps of the differences, with the interval that is right for what is compared."""
    first = [pair.first.measured for pair in pairs]
    runs = [pair.second.measured for pair in pairs if isinstance(pair.second, Runs)]
    if runs:
        return difference_interval(first, runs, generator, level)
    levels = [pair.second for pair in pairs if not isinstance(pair.second, Runs)]
    return level_interval(first, levels, generator, level)


def verdict_of_interval(rule: Rule, interval: Interval) -> Verdict:
    """Turn an interval into a verdict by the rule's thresholds; see the head of the module."""
    higher = interval.wholly_above(0) and float(interval.estimate) > NEGLIGIBLE
    not_higher = interval.wholly_below(0) or interval.inside(NEGLIGIBLE)
    verdict = {
        "above": _decide(higher, not_higher),
        "not above": _decide(not_higher, higher),
        "not below": _decide(interval.wholly_above(-NEGLIGIBLE), interval.wholly_below(-NEGLIGIBLE)),
        "within": _decide(interval.inside(SIMILAR), interval.wholly_above(SIMILAR) or interval.wholly_below(-SIMILAR)),
    }[rule]
    return Verdict(verdict, float(interval.estimate), float(interval.low), float(interval.high))


def verdict_of_order(order: Order) -> Verdict:
    """Turn the rank correlation of a ladder into a verdict; see the head of the module."""
    tail = (1 - LEVEL) / 2
    verdict = _decide(order.chance_as_high <= tail, order.chance_as_low <= tail)
    return Verdict(verdict, order.estimate, reason=f"chance of as high: {order.chance_as_high:.2g}")


def _decide(reproduced: bool, refuted: bool) -> str:
    return REPRODUCED if reproduced else NOT_REPRODUCED if refuted else UNDECIDED


def _too_few(pairs: Sequence[Pair]) -> str:
    few = min(pair.n_seeds for pair in pairs)
    return _seeds_lack(few) if few < MIN_SEEDS else ""


def _seeds_lack(few: int) -> str:
    return f"seeds per condition: {few}, at least {MIN_SEEDS} needed"


def verdict_of_parts(verdicts: Sequence[str]) -> str:
    """The verdict that all parts share; partial if some are reproduced and others are not; else undecided."""
    if len(set(verdicts)) == 1:
        return verdicts[0]
    return PARTIAL if {REPRODUCED, NOT_REPRODUCED} <= set(verdicts) else UNDECIDED
