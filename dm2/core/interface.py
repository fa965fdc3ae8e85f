"""What everything that plays expects of an engine: the sizes of a map's interface, and battles stepped at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class EnvSpec:
    """Sizes of a map's interface, as SMAC defines them."""

    map_name: str
    n_agents: int
    n_enemies: int
    n_actions: int
    obs_size: int
    state_size: int
    episode_limit: int
    backend: str  # engine and its version; recorded in every result


class BatchedEnv(Protocol):
    """E battles stepped at once; all buffers are preallocated and overwritten in place.

    Attributes:
        obs: float32 [E, A, obs_size]; zeros once an agent is dead.
        state: float32 [E, state_size].
        avail_actions: bool [E, A, n_actions]; a dead agent has only no-op (0).
        reward: float32 [E], of the last step.
        battle_won, terminated, truncated: bool [E]; terminated = decided, truncated = ended by the episode limit alone.
        active: bool [E]; a finished battle keeps its last observations, with reward 0, until it is reset.
        dead_allies, dead_enemies: int64 [E].
    """

    spec: EnvSpec
    n_battles: int
    obs: np.ndarray
    state: np.ndarray
    avail_actions: np.ndarray
    reward: np.ndarray
    battle_won: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    active: np.ndarray
    dead_allies: np.ndarray
    dead_enemies: np.ndarray

    def reset(self, episodes: np.ndarray | None = None) -> None:
        """Start every battle; battle e plays episode `episodes[e]` (int64 [E], by default 0..E-1) of the env's seed."""

    def step(self, actions: np.ndarray) -> None:
        """Play one environment step with actions, int64 [E, A]; those of finished battles are ignored."""


def check_actions(
    env: BatchedEnv, actions: np.ndarray, first_unavailable: Callable[[np.ndarray], tuple[int, int]]
) -> None:
    """Refuse actions that the battles cannot be stepped with.

    Args:
        env: the battles.
        actions: what `BatchedEnv.step` was given.
        first_unavailable: finds battle and agent of an unavailable action among the running battles; (-1, -1) if all
            are available. It is asked once shape and type are right.

    Raises:
        ValueError: wrong shape or type, or an action that is not available, naming battle and agent.
        RuntimeError: no battle is running.
    """
    expected = (env.n_battles, env.spec.n_agents)
    if actions.shape != expected or actions.dtype != np.int64:
        raise ValueError(f"actions: expected int64 {expected}, found {actions.dtype} {actions.shape}")
    if not env.active.any():
        raise RuntimeError("every battle has ended: call reset() before step()")
    battle, agent = first_unavailable(actions)
    if battle >= 0:
        available = np.flatnonzero(env.avail_actions[battle, agent]).tolist()
        raise ValueError(
            f"battle {battle}, agent {agent}: action {actions[battle, agent]} is not available; available: {available}"
        )
