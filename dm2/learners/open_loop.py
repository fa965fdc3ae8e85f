"""Open-loop control: independent PPO that sees the time step and its own id, and nothing of the battle.

A map that such a team can win asks for a fixed sequence of actions, not for reacting to what happens; results on it say
little about learning to fight (Ellis et al. 2023, "SMACv2"). It learns by the very update of `dm2.learners.ippo`; only
the inputs differ, of the critics too, since a critic that sees the battle would be no help to a policy that does not:

- the own observation becomes the number of the step, one-hot over 0 to the episode limit, so that any sequence of
  actions can be learned (a single growing number would have to be told apart by the layers);
- the last action is left out: it is the policy's own random choice, on which a later one could depend.

What it cannot be kept from is which actions are available: the environment refuses the others. That tells whether an
enemy is in range, so such a team is blind but for its hands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dm2.learners import ippo
from dm2.learners.ippo import IPPO, Batch, IPPOPolicy, Rewards
from dm2.nets.actor_critic import Folded
from dm2.play.rollout import NO_ACTION_YET, ActResult, Episodes, Hidden
from dm2.settings.learners import IPPOSettings, QuirkSettings
from dm2.settings.run import RunSettings

if TYPE_CHECKING:
    from dm2.core.interface import EnvSpec
    from dm2.play.demonstrations import Demonstrations


def time_inputs(episode_limit: int) -> int:
    """Numbers that tell the time: one per step, and one for the end of an episode that its limit cuts off."""
    return episode_limit + 1


def blind(spec: EnvSpec) -> EnvSpec:
    """The sizes of a map for those who see the time alone."""
    return dataclasses.replace(spec, obs_size=time_inputs(spec.episode_limit))


def without_sight(episodes: Episodes, episode_limit: int) -> Episodes:
    """The same episodes, the time in the place of every observation.

    Args:
        episodes: as they were played.
        episode_limit: of the map, in env steps.

    Returns:
        Episodes with obs and final_obs of `time_inputs` numbers.
    """
    numbers = torch.arange(episodes.rows)
    step = numbers - torch.repeat_interleave(episodes.starts[:-1], episodes.lengths)
    obs, final_obs = (_time(of, episode_limit, episodes.n_agents) for of in (step, episodes.lengths))
    return dataclasses.replace(episodes, obs=obs, final_obs=final_obs)


def _time(step: Tensor, episode_limit: int, n_agents: int) -> Tensor:
    """Step numbers [R] as every agent's inputs, [A, R, `time_inputs`]; a view, the agents share it."""
    return one_hot(step, time_inputs(episode_limit)).float().expand(n_agents, -1, -1)


class OpenLoopPolicy(IPPOPolicy):
    """The actors of one moment; they count the steps and are shown nothing else."""

    def __init__(self, actor: Folded, critic: Folded | None, greedy: bool, episode_limit: int) -> None:
        super().__init__(actor, critic, greedy)
        self.episode_limit = episode_limit

    def initial_hidden(self, n_battles: int) -> Hidden:
        """Zeros; the number of the step is kept with the nets' states."""
        step = self.actor.head_weight.new_zeros(len(self.actor.head_weight), n_battles, dtype=torch.int64)
        return super().initial_hidden(n_battles) | {"step": step}

    def act(
        self, obs: Tensor, last_actions: Tensor, avail_actions: Tensor, hidden: Hidden, uniform: Tensor
    ) -> ActResult:
        """The most probable actions if greedy, else a sample; see `dm2.play.rollout.Policy`."""
        step = hidden["step"]
        time = one_hot(step, time_inputs(self.episode_limit)).float()
        states = {name: value for name, value in hidden.items() if name != "step"}
        result = super().act(time, torch.full_like(last_actions, NO_ACTION_YET), avail_actions, states, uniform)
        return dataclasses.replace(result, hidden=result.hidden | {"step": step + 1})


def blindfolded(seeing: IPPOPolicy, spec: EnvSpec) -> OpenLoopPolicy:
    """The same nets, for those who see the time alone."""
    return OpenLoopPolicy(seeing.actor, seeing.critic, seeing.greedy, spec.episode_limit)


class OpenLoopIPPO(IPPO):
    """IPPO on the time alone."""

    def __init__(self, spec: EnvSpec, settings: IPPOSettings, quirks: QuirkSettings, seed: int) -> None:
        super().__init__(blind(spec), settings, quirks, seed)

    def policy(self) -> OpenLoopPolicy:
        """The current actors, sampling, recording what an update needs."""
        return blindfolded(super().policy(), self.spec)

    def greedy_policy(self) -> OpenLoopPolicy:
        """The current actors, each taking its most probable action."""
        return blindfolded(super().greedy_policy(), self.spec)

    def batch(self, episodes: Episodes, rewards: Rewards) -> Batch:
        """What an update reads, the time in the place of the observations; see `dm2.learners.ippo.IPPO.batch`."""
        return super().batch(without_sight(episodes, self.spec.episode_limit), rewards)

    def net_inputs(self, obs: Tensor, last_actions: Tensor) -> Tensor:
        """The time and the agent's id, normalised."""
        return super().net_inputs(obs, torch.full_like(last_actions, NO_ACTION_YET))


def build_learner(spec: EnvSpec, settings: RunSettings, demonstrations: Demonstrations | None) -> OpenLoopIPPO:
    """The learner of a run; see `dm2.settings.learners.AlgorithmSettings`."""
    assert settings.ippo is not None  # RunSettings checks that an algorithm has its block
    return OpenLoopIPPO(spec, settings.ippo, settings.quirks, settings.seed)


def build_policy(spec: EnvSpec, tensors: Mapping[str, Tensor], *, greedy: bool, epsilon: float) -> OpenLoopPolicy:
    """The actors of a policy file, with the critics if they are there; epsilon is for others."""
    return blindfolded(ippo.build_policy(blind(spec), tensors, greedy=greedy, epsilon=epsilon), spec)
