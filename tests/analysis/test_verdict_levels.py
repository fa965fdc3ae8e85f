"""How often a verdict is wrong at five seeds a side, by simulation: at most 2.5 % a side for every rule.

The numbers: pytest -s tests/analysis/test_verdict_levels.py
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import pytest

from dm2.analysis import few_seeds
from dm2.analysis.few_seeds import Share
from dm2.analysis.statistics import Interval
from dm2.analysis.verdicts import (
    NOT_REPRODUCED,
    REPRODUCED,
    Pair,
    Rule,
    Rungs,
    Runs,
    Verdict,
    judge_effects,
    judge_ladder,
    judge_pairs,
    pairs_interval,
    verdict_of_interval,
)
from dm2.core.randomness import stream

TIMES = 1000
MOST = 0.025 + 3 * np.sqrt(0.025 * 0.975 / TIMES)
"""2.5 % and three standard errors of the simulation: 4 %."""
SEEDS = 5
Draw = Callable[[np.random.Generator], np.ndarray]
Result = TypeVar("Result")


def normal(mean: float, sd: float) -> Draw:
    return lambda rng: mean + sd * rng.standard_normal(SEEDS)


def skewed(mean: float, concentration: float) -> Draw:
    return lambda rng: rng.beta(mean * concentration, (1 - mean) * concentration, SEEDS)


def all_or_nothing(chance: float, height: float) -> Draw:
    """Runs that win nothing, to the last battle, or end near a height: ties at 0."""
    return lambda rng: np.where(rng.random(SEEDS) < chance, height + 0.03 * rng.standard_normal(SEEDS), 0.0)


SHAPES = {
    "normal, sd 0.1": normal(0.4, 0.1),
    "skewed to 0": skewed(0.15, 8),
    "skewed to 1": skewed(0.9, 8),
    "one in three learns": all_or_nothing(0.33, 0.7),
    "half learn": all_or_nothing(0.5, 0.7),
    "one in five fails": all_or_nothing(0.8, 0.7),
}
ALIKE = {name: (draw, draw) for name, draw in SHAPES.items()}
SPREADS = {
    "sd 0.1 and 0.03": (normal(0.4, 0.1), normal(0.4, 0.03)),
    "sd 0.01 and 0.2": (normal(0.4, 0.01), normal(0.4, 0.2)),
}
EDGES: list[tuple[Rule, float, str]] = [
    ("above", 0.0, REPRODUCED),
    ("above", 0.021, NOT_REPRODUCED),
    ("not above", 0.021, REPRODUCED),
    ("not above", 0.0, NOT_REPRODUCED),
    ("not below", -0.021, REPRODUCED),
    ("not below", -0.019, NOT_REPRODUCED),
    ("within", 0.101, REPRODUCED),
    ("within", -0.101, REPRODUCED),
    ("within", 0.099, NOT_REPRODUCED),
    ("within", -0.099, NOT_REPRODUCED),
]
"""For each rule the true difference at which each verdict is wrong, only just: where it is given most often."""


@pytest.fixture(autouse=True)
def fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few_seeds, "ORDERS", 2000)
    monkeypatch.setattr(few_seeds, "DRAWS", 2000)


def pair(first: np.ndarray, second: np.ndarray | float | Share) -> Pair:
    """Runs measured by how they end, on a map that somebody won."""
    return Pair(Runs(first, first), Runs(second, second) if isinstance(second, np.ndarray) else second, closed_loop=1.0)


def experiments(judged: Callable[[np.random.Generator], Result], *names: str) -> list[Result]:
    rng = stream(0, "levels", *names)
    return [judged(rng) for _ in range(TIMES)]


def wrong(verdicts: Sequence[Verdict], verdict: str, *names: str | float) -> float:
    """Share of experiments that end with the verdict; printed."""
    share = float(np.mean([one.verdict == verdict for one in verdicts]))
    print(f"{share:7.1%}  {verdict:14}  {', '.join(map(str, names))}")
    return share


def check_rules(intervals: Sequence[Interval], name: str) -> None:
    """Every rule just where its verdicts are wrong, from intervals of conditions without a difference, moved there."""
    for rule, by, verdict in EDGES:
        moved = [Interval(one.estimate + by, one.low + by, one.high + by) for one in intervals]
        assert wrong([verdict_of_interval(rule, one) for one in moved], verdict, rule, by, name) <= MOST, (rule, name)


@pytest.mark.parametrize("name", [*ALIKE, *SPREADS])
def test_two_conditions(name: str) -> None:
    first, second = (ALIKE | SPREADS)[name]
    check_rules(experiments(lambda rng: pairs_interval([pair(first(rng), second(rng))], rng), name), name)


@pytest.mark.parametrize(
    "names", [("normal, sd 0.1", "one in three learns"), ("skewed to 0", "sd 0.1 and 0.03", "one in five fails")]
)
def test_conditions_pooled_over_maps(names: Sequence[str]) -> None:
    maps = [(ALIKE | SPREADS)[name] for name in names]
    effects = 0.2 * (np.arange(len(maps)) - (len(maps) - 1) / 2)  # maps differ, and have none on average

    def interval(rng: np.random.Generator) -> Interval:
        pairs = [pair(first(rng) + by, second(rng)) for (first, second), by in zip(maps, effects, strict=True)]
        return pairs_interval(pairs, rng)

    name = f"pooled: {'; '.join(names)}"
    check_rules(experiments(interval, name), name)


def test_an_interval_moves_with_its_runs() -> None:
    first, second = SHAPES["skewed to 0"](stream(0, "x")), SHAPES["normal, sd 0.1"](stream(0, "y"))
    here = pairs_interval([pair(first, second)], stream(0, "test"))
    there = pairs_interval([pair(first + 0.1, second)], stream(0, "test"))
    assert (there.low, there.high) == pytest.approx((here.low + 0.1, here.high + 0.1))


@pytest.mark.parametrize("name", ["skewed to 1", "one in three learns", "half learn", "one in five fails"])
@pytest.mark.parametrize(("n_maps", "episodes"), [(1, 0), (1, 128), (2, 128)])
def test_a_condition_and_a_level(n_maps: int, episodes: int, name: str) -> None:
    mean = {"skewed to 1": 0.9, "one in three learns": 0.231, "half learn": 0.35, "one in five fails": 0.56}[name]

    def judged(rng: np.random.Generator) -> Verdict:
        levels = [Share(int(rng.binomial(episodes, mean)), episodes) if episodes else mean] * n_maps
        return judge_pairs("above", [pair(np.clip(SHAPES[name](rng), 0, 1), level) for level in levels], rng)

    against = f"{n_maps} maps, {f'share of {episodes}' if episodes else 'a number'}"
    verdicts = experiments(judged, "level", against, name)
    for verdict in (REPRODUCED, NOT_REPRODUCED):
        assert wrong(verdicts, verdict, "a level", against, name) <= MOST


@pytest.mark.parametrize("name", ["normal, sd 0.1", "skewed to 0", "half learn"])
@pytest.mark.parametrize(("p", "q"), [(0.0, 0.0), (0.3, 0.0)])
def test_the_larger_of_two_effects(p: float, q: float, name: str) -> None:
    draw = SHAPES[name]

    def judged(rng: np.random.Generator) -> Verdict:
        return judge_effects("above", pair(draw(rng) + p, draw(rng)), pair(draw(rng) + q, draw(rng)), rng)

    verdicts = experiments(judged, "effects", str(p), name)
    for verdict in (REPRODUCED, NOT_REPRODUCED):
        assert wrong(verdicts, verdict, "difference of effects", p, q, name) <= MOST


@pytest.mark.parametrize("n_maps", [1, 2])
@pytest.mark.parametrize("n_rungs", [6, 10])
def test_a_ladder_whose_rungs_differ_at_random(n_maps: int, n_rungs: int) -> None:
    def judged(rng: np.random.Generator) -> Verdict:
        heights = rng.uniform(0.2, 0.7, (n_maps, n_rungs))
        ladders = [[at + 0.05 * rng.standard_normal(SEEDS) for at in rungs] for rungs in heights]
        return judge_ladder([Rungs(ends, np.arange(n_rungs, dtype=float)) for ends in ladders], rng)

    name = f"ladder of {n_rungs}, {n_maps} maps"
    verdicts = experiments(judged, name)
    for verdict in (REPRODUCED, NOT_REPRODUCED):
        assert wrong(verdicts, verdict, name) <= MOST


def test_what_the_paper_saw_is_mostly_found() -> None:
    """C1 on 3s_vs_3z and C2 pooled, with the paper's means and sds."""

    def demonstrators_surpassed(rng: np.random.Generator) -> Verdict:
        pairs = [(skewed(0.69, 20), Share(45, 126)), (skewed(0.44, 10), Share(39, 126))]
        return judge_pairs("above", [pair(draw(rng), share) for draw, share in pairs], rng)

    def faster(rng: np.random.Generator) -> Verdict:
        return judge_pairs("above", [pair(normal(0.88, 0.02)(rng), normal(0.69, 0.07)(rng))], rng)

    assert wrong(experiments(demonstrators_surpassed, "C2"), REPRODUCED, "right: C2 as in the paper") > 0.5
    assert wrong(experiments(faster, "C1"), REPRODUCED, "right: C1 on 3s_vs_3z as in the paper") > 0.9
