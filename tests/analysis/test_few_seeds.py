from itertools import combinations, permutations

import numpy as np
import pytest

from dm2.analysis import few_seeds
from dm2.analysis.few_seeds import Share, difference_interval, level_interval, order_of_rungs, t_quantile
from dm2.core.randomness import stream

X, Y = np.array([0.5, 0.6, 0.7, 0.65, 0.9]), np.array([0.1, 0.7, 0.3, 0.15, 0.5])
DRAWS = stream(0, "test")


def rejected(x: np.ndarray, y: np.ndarray) -> bool:
    """Fisher's permutation test, said plainly: are at most 2.5 % of the splits of all runs as far apart as this one?"""
    both, observed = np.concatenate([x, y]), x.sum()
    sums = np.array([both[list(group)].sum() for group in combinations(range(len(both)), len(x))])
    return bool(np.mean(sums >= observed - 1e-9) <= 0.025)


@pytest.mark.parametrize(("x", "y"), [(X, Y), (Y, X), (X, Y[:4]), (X[:4], Y), (np.zeros(5), Y)])
def test_the_exchange_interval_ends_where_the_permutation_test_stops_rejecting(x: np.ndarray, y: np.ndarray) -> None:
    low, high = few_seeds._exchange_limits([x], [y], 0.025, DRAWS)
    assert rejected(x - (low - 1e-6), y) and not rejected(x - (low + 1e-6), y)
    assert rejected(y, x - (high + 1e-6)) and not rejected(y, x - (high - 1e-6))


def test_an_interval_holds_permutation_and_welch() -> None:
    interval = difference_interval([X], [Y], DRAWS)
    limits = [few_seeds._exchange_limits([X], [Y], 0.025, DRAWS), few_seeds._welch_limits([X], [Y], 0.025)]
    assert interval.low == pytest.approx(min(low for low, _ in limits))
    assert interval.high == pytest.approx(max(high for _, high in limits))
    assert interval.estimate == pytest.approx(0.32)


def test_welchs_interval_is_that_of_the_book() -> None:
    # means 0.67 and 0.35, squared errors 0.0044 and 0.013 (sd 0.148 and 0.255), 6.43 degrees of freedom, t 2.4079
    errors = X.var(ddof=1) / 5 + Y.var(ddof=1) / 5
    degrees = errors**2 / (X.var(ddof=1) ** 2 / 100 + Y.var(ddof=1) ** 2 / 100)
    half = t_quantile(0.975, degrees) * np.sqrt(errors)
    assert few_seeds._welch_limits([X], [Y], 0.025) == pytest.approx((0.32 - half, 0.32 + half))


def test_pooled_maps_have_the_same_weight_and_narrow_the_interval() -> None:
    one = difference_interval([X], [Y], DRAWS)
    two = difference_interval([X, X], [Y, Y], DRAWS)
    assert two.estimate == pytest.approx(one.estimate)
    assert one.low < two.low < two.high < one.high
    assert difference_interval([X, Y], [Y, Y], DRAWS).estimate == pytest.approx(0.16)


def test_ten_runs_a_side_draw_their_exchanges() -> None:
    interval = difference_interval([np.tile(X, 2)], [np.tile(Y, 2)], DRAWS)
    assert 0 < interval.low < interval.estimate < interval.high


def test_three_runs_a_side_leave_everything_open() -> None:
    interval = difference_interval([np.full(3, 0.9)], [np.zeros(3)], DRAWS)
    assert (interval.low, interval.high) == (-np.inf, np.inf)


@pytest.mark.parametrize(("share", "degrees", "quantile"), [(0.975, 4, 2.776), (0.975, 8, 2.306), (0.95, 1, 6.314)])
def test_t_quantiles_of_the_tables(share: float, degrees: float, quantile: float) -> None:
    assert t_quantile(share, degrees) == pytest.approx(quantile, abs=5e-4)
    assert t_quantile(1 - share, degrees) == pytest.approx(-quantile, abs=5e-4)


def test_of_wins_and_losses_the_bound_is_clopper_and_pearsons() -> None:
    """All won: the lower limit p has p^n = 0.025; the upper limit of 7 of 10 is in the tables."""
    assert level_interval([np.ones(5)], [0.0], DRAWS).low == pytest.approx(0.025 ** (1 / 5), abs=0.01)
    interval = level_interval([np.repeat([1.0, 0.0], [7, 3])], [0.0], DRAWS)
    assert (interval.low, interval.high) == pytest.approx((0.3475, 0.9333), abs=0.01)


def test_a_level_measured_over_few_battles_widens_the_interval() -> None:
    widths = [
        np.ptp([interval.low, interval.high])
        for level in (0.4, Share(400, 1000), Share(4, 10))
        for interval in [level_interval([X], [level], DRAWS)]
    ]
    assert widths[0] == pytest.approx(widths[1], abs=0.02) and widths[2] > widths[0] + 0.1
    assert level_interval([X], [Share(4, 10)], DRAWS).estimate == pytest.approx(0.27)


def test_win_rates_outside_their_range_are_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        level_interval([np.array([0.5, 1.1])], [0.5], DRAWS)


def test_the_chance_of_an_order_counts_permutations_of_rungs() -> None:
    ends, numbers = np.array([0.1, 0.0, 0.3, 0.25, 0.6, 0.5]), np.arange(6.0)
    ranks = ends.argsort().argsort()
    all_orders = np.array([np.corrcoef(ranks, order)[0, 1] for order in permutations(range(6))])
    order = order_of_rungs([ends], [numbers], DRAWS)
    assert order.estimate == pytest.approx(np.corrcoef(ranks, numbers)[0, 1])
    assert order.chance_as_high == pytest.approx(np.mean(all_orders >= order.estimate - 1e-9), abs=0.005)
    assert order.chance_as_low == pytest.approx(np.mean(all_orders <= order.estimate + 1e-9), abs=0.005)


def test_ties_share_a_rank() -> None:
    # ranks of x: 1, 2.5, 2.5, 4; of y: 1, 3, 2, 4: covariance 4.5, variances 4.5 and 5
    x, y = np.array([0.0, 0.5, 0.5, 0.9]), np.array([1.0, 3.0, 2.0, 4.0])
    assert order_of_rungs([x], [y], DRAWS).estimate == pytest.approx(4.5 / np.sqrt(4.5 * 5))


def test_equal_rungs_have_no_order() -> None:
    with pytest.raises(ValueError, match="6 equal values"):
        order_of_rungs([np.zeros(6)], [np.arange(6.0)], DRAWS)


def test_intervals_repeat_to_the_last_bit() -> None:
    first, second = (difference_interval([X, X, Y], [Y, Y, X], stream(3, "test")) for _ in range(2))
    assert (first.low, first.high) == (second.low, second.high)
    first, second = (level_interval([X], [Share(3, 9)], stream(3, "test")) for _ in range(2))
    assert (first.low, first.high) == (second.low, second.high)
