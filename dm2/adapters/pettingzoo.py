"""PettingZoo's parallel API over one battle.

    env = parallel_env("5m_vs_6m")
    observations, infos = env.reset(seed=1)

Each agent observes a dictionary: `observation`, SMAC's float32 vector, and `action_mask`, int8, 1 where an action is
available. Every agent stays until the battle ends: the reward is the team's, so the dead are still paid; they see zeros
and have one action, no-op (0), which nobody else has. A battle that is decided terminates, one that the episode limit
or `max_cycles` ends is truncated, for all agents at once. `action_space(agent).sample()` draws from the available
actions even without a mask.
"""

from __future__ import annotations

import secrets
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

from dm2.adapters.actions import whole_actions
from dm2.backends.make_env import make_env
from dm2.backends.starcraft2 import StarCraft2Battles
from dm2.battle.env import BattleEnv

RENDER_MODES = ["rgb_array"]

Observation = dict[str, np.ndarray]
ByAgent = dict[str, Any]


class AvailableActions(spaces.Discrete):
    """Actions 0 to n - 1, of which those available now are sampled.

    Holds the masks of all agents, bool [A, n], which the battle overwrites in place; those of a copied battle are
    shared with its own spaces.
    """

    def __init__(self, masks: np.ndarray, agent: int) -> None:
        super().__init__(masks.shape[1])
        self._masks, self._agent = masks, agent

    def sample(self, mask: np.ndarray | None = None, probability: np.ndarray | None = None) -> np.int64:
        """Draw an action; see gymnasium.spaces.Discrete. Without mask and probability, one that is available."""
        if mask is None and probability is None:
            mask = self._masks[self._agent].astype(np.int8)
        return super().sample(mask=mask, probability=probability)


class BattleParallelEnv(ParallelEnv[str, Observation, int]):
    """One battle at a time; see the module's docstring."""

    metadata = {  # noqa: RUF012 - as PettingZoo has it
        "name": "dm2_v0",
        "render_modes": RENDER_MODES,
        "is_parallelizable": True,
        "render_fps": 3,  # env steps in a second of the game's speed "faster"
    }

    def __init__(
        self,
        map_name: str = "8m",
        backend: str = "simulator",
        render_mode: str | None = None,
        seed: int | None = None,
        max_cycles: int | None = None,
    ) -> None:
        """Open a map; `reset` starts the first battle.

        Args:
            map_name: a SMAC map.
            backend: one of dm2.settings.run.BACKENDS.
            render_mode: "rgb_array" for pictures of the simulator, or None.
            seed: of the battles until `reset` names another; drawn if None.
            max_cycles: env steps after which a battle is truncated, if the map's episode limit does not come first.

        Raises:
            ValueError: unknown map, backend or render mode, or an impossible number.
        """
        if render_mode is not None and (render_mode not in RENDER_MODES or backend != "simulator"):
            raise ValueError(
                f"render_mode: found {render_mode!r} with backend {backend!r}, expected None, or one of"
                f" {RENDER_MODES} with backend 'simulator'"
            )
        if max_cycles is not None and max_cycles < 1:
            raise ValueError(f"max_cycles: found {max_cycles}, expected at least 1, or None")
        self.render_mode, self._max_cycles = render_mode, max_cycles
        self._backend, self._map_name = backend, map_name
        self._open(secrets.randbits(31) if seed is None else seed)
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
        self.action_spaces = {agent: AvailableActions(self._masks, i) for i, agent in enumerate(self.possible_agents)}

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
        self._cycles = 0
        self.agents = self.possible_agents[:]
        return self._observe(), self._infos()

    def step(self, actions: dict[str, int]) -> tuple[ByAgent, ByAgent, ByAgent, ByAgent, ByAgent]:
        """Play one step.

        Args:
            actions: one per agent by name, a whole number or an array of one.

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
        self._env.step(whole_actions([actions[agent] for agent in self.agents], 1)[None])
        self._cycles += 1
        terminated = bool(self._env.terminated[0])
        truncated = bool(self._env.truncated[0]) or (self._cycles == self._max_cycles and not terminated)
        outcome = [float(self._env.reward[0]), terminated, truncated]
        rewards, terminations, truncations = (dict.fromkeys(self.agents, value) for value in outcome)
        observations, infos = self._observe(), self._infos()
        if terminated or truncated:
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

    def render(self) -> np.ndarray | None:
        """The battle as a picture, uint8 [height, width, 3]; None, with a warning, without a render mode."""
        if self.render_mode is None:
            gymnasium.logger.warn("render() shows nothing: the environment was built without render_mode='rgb_array'")
            return None
        from dm2.viewer.watch import draw_moment

        assert isinstance(self._env, BattleEnv)
        return draw_moment(self._env)

    def close(self) -> None:
        """End the game of backend starcraft2; beside the simulator no process runs."""
        self.agents = []
        if isinstance(self._env, StarCraft2Battles):
            self._env.close()


parallel_env = BattleParallelEnv
"""The name by which PettingZoo's environments are built."""
