from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm2.analysis.statistics import (
    Interval,
    area_under_curve,
    interquartile_mean,
    mean_and_sd,
    probability_of_improvement,
    steps_to_threshold,
    stratified_bootstrap,
)
from dm2.core.randomness import stream


def mean_of(strata: Sequence[np.ndarray]) -> np.ndarray:
    """Mean over the runs of the only stratum."""
    (runs,) = strata
    return runs.mean(axis=1)


def test_sd_is_the_sample_sd_and_unknown_for_one_seed() -> None:
    mean, sd = mean_and_sd(np.array([[0.2, 0.0], [0.4, 0.0]]))
    assert mean == pytest.approx([0.3, 0.0])
    assert sd == pytest.approx([np.sqrt(0.02), 0.0])
    assert np.isnan(mean_and_sd(np.array([[0.2]]))[1]).all()


def test_area_under_curve_is_the_mean_over_training_even_on_an_uneven_grid() -> None:
    steps, values = np.array([0, 100, 400]), np.array([[0.0, 1.0, 1.0], [0.5, 0.5, 0.5]])
    assert area_under_curve(steps, values) == pytest.approx([(50 + 300) / 400, 0.5])


def test_area_under_the_last_half_begins_between_two_evaluations() -> None:
    # from 200 (where the line is at 0.25) to 400 (at 1.0): trapezoids 100 * 0.375 and 100 * 0.75 over 200 steps
    steps, values = np.array([0, 100, 300, 400]), np.array([0.0, 0.0, 0.5, 1.0])
    assert area_under_curve(steps, values, begin=0.5) == pytest.approx((37.5 + 75) / 200)


def test_area_of_a_single_evaluation_is_its_value() -> None:
    assert area_under_curve(np.array([7]), np.array([[0.25]])) == pytest.approx([0.25])


def test_steps_to_threshold_is_the_first_evaluation_at_or_above_it() -> None:
    steps = np.array([0, 100, 200, 300])
    assert steps_to_threshold(steps, np.array([0.0, 0.49, 0.5, 0.1])) == 200
    assert np.isnan(steps_to_threshold(steps, np.array([0.0, 0.1, 0.2, 0.3])))


def test_interquartile_mean_drops_a_quarter_at_each_end_of_all_maps_together() -> None:
    first, second = np.array([[0.0, 3.0, 5.0]]), np.array([[1.0, 4.0, 100.0, 2.0, 6.0]])
    assert interquartile_mean([first, second]) == pytest.approx([(2 + 3 + 4 + 5) / 4])


def test_interquartile_mean_of_fewer_than_four_runs_is_their_mean() -> None:
    assert interquartile_mean([np.array([[0.0, 1.0, 5.0]])]) == pytest.approx([2.0])


def test_probability_of_improvement_counts_pairs_and_ties_per_map() -> None:
    # map 1: 3 beats 2 but ties with 3 and 1 loses both: 1.5 of 4 pairs; map 2: 1 of 1
    better = [np.array([[3.0, 1.0]]), np.array([[0.5]])]
    worse = [np.array([[2.0, 3.0]]), np.array([[0.4]])]
    assert probability_of_improvement(2)(better + worse) == pytest.approx([(1.5 / 4 + 1) / 2])


def test_aggregates_are_those_of_rliable() -> None:
    # computed with rliable 1.2.0: aggregate_iqm, probability_of_improvement
    x, y = stream(1, "x").random((5, 3)).round(2), stream(1, "y").random((4, 3)).round(2)
    assert interquartile_mean([x.T[None, i] for i in range(3)]) == pytest.approx([0.2666666667])
    strata = [x[None, :, i] for i in range(3)] + [y[None, :, i] for i in range(3)]
    assert probability_of_improvement(3)(strata) == pytest.approx([0.2333333333])


def test_intervals_are_those_of_rliable() -> None:
    # rliable 1.2.0, get_interval_estimates with reps=50_000: (0.1756, 0.4089) and, with another seed, (0.1744, 0.41)
    # for aggregate_iqm of x; (0.0667, 0.4167), with both seeds, for the probability that x improves on y
    x, y = stream(1, "x").random((5, 3)).round(2), stream(1, "y").random((4, 3)).round(2)
    iqm = stratified_bootstrap(list(x.T), interquartile_mean, stream(0, "test"), resamples=50_000)
    better = stratified_bootstrap([*x.T, *y.T], probability_of_improvement(3), stream(0, "test"), resamples=50_000)
    assert (iqm.low, iqm.high) == pytest.approx((0.175, 0.409), abs=0.002)
    assert (better.low, better.high) == pytest.approx((0.0667, 0.4167), abs=0.002)


def test_bootstrap_of_two_runs_covers_exactly_what_resampling_can_give() -> None:
    # the mean of two draws from {0, 1} is 0, 0.5, 1 with chances 1/4, 1/2, 1/4
    interval = stratified_bootstrap([np.array([0.0, 1.0])], mean_of, stream(0, "test"))
    assert (interval.estimate, interval.low, interval.high) == (0.5, 0.0, 1.0)


def test_bootstrap_resamples_within_each_stratum() -> None:
    # the two strata never mix: runs that agree within their stratum leave no uncertainty
    interval = stratified_bootstrap(
        [np.full(3, 0.9), np.full(4, 0.2)], lambda s: s[0].mean(axis=1) - s[1].mean(axis=1), stream(0, "test")
    )
    assert interval.low == pytest.approx(0.7) and interval.high == pytest.approx(0.7)


def test_bootstrap_of_curves_keeps_the_points_of_a_run_together() -> None:
    curves = np.array([[0.0, 1.0], [1.0, 0.0]])
    interval = stratified_bootstrap([curves], lambda s: s[0].mean(axis=1).sum(axis=-1), stream(0, "test"))
    assert interval.low == 1.0 and interval.high == 1.0


def test_bootstrap_repeats_with_its_generator_and_approaches_the_normal_interval() -> None:
    runs = stream(3, "runs").normal(0.5, 0.1, size=400)
    first, second = (stratified_bootstrap([runs], mean_of, stream(5, "bootstrap")) for _ in range(2))
    assert (first.low, first.high) == (second.low, second.high)
    half_width = 1.96 * runs.std() / 20
    assert first.high - first.low == pytest.approx(2 * half_width, rel=0.1)


def test_bootstrap_refuses_an_empty_stratum() -> None:
    with pytest.raises(ValueError, match=r"strata of \[2, 0\] runs"):
        stratified_bootstrap([np.zeros(2), np.zeros(0)], mean_of, stream(0, "test"))


def test_interval_verdicts() -> None:
    interval = Interval(np.array(0.0125), np.array(0.01), np.array(0.015))
    assert interval.wholly_above(0) and not interval.wholly_above(0.012)
    assert interval.wholly_below(0.02) and not interval.wholly_below(0.012)
    assert interval.inside(0.02) and not interval.inside(0.012)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_interquartile_mean_lies_within_the_runs(values: list[float]) -> None:
    mean = float(interquartile_mean([np.array([values])])[0])
    assert min(values) - 1e-12 <= mean <= max(values) + 1e-12
