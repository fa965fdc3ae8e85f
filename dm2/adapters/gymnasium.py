"""Gymnasium's vector API over many battles, the whole team being one agent.

Autoreset mode: same step (`metadata["autoreset_mode"]`). Where a battle ends, reward and flags are those of the step
that ended it, the observation is the first of the next battle, and infos["final_obs"] holds the last of the one that
ended, as Gymnasium's own vector environments have it, with infos["_final_obs"] telling where.
"""

from __future__ import annotations

import secrets
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from dm2.battle import BattleEnv

Observation = dict[str, np.ndarray]


class BattleVectorEnv(gymnasium.vector.VectorEnv[Observation, np.ndarray, np.ndarray]):
    """E battles on one map; the observation is `observation` [E, A, obs_size] and `action_mask` [E, A, n_actions]."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}  # noqa: RUF012 - as Gymnasium has it

    def __init__(self, map_name: str, num_envs: int, n_threads: int = 1) -> None:
        """Open the battles; `reset` starts them.

        Raises:
            ValueError: unknown map, or an impossible number.
        """
        self.num_envs = num_envs
        self._map_name, self._n_threads = map_name, n_threads
        self._open(secrets.randbits(31))
        spec = self._env.spec
        self.single_observation_space = spaces.Dict(
            {
                "observation": spaces.Box(-1.0, 1.0, (spec.n_agents, spec.obs_size), np.float32),
                "action_mask": spaces.Box(0, 1, (spec.n_agents, spec.n_actions), np.int8),
            }
        )
        self.single_action_space = spaces.MultiDiscrete([spec.n_actions] * spec.n_agents)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def _open(self, seed: int) -> None:
        self._env = BattleEnv(self._map_name, self.num_envs, seed, n_threads=self._n_threads, autoreset=True)
        self._episodes = np.arange(self.num_envs)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start all battles: the first ones of `seed`, or new ones of the seed in use. There are no options to read."""
        if seed is not None:
            self._open(seed)
        self._env.reset(self._episodes)
        self._episodes = self._episodes + self.num_envs
        return self._observe(), {}

    def step(self, actions: np.ndarray) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Play one step of every battle.

        Args:
            actions: int64 [E, A].

        Returns:
            Observations, rewards float64 [E], terminations and truncations bool [E], and infos: battle_won,
            dead_allies and dead_enemies [E]; where a battle ended also final_obs and _final_obs.

        Raises:
            ValueError: wrong shape or type, or an action that is not available, naming battle and agent.
            RuntimeError: `reset` was never called.
        """
        self._env.step(actions)
        infos: dict[str, Any] = {
            name: getattr(self._env, name).copy() for name in ("battle_won", "dead_allies", "dead_enemies")
        }
        ended = self._env.terminated | self._env.truncated
        if ended.any():
            infos |= self._final_observations(ended)
        flags = self._env.terminated.copy(), self._env.truncated.copy()
        return self._observe(), self._env.reward.astype(np.float64), *flags, infos

    def _observe(self) -> Observation:
        return {"observation": self._env.obs.copy(), "action_mask": self._env.avail_actions.astype(np.int8)}

    def _final_observations(self, ended: np.ndarray) -> dict[str, Any]:
        """The last observations of the battles that ended, an object array as in Gymnasium."""
        final = np.full(self.num_envs, None, dtype=object)
        for battle in np.flatnonzero(ended):
            obs = self._env.final_obs[battle].copy()
            final[battle] = {"observation": obs, "action_mask": self._mask_told_by(obs)}
        return {"final_obs": final, "_final_obs": ended}

    def _mask_told_by(self, obs: np.ndarray) -> np.ndarray:
        """Available actions as the observations [A, obs_size] themselves tell them, int8 [A, n_actions].

        An observation begins with the four moves; each enemy's numbers begin with whether it can be attacked.
        """
        spec, rules = self._env.spec, self._env.world.rules[0]
        per_enemy = 5 + int(rules["enemies_have_shields"]) + int(rules["n_types"])
        alive = obs.any(axis=1, keepdims=True)
        attacks = obs[:, 4 : 4 + spec.n_enemies * per_enemy : per_enemy]
        return np.concatenate([~alive, alive, obs[:, :4], attacks], axis=1).astype(np.int8)
