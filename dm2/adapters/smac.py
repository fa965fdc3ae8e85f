"""StarCraft2Env as in oxwhirl/smac, played by the battle simulator: the same arguments, methods, attributes and types.

Code written for SMAC, PyMARL's runners among it, runs as it is, or changes one import:

    python -m dm2.adapters.smac their_script.py ...
    from dm2.adapters.smac import MultiAgentEnv, StarCraft2Env  # was: from smac.env import ...

What the simulator cannot honour is refused when the environment is built; every default is accepted. Differences to
the original: `seed` is drawn and remembered if none is given, observations are float32 whatever the options, reset
before a battle's end starts another battle, unit types have their numbers and `max_reward` its value before the first
reset, `heuristic_ai` gives the dead no orders, and there is no game: neither a process, nor messages to one
(`get_agent_action`), nor a window.
"""

from __future__ import annotations

import enum
import logging
import math
import secrets
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dm2.adapters.actions import whole_actions
from dm2.adapters.battle_sequence import BattleSequence
from dm2.adapters.smac_maps import allied_types, get_map_params
from dm2.adapters.smac_units import Frame, SmacUnit, UnitTypes
from dm2.battle.env import BattleEnv
from dm2.battle.rules_of_smac import (
    ATTACK_DISTANCE,
    DISTANCE,
    EAST,
    FIRST_ATTACK,
    HEALTH,
    MOVE_DISTANCE,
    MOVE_FEATURES,
    NO_OP,
    NORTH,
    OWN_FEATURES,
    REWARD_DEATH_VALUE,
    REWARD_SCALE_RATE,
    REWARD_WIN,
    SIGHT,
    SOUTH,
    UNIT_FEATURES,
    VISIBLE,
    WEST,
    FeatureSizes,
)
from dm2.battle.scenario import map_data
from dm2.core.checks import check_shape

Info = dict[str, int | bool]

LEVEL_GROUND = 127 / 255  # the height of all ground: 0 in the game's own scale

_log = logging.getLogger(__name__)

_ACCEPTED: dict[str, tuple[tuple[object, ...], str]] = {
    "step_mul": ((8, None), "an environment step is 8 game loops"),
    "move_amount": ((2,), "a move order goes to the point 2 units away"),
    "difficulty": (("7",), "the enemies know one way to fight"),
    "game_version": ((None,), "no StarCraft II is started"),
    "obs_terrain_height": ((False,), "its ground is flat"),
}
_WITHOUT_EFFECT: dict[str, tuple[object, str]] = {
    "window_size_x": (1920, "it opens no window"),
    "window_size_y": (1200, "it opens no window"),
    "debug": (False, "it logs nothing"),
}


class Direction(enum.IntEnum):
    """Where a unit can move."""

    NORTH = 0
    SOUTH = 1
    EAST = 2
    WEST = 3


_STEPS = {Direction.NORTH: (0, 1), Direction.SOUTH: (0, -1), Direction.EAST: (1, 0), Direction.WEST: (-1, 0)}


class MultiAgentEnv:
    """What PyMARL asks of an environment: SMAC's base class."""

    n_agents: int
    episode_limit: int

    def step(self, actions: Any) -> tuple[float, bool, Info]:
        """Returns reward, terminated, info."""
        raise NotImplementedError

    def reset(self) -> tuple[list[np.ndarray], np.ndarray]:
        """Returns observations and state."""
        raise NotImplementedError

    def get_obs(self) -> list[np.ndarray]:
        """Every agent's observation."""
        raise NotImplementedError

    def get_obs_agent(self, agent_id: int) -> np.ndarray:
        """One agent's observation."""
        raise NotImplementedError

    def get_obs_size(self) -> int:
        """Numbers in an observation."""
        raise NotImplementedError

    def get_state(self) -> np.ndarray:
        """The global state."""
        raise NotImplementedError

    def get_state_size(self) -> int:
        """Numbers in the state."""
        raise NotImplementedError

    def get_avail_actions(self) -> list[list[int]]:
        """Every agent's available actions."""
        raise NotImplementedError

    def get_avail_agent_actions(self, agent_id: int) -> list[int]:
        """One agent's available actions."""
        raise NotImplementedError

    def get_total_actions(self) -> int:
        """Number of actions an agent could ever take."""
        raise NotImplementedError

    def seed(self) -> int:
        """The seed of the battles."""
        raise NotImplementedError

    def render(self) -> Any:
        """Show the battle."""
        raise NotImplementedError

    def save_replay(self) -> Any:
        """Save the last battle."""
        raise NotImplementedError

    def close(self) -> None:
        """End what runs beside."""
        raise NotImplementedError

    def get_env_info(self) -> dict[str, Any]:
        """Sizes of the interface."""
        return {
            "state_shape": self.get_state_size(),
            "obs_shape": self.get_obs_size(),
            "n_actions": self.get_total_actions(),
            "n_agents": self.n_agents,
            "episode_limit": self.episode_limit,
        }


class StarCraft2Env(MultiAgentEnv):
    """One battle at a time.

    Attributes:
        agents: the agents' units (see dm2.adapters.smac_units.SmacUnit), by number; empty before the first reset.
        enemies: the enemies' units, likewise.
        previous_ally_units: the agents' units before the last step; None before the first.
        previous_enemy_units: the enemies' units, likewise.
        death_tracker_ally: 1 for each agent that is dead, float64 [n_agents].
        death_tracker_enemy: 1 for each enemy that is dead, float64 [n_enemies].
        win_counted: whether the battle is won.
        defeat_counted: whether it is lost.
        last_action: one-hot, float64 [n_agents, n_actions].
        pathing_grid: where units on the ground can go, bool [map_x, map_y].
        terrain_height: LEVEL_GROUND everywhere, float64 [map_x, map_y].
    """

    n_actions_no_attack = FIRST_ATTACK
    n_actions_move: ClassVar[int] = MOVE_FEATURES
    n_obs_pathing: ClassVar[int] = 8
    n_obs_height: ClassVar[int] = 9

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
        reward_death_value: float = REWARD_DEATH_VALUE,
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
        *,
        battles_follow_history: bool = True,
    ) -> None:
        """Open a map; `reset` starts the first battle.

        SMAC itself ignores obs_own_health with obs_all_health, reward_negative_scale with reward_only_positive and
        heuristic_rest without heuristic_ai. Options without effect here are accepted with a warning.

        Args:
            map_name: a SMAC map that the simulator knows.
            step_mul: 8 game loops per step; no other.
            move_amount: 2; no other.
            difficulty: "7"; no other.
            game_version: None; no other.
            seed: of the battles, an integer >= 0; drawn if None, see `seed()`.
            continuing_episode: tell in info["episode_limit"] that the limit, not the battle, ended the episode.
            obs_all_health: observations tell health and shields of the units in sight, and the agent's own.
            obs_own_health: observations tell the agent's own health and shields.
            obs_last_action: observations tell the last actions of the other agents in sight, one-hot.
            obs_pathing_grid: observations tell where the ground is walkable at eight points around.
            obs_terrain_height: False; no other.
            obs_instead_of_state: the state is all observations, one after the other.
            obs_timestep_number: observations end with the share of the episode limit that has passed (SMAC puts a zero
                before it, which its own get_obs_size() does not count).
            state_last_action: the state tells the last actions, one-hot.
            state_timestep_number: the state ends with the share of the episode limit that has passed.
            reward_sparse: 1 for a victory, -1 for a defeat, nothing else; `reward_scale` still applies.
            reward_only_positive: losses of the agents cost nothing, and the absolute value of the rest is paid.
            reward_death_value: points for an enemy killed.
            reward_win: points for a victory.
            reward_defeat: points for a defeat.
            reward_negative_scale: what a point of the agents' losses costs.
            reward_scale: divide points by max_reward / reward_scale_rate.
            reward_scale_rate: return of a victory with the enemies' whole health and shields taken once.
            replay_dir: folder that `save_replay` writes to.
            replay_prefix: how the names of its files begin; by default the map's name.
            window_size_x: without effect.
            window_size_y: without effect.
            heuristic_ai: the agents attack the nearest enemy, whatever actions are given.
            heuristic_rest: the heuristic keeps to the available actions.
            debug: without effect.
            battles_follow_history: not SMAC's: a later battle depends on the actions played so far too, as in the
                game, so that several environments of one seed part once they are played differently; else the n-th
                battle of a seed is the same in all of them.

        Raises:
            ValueError: the map is unknown, the seed no integer >= 0, or an option that the simulator cannot honour.
        """
        _check_options(locals())
        self._env = BattleEnv(map_name, 1, secrets.randbits(31) if seed is None else seed)
        self._battles = BattleSequence(self._env.seed, battles_follow_history)
        self.map_name, self.difficulty, self.game_version = map_name, difficulty, game_version
        self.continuing_episode, self.debug = continuing_episode, debug
        self.obs_all_health, self.obs_own_health = obs_all_health, obs_own_health or obs_all_health
        self.obs_last_action, self.obs_pathing_grid = obs_last_action, obs_pathing_grid
        self.obs_terrain_height, self.obs_instead_of_state = obs_terrain_height, obs_instead_of_state
        self.obs_timestep_number, self.state_timestep_number = obs_timestep_number, state_timestep_number
        self.state_last_action = state_last_action
        self.reward_sparse, self.reward_only_positive = reward_sparse, reward_only_positive
        self.reward_death_value, self.reward_negative_scale = reward_death_value, reward_negative_scale
        self.reward_win, self.reward_defeat = reward_win, reward_defeat
        self.reward_scale, self.reward_scale_rate = reward_scale, reward_scale_rate
        self.replay_dir, self.replay_prefix = replay_dir, replay_prefix
        self.window_size = (window_size_x, window_size_y)
        self.heuristic_ai, self.heuristic_rest = heuristic_ai, heuristic_rest
        self._describe_map()
        self.renderer = self.last_stats = None
        self.battles_won = self.battles_game = self.timeouts = self.force_restarts = 0
        self.reward = 0.0
        self._begin()

    def _describe_map(self) -> None:
        """What of the map clients read."""
        spec, world, parameters = self._env.spec, self._env.world, get_map_params(self.map_name)
        rules = world.rules[0]
        self.n_agents, self.n_enemies, self.n_actions = spec.n_agents, spec.n_enemies, spec.n_actions
        self.episode_limit = spec.episode_limit
        self.map_type, self.unit_type_bits = parameters["map_type"], parameters["unit_type_bits"]
        self.shield_bits_ally = int(rules["allies_have_shields"])
        self.shield_bits_enemy = int(rules["enemies_have_shields"])
        types = [f"type_{bit}" for bit in range(self.unit_type_bits)]
        self.ally_state_attr_names = ["health", "energy/cooldown", "rel_x", "rel_y"]
        self.ally_state_attr_names += ["shield"] * self.shield_bits_ally + types
        self.enemy_state_attr_names = ["health", "rel_x", "rel_y", *["shield"] * self.shield_bits_enemy, *types]
        self._sizes = FeatureSizes.of(rules)
        self.map_x = self.map_y = int(rules["map_size"])
        self.max_distance_x = self.max_distance_y = float(rules["playable_size"])
        self.pathing_grid = world.walkable.copy()
        self.terrain_height = np.full(self.pathing_grid.shape, LEVEL_GROUND)
        self._types = UnitTypes.of(self.map_name, world)
        allied = allied_types(map_data().maps[self.map_name])
        self.marine_id, self.marauder_id = allied.get("Marine", 0), allied.get("Marauder", 0)
        self.medivac_id, self.hydralisk_id = allied.get("Medivac", 0), allied.get("Hydralisk", 0)
        self.zergling_id, self.baneling_id = allied.get("Zergling", 0), allied.get("Baneling", 0)
        self.stalker_id, self.zealot_id = allied.get("Stalker", 0), allied.get("Zealot", 0)
        self.colossus_id = allied.get("Colossus", 0)
        self._points = float(rules["max_reward"]) / REWARD_SCALE_RATE  # of a reward of 1 of the simulator
        self.max_reward = float(rules["max_reward"]) + self.reward_win - REWARD_WIN
        self.max_reward += (self.reward_death_value - REWARD_DEATH_VALUE) * self.n_enemies
        self._others = np.array([[k for k in range(self.n_agents) if k != agent] for agent in range(self.n_agents)])
        self._one_hot = np.eye(self.n_actions)

    def _begin(self) -> None:
        """Forget the last battle."""
        self.last_action = np.zeros((self.n_agents, self.n_actions))
        self.win_counted = self.defeat_counted = False
        self._episode_steps = 0
        self._recordable = True
        self._frame: Frame | None = None
        self._previous_frame: Frame | None = None
        self.heuristic_targets: list[int | None] = [None] * self.n_agents

    # --- playing ---------------------------------------------------------------------------------------------------

    def reset(self) -> tuple[list[np.ndarray], np.ndarray]:
        """Start the next battle; returns observations and state."""
        self._begin()
        self._env.reset(np.array([self._battles.begin_next()]))
        self._frame = Frame.of(self._env.battles, None)
        return self.get_obs(), self.get_state()

    def full_restart(self) -> None:
        """Begin with the seed's first battle again, as a game that is started anew does."""
        self._battles = BattleSequence(self._env.seed, self._battles.follows_history)
        self.force_restarts += 1
        self.reset()

    def step(self, actions: Any) -> tuple[float, bool, Info]:
        """Play one step.

        Args:
            actions: one per agent: an array, a tensor or a sequence of whole numbers, [n_agents] or [n_agents, 1]. With
                heuristic_ai any will do, and those chosen are written there.

        Returns:
            reward: shared by all agents.
            terminated: the battle is over, by whatever cause.
            info: battle_won, dead_allies, dead_enemies; with continuing_episode also episode_limit, where only the
                limit ended the battle.

        Raises:
            ValueError: a wrong number of actions, one that is no whole number, one that is not available (with
                heuristic_ai: that there is not), or with heuristic_ai a sequence that cannot be written to; nothing
                was played.
            RuntimeError: no battle is running.
        """
        given, env = whole_actions(actions, 1), self._env
        if self.heuristic_ai:
            played = self._play_heuristic(given, actions)
        else:
            played = given
            env.step(given[None])
        self._battles.actions.append(played)
        self.last_action = self._one_hot[given]
        self._previous_frame, self._frame = self._frame, Frame.of(env.battles, self._frame)
        self._episode_steps += 1
        terminated, timeout, won = not env.active[0], bool(env.truncated[0]), bool(env.battle_won[0])
        info: Info = {
            "battle_won": won,
            "dead_allies": int(env.dead_allies[0]),
            "dead_enemies": int(env.dead_enemies[0]),
        }
        if timeout and self.continuing_episode:
            info["episode_limit"] = True
        self.win_counted, self.defeat_counted = won, terminated and self._is_lost()
        self.battles_game += terminated
        self.battles_won += self.win_counted
        self.timeouts += timeout
        self.reward = self._reward(won, self.defeat_counted)
        return self.reward, terminated, info

    def _is_lost(self) -> bool:
        env = self._env
        # with both sides dead nobody has lost, but where there are medivacs SMAC looks at the agents first
        undecided = env.dead_enemies[0] == self.n_enemies and not env.world.rules[0]["has_healers"]
        return bool(env.terminated[0]) and not env.battle_won[0] and not undecided

    def _reward(self, won: bool, lost: bool) -> float:
        if self.reward_sparse:
            points = float(won) - float(lost)
        elif self.reward_only_positive and self.reward_death_value == REWARD_DEATH_VALUE:
            points = float(self._env.reward[0]) * self._points
            points += won * (self.reward_win - REWARD_WIN) + lost * self.reward_defeat
        else:
            points = self.reward_battle() + won * self.reward_win + lost * self.reward_defeat
        return points / (self.max_reward / self.reward_scale_rate) if self.reward_scale else points

    def reward_battle(self) -> float:
        """Points for the last step, but for victory and defeat; 0 with reward_sparse and before the first step."""
        if self.reward_sparse or self._frame is None or self._previous_frame is None:
            return 0.0
        hurt = self._previous_frame.vitality - self._frame.vitality  # [U]
        died = self._previous_frame.alive & ~self._frame.alive
        losses = hurt + died * self.reward_death_value
        theirs, ours = float(losses[self.n_agents :].sum()), float(losses[: self.n_agents].sum())
        return abs(theirs) if self.reward_only_positive else theirs - self.reward_negative_scale * ours

    # --- the heuristic ---------------------------------------------------------------------------------------------

    def _play_heuristic(self, given: np.ndarray, actions: Any) -> np.ndarray:
        """One step of the heuristic, whose actions, int64 [n_agents], are written over those given."""
        check_shape("actions", given, (self.n_agents,))
        if not self._env.active[0]:
            raise RuntimeError("every battle has ended: call reset() before step()")
        if not 0 <= given.min() <= given.max() < self.n_actions:
            raise ValueError(f"actions: found {given.tolist()}, expected numbers from 0 to {self.n_actions - 1}")
        if not hasattr(actions, "__setitem__"):
            raise ValueError(
                f"actions: found {type(actions).__name__}, expected an array or a list, to which heuristic_ai writes"
                " what it has chosen"
            )
        chosen = [self._heuristic_action(agent) for agent in range(self.n_agents)]
        for agent, action in enumerate(chosen):
            actions[agent] = action
        played = np.array(chosen)
        self._recordable &= bool(self._env.avail_actions[0, range(self.n_agents), chosen].all())
        self._env.play(played[None])
        return played

    def _heuristic_action(self, agent: int) -> int:
        """Attack or heal the nearest one until that is done; with heuristic_rest walk there first."""
        unit = self.agents[agent]
        if unit.health == 0:
            return NO_OP
        heals = unit.unit_type == self.medivac_id
        candidates = self.agents if heals else self.enemies
        target = self.heuristic_targets[agent]
        if target is None or not self._is_worthy(unit, candidates[target]):
            target = self._nearest(unit, candidates)
            self.heuristic_targets[agent] = target
        if target is None:
            return NO_OP  # goes on with its last order
        action = FIRST_ATTACK + target
        if not self.heuristic_rest or self._env.avail_actions[0, agent, action]:
            return action
        dx, dy = candidates[target].pos.x - unit.pos.x, candidates[target].pos.y - unit.pos.y
        if abs(dx) > abs(dy):
            return EAST if dx > 0 else WEST
        return NORTH if dy > 0 else SOUTH

    def _is_worthy(self, unit: SmacUnit, other: SmacUnit) -> bool:
        if other.health == 0:
            return False
        return unit.unit_type != self.medivac_id or other.health != other.health_max

    def _nearest(self, unit: SmacUnit, candidates: Mapping[int, SmacUnit]) -> int | None:
        far = math.hypot(self.max_distance_x, self.max_distance_y)
        distances = {
            number: self.distance(unit.pos.x, unit.pos.y, other.pos.x, other.pos.y)
            for number, other in candidates.items()
            if other.unit_type != self.medivac_id and self._is_worthy(unit, other)
        }
        nearest = min(distances, key=distances.__getitem__, default=None)
        return nearest if nearest is not None and distances[nearest] < far else None

    # --- observations and state ------------------------------------------------------------------------------------

    def get_obs(self) -> list[np.ndarray]:
        """Every agent's observation, float32 [obs_size]; zeros once it is dead."""
        return list(self._observations())

    def get_obs_agent(self, agent_id: int) -> np.ndarray:
        """One agent's observation, float32 [obs_size]."""
        return self._observations()[agent_id].copy()

    def _observations(self) -> np.ndarray:
        """Float32 [n_agents, obs_size], a copy."""
        obs = self._env.obs[0]
        if not self.obs_all_health or self.obs_last_action or self.obs_pathing_grid:
            obs = np.concatenate(self._parts_wanted(obs), axis=1, dtype=np.float32)
        elif not self.obs_timestep_number:
            return obs.copy()
        if self.obs_timestep_number:
            passed = np.full((self.n_agents, 1), self._episode_steps / self.episode_limit, dtype=np.float32)
            obs = np.concatenate([obs, passed], axis=1)
        return obs

    def _parts_wanted(self, obs: np.ndarray) -> list[np.ndarray]:
        """The parts of observations, float32 [n_agents, .] each, with or without what the options say."""
        n_agents, n_enemies = self.n_agents, self.n_enemies
        move, enemies, allies, own = self._split(obs)
        alive = (obs != 0).any(axis=1)
        if not self.obs_all_health:
            enemies = np.delete(enemies, np.s_[HEALTH : UNIT_FEATURES + self.shield_bits_enemy], axis=2)
            allies = np.delete(allies, np.s_[HEALTH : UNIT_FEATURES + self.shield_bits_ally], axis=2)
        if self.obs_last_action:
            told = self.last_action[self._others] * (allies[:, :, [VISIBLE]] > 0)
            allies = np.concatenate([allies, told], axis=2)
        if not self.obs_own_health:
            own = own[:, OWN_FEATURES + self.shield_bits_ally :]
        if self.obs_pathing_grid:
            walkable = [self.get_surrounding_pathing(unit) for unit in self.agents.values()]
            move = np.concatenate([move, np.where(alive[:, None], np.array(walkable), 0)], axis=1)
        return [move, enemies.reshape(n_agents, n_enemies * enemies.shape[2]), allies.reshape(n_agents, -1), own]

    def _split(self, obs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The simulator's own observations by part: [A, 4], [A, n_enemies, .], [A, A - 1, .], [A, .]."""
        n_agents, n_enemies, sizes = self.n_agents, self.n_enemies, self._sizes
        ends = np.cumsum([MOVE_FEATURES, n_enemies * sizes.enemy, (n_agents - 1) * sizes.ally])
        move, enemies, allies, own = np.split(obs, ends, axis=1)
        enemies = enemies.reshape(n_agents, n_enemies, sizes.enemy)
        return move, enemies, allies.reshape(n_agents, n_agents - 1, sizes.ally), own

    def get_obs_size(self) -> int:
        """Numbers in an observation."""
        parts = (self.get_obs_enemy_feats_size(), self.get_obs_ally_feats_size())
        return self.get_obs_move_feats_size() + sum(map(math.prod, parts)) + self.get_obs_own_feats_size()

    def get_obs_move_feats_size(self) -> int:
        """Numbers at the start of an observation that tell where the agent can go."""
        return self.n_actions_move + self.n_obs_pathing * bool(self.obs_pathing_grid)

    def get_obs_enemy_feats_size(self) -> tuple[int, int]:
        """Enemies in an observation, and numbers per enemy."""
        return self.n_enemies, self._sizes.enemy - (1 + self.shield_bits_enemy) * (not self.obs_all_health)

    def get_obs_ally_feats_size(self) -> tuple[int, int]:
        """Other agents in an observation, and numbers per agent."""
        numbers = self._sizes.ally - (1 + self.shield_bits_ally) * (not self.obs_all_health)
        return self.n_agents - 1, numbers + self.n_actions * bool(self.obs_last_action)

    def get_obs_own_feats_size(self) -> int:
        """Numbers at the end of an observation that tell of the agent itself."""
        numbers = self._sizes.own - (1 + self.shield_bits_ally) * (not self.obs_own_health)
        return numbers + bool(self.obs_timestep_number)

    def get_state(self) -> np.ndarray:
        """The global state, float32 [state_size]."""
        if self.obs_instead_of_state:
            return self._observations().ravel()
        state = self._env.state[0].copy()
        actions = self.n_agents * self.n_actions
        if not self.state_last_action:
            state = state[:-actions]
        elif self.heuristic_ai:
            state[-actions:] = self.last_action.ravel()
        if self.state_timestep_number:
            state = np.append(state, np.float32(self._episode_steps / self.episode_limit))
        return state

    def get_state_size(self) -> int:
        """Numbers in the state."""
        return self.n_agents * self.get_obs_size() if self.obs_instead_of_state else len(self.get_state())

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

    def get_ally_num_attributes(self) -> int:
        """Numbers per agent in the state."""
        return len(self.ally_state_attr_names)

    def get_enemy_num_attributes(self) -> int:
        """Numbers per enemy in the state."""
        return len(self.enemy_state_attr_names)

    def get_visibility_matrix(self) -> np.ndarray:
        """Which units each agent sees, bool [n_agents, n_agents + n_enemies]; nobody sees itself."""
        _, enemies, allies, _ = self._split(self._env.obs[0])
        seen = np.zeros((self.n_agents, self.n_agents + self.n_enemies), dtype=bool)
        seen[:, self.n_agents :] = enemies[..., DISTANCE] > 0  # 0 if it is not in sight
        others = ~np.eye(self.n_agents, dtype=bool)
        seen[:, : self.n_agents][others] = allies[..., VISIBLE].ravel() > 0  # Medivacs fly over others: at distance 0
        return seen

    # --- actions ---------------------------------------------------------------------------------------------------

    def get_avail_actions(self) -> list[list[int]]:
        """Every agent's available actions, 1 or 0 per action."""
        return self._env.avail_actions[0].astype(int).tolist()

    def get_avail_agent_actions(self, agent_id: int) -> list[int]:
        """One agent's available actions, 1 or 0 per action."""
        return self._env.avail_actions[0, agent_id].astype(int).tolist()

    def get_total_actions(self) -> int:
        """Number of actions an agent could ever take."""
        return self.n_actions

    def can_move(self, unit: SmacUnit, direction: int) -> bool:
        """Whether the ground half a move away is walkable."""
        dx, dy = _STEPS[Direction(direction)]
        x, y = int(unit.pos.x + dx * MOVE_DISTANCE / 2), int(unit.pos.y + dy * MOVE_DISTANCE / 2)
        return self.check_bounds(x, y) and bool(self.pathing_grid[x, y])

    def check_bounds(self, x: int, y: int) -> bool:
        """Whether a cell is on the map."""
        return 0 <= x < self.map_x and 0 <= y < self.map_y

    def get_surrounding_points(self, unit: SmacUnit, include_self: bool = False) -> list[tuple[int, int]]:
        """The cells two moves away along the axes, and a move away on both."""
        x, y, one, two = int(unit.pos.x), int(unit.pos.y), int(MOVE_DISTANCE), int(2 * MOVE_DISTANCE)
        straight = [(x, y + two), (x, y - two), (x + two, y), (x - two, y)]
        diagonal = [(x + one, y + one), (x - one, y - one), (x + one, y - one), (x - one, y + one)]
        return straight + diagonal + [(x, y)] * include_self

    def get_surrounding_pathing(self, unit: SmacUnit) -> list[int]:
        """Whether each of the eight cells around is walkable; 1 outside the map."""
        points = self.get_surrounding_points(unit)
        return [int(self.pathing_grid[point]) if self.check_bounds(*point) else 1 for point in points]

    def get_surrounding_height(self, unit: SmacUnit) -> list[float]:
        """The height of each of the eight cells around and the unit's own; 1 outside the map."""
        points = self.get_surrounding_points(unit, include_self=True)
        return [float(self.terrain_height[point]) if self.check_bounds(*point) else 1.0 for point in points]

    @staticmethod
    def distance(x1: float, y1: float, x2: float, y2: float) -> float:
        """Distance of two points."""
        return math.hypot(x2 - x1, y2 - y1)

    def unit_shoot_range(self, agent_id: int) -> float:
        """Distance within which attacks are offered, the same for every agent."""
        return ATTACK_DISTANCE

    def unit_sight_range(self, agent_id: int) -> float:
        """Distance within which an agent sees units, the same for every agent."""
        return SIGHT

    # --- units -----------------------------------------------------------------------------------------------------

    @property
    def agents(self) -> dict[int, SmacUnit]:
        return self._units(self._frame)[0]

    @property
    def enemies(self) -> dict[int, SmacUnit]:
        return self._units(self._frame)[1]

    @property
    def previous_ally_units(self) -> dict[int, SmacUnit] | None:
        return self._units(self._previous_frame)[0] if self._previous_frame is not None else None

    @property
    def previous_enemy_units(self) -> dict[int, SmacUnit] | None:
        return self._units(self._previous_frame)[1] if self._previous_frame is not None else None

    def _units(self, frame: Frame | None) -> tuple[dict[int, SmacUnit], dict[int, SmacUnit]]:
        if frame is None:
            return {}, {}
        units = frame.units(self._types)
        return dict(enumerate(units[: self.n_agents])), dict(enumerate(units[self.n_agents :]))

    @property
    def death_tracker_ally(self) -> np.ndarray:
        return self._dead()[: self.n_agents]

    @property
    def death_tracker_enemy(self) -> np.ndarray:
        return self._dead()[self.n_agents :]

    def _dead(self) -> np.ndarray:
        if self._frame is None:
            return np.zeros(self.n_agents + self.n_enemies)
        return (~self._frame.alive).astype(np.float64)

    def get_unit_by_id(self, a_id: int) -> SmacUnit:
        """An agent's unit."""
        return self.agents[a_id]

    def get_unit_types(self) -> list[int] | None:
        """The unit types of agents and enemies; None, with a warning, before the first reset."""
        if self._frame is None:
            warnings.warn("unit types are known after reset(): call it first", stacklevel=2)
            return None
        return self._types.numbers.tolist()

    def get_unit_type_id(self, unit: SmacUnit, ally: bool) -> int:
        """Which of the one-hot type features is a unit's."""
        if ally:
            return unit.unit_type - min(self._types.numbers[: self.n_agents].tolist())
        first = self._types.numbers[self.n_agents :].tolist().index(unit.unit_type)
        return int(self._env.world.kinds["unit_type"][self.n_agents + first])

    def unit_max_cooldown(self, unit: SmacUnit) -> float:
        """By what the state divides a unit's weapon cooldown; of Medivacs, their energy."""
        return self._types.smac_max_cooldown[unit.unit_type]

    def unit_max_shield(self, unit: SmacUnit) -> float | None:
        """A unit's full shield; None if it never has one."""
        return self._types.max_shield[unit.unit_type] or None

    def only_medivac_left(self, ally: bool) -> bool:
        """Whether of a side with Medivacs they alone live."""
        if self.map_type != "MMM" or self._frame is None:
            return False
        side = slice(self.n_agents) if ally else slice(self.n_agents, None)
        heals = self._env.world.kinds["heal_rate"][side] > 0
        alive = self._frame.alive[side]
        return not (alive & ~heals).any() and (ally or bool(alive.any()))

    # --- the rest --------------------------------------------------------------------------------------------------

    def get_env_info(self) -> dict[str, Any]:
        """Sizes of the interface, and names of the numbers in the state."""
        names = {"agent_features": self.ally_state_attr_names, "enemy_features": self.enemy_state_attr_names}
        return super().get_env_info() | names

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
        return self._env.seed

    def render(self, mode: str = "human") -> np.ndarray:
        """The battle as a picture, uint8 [height, width, 3].

        Raises:
            NotImplementedError: another mode than "rgb_array".
        """
        if mode != "rgb_array":
            raise NotImplementedError(f"render: found {mode!r}, expected 'rgb_array': the simulator opens no window")
        from dm2.viewer.watch import draw_moment

        return draw_moment(self._env)

    def save_replay(self) -> Path:
        """Write the battle that has ended as a page to watch in a browser: replay_dir/prefix_seed_number.html.

        Returns:
            The page's path.

        Raises:
            RuntimeError: no battle has ended since the last reset, or heuristic_ai gave orders in it that are no
                available actions, which no recording holds.
        """
        if not self._recordable:
            raise RuntimeError(
                "save_replay: the heuristic gave orders that are no available actions; nothing records them"
            )
        if self._frame is None or self._env.active[0]:
            raise RuntimeError("save_replay: found no battle that has ended, expected one: play the battle to its end")
        from dm2.viewer.watch import write_viewer

        battles = self._battles
        name = f"{self.replay_prefix or self.map_name}_{battles.seed}_{battles.number}.html"
        path = Path(self.replay_dir or "", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_viewer(path, battles.recording(self._env.spec), f"battle {battles.started} of seed {battles.seed}")
        _log.info("Replay saved at: %s", path)
        return path

    def close(self) -> None:
        """Nothing to close: no process runs beside this one."""


def _check_options(options: Mapping[str, object]) -> None:
    """Refuse what the simulator cannot honour, and warn of what has no effect on it.

    Raises:
        ValueError: names the option, its value, what is accepted and why.
    """
    for name, (accepted, reason) in _ACCEPTED.items():
        if options[name] not in accepted:
            raise ValueError(
                f"{name}: found {options[name]!r}, expected {' or '.join(map(repr, accepted))}: in the built-in"
                f" simulator {reason}; leave it out, or play the real game through oxwhirl/smac"
            )
    for name, (default, reason) in _WITHOUT_EFFECT.items():
        if options[name] != default:
            warnings.warn(f"{name}={options[name]!r} has no effect on the simulator: {reason}", stacklevel=3)


if __name__ == "__main__":
    import sys

    from dm2.adapters.run_script import run_script

    run_script(sys.argv[1:])
