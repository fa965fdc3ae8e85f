"""Small battles whose outcome can be worked out by hand, and the simulator measured on them."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from dm2.battle.env import BattleEnv
from dm2.battle.records import World
from dm2.battle.rules_of_smac import EAST, FIRST_ATTACK, STOP, WEST
from dm2.battle.scenario import Map, Mechanics, compile_scenario, map_data, mechanics, unit_data

_LOOPS_PER_SECOND = 16


def duel(
    allies: dict[str, int],
    enemies: dict[str, int],
    allied_spawn: tuple[float, float] = (9.0, 16.0),
    enemy_spawn: tuple[float, float] = (23.0, 16.0),
    **changes: object,
) -> World:
    """A battle on the open ground; `changes` are mechanics. All that is drawn at random is off unless set."""
    nothing_drawn = {"cooldown_delay_loops": (0.0, 0.0), "start_delay_loops": 0, "survivors_radius": 0.0}
    settings = {**nothing_drawn, "search_interval_loops": 1, **changes}
    rules = Mechanics.model_validate(mechanics().model_dump() | settings)
    battle_map = Map(
        arena="open",
        allies=allies,
        enemies=enemies,
        episode_limit=1000,
        allied_spawn=allied_spawn,
        enemy_spawn=enemy_spawn,
    )
    maps = map_data().model_copy(update={"maps": {"duel": battle_map}})
    return compile_scenario("duel", unit_data(), maps, rules)


def harmless(world: World) -> World:
    """The same battle, whose enemies neither walk nor look for anybody."""
    n_agents = int(world.rules[0]["n_agents"])
    world.kinds["speed"][n_agents:] = 0.0
    world.kinds["scan_range"][n_agents:] = 0.0
    return world


def measure() -> pd.DataFrame:
    """What the simulator does in duels beside what the numbers of units.yaml give by hand.

    Returns:
        One row per quantity: quantity, unit, closed_form, simulator, how (the sum behind closed_form).
    """
    rows = [
        ("Marine kills Marine", "s", (7 * math.ceil(0.8608 * 16) + 2) / 16, _kill_seconds("Marine", "Marine", 5.0),
         "8 shots: 7 periods of 13.77, acted on in whole loops, and 2 loops to the first"),
        ("Zealot kills Stalker", "s", (10 * 20 + 5) / 16, _kill_seconds("Stalker", "Zealot", 1.2),
         "11 attacks of two hits: 10 periods of 19.2 in whole loops, the last second hit after 4.48"),
        ("Hydralisk kills Marine", "s", (3 * 14 + 4 + 2) / 16, _kill_seconds("Marine", "Hydralisk", 4.5),
         "4 spines: 3 periods of 13.2 in whole loops, 3.33 to the first shot, 2 of flight"),
        ("Marine's damage", "1/s", 6 / (14 / 16), _damage_per_second("Marine"), "6 per period of 13.77, in loops"),
        ("Stalker's damage to Zealots", "1/s", 13 / (30 / 16), _damage_per_second("Stalker"),
         "13 on shields per period of 29.92, in whole loops"),
        ("Marine's reach", "map units", 5 + 2 * 0.375, _reach("Marine", "Marine"), "range 5 and both radii"),
        ("Stalker's reach of a Zealot", "map units", 6 + 0.625 + 0.5, _reach("Stalker", "Zealot"),
         "range 6 and both radii"),
        ("Marine's speed", "map units/s", 2.25, _speed("Marine"), "units.yaml"),
        ("Stalker's speed", "map units/s", 2.9531, _speed("Stalker"), "units.yaml"),
        ("shields regained, after 10 s", "1/s", 2.0, _shield_per_second(), "1/8 per loop"),
        ("Medivac heals", "1/s", 9.0, _healed_per_second(), "9 health for 2.97 energy"),
        ("a Stalker's gain on a Zealot, a step of shooting and three of walking", "map units",
         24 * (2.9531 - 2.25) / 16 - 8 * 2.25 / 16, _kiting_gain(),
         "24 loops of the faster walk less 8 loops of standing"),
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["quantity", "unit", "closed_form", "simulator", "how"])


def _started(world: World) -> BattleEnv:
    env = BattleEnv("duel", 1, 0, world=world)
    env.reset()
    return env


def _act(env: BattleEnv, *actions: int) -> None:
    env.step(np.array([actions]))


def _kill_seconds(victim: str, killer: str, distance: float) -> float:
    env = _started(duel({victim: 1}, {killer: 1}, enemy_spawn=(9.0 + distance, 16.0), loops_per_step=1))
    loops = 0
    while env.active[0]:
        _act(env, STOP)
        loops += 1
    return loops / _LOOPS_PER_SECOND


def _damage_per_second(shooter: str) -> float:
    """Over ten shots, from one to the last."""
    world = harmless(duel({shooter: 1}, {"Zealot": 1}, enemy_spawn=(13.0, 16.0), loops_per_step=1))
    world.kinds["max_shield"][1] = 1000.0
    env = _started(world)
    lost: list[float] = [0.0]
    at: list[int] = []
    loop = 0
    while len(at) < 11:
        _act(env, FIRST_ATTACK)
        loop += 1
        now = 1000.0 - float(env.battles.units["shield"][0, 1])
        if now > lost[-1]:
            lost.append(now)
            at.append(loop)
    return (lost[-1] - lost[1]) / (at[-1] - at[0]) * _LOOPS_PER_SECOND


def _reach(shooter: str, target: str) -> float:
    """The largest centre distance, in steps of 1/64, from which the shooter fires without a step forward."""
    for distance in np.arange(8 * 64, 64, -1) / 64:
        spawn = (9.0, 16.0), (9.0 + float(distance), 16.0)  # the enemy is the shooter: agents are offered 6 at most
        env = _started(duel({target: 1}, {shooter: 1}, *spawn, loops_per_step=1))
        env.world.kinds["scan_range"][1] = 20.0
        _act(env, STOP)
        if env.battles.units["shots"][0, 1] == 1 and env.battles.x[0, 1] == spawn[1][0]:
            return float(distance)
    raise AssertionError(f"{shooter} never reached {target}")


def _speed(walker: str) -> float:
    env = _started(harmless(duel({walker: 1}, {"Zealot": 1})))
    for _ in range(4):
        _act(env, EAST)
    return float(env.battles.x[0, 0] - 9.0) / 2.0


def _shield_per_second() -> float:
    env = _started(harmless(duel({"Stalker": 1}, {"Zealot": 1})))
    env.battles.units["shield"][0, 1] = 10.0
    env.battles.units["since_hurt"][0, 1] = 160.0
    for _ in range(8):
        _act(env, STOP)
    return float(env.battles.units["shield"][0, 1] - 10.0) / 4.0


def _healed_per_second() -> float:
    env = _started(harmless(duel({"Marine": 1, "Medivac": 1}, {"Marine": 2})))
    env.battles.units["health"][0, 0] = 10.0
    for _ in range(4):
        _act(env, STOP, FIRST_ATTACK)
    return float(env.battles.units["health"][0, 0] - 10.0) / 2.0


def _kiting_gain() -> float:
    """Per round, over four rounds of a chase."""
    env = _started(duel({"Stalker": 1}, {"Zealot": 1}, (24.0, 16.0), (29.9, 16.0)))
    env.battles.units["health"][0, 1] = 1000.0
    before = float(env.battles.x[0, 1] - env.battles.x[0, 0])
    for _ in range(4):
        for action in (FIRST_ATTACK, WEST, WEST, WEST):
            _act(env, action)
    return (float(env.battles.x[0, 1] - env.battles.x[0, 0]) - before) / 4.0
