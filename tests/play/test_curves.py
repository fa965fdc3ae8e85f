import numpy as np
import pytest

from dm2.play.curves import common_grid, final_value, on_grid


def test_common_grid_spans_the_part_that_all_runs_share() -> None:
    grid = common_grid([np.array([0, 100, 200, 300, 400]), np.array([0, 110, 205, 320])])
    assert grid.tolist() == [0, 107, 213, 320]


def test_common_grid_ends_where_it_is_told_to() -> None:
    assert common_grid([np.array([0, 100, 200, 300, 400])], until=200).tolist() == [0, 100, 200]


def test_common_grid_of_one_shared_step_has_one_point() -> None:
    assert common_grid([np.array([0, 100]), np.array([100, 200])]).tolist() == [100]


def test_common_grid_keeps_both_ends_when_a_run_has_one_evaluation_between() -> None:
    assert common_grid([np.array([0, 300]), np.array([0, 50, 200])]).tolist() == [0, 200]


def test_common_grid_refuses_runs_without_a_common_part() -> None:
    with pytest.raises(ValueError, match="begin at 500 and end at 400"):
        common_grid([np.array([0, 400]), np.array([500, 900])])


def test_on_grid_is_linear_between_evaluations_and_never_reaches_outside() -> None:
    steps, values = np.array([0, 100, 200]), np.array([0.0, 1.0, 0.5])
    assert on_grid(steps, values, np.array([50, 100, 150])).tolist() == [0.5, 1.0, 0.75]
    with pytest.raises(ValueError, match=r"grid of 50\.\.250"):
        on_grid(steps, values, np.array([50, 250]))


def test_final_value_averages_the_last_five_percent() -> None:
    steps = np.array([0, 940, 950, 1000])
    assert final_value(steps, np.array([1.0, 1.0, 0.2, 0.4])) == pytest.approx(0.3)
