"""dm2.learners.qmix: the team's value, its targets, who acts, what a run goes on from."""

import dataclasses
import math

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.fake_env import FakeEnv, FakeSpec

from dm2.core.randomness import stream
from dm2.learners import qmix
from dm2.learners.qmix import (
    QMIX,
    JointPolicy,
    Loss,
    QMIXPolicy,
    batch_loss,
    double_q,
    mix,
    td_targets,
)
from dm2.learners.replay import ReplayBatch
from dm2.nets.actor_critic import build_inputs
from dm2.play.rollout import Episodes, collect
from dm2.settings.learners import QMIXSettings, QuirkSettings

SPEC = FakeSpec()
SMALL = QMIXSettings(n_battles=8, batch_episodes=8, replay_episodes=40, hidden_size=8, mixer_embed=4, hypernet_size=8)


def learner(seed: int = 0, **changes) -> QMIX:
    return QMIX(SPEC, SMALL.model_copy(update=changes), QuirkSettings(), seed)


class SmallStateEnv(FakeEnv):
    """With a state that a net can take in: the share of the episode that has passed, and a constant."""

    def _observe(self) -> None:
        super()._observe()
        self.state[:, 0] /= self.spec.episode_limit
        self.state[:, 1] = 1.0


def play(policy, first: int = 0, n_battles: int = 8) -> Episodes:
    numbers = np.arange(first, first + n_battles)
    return collect(SmallStateEnv(n_battles), policy, numbers, np.random.default_rng(first), keep_state=True)


def filled(seed: int = 0, **changes) -> QMIX:
    own = learner(seed, **changes)
    own.replay.add(play(own.policy()))
    return own


def loss_of(own: QMIX, batch: ReplayBatch) -> Loss:
    return batch_loss(own.parameters, own.target, batch, own.settings.gamma)


def linear_pieces(own: QMIX, state: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """W_1, b_1, w_2, V of one state, written out in numpy's manner."""
    p = {name: value.detach() for name, value in own.parameters.items()}

    def two_layers(name):
        inner = torch.clamp(p[f"{name}.first.weight"] @ state + p[f"{name}.first.bias"], min=0)
        return p[f"{name}.second.weight"] @ inner + p[f"{name}.second.bias"]

    w1 = two_layers("mixer.w1").abs().view(SPEC.n_agents, SMALL.mixer_embed)
    return w1, p["mixer.b1.weight"] @ state + p["mixer.b1.bias"], two_layers("mixer.w2").abs(), two_layers("mixer.v")[0]


def test_targets_by_hand():
    targets = td_targets(
        reward=torch.tensor([1.0, 2.0, 3.0]),
        continues=torch.tensor([True, False, True]),
        next_values=torch.tensor([10.0, torch.nan, -4.0]),
        gamma=0.5,
    )
    assert targets.tolist() == [6.0, 2.0, 1.0]


def test_double_q_values_the_online_nets_best_available_action():
    online = torch.tensor([[9.0, 1.0, 2.0], [0.0, 5.0, 4.0]])
    target = torch.tensor([[100.0, 7.0, -3.0], [50.0, 1.0, 60.0]])
    avail_actions = torch.tensor([[False, True, True], [True, True, True]])
    assert double_q(online, target, avail_actions).tolist() == [-3.0, 1.0]


def test_mixer_by_hand():
    own = learner()
    state, agent_q = torch.tensor([0.7, -0.2]), torch.tensor([1.5, -2.0])
    w1, b1, w2, v = linear_pieces(own, state)
    hidden = agent_q @ w1 + b1
    hidden = torch.where(hidden > 0, hidden, hidden.exp() - 1)
    expected = hidden @ w2 + v
    torch.testing.assert_close(mix(own.parameters, agent_q[None], state[None])[0].detach(), expected)


@given(
    seed=st.integers(0, 1000),
    agent_q=st.lists(st.floats(-10, 10, width=32), min_size=2, max_size=2),
    state=st.lists(st.floats(-3, 3, width=32), min_size=2, max_size=2),
    agent=st.integers(0, 1),
    rise=st.floats(0.125, 10, width=32),
)
def test_the_teams_value_never_falls_when_an_agents_rises(seed, agent_q, state, agent, rise):
    parameters = {name: value.double() for name, value in learner(seed).parameters.items()}
    low = torch.tensor([agent_q], dtype=torch.float64)
    high = low.clone()
    high[0, agent] += rise
    at = torch.tensor([state], dtype=torch.float64)
    assert mix(parameters, high, at) >= mix(parameters, low, at)


def test_the_unroll_in_training_equals_acting_step_by_step():
    own = filled()
    batch = own.replay.sample(8, stream(0, "test"))
    trained = qmix.agent_values(own.parameters, batch, qmix.agent_inputs(batch)).detach()
    policy, row, values = own.greedy_policy(), 0, []
    hidden = policy.initial_hidden(8)
    for count in batch.counts.tolist():
        rows = slice(row, row + count)
        inputs = (value[rows].transpose(0, 1) for value in (batch.obs, batch.last_actions, batch.avail_actions))
        hidden = {"hidden": hidden["hidden"][:, :count]}
        result = policy.act(*inputs, hidden, torch.zeros(2, count))
        hidden = result.hidden
        by_row = qmix._linear(own.parameters, "agent.values", hidden["hidden"].flatten(0, 1))
        values.append(by_row.unflatten(0, (2, count)).transpose(0, 1))
        row += count
    torch.testing.assert_close(trained, torch.cat(values).detach(), rtol=1e-4, atol=1e-6)


def test_loss_equals_a_plain_loop_over_episodes():
    own = filled(seed=3)
    with torch.no_grad():
        for value in own.target.values():
            value.add_(0.05)
    block = own.replay._blocks[0]
    assert block.truncated.any() and not block.truncated.all()
    squares = []
    for n in range(block.n_episodes):
        rows = slice(int(block.starts[n]), int(block.starts[n + 1]))
        obs = torch.cat([block.obs[:, rows], block.final_obs[:, n : n + 1]], 1)
        avail = torch.cat([block.avail_actions[:, rows], block.final_avail_actions[:, n : n + 1]], 1)
        state = torch.cat([block.state[rows], block.final_state[n : n + 1]])
        actions, last = block.actions[:, rows], torch.nn.functional.pad(block.actions[:, rows], (1, 0), value=-1)
        q = {name: torch.zeros(avail.shape) for name in ("parameters", "target")}
        for name, values in q.items():
            p, h = getattr(own, name), torch.zeros(2, SMALL.hidden_size)
            for t in range(obs.shape[1]):
                x = build_inputs(obs[:, t, None], last[:, t, None], SPEC.n_actions)[:, 0]
                x = torch.relu(x @ p["agent.encoder.weight"].T + p["agent.encoder.bias"])
                h = torch.gru_cell(x, h, *qmix.gru_weights(p))
                values[:, t] = (h @ p["agent.values.weight"].T + p["agent.values.bias"]).detach()
        for t in range(actions.shape[1]):
            chosen = torch.stack([q["parameters"][i, t, actions[i, t]] for i in range(2)])
            following = double_q(q["parameters"][:, t + 1], q["target"][:, t + 1], avail[:, t + 1])
            y = block.reward[rows][t]
            if t + 1 < actions.shape[1] or block.truncated[n]:
                y = y + own.settings.gamma * mix(own.target, following[None], state[t + 1][None])[0]
            squares.append(float((mix(own.parameters, chosen[None], state[t][None])[0] - y).detach() ** 2))
    found = loss_of(own, own.replay.sample(8, stream(0, "test")))
    assert float(found.td_loss.detach()) == pytest.approx(np.mean(squares), rel=1e-4)


def test_garbage_in_unused_places_changes_nothing():
    own = filled()
    batch = own.replay.sample(8, stream(0, "test"))
    decided = ~batch.continues
    spoilt = dataclasses.replace(batch, following=torch.where(decided, batch.obs.shape[0] - 1, batch.following))
    torch.testing.assert_close(loss_of(own, batch).td_loss, loss_of(own, spoilt).td_loss)


def test_teams_act_at_once_as_each_does_alone():
    """One explores, one is nearly greedy, one is greedy."""
    teams = [learner(seed, epsilon_finish=0.0, epsilon_anneal_env_steps=100) for seed in (0, 1, 2)]
    for own, env_steps in zip(teams, (0, 90, 100), strict=True):
        own.env_steps = env_steps
    draws = stream(0, "test")
    obs, uniform = (torch.from_numpy(draws.random((6, 40, *size), dtype=np.float32)) for size in ((3,), ()))
    last_actions = torch.from_numpy(draws.integers(-1, 4, (6, 40)))
    avail_actions = torch.from_numpy(draws.random((6, 40, 4)) < 0.6)
    avail_actions[..., 1] = True
    hidden = torch.from_numpy(draws.random((6, 40, SMALL.hidden_size), dtype=np.float32))
    joint = JointPolicy([own.policy() for own in teams])
    assert joint.initial_hidden(40)["hidden"].shape == hidden.shape
    together = joint.act(obs, last_actions, avail_actions, {"hidden": hidden}, uniform)
    for n, own in enumerate(teams):
        agents = slice(2 * n, 2 * n + 2)
        parts = obs[agents], last_actions[agents], avail_actions[agents], {"hidden": hidden[agents]}, uniform[agents]
        alone = own.policy().act(*parts)
        assert torch.equal(together.actions[agents], alone.actions)
        torch.testing.assert_close(together.hidden["hidden"][agents], alone.hidden["hidden"], rtol=1e-5, atol=1e-6)
        assert torch.equal(alone.actions, own.greedy_policy().act(*parts).actions) == (n == 2)


def test_rmsprop_equals_torchs():
    settings = SMALL.model_copy(update={"learning_rate": 0.1})
    ours, average = torch.tensor([1.0, -2.0]), torch.zeros(2)
    theirs = ours.clone().requires_grad_()
    optimizer = torch.optim.RMSprop([theirs], lr=0.1, alpha=settings.rmsprop_alpha, eps=settings.rmsprop_epsilon)
    for gradient in (torch.tensor([0.5, -3.0]), torch.tensor([1.5, 0.25])):
        theirs.grad = gradient
        optimizer.step()
        qmix.rmsprop(ours, average, gradient, settings)
    torch.testing.assert_close(ours, theirs.detach())


def test_a_long_gradient_is_scaled_down():
    free, bounded = filled(max_gradient_norm=1e9), filled(max_gradient_norm=1e-3)
    batch = free.replay.sample(8, stream(0, "test"))
    assert bounded.gradient_step(batch)["gradient_norm"] == pytest.approx(free.gradient_step(batch)["gradient_norm"])
    squares = [sum(float(v.sum()) for v in own.square_average.values()) for own in (free, bounded)]
    assert math.sqrt(squares[1] / 0.01) == pytest.approx(1e-3, rel=1e-3)
    assert squares[0] > squares[1]


def test_a_probability_above_one_is_refused():
    with pytest.raises(ValueError, match=r"epsilon: found 1\.5"):
        QMIXPolicy(learner().parameters, SPEC, 1.5)


def test_a_policy_of_another_map_is_refused():
    with pytest.raises(ValueError, match=r"agent\.encoder\.weight: found shape \[8, 9\], expected \[8, 10\]"):
        QMIXPolicy(learner().parameters, dataclasses.replace(SPEC, obs_size=4), 0.0)


def test_the_target_follows_every_so_many_episodes():
    own = learner(target_update_episodes=16)
    same = []
    for first in range(0, 40, 8):
        own.learn(play(own.policy(), first))
        same.append(torch.equal(own.parameters["mixer.b1.weight"], own.target["mixer.b1.weight"]))
    assert same == [False, False, True, False, True]  # counted before the collection: 0, 8, 16, 24, 32
    assert own.target_updated_at == 32


def test_no_step_before_a_batch_is_stored():
    own = learner(batch_episodes=20)
    before = {name: value.detach().clone() for name, value in own.parameters.items()}
    metrics = [own.learn(play(own.policy(), first)) for first in (0, 8)]
    assert all(torch.equal(before[name], value) for name, value in own.parameters.items())
    metrics.append(own.learn(play(own.policy(), 16)))
    assert ["td_loss" in found for found in metrics] == [False, False, True]
    assert any(not torch.equal(before[name], value) for name, value in own.parameters.items())


def test_resumed_training_is_the_same_training():
    own = learner()
    own.learn(play(own.policy(), 0))
    resumed = learner(seed=99)
    resumed.load_state(safetensors.torch.load(safetensors.torch.save(own.state())))
    for learning in (own, resumed):
        for first in (8, 16):
            learning.learn(play(learning.policy(), first))
    assert own.env_steps == resumed.env_steps > 0
    for name, value in own.state().items():
        assert torch.equal(value, resumed.state()[name]), name


def test_the_state_of_another_shape_is_refused():
    tensors = learner(hidden_size=16).state()
    with pytest.raises(ValueError, match=r"online\.agent\.encoder\.weight: found shape \[16, 9\], expected \[8, 9\]"):
        learner().load_state(tensors)
    del tensors["online.mixer.b1.bias"]
    with pytest.raises(ValueError, match=r"online: missing parameters \['mixer\.b1\.bias'\]"):
        learner().load_state(tensors)


def test_one_seed_one_start_and_another_seed_another():
    first, again, other = learner(1).parameters, learner(1).parameters, learner(2).parameters
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


def test_it_learns_what_the_signal_asks_for():
    own = learner(learning_rate=5e-3, epsilon_anneal_env_steps=1500, target_update_episodes=40, hidden_size=16)
    for round_number in range(120):
        own.learn(play(own.policy(), 8 * round_number))
    trained = play(own.greedy_policy(), 5000, 32)
    untrained = play(learner(hidden_size=16).greedy_policy(), 5000, 32)
    # a dead agent cannot answer: two steps of five and a half with both, the rest with one of two
    best = (2 * 32 + 0.5 * float((trained.lengths - 2).sum())) / trained.rows
    assert float(trained.reward.mean()) > 0.9 * best
    assert float(untrained.reward.mean()) < 0.7 * best
