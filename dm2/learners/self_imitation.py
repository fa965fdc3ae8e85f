"""Self-imitation: DM2 whose experts are the team's own best episodes so far.

Source: Wang et al., "DM2" (AAAI 2023), variant SIL. Instead of demonstrations, discriminator D_i is shown the agent's
own rows of the `stored_episodes` episodes with the highest discounted return. Every episode that is played is offered
to the store before the discriminators train.

All agents get the same reward, so all of them store the same episodes, each its own observations and actions of them.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dm2.core.checks import check_shape
from dm2.learners.discriminator_kernels import EpisodeRows
from dm2.learners.distribution_matching import DistributionMatching
from dm2.nets.actor_critic import entries_of
from dm2.play.rollout import Episodes
from dm2.settings.run import RunSettings

if TYPE_CHECKING:
    from dm2.core.interface import EnvSpec
    from dm2.play.demonstrations import Demonstrations


def discounted_returns(reward: Tensor, lengths: Tensor, gamma: float) -> np.ndarray:
    """Sum of gamma^t r_t over each episode.

    Args:
        reward: of each env step, episode after episode, [rows].
        lengths: steps of each episode, int64 [episodes].
        gamma: discount per env step.

    Returns:
        float64 [episodes].
    """
    starts = np.concatenate(([0], np.cumsum(lengths.numpy())))
    step = np.arange(starts[-1]) - np.repeat(starts[:-1], lengths.numpy())
    return np.add.reduceat(gamma**step * reward.numpy().astype(np.float64), starts[:-1])


class BestEpisodes:
    """A store of the episodes with the highest returns.

    A full store keeps the best of what it holds and the episode that is offered; of equal returns the older one. With
    `evict_before_insert` (quirk 8) it throws out its worst episode for whatever is offered, be it worse.

    Attributes:
        capacity: episodes it holds at most.
        evict_before_insert: see above.
        heap: (return, -number, number) of the stored episodes, the worst first; the number counts what was offered.
        episodes: number to the rows of each agent, [rows, columns] each.
        offered: episodes offered so far.
    """

    def __init__(self, capacity: int, evict_before_insert: bool) -> None:
        self.capacity = capacity
        self.evict_before_insert = evict_before_insert
        self.heap: list[tuple[float, int, int]] = []
        self.episodes: dict[int, list[np.ndarray]] = {}
        self.offered = 0

    def __len__(self) -> int:
        """Episodes stored."""
        return len(self.heap)

    def offer(self, returns: np.ndarray, rows: list[EpisodeRows]) -> None:
        """Offer episodes one by one, in their order.

        Args:
            returns: of each episode, [episodes].
            rows: the episodes, per agent.
        """
        for n, value in enumerate(returns.tolist()):
            entry = (value, -self.offered, self.offered)
            self.offered += 1
            out = self._push(entry)
            if out != entry:
                parts = [agent.rows[agent.starts[n] : agent.starts[n + 1]].copy() for agent in rows]
                self.episodes[entry[2]] = parts
            if out is not None:
                self.episodes.pop(out[2], None)

    def _push(self, entry: tuple[float, int, int]) -> tuple[float, int, int] | None:
        """Add an entry; returns the one that had to go."""
        if len(self.heap) < self.capacity:
            heapq.heappush(self.heap, entry)
            return None
        if self.evict_before_insert:
            return heapq.heapreplace(self.heap, entry)
        return heapq.heappushpop(self.heap, entry)

    def rows(self) -> list[EpisodeRows]:
        """The stored episodes, oldest first, per agent."""
        numbers = sorted(self.episodes)
        agents = zip(*(self.episodes[number] for number in numbers), strict=True)
        return [_join(parts) for parts in agents]

    def state(self) -> dict[str, Tensor]:
        """Copies of the stored episodes and their order."""
        numbers = sorted(self.episodes)
        values = {number: value for value, _, number in self.heap}
        state = {
            "returns": torch.tensor([values[number] for number in numbers], dtype=torch.float64),
            "numbers": torch.tensor(numbers, dtype=torch.int64),
            "offered": torch.tensor(self.offered),
        }
        for i, agent in enumerate(self.rows()):
            state |= {f"rows_{i}": torch.from_numpy(agent.rows), f"starts_{i}": torch.from_numpy(agent.starts)}
        return state

    def load_state(self, tensors: Mapping[str, Tensor], n_agents: int) -> None:
        """Go on from what `state` returned.

        Raises:
            ValueError: more episodes than fit.
        """
        numbers = tensors["numbers"].tolist()
        if len(numbers) > self.capacity:
            raise ValueError(f"numbers: found {len(numbers)} stored episodes, expected at most {self.capacity}")
        check_shape("returns", tensors["returns"], (len(numbers),))
        returns = tensors["returns"].tolist()
        self.heap = [(value, -number, number) for value, number in zip(returns, numbers, strict=True)]
        heapq.heapify(self.heap)
        self.offered = int(tensors["offered"])
        agents = range(n_agents if numbers else 0)
        parts = [np.split(tensors[f"rows_{i}"].numpy(), tensors[f"starts_{i}"].numpy()[1:-1]) for i in agents]
        self.episodes = {number: [agent[k].copy() for agent in parts] for k, number in enumerate(numbers)}


def _join(parts: tuple[np.ndarray, ...]) -> EpisodeRows:
    return EpisodeRows(np.concatenate(parts), np.concatenate(([0], np.cumsum([len(part) for part in parts]))))


class SelfImitation(DistributionMatching):
    """IPPO, discriminators and the store of best episodes as one learner.

    Args:
        spec: sizes of the map.
        settings: of the run; the blocks `ippo`, `discriminator` and `self_imitation` must be there.
    """

    def __init__(self, spec: EnvSpec, settings: RunSettings) -> None:
        super().__init__(spec, settings, None)
        assert settings.self_imitation is not None  # `learner_name` reads it to come here
        self.store = BestEpisodes(settings.self_imitation.stored_episodes, settings.quirks.evict_before_insert)

    def expert_rows(self, episodes: Episodes) -> list[EpisodeRows]:
        """The best episodes so far, these among them."""
        returns = discounted_returns(episodes.reward, episodes.lengths, self.ippo.settings.gamma)
        self.store.offer(returns, self.own_rows(episodes))
        return self.store.rows()

    def state(self) -> dict[str, Tensor]:
        """Copies of everything that the next update depends on, by name."""
        return super().state() | {f"store.{name}": value for name, value in self.store.state().items()}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `state` returned.

        Raises:
            ValueError: a tensor is missing or has another shape.
        """
        super().load_state(tensors)
        self.store.load_state(entries_of(tensors, "store"), self.ippo.spec.n_agents)


def build_learner(spec: EnvSpec, settings: RunSettings, demonstrations: Demonstrations | None) -> SelfImitation:
    """The learner of a run; see `dm2.settings.learners.AlgorithmSettings`."""
    return SelfImitation(spec, settings)
