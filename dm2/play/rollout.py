"""Episodes from many battles at once.

`collect` plays one episode in each battle of a batched environment. All battles step together; one that ends leaves the
batch, so the policy never computes an action that nobody takes. Only steps that were played are stored, without
padding, agent-major (the networks are stacked along the agents) and episode-major within an agent:
episode n owns the rows starts[n] to starts[n + 1].

With `act_at_end` a battle stays one step longer than it is played: the policy answers its final observation too, in the
same step and from the same uniform numbers as if the battle had gone on, and nobody takes that action.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from dm2.battle.rules_of_smac import NO_OP
from dm2.core.checks import check_shape

if TYPE_CHECKING:
    from dm2.core.interface import BatchedEnv

NO_ACTION_YET = -1

Hidden = dict[str, Tensor]
"""Recurrent state of a policy by name (e.g. "actor_hidden"), each [n_agents, n_battles, ...]."""


@dataclass(frozen=True)
class ActResult:
    """What a policy answers for B battles.

    Attributes:
        actions: chosen actions, int64 [n_agents, B].
        hidden: recurrent state after this step, each [n_agents, B, ...].
        extras: what the policy wants recorded for this step by name (e.g. "log_prob"), each [n_agents, B, ...];
            always the same names. Empty if nothing is to be recorded.
    """

    actions: Tensor
    hidden: Hidden
    extras: dict[str, Tensor] = field(default_factory=dict)


class Policy(Protocol):
    """A team's recurrent policies, one per agent, acting in many battles at once."""

    def initial_hidden(self, n_battles: int) -> Hidden:
        """Recurrent state at the start of an episode, each [n_agents, n_battles, ...]."""

    def act(
        self, obs: Tensor, last_actions: Tensor, avail_actions: Tensor, hidden: Hidden, uniform: Tensor
    ) -> ActResult:
        """Choose the actions of one step.

        Args:
            obs: float32 [n_agents, B, obs_size].
            last_actions: actions of the step before, int64 [n_agents, B]; NO_ACTION_YET (-1) in the first step.
            avail_actions: bool [n_agents, B, n_actions], at least one True per row.
            hidden: recurrent state, each [n_agents, B, ...]; not to be written to.
            uniform: float32 [n_agents, B] in [0, 1), the only source of randomness.
        """


@dataclass(frozen=True)
class Episodes:
    """Played episodes without padding; A agents, N episodes, `rows` steps in all.

    Attributes:
        lengths: env steps of each episode, int64 [N], each at least 1.
        obs: observation before each action, float32 [A, rows, obs_size]; zeros once the agent is dead.
        avail_actions: bool [A, rows, n_actions].
        actions: int64 [A, rows].
        reward: shared reward of each env step, float32 [rows].
        battle_won: bool [N].
        truncated: True where only the episode limit ended the battle, bool [N].
        dead_allies: at the end, int64 [N].
        dead_enemies: at the end, int64 [N].
        final_obs: observation after the last step, float32 [A, N, obs_size].
        final_avail_actions: bool [A, N, n_actions].
        final_actions: what the policy answers the final observation, int64 [A, N]; None unless asked for.
        final_extras: what it recorded then, under the names of extras, each [A, N, ...].
        state: global state before each action, float32 [rows, state_size]; None unless asked for.
        final_state: after the last step, float32 [N, state_size]; None unless asked for.
        extras: what the policy recorded, each [A, rows, ...].

    Raises:
        ValueError: a shape differs from the ones above.
    """

    lengths: Tensor
    obs: Tensor
    avail_actions: Tensor
    actions: Tensor
    reward: Tensor
    battle_won: Tensor
    truncated: Tensor
    dead_allies: Tensor
    dead_enemies: Tensor
    final_obs: Tensor
    final_avail_actions: Tensor
    state: Tensor | None = None
    final_state: Tensor | None = None
    extras: dict[str, Tensor] = field(default_factory=dict)
    final_actions: Tensor | None = None
    final_extras: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check every shape against the number of agents, episodes and rows."""
        agents, rows, episodes = self.n_agents, self.rows, self.n_episodes
        if episodes == 0 or int(self.lengths.min()) < 1:
            raise ValueError(
                f"lengths: found {self.lengths.tolist()}, expected one episode or more, none without steps"
            )
        check_shape("obs", self.obs, (agents, rows, None))
        check_shape("avail_actions", self.avail_actions, (agents, rows, None))
        check_shape("actions", self.actions, (agents, rows))
        check_shape("reward", self.reward, (rows,))
        for name in ("battle_won", "truncated", "dead_allies", "dead_enemies"):
            check_shape(name, getattr(self, name), (episodes,))
        check_shape("final_obs", self.final_obs, (agents, episodes, self.obs.shape[2]))
        check_shape("final_avail_actions", self.final_avail_actions, (agents, episodes, self.avail_actions.shape[2]))
        if self.state is not None and self.final_state is not None:
            check_shape("state", self.state, (rows, None))
            check_shape("final_state", self.final_state, (episodes, self.state.shape[1]))
        for name, extra in self.extras.items():
            check_shape(f"extras[{name!r}]", extra, (agents, rows, *extra.shape[2:]))
        if self.final_actions is not None:
            check_shape("final_actions", self.final_actions, (agents, episodes))
        for name, extra in self.final_extras.items():
            check_shape(f"final_extras[{name!r}]", extra, (agents, episodes, *extra.shape[2:]))

    @property
    def n_agents(self) -> int:
        """A."""
        return self.obs.shape[0]

    @property
    def n_episodes(self) -> int:
        """N."""
        return self.lengths.shape[0]

    @cached_property
    def rows(self) -> int:
        """Env steps of all episodes together."""
        return int(self.lengths.sum())

    @cached_property
    def starts(self) -> Tensor:
        """First row of each episode, and the number of rows at the end, int64 [N + 1]."""
        return torch.nn.functional.pad(self.lengths.cumsum(0), (1, 0))

    @cached_property
    def alive(self) -> Tensor:
        """True where the agent lives before the step, i.e. no-op is not its action, bool [A, rows]."""
        return ~self.avail_actions[:, :, NO_OP]

    @cached_property
    def returns(self) -> Tensor:
        """Undiscounted sum of an episode's shared rewards, float32 [N]."""
        episode = torch.repeat_interleave(self.lengths)
        return torch.zeros(self.n_episodes, dtype=self.reward.dtype).index_add_(0, episode, self.reward)

    @cached_property
    def last_actions(self) -> Tensor:
        """Action of the step before, int64 [A, rows]; NO_ACTION_YET (-1) in an episode's first step."""
        last = torch.full_like(self.actions, NO_ACTION_YET)
        last[:, 1:] = self.actions[:, :-1]
        last[:, self.starts[:-1]] = NO_ACTION_YET
        return last


class _Recorder:
    """Named buffers [A, N, steps, ...] that become rows [A, rows, ...] once the lengths are known.

    A buffer has a step more than the episode limit, for the final observations; memory that no step has touched costs
    nothing.
    """

    def __init__(self, n_battles: int, episode_limit: int) -> None:
        self.n_battles = n_battles
        self.steps = episode_limit + 1
        self.buffers: dict[str, Tensor] = {}

    def record(self, name: str, battles: Tensor, step: int, value: Tensor) -> None:
        """Store value [A, len(battles), ...] as the given step of these battles."""
        if name not in self.buffers:
            shape = (value.shape[0], self.n_battles, self.steps, *value.shape[2:])
            self.buffers[name] = torch.empty(shape, dtype=value.dtype)
        self.buffers[name][:, battles, step] = value

    def take(self, name: str, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Give up a buffer for its played rows [A, rows, ...] and, [A, N, ...], the rows behind each episode's last."""
        buffer = self.buffers.pop(name)
        filled = torch.arange(self.steps) < lengths[:, None]  # [N, steps]
        return buffer[:, filled], buffer[:, torch.arange(self.n_battles), lengths]


def collect(
    env: BatchedEnv,
    policy: Policy,
    episodes: np.ndarray,
    generator: np.random.Generator,
    *,
    keep_state: bool = False,
    act_at_end: bool = False,
) -> Episodes:
    """Play episodes, one in each battle of env, in as many waves as there are episodes for each battle.

    Args:
        env: the battles; reset here.
        policy: who acts.
        episodes: numbers of the episodes to play, int64 [a multiple of n_battles]; a battle is the same whenever its
            number, the environment's seed and the actions are.
        generator: draws the uniform numbers of the policy, in each step for all battles, ended or not: what one
            battle draws does not depend on when the others end.
        keep_state: store the global state too.
        act_at_end: let the policy answer the final observations too.

    Returns:
        The episodes, in the order of their numbers in `episodes`.
    """
    if episodes.ndim != 1 or not episodes.size or episodes.size % env.n_battles:
        raise ValueError(f"episodes: found shape {list(episodes.shape)}, expected [a multiple of {env.n_battles}]")
    waves = np.split(episodes, episodes.size // env.n_battles)
    return join([_collect_wave(env, policy, wave, generator, keep_state, act_at_end) for wave in waves])


def _collect_wave(
    env: BatchedEnv,
    policy: Policy,
    episodes: np.ndarray,
    generator: np.random.Generator,
    keep_state: bool,
    act_at_end: bool,
) -> Episodes:
    """Play one episode in each battle; with act_at_end until the policy has answered its final observation."""
    agents, n_battles = env.spec.n_agents, env.n_battles
    env.reset(episodes)
    recorder = _Recorder(n_battles, env.spec.episode_limit)
    lengths = torch.zeros(n_battles, dtype=torch.int64)
    all_actions = np.zeros((n_battles, agents), dtype=np.int64)
    running = np.arange(n_battles)  # battles in which the policy acts
    last_actions = torch.full((agents, n_battles), NO_ACTION_YET, dtype=torch.int64)
    hidden = policy.initial_hidden(n_battles)
    step = 0
    while len(running):
        index, playing = torch.from_numpy(running), env.active[running]
        obs, avail_actions = _agent_major(env.obs[running]), _agent_major(env.avail_actions[running])
        uniform = generator.random((agents, n_battles), dtype=np.float32)[:, running]
        result = policy.act(obs, last_actions, avail_actions, hidden, torch.from_numpy(uniform))
        recorded = {"obs": obs, "avail_actions": avail_actions, "actions": result.actions, **_extra_names(result)}
        if keep_state:
            recorded["state"] = torch.from_numpy(env.state[running])[None]
        all_actions[running] = result.actions.T.numpy()
        if playing.any():
            env.step(all_actions)
        recorded["reward"] = torch.from_numpy(env.reward[running])[None]
        for name, value in recorded.items():
            recorder.record(name, index, step, value)
        lengths[index] += torch.from_numpy(playing)
        going_on = playing if act_at_end else env.active[running]
        step += 1
        running, last_actions, hidden = running[going_on], result.actions, result.hidden
        if not going_on.all():
            stay = torch.from_numpy(np.flatnonzero(going_on))
            last_actions = last_actions[:, stay]
            hidden = {name: value[:, stay] for name, value in hidden.items()}
    return _finish(env, recorder, lengths, keep_state, act_at_end)


def _agent_major(array: np.ndarray) -> Tensor:
    """[B, A, ...] to [A, B, ...], never a view: the env writes over its arrays."""
    return torch.from_numpy(array.swapaxes(0, 1).copy())


def _extra_names(result: ActResult) -> dict[str, Tensor]:
    """The policy's extras under names that cannot meet those of the episode's own arrays."""
    return {f"extras/{name}": value for name, value in result.extras.items()}


def _finish(env: BatchedEnv, recorder: _Recorder, lengths: Tensor, keep_state: bool, act_at_end: bool) -> Episodes:
    """Build the Episodes after the last battle has ended."""
    extras, final_extras = {}, {}
    for name in [name for name in recorder.buffers if name.startswith("extras/")]:
        plain_name = name.removeprefix("extras/")
        extras[plain_name], final_extras[plain_name] = recorder.take(name, lengths)
    actions, final_actions = recorder.take("actions", lengths)
    return Episodes(
        lengths=lengths,
        obs=recorder.take("obs", lengths)[0],
        avail_actions=recorder.take("avail_actions", lengths)[0],
        actions=actions,
        reward=recorder.take("reward", lengths)[0][0],
        battle_won=torch.from_numpy(env.battle_won.copy()),
        truncated=torch.from_numpy(env.truncated.copy()),
        dead_allies=torch.from_numpy(env.dead_allies.copy()),
        dead_enemies=torch.from_numpy(env.dead_enemies.copy()),
        final_obs=_agent_major(env.obs),
        final_avail_actions=_agent_major(env.avail_actions),
        state=recorder.take("state", lengths)[0][0] if keep_state else None,
        final_state=torch.from_numpy(env.state.copy()) if keep_state else None,
        extras=extras,
        final_actions=final_actions if act_at_end else None,  # else those rows were never written
        final_extras=final_extras if act_at_end else {},
    )


_AGENT_MAJOR = ("obs", "avail_actions", "actions", "final_obs", "final_avail_actions", "final_actions")


def join(parts: Sequence[Episodes]) -> Episodes:
    """The episodes of all parts, one part after the other."""
    if len(parts) == 1:
        return parts[0]

    def joined(name: str) -> Tensor | dict[str, Tensor] | None:
        values = [getattr(part, name) for part in parts]
        if isinstance(values[0], dict):
            return {key: torch.cat([value[key] for value in values], dim=1) for key in values[0]}
        return None if values[0] is None else torch.cat(values, dim=int(name in _AGENT_MAJOR))

    return Episodes(**{part.name: joined(part.name) for part in fields(Episodes)})  # type: ignore[arg-type]
