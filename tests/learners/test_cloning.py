"""Behavioural cloning: the loss by hand, hidden states, that it fits, when it stops, and what it leaves alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from support.fake_env import FakeEnv, FakeSpec
from torch import Tensor

from dm2.backends.make_env import env_spec, make_env
from dm2.core.randomness import stream
from dm2.learners.cloning import (
    ClonedIPPO,
    CloningRows,
    clone,
    cloning_rows,
    cross_entropy,
    hidden_states,
    losses_and_hits,
)
from dm2.learners.ippo import IPPO
from dm2.nets.actor_critic import NetShape, fold, forward, initial_parameters, normalise
from dm2.nets.adam import ClippedAdam
from dm2.nets.recurrence import pack
from dm2.play.demonstrations import AgentDemonstrations, Demonstrations, sample_demonstrations
from dm2.play.rollout import ActResult, Hidden, collect
from dm2.play.scripted import scripted_policy
from dm2.settings.base import SettingsError
from dm2.settings.learners import CloningSettings, IPPOSettings, QuirkSettings
from dm2.settings.run import RunSettings

SPEC: Any = FakeSpec()


def ippo(seed: int = 9) -> IPPO:
    return IPPO(SPEC, IPPOSettings(hidden_size=8), QuirkSettings(), seed)


class Answers:
    """Gives the right answer to the fake environment's signal: action 1 to +1, 2 to -1, no-op when dead."""

    def initial_hidden(self, n_battles: int) -> Hidden:
        return {}

    def act(
        self, obs: Tensor, last_actions: Tensor, avail_actions: Tensor, hidden: Hidden, uniform: Tensor
    ) -> ActResult:
        return ActResult(torch.where(avail_actions[..., 0], 0, torch.where(obs[..., 0] > 0, 1, 2)), {})


def sample(episodes: int = 12, **metadata: Any) -> Demonstrations:
    return sample_demonstrations([Answers()], SPEC, FakeEnv, seeds=[9], episodes=episodes, metadata=metadata)  # type: ignore[arg-type]


def settings(map_name: str = "fake", **changes: Any) -> RunSettings:
    values: dict[str, Any] = {
        "scale": "smoke",
        "map_name": map_name,
        "condition": "ippo_bc_pretrain",
        "seed": 1,
        "algorithm": "ippo",
        "env_steps": 100,
        "evaluation_interval": 50,
        "evaluation_episodes": 4,
        "ippo": {"hidden_size": 8},
        "cloning": {"max_epochs": 3, "batch_episodes": 4},
        "demonstrations": {"expert": "ippo", "episodes": 12},
    }
    return RunSettings(**(values | changes))


def test_cross_entropy_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3.0), 7.0], [0.0, math.log(3.0), 0.0]])
    avail_actions = torch.tensor([[True, True, False], [True, True, True]])
    found = cross_entropy(logits, avail_actions, torch.tensor([1, 0]))
    torch.testing.assert_close(found, torch.tensor([-math.log(3 / 4), -math.log(1 / 5)]))


def test_rows_are_what_the_actor_saw_while_it_lived() -> None:
    """The expert's own net gives the log-probabilities that were recorded when it played."""
    expert = ippo()
    episodes = collect(FakeEnv(6), expert.policy(), np.arange(6), stream(9, "policy"), act_at_end=True)
    names = ("obs", "actions", "avail_actions", "final_obs", "final_actions")
    for agent in range(2):
        arrays = (getattr(episodes, name)[agent].numpy() for name in names)
        rows = cloning_rows(AgentDemonstrations(episodes.lengths.numpy(), *arrays), agent, SPEC.n_agents)
        one = slice(agent, agent + 1)
        losses, _ = losses_and_hits(expert.actor[one], expert.actor_shape, rows, torch.arange(6))
        played = episodes.extras["log_prob"][agent][episodes.alive[agent]]
        torch.testing.assert_close(losses, -played[pack(rows.starts, rows.lengths).rows])
    assert rows.lengths.tolist() == [2] * 6  # agent 1 of the fake environment dies after two steps


def test_hidden_states_are_those_of_each_episode_alone() -> None:
    shape = NetShape(5, 16, 3)
    net = fold(initial_parameters(shape, 1, 1.0, stream(0, "net")), shape)
    inputs = normalise(torch.from_numpy(stream(0, "inputs").normal(size=(1, 6, 5)).astype(np.float32)))
    packing = pack(torch.tensor([0, 2]), torch.tensor([2, 4]))
    found = hidden_states(net, inputs[:, packing.rows], packing.counts)[0]
    expected = torch.zeros(6, 16)
    for start, end in ((0, 2), (2, 6)):
        for row in range(start, end - 1):
            expected[row + 1] = forward(net, inputs[:, row : row + 1], expected[None, row : row + 1])[1][0, 0]
    torch.testing.assert_close(found, expected[packing.rows])
    assert found[2:].any(dim=1).all()  # all but the two first steps have something to remember


def test_the_gradient_is_that_of_one_step_on_fixed_hidden_states() -> None:
    learner = ippo()
    rows = cloning_rows(sample().agents[0], 0, SPEC.n_agents)
    leaf = learner.actor[:1].clone().requires_grad_()
    packing = pack(rows.starts, rows.lengths)
    inputs = rows.inputs[packing.rows][None]
    states = hidden_states(fold(leaf.detach(), learner.actor_shape), inputs, packing.counts)
    logits, _ = forward(fold(leaf, learner.actor_shape), inputs, states)
    expected = cross_entropy(logits[0], rows.avail_actions[packing.rows], rows.actions[packing.rows]).mean()
    found, _ = losses_and_hits(leaf, learner.actor_shape, rows, torch.arange(len(rows.lengths)))
    gradients = [torch.autograd.grad(loss, leaf)[0] for loss in (expected, found.mean())]
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().max() > 0


def test_it_imitates_the_heuristic_on_episodes_that_it_did_not_learn_from() -> None:
    spec = env_spec("simulator", "3m")
    expert = scripted_policy("heuristic", spec)
    source = {"expert": "heuristic", "episodes": 40, "expert_seeds": [1]}
    demonstrations = sample_demonstrations(
        [expert], spec, lambda battles, seed: make_env("simulator", "3m", battles, seed), seeds=[1], episodes=40
    )
    run = settings("3m", demonstrations=source, ippo={"hidden_size": 32}, cloning={"max_epochs": 60})
    learner = ClonedIPPO(spec, run, demonstrations)
    metrics = learner.pretrain()
    own = demonstrations.agents[0]
    commonest = np.bincount(own.actions).max() / len(own.actions)
    assert metrics["cloning_accuracy"] > 0.9 > commonest + 0.1
    assert metrics["cloning_cross_entropy"] < 0.4


def test_it_learns_the_right_answers() -> None:
    run = settings(cloning={"max_epochs": 60, "batch_episodes": 4}, demonstrations={"expert": "ippo", "episodes": 60})
    learner = ClonedIPPO(SPEC, run, sample(60))
    fresh = collect(FakeEnv(20, seed=77), learner.greedy_policy(), np.arange(20), stream(5, "fresh"))
    metrics = learner.pretrain()
    cloned = collect(FakeEnv(20, seed=77), learner.greedy_policy(), np.arange(20), stream(5, "fresh"))
    assert metrics["cloning_accuracy"] > 0.95
    assert cloned.returns.mean() > fresh.returns.mean() + 1.0


def noise_rows(episodes: int) -> CloningRows:
    """Episodes of one step whose actions have nothing to do with what was seen."""
    draw = stream(3, "noise")
    inputs = torch.from_numpy(draw.normal(size=(episodes, 6)).astype(np.float32))
    actions = torch.from_numpy(draw.integers(3, size=episodes))
    starts, lengths = torch.arange(episodes), torch.ones(episodes, dtype=torch.int64)
    return CloningRows(starts, lengths, normalise(inputs), torch.ones(episodes, 3, dtype=torch.bool), actions)


def cloned(rows: CloningRows, **changes: Any) -> tuple[Any, torch.Tensor]:
    shape = NetShape(6, 16, 3)
    parameters = initial_parameters(shape, 1, 0.01, stream(0, "net"))
    limits = CloningSettings(**{"batch_episodes": 16, "held_out": 0.25, "max_epochs": 200, **changes})
    optimizer = ClippedAdam(parameters, 3e-3, 1e-5, 10.0)
    return clone(optimizer, shape, rows, limits, stream(0, "cloning")), parameters


def test_it_stops_early_and_keeps_the_best_pass() -> None:
    rows = noise_rows(64)
    stopped, parameters = cloned(rows, patience=4)
    longer, _ = cloned(rows, patience=30)
    assert stopped.epochs < 30 <= longer.epochs < 200  # memorising noise soon makes the held-out episodes worse
    assert stopped.cross_entropy <= math.log(3.0) + 0.01
    best = stopped.epochs - 4
    assert best == 0 or stopped.cross_entropy == cloned(rows, max_epochs=best)[0].cross_entropy
    torch.testing.assert_close(parameters, cloned(rows, max_epochs=max(best, 1), patience=1)[1] if best else parameters)


def test_the_number_of_passes_is_limited() -> None:
    assert cloned(noise_rows(64), max_epochs=2, patience=50)[0].epochs == 2


def test_agents_are_cloned_apart_and_the_critics_stay() -> None:
    demonstrations = sample()
    learner = ClonedIPPO(SPEC, settings(), demonstrations)
    before, critic = learner.actor.clone(), learner.critic.clone()
    metrics = learner.pretrain()
    assert (learner.actor != before).any(dim=1).all()
    assert torch.equal(learner.critic, critic)
    assert learner.actor_optimizer.steps == 0
    assert set(metrics) == {"cloning_epochs", "cloning_cross_entropy", "cloning_accuracy"}
    swapped = Demonstrations((demonstrations.agents[1], demonstrations.agents[1]), demonstrations.metadata)
    other = ClonedIPPO(SPEC, settings(), swapped)
    other.pretrain()
    assert torch.equal(other.actor[1], learner.actor[1]) and not torch.equal(other.actor[0], learner.actor[0])


def test_another_source_than_the_settings_name_is_refused() -> None:
    found = sample(4, checkpoint_percent=50)
    with pytest.raises(SettingsError, match="found checkpoint_percent 50, expected 100"):
        ClonedIPPO(SPEC, settings(demonstrations={"expert": "ippo", "episodes": 4}), found)
