"""Scenarios: units, maps (`dm2.settings.maps`) and mechanics as validated data, compiled to the arrays that the kernel
reads.

The data files are `dm2/battle/data/{units,maps,mechanics}.yaml`; adding a unit or a map means adding an entry there.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from pydantic import Field

from dm2.battle.creation import create_sides
from dm2.battle.paths import next_turns
from dm2.battle.records import ARM, CLIFF, CLOSED, KIND, RULES, WALKABLE, World
from dm2.battle.rules_of_smac import max_reward
from dm2.settings.base import Settings, SettingsError, did_you_mean
from dm2.settings.maps import (
    DATA,
    Arena,
    Map,
    MapData,
    Point,
    Unit,
    UnitData,
    Weapon,
    check_units,
    map_data,
    rectangle,
    unit_data,
)


class Mechanics(Settings):
    """The file mechanics.yaml: the rules of battle, one value for all maps."""

    loops_per_step: int = Field(gt=0)
    loops_per_second: int = Field(gt=0)
    cooldown_delay_loops: tuple[float, float]
    range_slop: float = Field(ge=0)
    turn_degrees_per_loop: float = Field(gt=0, le=180)
    facing_tolerance_degrees: float = Field(gt=0, le=180)
    minimum_damage: float = Field(ge=0)
    shield_regeneration_delay_loops: float = Field(ge=0)
    shield_regeneration_per_loop: float = Field(ge=0)
    zerg_health_regeneration_per_loop: float = Field(ge=0)
    leash: float = Field(gt=0)
    scan_margin: float = Field(ge=0)
    search_interval_loops: int = Field(ge=1)
    chase_nearest: bool
    backswing_holds: bool
    slop_repeats: bool
    second_hit_holds: bool
    walkers_turn: bool
    retaliate: bool
    call_for_help_range: float = Field(ge=0)
    start_delay_loops: int = Field(ge=0)
    detour_memory_loops: int = Field(ge=1, le=100)
    arrival_radius: float = Field(ge=0)
    push_share: float = Field(ge=0, le=1)
    body_overlap: float = Field(ge=0)
    edge_margin: float = Field(ge=0)
    survivors_radius: float = Field(ge=0)


@functools.cache
def mechanics() -> Mechanics:
    """The rules of battle shipped with the package."""
    return Mechanics.from_yaml(DATA / "mechanics.yaml")


_CROSSES = {"ground": WALKABLE, "giant": CLIFF, "air": CLOSED}  # the most that a layer's units cross


def _roster(sides: dict[str, int]) -> list[str]:
    return [name for name, count in sides.items() for _ in range(count)]


def contact(one: Unit, other: Unit, overlap: float) -> float:
    """The least distance between the centres of two units, whose bodies overlap a little when they press.

    So far apart stood the units of real episodes, when they pressed on each other and, but for creation.CREATION_GAP,
    when freshly created.
    """
    return one.radius + other.radius - overlap


def _points(names: list[str], default: Point, by_type: dict[str, list[Point]]) -> list[Point]:
    """The point at which each unit is created; units of a type that has several are dealt in equal parts, in order."""
    choices = [by_type.get(name, [default]) for name in names]
    return [
        points[names[:index].count(name) * len(points) // names.count(name)]
        for index, (name, points) in enumerate(zip(names, choices, strict=True))
    ]


def _created(battle_map: Map) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Who is created where.

    Returns:
        Names of the units in SMAC's order of agents and enemies; their points, [U, 2]; the numbers of each side's units
        in the order in which they are created, [U].
    """
    agents, enemies = _roster(battle_map.allies), _roster(battle_map.enemies)
    points = _points(agents, battle_map.allied_spawn, battle_map.allied_points)
    points += _points(enemies, battle_map.enemy_spawn, battle_map.enemy_points)
    # SMAC orders agents by the id of their type, which follows the alphabet on every map
    order = sorted(range(len(agents)), key=lambda nth: agents[nth])
    shown = [len(agents) + nth for nth in range(len(enemies))]
    order += reversed(shown) if battle_map.enemy_index == "newest_first" else shown
    names = agents + enemies
    return [names[nth] for nth in order], np.array(points)[order], np.argsort(order)


def unit_names(map_name: str) -> list[str]:
    """Type of every unit of a map, agents first, in the order of the simulator."""
    return _created(map_data().maps[map_name])[0]


def _kinds(roster: list[Unit], weapons: list[list[Weapon]], n_agents: int, rules: Mechanics) -> np.ndarray:
    kinds = np.zeros(len(roster), dtype=KIND)
    healed: set[str] = {unit.heal.attribute for unit in roster if unit.heal is not None}
    for index, unit in enumerate(roster):
        allied = index < n_agents
        kinds[index]["max_health"] = (unit.allied_health if allied else None) or unit.health
        kinds[index]["max_shield"] = unit.shield
        kinds[index]["speed"] = ((unit.allied_speed if allied else None) or unit.speed) / rules.loops_per_second
        if unit.race == "zerg":
            kinds[index]["health_regeneration"] = rules.zerg_health_regeneration_per_loop
        kinds[index]["per_health"] = 1.0 / kinds[index]["max_health"]
        kinds[index]["per_shield"] = 1.0 / unit.shield if unit.shield else 0.0
        kinds[index]["per_cooldown"] = 1.0 / unit.smac_max_cooldown
        kinds[index]["armour"], kinds[index]["radius"] = unit.armour, unit.radius
        scan_ranges = [arm.scan_range for arm in (unit.heal, *weapons[index]) if arm is not None]
        kinds[index]["scan_range"] = max(scan_ranges) + rules.scan_margin
        for field, value in _skills(unit, weapons[index], healed, rules).items():
            kinds[index][field] = value
    return kinds


def _skills(unit: Unit, weapons: list[Weapon], healed: set[str], rules: Mechanics) -> dict[str, float]:
    """The last fields of KIND; what is not named is 0."""
    skills: dict[str, float] = {"crosses": _CROSSES[unit.layer], "curable": bool(healed & set(unit.attributes))}
    if unit.heal is not None:
        skills |= {
            "heal_rate": unit.heal.health_per_second / rules.loops_per_second,
            "energy_per_health": unit.heal.energy_per_health,
            "start_energy": unit.heal.start_energy,
            "max_energy": unit.heal.max_energy,
            "energy_regeneration": unit.heal.energy_per_second / rules.loops_per_second,
        }
    for weapon in weapons:
        skills["burst_radius"] = weapon.burst_radius
        if weapon.sweep is not None:
            skills |= {
                "sweep": weapon.sweep.half_length,
                "sweep_radius": weapon.sweep.radius,
                "channel": weapon.sweep.channel * rules.loops_per_second,
                "beams": weapon.sweep.beams,
            }
    return skills


def _arms(roster: list[Unit], weapons: list[list[Weapon]], rules: Mechanics) -> np.ndarray:
    arms = np.zeros((2, len(roster)), dtype=ARM)
    for arm, index in np.ndindex(*arms.shape):
        heal = roster[index].heal
        if heal is not None:
            arms[arm, index]["range"] = heal.range
            continue
        weapon = weapons[index][min(arm, len(weapons[index]) - 1)]
        arms[arm, index]["range"] = weapon.range
        arms[arm, index]["range_slop"] = rules.range_slop if weapon.range_slop is None else weapon.range_slop
        arms[arm, index]["missile_speed"] = weapon.missile_speed / rules.loops_per_second
        for field in ("period", "damage_point", "backswing", "hit_interval"):
            arms[arm, index][field] = getattr(weapon, field) * rules.loops_per_second
    return arms


def _check_missiles(roster: list[Unit], kinds: np.ndarray, arms: np.ndarray, n_agents: int, rules: Mechanics) -> None:
    """Refuse a missile that may be under way, after an opponent that walks off, when its unit fires the next one."""
    for arm, index in np.argwhere(arms["missile_speed"] > 0).tolist():
        weapon, opponents = arms[arm, index], kinds[n_agents:] if index < n_agents else kinds[:n_agents]
        gained = weapon["missile_speed"] - opponents["speed"].max()  # per loop
        reach = weapon["range"] + weapon["range_slop"] + kinds[index]["radius"] + opponents["radius"].max()
        between = max(1.0, weapon["period"] + rules.cooldown_delay_loops[0])
        if reach > gained * between:
            name = roster[index].weapons[min(arm, len(roster[index].weapons) - 1)]
            needed = (reach / between + opponents["speed"].max()) * rules.loops_per_second
            raise SettingsError(
                f"weapons.{name}.missile_speed: found {weapon['missile_speed'] * rules.loops_per_second:g}, expected"
                f" {needed:.4g} at least, with its period and range and these opponents: a unit's missile has to land"
                " before the next one starts"
            )


def _damage(roster: list[Unit], weapons: list[list[Weapon]]) -> np.ndarray:
    damage = np.zeros((2, len(roster), len(roster)))
    for arm, index in np.ndindex(2, len(roster)):
        for weapon in weapons[index][: arm + 1]:  # the last one is the arm's
            damage[arm, index] = [weapon.damage_to(target) for target in roster]
    return damage


def _flags(kinds: np.ndarray, damage: np.ndarray, n_agents: int) -> dict[str, bool]:
    """What the units of a map ask of the kernel beyond the common rules; see RULES."""
    return {
        "has_healers": bool((kinds["heal_rate"] > 0).any()),
        "has_area_weapons": bool((kinds["sweep"] > 0).any() or (kinds["burst_radius"] > 0).any()),
        "has_crossers": bool((kinds["crosses"] != WALKABLE).any()),
        "choosy": bool((damage[0, :n_agents, n_agents:] == 0).any() or (damage[0, n_agents:, :n_agents] == 0).any()),
    }


def _rules(
    battle_map: Map, maps: MapData, n_types: int, roster: list[Unit], flags: dict[str, bool], rules: Mechanics
) -> np.ndarray:
    n_agents = sum(battle_map.allies.values())
    enemies = roster[n_agents:]
    turn = math.radians(rules.turn_degrees_per_loop)
    goal = battle_map.enemy_goal or battle_map.allied_spawn
    goal_to = battle_map.enemy_goal_to or goal
    values: dict[str, float] = flags | {
        "n_agents": n_agents,
        "n_types": n_types,
        "map_size": maps.map_size,
        "playable_size": maps.playable_size,
        "episode_limit": battle_map.episode_limit,
        "search_interval": rules.search_interval_loops,
        "start_delay": rules.start_delay_loops,
        "detour_memory": rules.detour_memory_loops,
        "allies_have_shields": any(unit.shield for unit in roster[:n_agents]),
        "enemies_have_shields": any(unit.shield for unit in enemies),
        "goal_varies": battle_map.enemy_goal_to is not None,
        "goal_x": goal[0],
        "goal_y": goal[1],
        "goal_to_x": goal_to[0],
        "goal_to_y": goal_to[1],
        "cooldown_delay_low": rules.cooldown_delay_loops[0],
        "cooldown_delay_high": rules.cooldown_delay_loops[1],
        "turn_cos": math.cos(turn),
        "turn_sin": math.sin(turn),
        "facing_cos": math.cos(math.radians(rules.facing_tolerance_degrees)),
        "shield_delay": rules.shield_regeneration_delay_loops,
        "shield_regeneration": rules.shield_regeneration_per_loop,
        "max_reward": max_reward(len(enemies), sum(enemy.health + enemy.shield for enemy in enemies)),
    }
    record = np.zeros(1, dtype=RULES)
    for field in RULES.fields or ():
        record[field] = values[field] if field in values else getattr(rules, field)
    return record


def _enemy_point(battle_map: Map) -> np.ndarray:
    """Where the first enemy is created, after which the others keep their places."""
    points = battle_map.enemy_points.get(next(iter(battle_map.enemies)), [battle_map.enemy_spawn])
    return np.array(points[0])


def _place(kinds: np.ndarray, body2: np.ndarray, ground: np.ndarray, n_agents: int, enemy_point: np.ndarray) -> None:
    """Where the units stand in the first battle of a game, and the places of the enemies' formation."""
    kinds["spawn_x"] = kinds["spawn_y"] = np.nan
    x, y = np.zeros(len(kinds)), np.zeros(len(kinds))
    create_sides(kinds, body2, ground, n_agents, x, y)
    if np.isnan(x).any():
        unit = kinds[np.isnan(x)][0]
        raise SettingsError(
            f"the point ({unit['point_x']}, {unit['point_y']}): expected walkable ground around it for all units"
            f" that are created there, found no place for {np.isnan(x).sum()} of them"
        )
    kinds["spawn_x"], kinds["spawn_y"] = x, y
    kinds["place_x"][n_agents:] = x[n_agents:] - enemy_point[0]
    kinds["place_y"][n_agents:] = y[n_agents:] - enemy_point[1]


def _ground(arena: Arena, size: int, edge_margin: float) -> np.ndarray:
    """See World.ground; ways lead through cells whose middle is far enough from the edges."""
    walkable = arena.walkable(size)
    cells = np.where(walkable, WALKABLE, np.where(rectangle(arena.cliff, size), CLIFF, CLOSED))[None]
    if not arena.has_corners:
        return cells.astype(np.int16)
    inside = abs(np.arange(size) + 0.5 - size / 2) <= size / 2 - edge_margin
    turns = next_turns(walkable & inside[:, None] & inside)
    return np.concatenate([cells, turns.reshape(size * size, size, size)]).astype(np.int16)


def compile_scenario(map_name: str, units: UnitData, maps: MapData, rules: Mechanics) -> World:
    """The kernel's numbers for one map.

    Raises:
        SettingsError: the map is unknown, its units cannot be (`check_units`), there is no room for them, or one fires
            missiles faster than they land.
    """
    if map_name not in maps.maps:
        raise SettingsError(f"unknown map {map_name!r}; {did_you_mean(map_name, maps.maps)}")
    battle_map = maps.maps[map_name]
    check_units(f"map {map_name}", battle_map, units)
    arena = maps.arenas[battle_map.arena]
    names, points, created = _created(battle_map)
    n_agents = sum(battle_map.allies.values())
    roster = [units.units[name] for name in names]
    weapons = [[units.weapons[weapon] for weapon in unit.weapons] for unit in roster]
    types = sorted(battle_map.allies) if len(battle_map.allies) > 1 else []
    kinds = _kinds(roster, weapons, n_agents, rules)
    kinds["point_x"], kinds["point_y"], kinds["created"] = points[:, 0], points[:, 1], created
    if types:
        enemy_types = battle_map.enemy_types or types
        kinds["unit_type"] = [*map(types.index, names[:n_agents]), *map(enemy_types.index, names[n_agents:])]
    if battle_map.enemies_hunt:
        kinds["scan_range"][n_agents:] = 2 * maps.map_size
    damage, arms = _damage(roster, weapons), _arms(roster, weapons, rules)
    _check_missiles(roster, kinds, arms, n_agents, rules)
    contacts = np.array([[contact(one, other, rules.body_overlap) for other in roster] for one in roster])
    layers = np.array([unit.layer for unit in roster])
    body2 = np.where(layers[:, None] == layers, contacts**2, 0.0)
    np.fill_diagonal(body2, 0.0)
    ground = _ground(arena, maps.map_size, rules.edge_margin)
    _place(kinds, body2, ground, n_agents, _enemy_point(battle_map))
    flags = _flags(kinds, damage, n_agents) | {"has_corners": arena.has_corners}
    return World(
        rules=_rules(battle_map, maps, len(types), roster, flags, rules),
        kinds=kinds,
        arms=arms,
        damage=damage,
        body2=body2,
        ground=ground,
    )


def load_scenario(map_name: str, **changes: Any) -> World:
    """The shipped map `map_name`, with some mechanics changed (for calibration and tests).

    Args:
        map_name: a key of maps.yaml.
        **changes: keys of mechanics.yaml and their values.

    Raises:
        ValueError: unknown map or mechanic, or an impossible value.
    """
    rules = mechanics()
    if changes:
        rules = Mechanics.model_validate(rules.model_dump() | changes)
    return compile_scenario(map_name, unit_data(), map_data(), rules)
