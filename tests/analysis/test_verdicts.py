import numpy as np
import pytest

from dm2.analysis.few_seeds import Order, Share
from dm2.analysis.statistics import Interval
from dm2.analysis.verdicts import (
    NOT_REPRODUCED,
    PARTIAL,
    REPRODUCED,
    UNDECIDED,
    Pair,
    Rule,
    Runs,
    judge_pairs,
    verdict_of_interval,
    verdict_of_order,
    verdict_of_parts,
)
from dm2.core.randomness import stream


@pytest.mark.parametrize(
    ("rule", "low", "high", "verdict"),
    [
        ("above", 0.01, 0.3, REPRODUCED),
        ("above", 0.0, 0.3, UNDECIDED),
        ("above", -0.3, -0.01, NOT_REPRODUCED),
        ("above", -0.02, 0.02, NOT_REPRODUCED),
        ("above", -0.02, 0.021, UNDECIDED),
        ("above", 0.005, 0.03, UNDECIDED),  # an estimate of less than 0.02 is too small an effect
        ("above", 0.005, 0.015, NOT_REPRODUCED),
        ("not above", -0.3, -0.01, REPRODUCED),
        ("not above", -0.02, 0.02, REPRODUCED),
        ("not above", 0.005, 0.015, REPRODUCED),
        ("not above", -0.1, 0.1, UNDECIDED),
        ("not below", -0.019, 0.3, REPRODUCED),
        ("not below", -0.3, -0.021, NOT_REPRODUCED),
        ("not below", -0.02, 0.1, UNDECIDED),
        ("within", -0.1, 0.1, REPRODUCED),
        ("within", 0.11, 0.2, NOT_REPRODUCED),
        ("within", -0.2, -0.11, NOT_REPRODUCED),
        ("within", 0.05, 0.11, UNDECIDED),
    ],
)
def test_each_rule_at_its_thresholds(rule: Rule, low: float, high: float, verdict: str) -> None:
    interval = Interval(np.array((low + high) / 2), np.array(low), np.array(high))
    assert verdict_of_interval(rule, interval).verdict == verdict


@pytest.mark.parametrize(
    ("parts", "verdict"),
    [
        ([REPRODUCED, REPRODUCED], REPRODUCED),
        ([NOT_REPRODUCED], NOT_REPRODUCED),
        ([UNDECIDED, UNDECIDED], UNDECIDED),
        ([REPRODUCED, NOT_REPRODUCED], PARTIAL),
        ([REPRODUCED, UNDECIDED], UNDECIDED),
        ([NOT_REPRODUCED, UNDECIDED], UNDECIDED),
    ],
)
def test_a_claim_has_the_verdict_its_parts_share(parts: list[str], verdict: str) -> None:
    assert verdict_of_parts(parts) == verdict


@pytest.mark.parametrize(("as_high", "as_low", "verdict"), [(0.025, 1, REPRODUCED), (1, 0.025, NOT_REPRODUCED)])
def test_a_ladder_at_its_threshold(as_high: float, as_low: float, verdict: str) -> None:
    assert verdict_of_order(Order(0.5, as_high, as_low)).verdict == verdict
    assert verdict_of_order(Order(0.5, as_high + 1e-3, as_low + 1e-3)).verdict == UNDECIDED


def runs(height: float) -> Runs:
    return Runs(np.full(5, height), np.full(5, height))


@pytest.mark.parametrize(
    ("rule", "first", "second", "decided"),
    [
        ("above", 0.0, 0.09, False),
        ("above", 0.0, 0.1, True),
        ("above", 0.1, 0.0, True),
        ("not above", 0.0, 0.09, False),
        ("not above", 0.9, 0.09, False),  # the second side is the reference
        ("not above", 0.0, 0.1, True),
        ("not below", 0.9, 0.09, False),
        ("not below", 0.0, 0.1, True),
        ("within", 0.0, 0.0, False),
        ("within", 0.1, 0.1, True),
    ],
)
def test_nothing_is_decided_where_nobody_learned(rule: Rule, first: float, second: float, decided: bool) -> None:
    judged = judge_pairs(rule, [Pair(runs(first), runs(second))], stream(0, "test"))
    assert (judged.verdict != UNDECIDED) == decided
    assert judged.reason == ("" if decided else "nobody learned")


def test_demonstrators_that_win_are_a_reference_and_a_level_needs_a_closed_loop_run_that_wins() -> None:
    assert Pair(runs(0.0), Share(10, 100)).somebody_learned("above")
    assert not Pair(runs(0.09), Share(9, 100)).somebody_learned("above")
    assert Pair(runs(0.0), 0.5, closed_loop=0.5).somebody_learned("not above")
    assert not Pair(runs(0.9), 0.5, closed_loop=0.49).somebody_learned("not above")


def test_a_map_where_nobody_learned_leaves_the_pool() -> None:
    learned, silent = Pair(runs(0.5), runs(0.2)), Pair(runs(0.0), runs(0.0))
    assert judge_pairs("above", [learned, silent], stream(0, "test")).estimate == pytest.approx(0.3)
