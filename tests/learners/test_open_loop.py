"""The open-loop control: what it is shown, what it is not, and that it can learn what time alone tells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.fake_env import FakeEnv, FakeSpec

from dm2.core.randomness import stream
from dm2.learners.ippo import IPPO
from dm2.learners.open_loop import OpenLoopIPPO, without_sight
from dm2.learners.ppo import masked_log_softmax
from dm2.nets.actor_critic import forward, normalise
from dm2.play.rollout import Episodes, collect
from dm2.settings.learners import IPPOSettings, QuirkSettings

SPEC: Any = FakeSpec()


def learner(kind: type[IPPO] = OpenLoopIPPO, absorbing_zeros: bool = True, **changes: Any) -> IPPO:
    settings = IPPOSettings(**{"hidden_size": 16, "episodes_per_update": 32, "input": "time", **changes})
    return kind(SPEC, settings, QuirkSettings(absorbing_zeros=absorbing_zeros), seed=0)


class Schedule(FakeEnv):
    """The fake environment, its signal a function of the step alone."""

    def _observe(self) -> None:
        super()._observe()
        for battle in range(self.n_battles):
            sign = 1.0 if int(self.steps[battle]) % 3 == 0 else -1.0
            alive = self.avail_actions[battle, :, 1]
            self.obs[battle, alive, 0] = sign


def play(team: IPPO, greedy: bool = False, env: FakeEnv | None = None, first: int = 0) -> Episodes:
    policy = team.greedy_policy() if greedy else team.policy()
    numbers, generator = np.arange(12) + first, stream(1, "policy", first)
    return collect(env or FakeEnv(12), policy, numbers, generator, act_at_end=team.acts_at_end and not greedy)


def test_the_time_by_hand() -> None:
    episodes = without_sight(play(learner()), SPEC.episode_limit)
    assert episodes.lengths[:2].tolist() == [3, 4]
    assert episodes.obs[1].argmax(-1)[:7].tolist() == [0, 1, 2, 0, 1, 2, 3]
    assert episodes.obs.sum(-1).unique().tolist() == [1.0]
    assert episodes.final_obs[0].argmax(-1)[:6].tolist() == [3, 4, 5, 6, 7, 8]


class Shuffled(FakeEnv):
    """The fake environment with meaningless observations."""

    def _observe(self) -> None:
        super()._observe()
        self.obs[...] = np.random.default_rng(int(self.steps.sum())).normal(size=self.obs.shape)


def test_it_does_not_see_the_battle() -> None:
    """Other observations change no probability; they change those of an IPPO that looks."""
    for kind, same in ((OpenLoopIPPO, True), (IPPO, False)):
        plain, shuffled = (play(learner(kind), env=env(12)).extras["log_prob"] for env in (FakeEnv, Shuffled))
        assert torch.equal(plain, shuffled) is same


def test_its_own_last_actions_change_nothing() -> None:
    """After other random actions, an agent has the same probabilities at the same step."""
    found = play(learner(), first=0), play(learner(), first=12)
    assert not torch.equal(found[0].actions, found[1].actions)
    for states in zip(*(one.extras["actor_hidden"][0] for one in found), strict=True):
        assert torch.equal(*states)


def test_the_update_sees_what_the_policy_saw() -> None:
    team = learner()
    episodes = without_sight(play(team), SPEC.episode_limit)
    inputs = team.net_inputs(episodes.obs, episodes.last_actions)
    expected = torch.cat([torch.eye(9)[[1]], torch.zeros(1, SPEC.n_actions), torch.tensor([[0.0, 1.0]])], dim=1)
    torch.testing.assert_close(inputs[1, [1]], normalise(expected))  # step 1 of the first episode, agent 1
    hidden = episodes.extras["actor_hidden"]
    log_probs = masked_log_softmax(forward(team.policy().actor, inputs, hidden)[0], episodes.avail_actions)
    found = log_probs.gather(-1, episodes.actions[..., None])[..., 0]
    torch.testing.assert_close(found, episodes.extras["log_prob"])


@pytest.mark.parametrize("absorbing_zeros", [True, False])
def test_it_learns_what_the_time_tells(absorbing_zeros: bool) -> None:
    team = learner(absorbing_zeros=absorbing_zeros, learning_rate=3e-3, ppo_epochs=5, entropy_coefficient=0.0)
    before = play(team, greedy=True, env=Schedule(12)).returns.mean()
    for update in range(25):
        team.learn(play(team, env=Schedule(12), first=12 * update))
    after = play(team, greedy=True, env=Schedule(12)).returns.mean()
    assert before < 2.0 and after > 3.4  # agent 1 lives for two of the 5.5 steps that an episode has on average
