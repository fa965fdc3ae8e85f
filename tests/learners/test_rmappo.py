"""dm2.learners.rmappo: one actor and one critic for the team, trained on chunks."""

import dataclasses

import numpy as np
import pytest
import safetensors.torch
import torch
from support.fake_env import FakeEnv, FakeSpec

from dm2.learners.ppo import policy_objective, value_loss
from dm2.learners.rmappo import RMAPPO, ValueNorm, alive_steps, critic_inputs, same_input
from dm2.nets.actor_critic import build_inputs, fold, normalise
from dm2.nets.sequence_kernels import forward_block
from dm2.play.rollout import ActResult, Episodes, collect
from dm2.settings.learners import QuirkSettings, RMAPPOSettings

SPEC = FakeSpec()
SMALL = RMAPPOSettings(n_battles=6, steps_per_update=20, ppo_epochs=3, chunk_length=3, hidden_size=8)


class SmallStateEnv(FakeEnv):
    """With a state that a net can take in: the share of the episode that has passed, and a constant."""

    def _observe(self) -> None:
        super()._observe()
        self.state[:, 0] /= self.spec.episode_limit
        self.state[:, 1] = 1.0


def learner(seed: int = 0, **changes) -> RMAPPO:
    own = RMAPPO(SPEC, SMALL.model_copy(update=changes), QuirkSettings(), seed)
    own.actor += 0.05 * torch.sin(torch.arange(own.actor.numel()))[None]  # away from the nearly even start
    return own


def play(policy, first: int = 0, n_battles: int = 6) -> Episodes:
    numbers = np.arange(first, first + n_battles)
    return collect(SmallStateEnv(n_battles), policy, numbers, np.random.default_rng(first), keep_state=True)


def test_value_norm_by_hand():
    norm = ValueNorm(beta=0.75)
    norm.update(torch.tensor([1.0, 3.0]))
    assert norm.mean_and_deviation == pytest.approx((2.0, 1.0))
    norm.update(torch.tensor([6.0]))
    mean = (0.75 * 0.25 * 2 + 0.25 * 6) / (0.75 * 0.25 + 0.25)
    square = (0.75 * 0.25 * 5 + 0.25 * 36) / (0.75 * 0.25 + 0.25)
    assert norm.mean_and_deviation == pytest.approx((mean, (square - mean**2) ** 0.5))
    values = torch.tensor([-1.0, 4.0])
    torch.testing.assert_close(norm.denormalise(norm.normalise(values)), values)


def test_value_norm_has_a_smallest_deviation():
    norm = ValueNorm(beta=0.9)
    norm.update(torch.full((4,), 7.0))
    assert norm.mean_and_deviation == pytest.approx((7.0, 0.1))


def test_the_critic_sees_state_observation_and_number_and_of_the_dead_the_number_alone():
    episodes = play(learner().policy())
    inputs = critic_inputs(episodes)
    living = episodes.alive[1]
    assert torch.equal(inputs[0, :, :2], episodes.state)
    assert torch.equal(inputs[1, living, 2:5], episodes.obs[1, living])
    assert torch.equal(inputs[1, ~living], torch.tensor([0, 0, 0, 0, 0, 0, 1.0]).expand((~living).sum(), -1))
    with pytest.raises(ValueError, match="keep_state=True"):
        critic_inputs(dataclasses.replace(episodes, state=None, final_state=None))


class Recording:
    """A policy that also records the state it acts from."""

    def __init__(self, policy) -> None:
        self.policy = policy
        self.initial_hidden = policy.initial_hidden

    def act(self, obs, last_actions, avail_actions, hidden, uniform) -> ActResult:
        result = self.policy.act(obs, last_actions, avail_actions, hidden, uniform)
        return dataclasses.replace(result, extras=dict(hidden))


def test_chunks_start_from_the_states_of_the_play():
    own = learner()
    episodes = play(Recording(own.policy()))
    inputs = normalise(build_inputs(episodes.obs, episodes.last_actions, SPEC.n_actions)).flatten(0, 1)
    hidden = episodes.extras["hidden"].flatten(0, 1)
    for block in own.training_blocks(episodes)[0]:
        for n in range(int(block.counts[0])):
            same_inputs = (inputs == block.inputs[block.source[n]]).all(1).nonzero()[:, 0]
            distances = (hidden[same_inputs] - block.hidden[n]).abs().amax(1)
            assert float(distances.min()) < 1e-5


def test_old_probabilities_and_values_are_those_of_the_first_epoch():
    own = learner()
    actor_blocks, critic_blocks = own.training_blocks(play(own.policy(), n_battles=12))
    assert max(len(block.counts) for block in actor_blocks) == own.settings.chunk_length
    for block in actor_blocks:
        logits, _ = forward_block(fold(own.actor, own.actor_shape), block)
        avail_actions, actions, log_prob, _ = block.data
        now = logits.masked_fill(~avail_actions, -torch.inf).log_softmax(-1).gather(-1, actions[:, None])[:, 0]
        torch.testing.assert_close(now, log_prob, rtol=1e-4, atol=1e-5)
    for block in critic_blocks:
        values, _ = forward_block(fold(own.critic, own.critic_shape), block)
        torch.testing.assert_close(values[:, 0], block.data[0], rtol=1e-4, atol=1e-5)


def test_the_actor_learns_from_the_living_and_the_critic_from_all():
    own = learner()
    episodes = play(own.policy())
    actor_blocks, critic_blocks = own.training_blocks(episodes)
    assert sum(block.rows for block in actor_blocks) == int(episodes.alive.sum()) < 2 * episodes.rows
    assert sum(block.rows for block in critic_blocks) == 2 * episodes.rows
    different = sum(len(block.inputs) for block in critic_blocks)
    assert different == int(episodes.alive.sum()) + len(critic_blocks)  # all dead rows of the second agent are one
    advantages = torch.cat([block.data[3] for block in actor_blocks])
    assert float(advantages.mean()) == pytest.approx(0.0, abs=1e-5)
    assert float(advantages.std(correction=0)) == pytest.approx(1.0, abs=1e-3)


def test_alive_steps_by_hand():
    episodes = play(learner().policy())  # the second agent dies after two steps
    assert alive_steps(episodes).tolist() == episodes.lengths.tolist() + [2] * 6


def test_dead_rows_see_the_same_input():
    alive = torch.tensor([[True, False, True, False], [True, True, True, True]])
    assert same_input(alive).tolist() == [0, 1, 2, 1, 4, 5, 6, 7]
    episodes = play(learner().policy())
    inputs = critic_inputs(episodes).flatten(0, 1)
    assert torch.equal(inputs[same_input(episodes.alive)], inputs)


def test_advantages_by_hand():
    own = learner(gamma=0.5, gae_lambda=1.0)
    own.value_norm.averages = torch.tensor([1.0, 5.0, 1.0], dtype=torch.float64)  # mean 1, deviation 2
    episodes = play(own.policy(), first=3, n_battles=4)
    assert episodes.truncated.any()  # an end by the limit is an end
    values = torch.arange(2.0 * episodes.rows).view(2, -1) / 10
    advantages, returns = own.advantages(episodes, values)
    for n in range(4):
        rows = range(int(episodes.starts[n]), int(episodes.starts[n + 1]))
        for row in rows:
            expected = sum(0.5 ** (later - row) * float(episodes.reward[later]) for later in rows if later >= row)
            for agent in (0, 1):
                assert float(returns[agent, row]) == pytest.approx(expected, abs=1e-4)
                value = 1 + 2 * float(values[agent, row])
                assert float(advantages[agent, row]) == pytest.approx(expected - value, abs=1e-4)


def test_gradients_equal_automatic_differentiation():
    own, generator = learner(clip_epsilon=0.05), torch.Generator().manual_seed(0)
    actor_blocks, critic_blocks = own.training_blocks(play(own.policy()))
    own.value_norm.update(torch.cat([block.data[1] for block in critic_blocks]))
    for flat in (own.actor, own.critic):  # away from the old policy, so that ratios and values are clipped
        flat += 0.05 * torch.randn(flat.shape, generator=generator)
    clip, rows = (
        own.settings.clip_epsilon,
        [sum(block.rows for block in blocks) for blocks in (actor_blocks, critic_blocks)],
    )
    actor, critic = (flat.clone().requires_grad_() for flat in (own.actor, own.critic))
    sums, losses = torch.zeros(3), torch.zeros(())
    for block in actor_blocks:
        logits, _ = forward_block(fold(actor, own.actor_shape), block)
        sums = sums + torch.stack([value.sum() for value in policy_objective(logits, *block.data, clip)])
    for block in critic_blocks:
        values, _ = forward_block(fold(critic, own.critic_shape), block)
        targets = own.value_norm.normalise(block.data[1])
        losses = losses + value_loss(values[:, 0], block.data[0], targets, clip, SMALL.huber_delta, False).sum()
    surrogate, entropy, clipped = sums / rows[0]
    metrics, gradient = own._actor_gradient(actor_blocks)
    told = dict(zip(("policy_loss", "entropy", "clip_fraction"), [-surrogate, entropy, clipped], strict=True))
    assert metrics == pytest.approx({name: float(value.detach()) for name, value in told.items()}, rel=1e-4)
    assert 0.1 < metrics["clip_fraction"] < 0.9
    policy_loss = -surrogate - SMALL.entropy_coefficient * entropy
    torch.testing.assert_close(gradient, torch.autograd.grad(policy_loss, actor)[0], rtol=1e-3, atol=2e-5)
    mean_loss, gradient = own._critic_gradient(critic_blocks)
    assert mean_loss == pytest.approx(float(losses.detach()) / rows[1], rel=1e-4)
    (expected,) = torch.autograd.grad(SMALL.value_loss_coefficient * losses / rows[1], critic)
    torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=2e-5)


def test_an_update_waits_for_enough_steps():
    own = learner(steps_per_update=60)
    before, found = own.actor.clone(), []
    for first in (0, 6, 12):
        found.append(own.learn(play(own.policy(), first)))
    assert [bool(metrics) for metrics in found] == [False, True, False]  # about 33 steps each
    assert not torch.equal(before, own.actor)
    assert len(own.pending) == 1


def test_resumed_training_is_the_same_training():
    own = learner(steps_per_update=60)
    for first in (0, 6, 12):
        own.learn(play(own.policy(), first))
    resumed = learner(seed=99, steps_per_update=60)
    resumed.load_state(safetensors.torch.load(safetensors.torch.save(own.state())))
    for learning in (own, resumed):
        for first in (18, 24):
            learning.learn(play(learning.policy(), first))
    for name, value in own.state().items():
        assert torch.equal(value, resumed.state()[name]), name


def test_a_state_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"input_norm\.weight|linear1\.weight|norm1\.weight"):
        learner().load_state(learner(hidden_size=16).state())


def test_it_learns_what_the_signal_asks_for():
    own = learner(learning_rate=5e-3, hidden_size=16, n_battles=16, steps_per_update=150, ppo_epochs=5)
    for first in range(0, 16 * 60, 16):
        own.learn(play(own.policy(), first, 16))
    trained = play(own.greedy_policy(), 5000, 32)
    best = (2 * 32 + 0.5 * float((trained.lengths - 2).sum())) / trained.rows
    assert float(trained.reward.mean()) > 0.9 * best
