"""Gymnasium's vector API over many battles, the whole team being one agent.

    env = BattleVectorEnv("5m_vs_6m", 256)
    env = gymnasium.make_vec("dm2.adapters.gymnasium:dm2/5m_vs_6m-v0", num_envs=256)  # the same

Importing this module puts every map into Gymnasium's registry: dm2/3m-v0 and so on. With the module before the colon
Gymnasium imports it itself.

How an ended battle goes on is Gymnasium's autoreset mode, `metadata["autoreset_mode"]`:

- same step, the default: reward and flags are those of the step that ended the battle, the observation is the first of
  the next one. infos["final_obs"] holds the last observation of the one that ended and infos["final_info"] its infos,
  as in Gymnasium's own vector environments; infos["_final_obs"] and infos["_final_info"] tell where.
- next step: the observation is the last one; the next step starts the next battle, whatever actions it brings, with
  reward 0.
- disabled: `reset(options={"reset_mask": ended})` starts the next ones of the battles that the mask names.

Masks such as infos["_battle_won"], which tell whose infos there are, hold all battles but, in the next-step mode, those
that a step has just started.
"""

from __future__ import annotations

import secrets
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from dm2.adapters.actions import whole_actions
from dm2.battle.env import BattleEnv
from dm2.settings.maps import map_data

Observation = dict[str, np.ndarray]
OUTCOMES = ("battle_won", "dead_allies", "dead_enemies")


class BattleVectorEnv(gymnasium.vector.VectorEnv[Observation, np.ndarray, np.ndarray]):
    """E battles on one map; the observation is `observation` [E, A, obs_size] and `action_mask` [E, A, n_actions]."""

    def __init__(
        self,
        map_name: str,
        num_envs: int,
        n_threads: int = 1,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
    ) -> None:
        """Open the battles; `reset` starts them.

        Raises:
            ValueError: unknown map or mode, or an impossible number.
        """
        self.num_envs, self.autoreset_mode = num_envs, AutoresetMode(autoreset_mode)
        self.metadata = {"autoreset_mode": self.autoreset_mode, "render_modes": []}
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
        in_same_step = self.autoreset_mode is AutoresetMode.SAME_STEP
        self._env = BattleEnv(self._map_name, self.num_envs, seed, n_threads=self._n_threads, autoreset=in_same_step)
        self._episodes = np.arange(self.num_envs)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start all battles: the first ones of `seed`, or new ones of the seed in use.

        Args:
            seed: of the battles; None: the one in use.
            options: with autoreset disabled "reset_mask", bool [E]: the battles to start, the others go on.

        Raises:
            ValueError: other options, or a mask that names no battle.
        """
        mask = self._reset_mask(seed, options or {})
        if seed is not None:
            self._open(seed)
        self._start(mask)
        return self._observe(), {}

    def _reset_mask(self, seed: int | None, options: dict[str, Any]) -> np.ndarray:
        maskable = self.autoreset_mode is AutoresetMode.DISABLED
        known = {"reset_mask"} if maskable else set()
        if unknown := set(options) - known:
            raise ValueError(f"options: found {sorted(unknown)}, expected none but {sorted(known)}")
        if "reset_mask" not in options:
            return np.ones(self.num_envs, dtype=bool)
        mask = np.asarray(options["reset_mask"])
        if mask.shape != (self.num_envs,) or mask.dtype != bool or not mask.any() or seed is not None:
            raise ValueError(
                f"reset_mask: found {mask.dtype} {mask.shape} with {mask.sum()} battles and seed {seed}, expected bool"
                f" ({self.num_envs},) with one battle at least and no seed: a seed starts all battles"
            )
        return mask

    def _start(self, mask: np.ndarray) -> None:
        """Start the next battles where the mask says."""
        if mask.all():
            self._env.reset(self._episodes)
        else:
            self._env.reset_some(self._episodes, mask)
        self._episodes = self._episodes + self.num_envs * mask

    def step(self, actions: Any) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Play one step of every battle.

        Args:
            actions: whole numbers [E, A] or [E, A, 1], an array, a tensor or nested lists.

        Returns:
            Observations, rewards float64 [E], terminations and truncations bool [E], and infos: battle_won,
            dead_allies and dead_enemies [E], each with a mask; see the module's docstring for the rest.

        Raises:
            ValueError: wrong shape or type, or an action that is not available, naming battle and agent.
            RuntimeError: `reset` was never called, or, with autoreset disabled, a battle has ended and was not reset.
        """
        env, mode = self._env, self.autoreset_mode
        chosen = whole_actions(actions, 2)
        told = np.ones(self.num_envs, dtype=bool)
        if (self._episodes < self.num_envs).all():
            raise RuntimeError("no battle was started: call reset() before step()")
        if mode is AutoresetMode.SAME_STEP or env.active.all():
            env.step(chosen)
        elif mode is AutoresetMode.DISABLED:
            over = np.flatnonzero(~env.active).tolist()
            raise RuntimeError(f"battles {over} are not running: call reset() with reset_mask")
        else:
            told = env.active.copy()
            self._step_and_start(chosen, ~told)
        infos = self._infos(told)
        ended = env.terminated | env.truncated
        if mode is AutoresetMode.SAME_STEP and ended.any():
            infos |= self._finals(ended)
        return self._observe(), env.reward.astype(np.float64), env.terminated.copy(), env.truncated.copy(), infos

    def _step_and_start(self, actions: np.ndarray, ended: np.ndarray) -> None:
        """Play those that run, and start the next battles of those that have ended."""
        if self._env.active.any():
            self._env.step(actions)
        self._start(ended)

    def state(self) -> np.ndarray:
        """The global state of every battle, float32 [E, state_size]."""
        return self._env.state.copy()

    def _observe(self) -> Observation:
        return {"observation": self._env.obs.copy(), "action_mask": self._env.avail_actions.astype(np.int8)}

    def _infos(self, told: np.ndarray) -> dict[str, Any]:
        """What the steps brought where it is told, and 0 elsewhere, with a mask of their own for each."""
        infos: dict[str, Any] = {}
        for name in OUTCOMES:
            infos[name], infos[f"_{name}"] = getattr(self._env, name) * told, told.copy()
        return infos

    def _finals(self, ended: np.ndarray) -> dict[str, Any]:
        """The last observations of the battles that ended, an object array, and their infos, both as in Gymnasium."""
        final = np.full(self.num_envs, None, dtype=object)
        for battle in np.flatnonzero(ended):
            final[battle] = {
                "observation": self._env.final_obs[battle].copy(),
                "action_mask": self._env.final_avail_actions[battle].astype(np.int8),
            }
        return {
            "final_obs": final,
            "_final_obs": ended.copy(),
            "final_info": self._infos(ended),
            "_final_info": ended.copy(),
        }


for _map_name in map_data().maps:
    gymnasium.register(
        f"dm2/{_map_name}-v0", vector_entry_point=f"{__name__}:BattleVectorEnv", kwargs={"map_name": _map_name}
    )
