"""dm2.play.actions: how epsilon falls, and what is taken at random and what is not."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dm2.core.randomness import stream
from dm2.play.actions import epsilon_at, epsilon_greedy
from dm2.settings.learners import QMIXSettings


def test_epsilon_falls_linearly_and_stays():
    settings = QMIXSettings()
    assert [epsilon_at(steps, settings) for steps in (0, 25_000, 50_000, 10**7)] == pytest.approx(
        [1, 0.525, 0.05, 0.05]
    )


def test_epsilon_greedy_by_hand():
    values = torch.tensor([[5.0, 1.0, 2.0, 3.0]]).expand(4, 4)
    avail_actions = torch.tensor([[False, True, True, True]]).expand(4, 4)
    uniform = torch.tensor([0.0, 0.25, 0.29, 0.31])  # below 0.3 spread over the three actions in turn
    assert epsilon_greedy(values, avail_actions, 0.3, uniform).tolist() == [1, 3, 3, 3]
    assert epsilon_greedy(values, avail_actions, 0.3, torch.full((4,), 0.15)).tolist() == [2] * 4
    assert epsilon_greedy(values, avail_actions, 0.0, uniform).tolist() == [3] * 4


@given(uniform=st.floats(0, 1, exclude_max=True, width=32), epsilon=st.floats(0, 1), mask=st.integers(1, 15))
def test_only_available_actions_are_taken(uniform, epsilon, mask):
    avail_actions = torch.tensor([bool(mask >> bit & 1) for bit in range(4)])
    action = epsilon_greedy(torch.tensor([4.0, 3.0, 2.0, 1.0]), avail_actions, epsilon, torch.tensor(uniform))
    assert avail_actions[action]


def test_random_actions_are_even_over_the_available_ones():
    draws = torch.from_numpy(stream(0, "test").random(30_000, dtype=np.float32))
    avail_actions = torch.tensor([True, False, True, True]).expand(30_000, 4)
    actions = epsilon_greedy(torch.zeros(30_000, 4), avail_actions, 1.0, draws)
    np.testing.assert_allclose(actions.bincount(minlength=4) / 30_000, [1 / 3, 0, 1 / 3, 1 / 3], atol=0.01)
