"""Small battles of the tests' own making: a shipped map's rules with other units on other spots."""

from __future__ import annotations

import numpy as np

from dm2.battle import BattleEnv
from dm2.battle.scenario import Map, MapData, Mechanics, World, compile_scenario, map_data, mechanics, unit_data

STOP, NORTH, SOUTH, EAST, WEST = 1, 2, 3, 4, 5


def duel(
    allies: dict[str, int],
    enemies: dict[str, int],
    allied_spawn: tuple[float, float] = (9.0, 16.0),
    enemy_spawn: tuple[float, float] = (23.0, 16.0),
    **changes: object,
) -> World:
    """A battle on the open ground; `changes` are mechanics. All that is drawn at random is off unless set."""
    settings = {"cooldown_delay_loops": (0.0, 0.0), "start_delay_loops": 0, "search_interval_loops": 1, **changes}
    rules = Mechanics.model_validate(mechanics().model_dump() | settings)
    battle_map = Map(
        arena="open",
        allies=allies,
        enemies=enemies,
        episode_limit=1000,
        allied_spawn=allied_spawn,
        enemy_spawn=enemy_spawn,
    )
    maps = MapData(map_size=32, arenas=map_data().arenas, maps={"duel": battle_map})
    return compile_scenario("duel", unit_data(), maps, rules)


def open_battle(world: World, n_battles: int = 1, seed: int = 0) -> BattleEnv:
    """A started environment on `world`."""
    env = BattleEnv("duel", n_battles, seed, world=world)
    env.reset()
    return env


def act(env: BattleEnv, action: int) -> None:
    """Every living agent takes `action` if it can, else stops."""
    wanted = np.where(env.avail_actions[:, :, action], action, STOP)
    env.step(np.where(env.avail_actions[:, :, 0], 0, wanted).astype(np.int64))


def random_actions(env: BattleEnv, generator: np.random.Generator) -> np.ndarray:
    """Uniform available actions, int64 [E, A]."""
    scores = generator.random(env.avail_actions.shape)
    return np.where(env.avail_actions, scores, -1.0).argmax(axis=2)
