"""Replay memory of whole episodes, and the batches drawn from it.

Episodes are kept as they were collected, a block per collection, real steps only; a block goes when its last episode is
evicted. Nothing is copied when episodes come in, and a checkpoint names the very tensors that are held.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dm2.core.checks import check_shape
from dm2.nets.recurrence import pack
from dm2.play.rollout import NO_ACTION_YET, Episodes

EPISODE_FIELDS = tuple(
    field.name
    for field in dataclasses.fields(Episodes)
    if field.name not in ("extras", "final_actions", "final_extras")
)
"""The arrays of Episodes that are kept: all but what a policy recorded and what it answered when a battle was over."""


def episodes_state(blocks: list[Episodes]) -> dict[str, Tensor]:
    """Collections by name for a checkpoint; the tensors themselves, not copies."""
    return {
        f"{number:06d}.{name}": getattr(block, name) for number, block in enumerate(blocks) for name in EPISODE_FIELDS
    }


def episodes_from_state(tensors: Mapping[str, Tensor]) -> list[Episodes]:
    """What `episodes_state` was given."""
    numbers = sorted({name.split(".")[0] for name in tensors})
    blocks: list[dict[str, Any]] = [{name: tensors[f"{n}.{name}"] for name in EPISODE_FIELDS} for n in numbers]
    return [Episodes(**block) for block in blocks]


@dataclass(frozen=True)
class ReplayBatch:
    """Sampled episodes, packed step by step, the longest first (see dm2.nets.recurrence); A agents.

    A row is an observation of the team: one before each step played and, in an episode that only its limit ended, one
    more: the last state is no terminal one, and its value is needed. A decided battle's last observation is not.

    Attributes:
        counts: episodes that have a row at step t, int64 [steps], falling; rows = sum of counts.
        obs: float32 [rows, A, obs_size].
        last_actions: actions of the step before, -1 in an episode's first, int64 [rows, A].
        avail_actions: bool [rows, A, n_actions].
        state: float32 [rows, state_size].
        played: the rows that are followed by a step, int64 [steps played]; the arrays below belong to them.
        actions: int64 [steps played, A].
        reward: float32 [steps played].
        continues: False where the step decided the battle, bool [steps played].
        following: row of the next observation (0 where the battle was decided), int64 [steps played].

    Raises:
        ValueError: a shape differs from the ones above.
    """

    counts: Tensor
    obs: Tensor
    last_actions: Tensor
    avail_actions: Tensor
    state: Tensor
    played: Tensor
    actions: Tensor
    reward: Tensor
    continues: Tensor
    following: Tensor

    def __post_init__(self) -> None:
        """Check every shape against the number of rows, agents and steps played."""
        rows, steps, agents = int(self.counts.sum()), len(self.played), self.obs.shape[1]
        check_shape("obs", self.obs, (rows, agents, None))
        check_shape("last_actions", self.last_actions, (rows, agents))
        check_shape("avail_actions", self.avail_actions, (rows, agents, None))
        check_shape("state", self.state, (rows, None))
        check_shape("actions", self.actions, (steps, agents))
        for name in ("reward", "continues", "following"):
            check_shape(name, getattr(self, name), (steps,))


@dataclass(frozen=True)
class StoredEpisode:
    """Episode number `number` of a block."""

    block: Episodes
    number: int

    @cached_property
    def start(self) -> int:
        """First row."""
        return int(self.block.starts[self.number])

    @cached_property
    def length(self) -> int:
        """Env steps."""
        return int(self.block.lengths[self.number])

    @cached_property
    def truncated(self) -> bool:
        """True if only the episode limit ended the battle."""
        return bool(self.block.truncated[self.number])

    def steps(self, name: str, axis: int) -> Tensor:
        """What the block holds under this name for the steps of this episode, along the axis of the rows."""
        return getattr(self.block, name).narrow(axis, self.start, self.length)

    def final(self, name: str, axis: int) -> Tensor:
        """What the block holds under "final_<name>" for this episode, zeros if nothing, along the axis of the rows."""
        values = getattr(self.block, f"final_{name}", None)
        if values is None:
            return torch.zeros_like(self.steps(name, axis).narrow(axis, 0, 1))
        return values.narrow(axis, self.number, 1)


class Replay:
    """The newest `capacity` episodes."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._blocks: list[Episodes] = []
        self._evicted = 0  # episodes of the oldest block that are gone

    def __len__(self) -> int:
        return sum(block.n_episodes for block in self._blocks) - self._evicted

    def add(self, episodes: Episodes) -> None:
        """Store episodes, the oldest ones give way.

        Raises:
            ValueError: the episodes were collected without the global state.
        """
        if episodes.state is None or episodes.final_state is None:
            raise ValueError("replay: found episodes without the global state; collect them with keep_state=True")
        self._blocks.append(dataclasses.replace(episodes, extras={}))
        self._evicted += max(0, len(self) - self.capacity)
        while self._evicted >= self._blocks[0].n_episodes:
            self._evicted -= self._blocks.pop(0).n_episodes

    def sample(self, n_episodes: int, generator: np.random.Generator) -> ReplayBatch:
        """Draw episodes without replacement.

        Raises:
            ValueError: fewer episodes are stored.
        """
        if n_episodes > len(self):
            raise ValueError(f"replay: found {len(self)} episodes, expected at least {n_episodes} to draw from")
        numbers = generator.choice(len(self), size=n_episodes, replace=False) + self._evicted
        ends = np.cumsum([block.n_episodes for block in self._blocks])
        blocks = np.searchsorted(ends, numbers, side="right")
        return replay_batch(
            [
                StoredEpisode(self._blocks[block], int(number - ends[block] + self._blocks[block].n_episodes))
                for number, block in zip(numbers, blocks, strict=True)
            ]
        )

    def state(self) -> dict[str, Tensor]:
        """Everything held, by name; the tensors themselves, not copies."""
        return {"evicted": torch.tensor(self._evicted)} | episodes_state(self._blocks)

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Hold what `state` returned."""
        self._blocks = episodes_from_state({name: value for name, value in tensors.items() if name != "evicted"})
        self._evicted = int(tensors["evicted"])


def replay_batch(episodes: list[StoredEpisode]) -> ReplayBatch:
    """Lay episodes out step by step, the longest first."""
    played = torch.tensor([episode.length for episode in episodes])
    truncated = torch.tensor([episode.truncated for episode in episodes])
    lengths = played + truncated  # rows of each episode
    source, counts, order = pack(_starts(lengths), lengths)  # where a row is while episodes follow each other
    played, truncated, offsets = played[order], truncated[order], _starts(counts)
    step = torch.repeat_interleave(counts)  # of each packed row
    place = torch.arange(len(step)) - offsets[step]  # of the row's episode in the order
    is_played = step < played[place]
    continues = truncated[place] | (step + 1 < played[place])
    actions = _joined(episodes, "actions", axis=1).T
    return ReplayBatch(
        counts=counts,
        obs=_joined(episodes, "obs", axis=1).transpose(0, 1)[source],
        last_actions=torch.where(step[:, None] > 0, actions[source - 1], NO_ACTION_YET),
        avail_actions=_joined(episodes, "avail_actions", axis=1).transpose(0, 1)[source],
        state=_joined(episodes, "state", axis=0)[source],
        played=is_played.nonzero()[:, 0],
        actions=actions[source][is_played],
        reward=_joined(episodes, "reward", axis=0)[source][is_played],
        continues=continues[is_played],
        following=torch.where(continues, offsets[(step + 1).clamp(max=len(counts) - 1)] + place, 0)[is_played],
    )


def _starts(sizes: Tensor) -> Tensor:
    """First row of each group of rows, from the groups' sizes."""
    return sizes.cumsum(0) - sizes


def _joined(episodes: list[StoredEpisode], name: str, axis: int) -> Tensor:
    """One array of all episodes, one after the other along the axis of the rows."""
    parts = []
    for episode in episodes:
        parts.append(episode.steps(name, axis))
        if episode.truncated:
            parts.append(episode.final(name, axis))
    return torch.cat(parts, axis)
