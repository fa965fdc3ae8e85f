"""One interface, several battle engines.

`make_env` opens an engine by its name: `simulator` is the built-in battle simulator (dm2/battle), `starcraft2` the real
game through oxwhirl/smac (dm2/backends/starcraft2.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dm2.config import SettingsError, did_you_mean

BACKENDS = ("simulator", "starcraft2")


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


def check_backend(backend: str) -> None:
    """Refuse an unknown engine.

    Raises:
        SettingsError: `backend` is none of BACKENDS.
    """
    if backend not in BACKENDS:
        raise SettingsError(f"unknown backend {backend!r}; {did_you_mean(backend, BACKENDS)}")


def env_spec(backend: str, map_name: str) -> EnvSpec:
    """Sizes of `map_name`'s interface.

    Raises:
        SettingsError: unknown backend or map.
        UserError: backend starcraft2 without StarCraft II.
    """
    check_backend(backend)
    if backend == "starcraft2":
        from dm2.backends.starcraft2 import starcraft2_spec

        return starcraft2_spec(map_name)
    from dm2.battle import simulator_spec

    return simulator_spec(map_name)


def make_env(
    backend: str,
    map_name: str,
    n_battles: int,
    seed: int,
    *,
    n_threads: int = 1,
    regeneration_pays: bool = True,
    autoreset: bool = False,
) -> BatchedEnv:
    """Open `n_battles` battles.

    Args:
        backend: one of BACKENDS.
        map_name: a SMAC map.
        n_battles: E.
        seed: a battle is a function of (seed, episode number, actions); of StarCraft II this is not promised.
        n_threads: threads of the simulator; they do not change results. Of StarCraft II, games at once: the env then
            has as many battles as divide n_battles evenly, and `dm2.rollout.collect` plays in waves.
        regeneration_pays: SMAC's positive-only reward is an absolute value, so shield that enemies regain pays
            (quirk 4 of the original code); off, it costs nothing and pays nothing.
        autoreset: a battle that ends starts again within the same step.

    Raises:
        SettingsError: unknown backend or map.
        ValueError: an impossible number.
        UserError: backend starcraft2 without StarCraft II, or with an option that SMAC does not have.
    """
    check_backend(backend)
    if backend == "starcraft2":
        return _starcraft2_env(map_name, n_battles, seed, n_threads, regeneration_pays, autoreset)
    from dm2.battle import BattleEnv

    return BattleEnv(
        map_name, n_battles, seed, n_threads=n_threads, regeneration_pays=regeneration_pays, autoreset=autoreset
    )


def _starcraft2_env(
    map_name: str, n_battles: int, seed: int, n_threads: int, regeneration_pays: bool, autoreset: bool
) -> BatchedEnv:
    from dm2.backends.starcraft2 import StarCraft2Battles
    from dm2.errors import UserError

    if n_battles < 1 or n_threads < 1:
        raise ValueError(f"n_battles {n_battles}, n_threads {n_threads}: expected >= 1")
    if not regeneration_pays:
        raise UserError("backend starcraft2: found regeneration_pays false, expected true; SMAC's reward is always so")
    if autoreset:
        raise UserError("backend starcraft2: found autoreset, expected none; reset the battles once all have ended")
    games = max(number for number in range(1, min(n_battles, n_threads) + 1) if n_battles % number == 0)
    return StarCraft2Battles(map_name, games, seed)
