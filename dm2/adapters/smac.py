"""StarCraft2Env as in oxwhirl/smac, played by the battle simulator: the same arguments, methods and return types.

Code written for SMAC, PyMARL's runners among it, changes one import:

    from dm2.adapters.smac import MultiAgentEnv, StarCraft2Env  # was: from smac.env import ...

What the simulator cannot honour is refused when the environment is built; every default is accepted. Differences to
the original: `seed` is drawn and remembered if none is given, observations are float32 whatever the options, reset
before a battle's end starts another battle, and there is no game to render or to save replays of.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from dm2.battle import BattleEnv
from dm2.battle.world import ATTACK_DISTANCE, SIGHT

Info = dict[str, int | bool]

REWARD_WIN = 200  # what the simulator's own reward pays for a won battle, before scaling
REWARD_SCALE_RATE = 20
_MOVE_FEATURES = 4

_ACCEPTED: dict[str, tuple[tuple[object, ...], str]] = {
    "step_mul": ((8, None), "an environment step is 8 game loops"),
    "move_amount": ((2,), "a move order goes to the point 2 units away"),
    "difficulty": (("7",), "the enemies know one way to fight"),
    "game_version": ((None,), "no StarCraft II is started"),
    "obs_all_health": ((True,), "observations always tell the health of the units in sight"),
    "obs_last_action": ((False,), "observations do not tell the allies' last actions"),
    "obs_pathing_grid": ((False,), "observations do not tell the walkable ground"),
    "obs_terrain_height": ((False,), "its ground is flat"),
    "reward_only_positive": ((True,), "the reward counts what the enemies lose alone"),
    "reward_death_value": ((10,), "an enemy killed is worth 10"),
    "replay_dir": (("", None), "it writes no StarCraft II replays"),
    "replay_prefix": (("", None), "it writes no StarCraft II replays"),
    "window_size_x": ((1920,), "it opens no window"),
    "window_size_y": ((1200,), "it opens no window"),
    "heuristic_ai": ((False,), "actions are the caller's; dm2.scripted.HeuristicPolicy plays SMAC's heuristic"),
    "debug": ((False,), "it logs nothing"),
}


class MultiAgentEnv(Protocol):
    """What PyMARL asks of an environment."""

    def reset(self) -> tuple[list[np.ndarray], np.ndarray]: ...

    def step(self, actions: Sequence[int]) -> tuple[float, bool, Info]: ...

    def get_obs(self) -> list[np.ndarray]: ...

    def get_obs_agent(self, agent_id: int) -> np.ndarray: ...

    def get_obs_size(self) -> int: ...

    def get_state(self) -> np.ndarray: ...

    def get_state_size(self) -> int: ...

    def get_avail_actions(self) -> list[list[int]]: ...

    def get_avail_agent_actions(self, agent_id: int) -> list[int]: ...

    def get_total_actions(self) -> int: ...

    def get_env_info(self) -> dict[str, Any]: ...

    def get_stats(self) -> dict[str, float]: ...

    def seed(self) -> int: ...

    def render(self) -> None: ...

    def save_replay(self) -> None: ...

    def close(self) -> None: ...


class StarCraft2Env(MultiAgentEnv):
    """One battle at a time; the n-th reset of a seed starts the same battle everywhere."""

    def __init__(
        self,
        map_name: str = "8m",
        step_mul: int | None = 8,
        move_amount: float = 2,
        difficulty: str = "7",
        game_version: str | None = None,
        seed: int | None = None,
        continuing_episode: bool = False,
        obs_all_health: bool = True,
        obs_own_health: bool = True,
        obs_last_action: bool = False,
        obs_pathing_grid: bool = False,
        obs_terrain_height: bool = False,
        obs_instead_of_state: bool = False,
        obs_timestep_number: bool = False,
        state_last_action: bool = True,
        state_timestep_number: bool = False,
        reward_sparse: bool = False,
        reward_only_positive: bool = True,
        reward_death_value: float = 10,
        reward_win: float = REWARD_WIN,
        reward_defeat: float = 0,
        reward_negative_scale: float = 0.5,
        reward_scale: bool = True,
        reward_scale_rate: float = REWARD_SCALE_RATE,
        replay_dir: str | None = "",
        replay_prefix: str | None = "",
        window_size_x: int = 1920,
        window_size_y: int = 1200,
        heuristic_ai: bool = False,
        heuristic_rest: bool = False,
        debug: bool = False,
    ) -> None:
        """Open a map; `reset` starts the first battle.

        SMAC itself ignores obs_own_health with obs_all_health, reward_negative_scale with reward_only_positive and
        heuristic_rest without heuristic_ai: any value of these is accepted.

        Args:
            map_name: a SMAC map that the simulator knows.
            step_mul: 8 game loops per step; no other.
            move_amount: 2; no other.
            difficulty: "7"; no other.
            game_version: None; no other.
            seed: of the battles; drawn if None, see `seed()`.
            continuing_episode: tell in info["episode_limit"] that the limit, not the battle, ended the episode.
            obs_all_health: True; no other.
            obs_own_health: ignored.
            obs_last_action: False; no other.
            obs_pathing_grid: False; no other.
            obs_terrain_height: False; no other.
            obs_instead_of_state: the state is all observations, one after the other.
            obs_timestep_number: observations end with the share of the episode limit that has passed.
            state_last_action: the state tells the last actions, one-hot.
            state_timestep_number: the state ends with the share of the episode limit that has passed.
            reward_sparse: 1 for a victory, -1 for a defeat, nothing else; `reward_scale` still applies.
            reward_only_positive: True; no other.
            reward_death_value: 10; no other.
            reward_win: points for a victory.
            reward_defeat: points for a defeat.
            reward_negative_scale: ignored.
            reward_scale: divide points by max_reward / reward_scale_rate.
            reward_scale_rate: return of a victory with the enemies' whole health and shields taken once.
            replay_dir: empty; no other.
            replay_prefix: empty; no other.
            window_size_x: 1920; no other.
            window_size_y: 1200; no other.
            heuristic_ai: False; no other.
            heuristic_rest: ignored.
            debug: False; no other.

        Raises:
            ValueError: the map is unknown, or an option that the simulator cannot honour.
        """
        _refuse_unsupported(locals())
        self._seed = secrets.randbits(31) if seed is None else seed
        self._env = BattleEnv(map_name, 1, self._seed)
        spec, rules = self._env.spec, self._env.world.rules[0]
        self.map_name = map_name
        self.n_agents, self.n_enemies, self.n_actions = spec.n_agents, spec.n_enemies, spec.n_actions
        self.episode_limit = spec.episode_limit
        self.shield_bits_ally = int(rules["allies_have_shields"])
        self.shield_bits_enemy = int(rules["enemies_have_shields"])
        self.unit_type_bits = int(rules["n_types"])
        types = [f"type_{bit}" for bit in range(self.unit_type_bits)]
        self.ally_state_attr_names = ["health", "energy/cooldown", "rel_x", "rel_y"]
        self.ally_state_attr_names += ["shield"] * self.shield_bits_ally + types
        self.enemy_state_attr_names = ["health", "rel_x", "rel_y", *["shield"] * self.shield_bits_enemy, *types]
        self.continuing_episode = continuing_episode
        self.obs_instead_of_state, self.obs_timestep_number = obs_instead_of_state, obs_timestep_number
        self.state_last_action, self.state_timestep_number = state_last_action, state_timestep_number
        self.reward_sparse, self.reward_win, self.reward_defeat = reward_sparse, reward_win, reward_defeat
        self.reward_scale, self.reward_scale_rate = reward_scale, reward_scale_rate
        self._points = float(rules["max_reward"]) / REWARD_SCALE_RATE  # of a reward of 1 of the simulator
        self.max_reward = float(rules["max_reward"]) + reward_win - REWARD_WIN
        self.last_action = np.zeros((self.n_agents, self.n_actions))
        self.battles_won = self.battles_game = self.timeouts = self.force_restarts = 0
        self._resets = self._episode_steps = 0

    def reset(self) -> tuple[list[np.ndarray], np.ndarray]:
        """Start the next battle; returns observations and state."""
        self._env.reset(np.array([self._resets]))
        self._resets += 1
        self._episode_steps = 0
        self.last_action = np.zeros((self.n_agents, self.n_actions))
        return self.get_obs(), self.get_state()

    def step(self, actions: Sequence[int]) -> tuple[float, bool, Info]:
        """Play one step.

        Args:
            actions: one per agent, numbers or anything that int() takes.

        Returns:
            reward: shared by all agents.
            terminated: the battle is over, by whatever cause.
            info: battle_won, dead_allies, dead_enemies; with continuing_episode also episode_limit, where only the
                limit ended the battle.

        Raises:
            ValueError: a wrong number of actions, or one that is not available.
            RuntimeError: no battle is running.
        """
        chosen = np.array([[int(action) for action in actions]], dtype=np.int64)
        self._env.step(chosen)
        self.last_action = np.eye(self.n_actions)[chosen[0]]
        self._episode_steps += 1
        terminated, timeout = not self._env.active[0], bool(self._env.truncated[0])
        info: Info = {
            "battle_won": bool(self._env.battle_won[0]),
            "dead_allies": int(self._env.dead_allies[0]),
            "dead_enemies": int(self._env.dead_enemies[0]),
        }
        if timeout and self.continuing_episode:
            info["episode_limit"] = True
        self.battles_game += terminated
        self.battles_won += info["battle_won"]
        self.timeouts += timeout
        return self._reward(), terminated, info

    def _reward(self) -> float:
        won = bool(self._env.battle_won[0])
        # with both sides dead nobody has lost, but where there are medivacs SMAC looks at the agents first
        undecided = self._env.dead_enemies[0] == self.n_enemies and not self._env.world.rules[0]["has_healers"]
        lost = bool(self._env.terminated[0]) and not won and not undecided
        if self.reward_sparse:
            points = float(won) - float(lost)
        else:
            points = float(self._env.reward[0]) * self._points
            points += won * (self.reward_win - REWARD_WIN) + lost * self.reward_defeat
        return points / (self.max_reward / self.reward_scale_rate) if self.reward_scale else points

    def get_obs(self) -> list[np.ndarray]:
        """Every agent's observation, float32 [obs_size]; zeros once it is dead."""
        return [self.get_obs_agent(agent_id) for agent_id in range(self.n_agents)]

    def get_obs_agent(self, agent_id: int) -> np.ndarray:
        """One agent's observation, float32 [obs_size]."""
        return np.append(self._env.obs[0, agent_id], self._timestep(self.obs_timestep_number))

    def get_obs_size(self) -> int:
        """Numbers in an observation."""
        return self._env.spec.obs_size + bool(self.obs_timestep_number)

    def get_state(self) -> np.ndarray:
        """The global state, float32 [state_size]."""
        if self.obs_instead_of_state:
            return np.concatenate(self.get_obs())
        actions = self.n_agents * self.n_actions
        state = self._env.state[0] if self.state_last_action else self._env.state[0, :-actions]
        return np.append(state, self._timestep(self.state_timestep_number))

    def get_state_size(self) -> int:
        """Numbers in the state."""
        return len(self.get_state())

    def _timestep(self, wanted: bool) -> np.ndarray:
        return np.full(int(wanted), self._episode_steps / self.episode_limit, dtype=np.float32)

    def get_state_dict(self) -> dict[str, Any]:
        """The state's parts: allies [n_agents, features], enemies [n_enemies, features], last_action, timestep."""
        n_ally, n_enemy = self.get_ally_num_attributes(), self.get_enemy_num_attributes()
        allies, enemies, _ = np.split(self._env.state[0], np.cumsum([self.n_agents * n_ally, self.n_enemies * n_enemy]))
        parts: dict[str, Any] = {"allies": allies.reshape(-1, n_ally), "enemies": enemies.reshape(-1, n_enemy)}
        parts = {name: part.copy() for name, part in parts.items()}
        if self.state_last_action:
            parts["last_action"] = self.last_action
        if self.state_timestep_number:
            parts["timestep"] = self._episode_steps / self.episode_limit
        return parts

    def get_avail_actions(self) -> list[list[int]]:
        """Every agent's available actions, 1 or 0 per action."""
        return [self.get_avail_agent_actions(agent_id) for agent_id in range(self.n_agents)]

    def get_avail_agent_actions(self, agent_id: int) -> list[int]:
        """One agent's available actions, 1 or 0 per action."""
        return self._env.avail_actions[0, agent_id].astype(int).tolist()

    def get_total_actions(self) -> int:
        """Number of actions an agent could ever take."""
        return self.n_actions

    def get_ally_num_attributes(self) -> int:
        """Numbers per agent in the state."""
        return len(self.ally_state_attr_names)

    def get_enemy_num_attributes(self) -> int:
        """Numbers per enemy in the state."""
        return len(self.enemy_state_attr_names)

    def get_obs_move_feats_size(self) -> int:
        """Numbers at the start of an observation that tell where the agent can go."""
        return _MOVE_FEATURES

    def get_obs_enemy_feats_size(self) -> tuple[int, int]:
        """Enemies in an observation, and numbers per enemy."""
        return self.n_enemies, 5 + self.shield_bits_enemy + self.unit_type_bits

    def get_obs_ally_feats_size(self) -> tuple[int, int]:
        """Other agents in an observation, and numbers per agent."""
        return self.n_agents - 1, 5 + self.shield_bits_ally + self.unit_type_bits

    def get_obs_own_feats_size(self) -> int:
        """Numbers at the end of an observation that tell of the agent itself."""
        return 1 + self.shield_bits_ally + self.unit_type_bits + bool(self.obs_timestep_number)

    def get_visibility_matrix(self) -> np.ndarray:
        """Which units each agent sees, bool [n_agents, n_agents + n_enemies]; nobody sees itself."""
        (n_enemies, per_enemy), (n_others, per_ally) = self.get_obs_enemy_feats_size(), self.get_obs_ally_feats_size()
        visible, distance = 0, 1  # places among a unit's numbers; 0 if it is not in sight. Medivacs fly over others
        ends = np.cumsum([_MOVE_FEATURES, n_enemies * per_enemy, n_others * per_ally])
        _, enemies, allies, _ = np.split(self._env.obs[0], ends, axis=1)
        seen = np.zeros((self.n_agents, self.n_agents + self.n_enemies), dtype=bool)
        seen[:, self.n_agents :] = enemies.reshape(self.n_agents, n_enemies, per_enemy)[..., distance] > 0
        others = ~np.eye(self.n_agents, dtype=bool)
        seen[:, : self.n_agents][others] = allies.reshape(self.n_agents, n_others, per_ally)[..., visible].ravel() > 0
        return seen

    def unit_shoot_range(self, agent_id: int) -> float:
        """Distance within which attacks are offered, the same for every agent."""
        return ATTACK_DISTANCE

    def unit_sight_range(self, agent_id: int) -> float:
        """Distance within which an agent sees units, the same for every agent."""
        return SIGHT

    def get_env_info(self) -> dict[str, Any]:
        """Sizes of the interface, and names of the numbers in the state."""
        return {
            "state_shape": self.get_state_size(),
            "obs_shape": self.get_obs_size(),
            "n_actions": self.get_total_actions(),
            "n_agents": self.n_agents,
            "episode_limit": self.episode_limit,
            "agent_features": self.ally_state_attr_names,
            "enemy_features": self.enemy_state_attr_names,
        }

    def get_stats(self) -> dict[str, float]:
        """Counts over all battles that have ended; win_rate is 0 before the first."""
        return {
            "battles_won": self.battles_won,
            "battles_game": self.battles_game,
            "battles_draw": self.timeouts,
            "win_rate": self.battles_won / max(self.battles_game, 1),
            "timeouts": self.timeouts,
            "restarts": self.force_restarts,
        }

    def seed(self) -> int:
        """The seed of the battles."""
        return self._seed

    def render(self, mode: str = "human") -> None:
        """Refused: there is no game to look at.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("the simulator opens no window; get_state() tells where every unit is")

    def save_replay(self) -> None:
        """Refused: there is no game that could write a StarCraft II replay.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "the simulator writes no StarCraft II replays; a battle is a function of seed(), the number of resets and"
            " the actions: keep those"
        )

    def close(self) -> None:
        """Nothing to close: no process runs beside this one."""


def _refuse_unsupported(options: Mapping[str, object]) -> None:
    """Refuse what the simulator cannot honour.

    Raises:
        ValueError: names the option, its value, what is accepted and why.
    """
    for name, (accepted, reason) in _ACCEPTED.items():
        if options[name] not in accepted:
            raise ValueError(
                f"{name}: found {options[name]!r}, expected {' or '.join(map(repr, accepted))}: in the built-in"
                f" simulator {reason}; leave it out, or play the real game through oxwhirl/smac"
            )
