"""dm2.learners.ppo: the equations by hand."""

import pytest
import torch

from dm2.learners.ppo import (
    gae,
    huber_loss,
    masked_log_softmax,
    normalise_advantages,
    policy_objective,
    sample_actions,
    value_loss,
)


def test_gae_by_hand():
    rewards, values = torch.tensor([[0.0, 0.0, 1.0, torch.nan]]), torch.zeros(1, 5)
    filled, continues = torch.tensor([[True, True, True, False]]), torch.tensor([[True, True, False, True]])
    advantages = gae(rewards, values, continues, filled, gamma=0.5, gae_lambda=1.0)
    assert advantages.tolist() == [[0.25, 0.5, 1.0, 0.0]]


def test_gae_with_values_and_bootstrap_by_hand():
    rewards, values = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0, 8.0]])
    every = torch.ones(1, 2, dtype=torch.bool)
    # delta_1 = 2 + 0.5 * 8 - 4 = 2; delta_0 = 1 + 0.5 * 4 - 3 = 0; A_0 = 0 + 0.5 * 0.5 * 2
    assert gae(rewards, values, every, every, 0.5, 0.5).tolist() == [[0.5, 2.0]]


def test_gae_refuses_other_shapes():
    every = torch.ones(1, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"values: found shape \[1, 2\], expected \[1, 3\]"):
        gae(torch.zeros(1, 2), torch.zeros(1, 2), every, every, 0.5, 0.5)


def test_huber_loss_by_hand():
    errors = torch.tensor([-4.0, -1.0, 0.5, 4.0])
    assert huber_loss(errors, 2.0, one_sided=False).tolist() == [6.0, 0.5, 0.125, 6.0]
    assert huber_loss(errors, 2.0, one_sided=True).tolist() == [0.0, 0.5, 0.125, 6.0]


def test_value_loss_is_the_worse_of_both():
    values, old, returns = torch.tensor([1.0, 1.0, 0.3]), torch.zeros(3), torch.tensor([2.0, 0.5, 1.0])
    losses = value_loss(values, old, returns, clip_epsilon=0.25, delta=10.0, one_sided=False)
    # clipped values 0.25, 0.25, 0.25: errors 1.75 > 1, |-0.5| > 0.25, 0.75 > 0.7
    torch.testing.assert_close(losses, torch.tensor([1.75**2 / 2, 0.125, 0.75**2 / 2]))


def test_policy_objective_by_hand():
    logits = torch.tensor([[0.0, 99.0, 0.0]]).repeat(2, 1)
    avail = torch.tensor([[True, False, True]]).repeat(2, 1)
    old = torch.tensor([0.4, 0.4]).log()  # the ratio is 0.5 / 0.4 = 1.25
    advantages = torch.tensor([2.0, -2.0])
    surrogate, entropy, clipped = policy_objective(logits, avail, torch.tensor([0, 2]), old, advantages, 0.2)
    torch.testing.assert_close(surrogate, torch.tensor([2.4, -2.5]))
    torch.testing.assert_close(entropy, torch.full((2,), 2.0).log())
    assert clipped.tolist() == [True, True]


def test_normalised_advantages_have_mean_0_and_deviation_1_over_the_counted():
    counted = torch.tensor([1.0, 3.0])
    found = normalise_advantages(torch.tensor([3.0, 5.0]), counted)
    torch.testing.assert_close(found, torch.tensor([0.5**0.5, 4.5**0.5]), rtol=2e-5, atol=0)


def test_sampling_follows_the_probabilities_and_takes_only_what_is_available():
    log_probs = masked_log_softmax(torch.tensor([0.25, 0.1, 0.75]).log(), torch.tensor([True, False, True]))
    uniform = torch.tensor([0.0, 0.2, 0.26, 0.5, 1.0 - 2.0**-24])
    assert sample_actions(log_probs.expand(5, -1), uniform).tolist() == [0, 0, 2, 2, 2]


def test_the_last_available_action_is_never_overshot():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1000, 9, generator=generator) * 5
    avail = torch.ones(1000, 9, dtype=torch.bool)
    avail[:, 6:] = False
    assert int(sample_actions(masked_log_softmax(logits, avail), torch.full((1000,), 1 - 2.0**-24)).max()) <= 5
