"""PettingZoo's parallel API over one battle.

    env = parallel_env("5m_vs_6m")
    observations, infos = env.reset(seed=1)

Each agent observes a dictionary: `observation`, SMAC's float32 vector, and `action_mask`, int8, 1 where an action is
available. Every agent stays until the battle ends: the reward is the team's, so the dead are still paid; they see zeros
and have one action, no-op (0). A battle that is decided terminates, one that the episode limit ends is truncated, for
all agents at once. `action_space(agent).sample()` draws from the available actions even without a mask.
"""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

from dm2.backends import make_env

Observation = dict[str, np.ndarray]
ByAgent = dict[str, Any]


class AvailableActions(spaces.Discrete):
    """Actions 0 to n - 1, of which those available now are sampled.

    Holds the mask of one agent, bool [n], which the battle overwrites in place.
    """

    def __init__(self, mask: np.ndarray) -> None:
        super().__init__(len(mask))
        self._mask = mask

    def sample(self, mask: np.ndarray | None = None, probability: np.ndarray | None = None) -> np.int64:
        """Draw an action; see gymnasium.spaces.Discrete. Without mask and probability, one that is available."""
        if mask is None and probability is None:
            mask = self._mask.astype(np.int8)
        return super().sample(mask=mask, probability=probability)


class BattleParallelEnv(ParallelEnv[str, Observation, int]):
    """One battle at a time; see the module's docstring."""

    metadata = {"name": "dm2_v0", "render_modes": [], "is_parallelizable": True}  # noqa: RUF012 - as PettingZoo has it
    render_mode = None

    def __init__(self, map_name: str = "8m", backend: str = "simulator") -> None:
        """Open a map; `reset` starts the first battle.

        Raises:
            ValueError: unknown map or backend.
        """
        self._backend, self._map_name = backend, map_name
        self._open(secrets.randbits(31))
        spec = self._env.spec
        self.possible_agents = [f"agent_{i}" for i in range(spec.n_agents)]
        self.agents: list[str] = []
        self.state_space = spaces.Box(-np.inf, np.inf, (spec.state_size,), np.float32)
        self.observation_spaces = {
            agent: spaces.Dict(
                {
                    "observation": spaces.Box(-1.0, 1.0, (spec.obs_size,), np.float32),
                    "action_mask": spaces.Box(0, 1, (spec.n_actions,), np.int8),
                }
            )
            for agent in self.possible_agents
        }
        self._masks = np.zeros((spec.n_agents, spec.n_actions), dtype=bool)
        self.action_spaces = {
            agent: AvailableActions(mask) for agent, mask in zip(self.possible_agents, self._masks, strict=True)
        }

    def _open(self, seed: int) -> None:
        self._env = make_env(self._backend, self._map_name, 1, seed)
        self._episode = 0

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """The same object at every call."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """The same object at every call."""
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[ByAgent, ByAgent]:
        """Start a battle: the first of `seed`, or the next one of the seed in use. There are no options to read."""
        if seed is not None:
            self._open(seed)
        self._env.reset(np.array([self._episode]))
        self._episode += 1
        self.agents = self.possible_agents[:]
        return self._observe(), self._infos()

    def step(self, actions: dict[str, int]) -> tuple[ByAgent, ByAgent, ByAgent, ByAgent, ByAgent]:
        """Play one step.

        Args:
            actions: one per agent by name.

        Returns:
            Observations, rewards, terminations, truncations and infos (battle_won, dead_allies, dead_enemies), all by
            agent; the last three and the rewards are the same for all agents.

        Raises:
            ValueError: actions of other agents than those in the battle, or one that is not available.
            RuntimeError: no battle is running.
        """
        if not self.agents:
            raise RuntimeError("no battle is running: call reset() before step()")
        if set(actions) != set(self.agents):
            raise ValueError(f"actions: found those of {sorted(actions)}, expected one of each of {self.agents}")
        self._env.step(np.array([[int(actions[agent]) for agent in self.agents]], dtype=np.int64))
        outcome = [float(self._env.reward[0]), bool(self._env.terminated[0]), bool(self._env.truncated[0])]
        rewards, terminations, truncations = (dict.fromkeys(self.agents, value) for value in outcome)
        observations, infos = self._observe(), self._infos()
        if not self._env.active[0]:
            self.agents = []
        return observations, rewards, terminations, truncations, infos

    def _observe(self) -> ByAgent:
        self._masks[:] = self._env.avail_actions[0]
        observed = zip(self.possible_agents, self._env.obs[0], self._masks, strict=True)
        return {
            agent: {"observation": obs.copy(), "action_mask": mask.astype(np.int8)} for agent, obs, mask in observed
        }

    def _infos(self) -> ByAgent:
        info = {
            "battle_won": bool(self._env.battle_won[0]),
            "dead_allies": int(self._env.dead_allies[0]),
            "dead_enemies": int(self._env.dead_enemies[0]),
        }
        return {agent: dict(info) for agent in self.possible_agents}

    def state(self) -> np.ndarray:
        """The global state, float32 [state_size]."""
        return self._env.state[0].copy()

    def render(self) -> None:
        """Refused: metadata["render_modes"] is empty.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("this environment draws nothing; state() tells where every unit is")

    def close(self) -> None:
        """Nothing to close: no process runs beside this one."""


parallel_env = BattleParallelEnv
"""The name by which PettingZoo's environments are built."""
