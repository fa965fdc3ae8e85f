"""A tiny environment with the interface of dm2.core.interface.BatchedEnv, for tests of what plays in it.

Each agent sees a signal (+1 or -1, drawn anew in each step from the seed, the episode's number and the step), the share
of the episode that has passed, and a 1 for being alive. An agent that answers +1 with action 1 and -1 with action 2
earns its share of the step's reward. Agent i is dead from step `deaths[i]` of the episode on. Episodes last between 3
steps and the limit, depending on their number; those as long as the limit are truncated, the others decided.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NO_OP = 0


@dataclass(frozen=True)
class FakeSpec:
    """The fields of dm2.core.interface.EnvSpec."""

    map_name: str = "fake"
    n_agents: int = 2
    n_enemies: int = 1
    n_actions: int = 4
    obs_size: int = 3
    state_size: int = 2
    episode_limit: int = 8
    backend: str = "fake 1"


class FakeEnv:
    """See the module's docstring; `deaths` maps an agent to the step from which on it is dead."""

    def __init__(
        self, n_battles: int, seed: int = 0, spec: FakeSpec | None = None, deaths: dict[int, int] | None = None
    ) -> None:
        self.spec = spec or FakeSpec()
        self.n_battles = n_battles
        self.seed = seed
        self.deaths = {1: 2} if deaths is None else deaths
        agents = self.spec.n_agents
        self.obs = np.zeros((n_battles, agents, self.spec.obs_size), np.float32)
        self.state = np.zeros((n_battles, self.spec.state_size), np.float32)
        self.avail_actions = np.zeros((n_battles, agents, self.spec.n_actions), bool)
        self.reward = np.zeros(n_battles, np.float32)
        self.battle_won = np.zeros(n_battles, bool)
        self.terminated = np.zeros(n_battles, bool)
        self.truncated = np.zeros(n_battles, bool)
        self.active = np.zeros(n_battles, bool)
        self.dead_allies = np.zeros(n_battles, np.int64)
        self.dead_enemies = np.zeros(n_battles, np.int64)
        self.steps = np.zeros(n_battles, np.int64)
        self.episodes = np.zeros(n_battles, np.int64)

    def reset(self, episodes: np.ndarray | None = None) -> None:
        """Start the numbered episodes, one per battle."""
        self.episodes[:] = np.arange(self.n_battles) if episodes is None else episodes
        self.steps[:] = 0
        for ended in (self.battle_won, self.terminated, self.truncated):
            ended[:] = False
        self.reward[:] = 0.0
        self.active[:] = True
        self._observe()

    def length(self, battle: int) -> int:
        """Number of steps of this battle's episode."""
        return 3 + int(self.episodes[battle]) % (self.spec.episode_limit - 2)

    def step(self, actions: np.ndarray) -> None:
        """Pay for right answers, age the battles, end those that are due."""
        self.reward[:] = 0.0
        for battle in np.flatnonzero(self.active):
            for agent in range(self.spec.n_agents):
                if not self.avail_actions[battle, agent, actions[battle, agent]]:
                    raise ValueError(f"agent {agent} cannot take action {actions[battle, agent]}")
            right = actions[battle] == np.where(self.obs[battle, :, 0] > 0, 1, 2)
            self.reward[battle] = right.mean()
            self.steps[battle] += 1
            if self.steps[battle] >= self.length(battle):
                self.active[battle] = False
                self.truncated[battle] = self.length(battle) == self.spec.episode_limit
                self.terminated[battle] = not self.truncated[battle]
                self.battle_won[battle] = self.terminated[battle] and self.episodes[battle] % 2 == 0
        self._observe()

    def _observe(self) -> None:
        for battle in range(self.n_battles):
            step = int(self.steps[battle])
            draws = np.random.Generator(np.random.Philox([self.seed, int(self.episodes[battle]) * 1000 + step]))
            for agent in range(self.spec.n_agents):
                dead = step >= self.deaths.get(agent, self.spec.episode_limit + 1)
                signal = 1.0 if draws.random() < 0.5 else -1.0
                self.avail_actions[battle, agent] = [dead] + [not dead] * (self.spec.n_actions - 1)
                self.obs[battle, agent] = 0.0
                if not dead:
                    self.obs[battle, agent, :2] = signal, step / self.spec.episode_limit
                    self.obs[battle, agent, 2:] = 1.0
            self.dead_allies[battle] = sum(step >= death for death in self.deaths.values())
            self.state[battle] = step, self.episodes[battle]
