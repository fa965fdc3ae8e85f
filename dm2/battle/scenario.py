"""Scenarios: units, maps and mechanics as validated data, compiled to the arrays that the kernel reads.

The data files are `dm2/battle/data/{units,maps,mechanics}.yaml`; adding a unit or a map means adding an entry there.
"""

from __future__ import annotations

import difflib
import functools
import math
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, TypeVar

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

ATTACK_DISTANCE = 6.0  # SMAC offers attacks within this centre distance, whatever the weapon's range
SIGHT = 9.0  # SMAC's sight range of every agent
MOVE_DISTANCE = 2.0  # a move order goes to the point this far away; availability looks half as far


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Weapon(_Data):
    """A weapon; distances in map units, times in game seconds, speed in map units per game second."""

    damage: float = Field(gt=0)
    bonus: dict[str, float] = Field(default_factory=dict)
    hit_interval: float = Field(default=0.0, ge=0)  # > 0: the weapon hits a second time after this
    range: float = Field(ge=0)
    scan_range: float = Field(gt=0)
    period: float = Field(gt=0)
    damage_point: float = Field(ge=0)
    backswing: float = Field(ge=0)
    missile_speed: float = Field(default=0.0, ge=0)

    def damage_to(self, target: Unit) -> float:
        """Damage of one hit on `target` before armour, bonus included."""
        return self.damage + sum(self.bonus.get(attribute, 0.0) for attribute in target.attributes)


class Unit(_Data):
    """A unit type; `allied_health` where SMAC's copy for the agents' side differs."""

    race: Literal["terran", "protoss", "zerg"]
    health: float = Field(gt=0)
    allied_health: float | None = Field(default=None, gt=0)
    shield: float = Field(ge=0)
    armour: float = Field(ge=0)
    speed: float = Field(ge=0)
    radius: float = Field(gt=0)
    separation_radius: float = Field(gt=0)
    inner_radius: float = Field(gt=0)
    attributes: list[str]
    weapons: list[str] = Field(min_length=1, max_length=2)
    smac_max_cooldown: float = Field(gt=0)


class UnitData(_Data):
    """The file units.yaml."""

    units: dict[str, Unit]
    weapons: dict[str, Weapon]

    @model_validator(mode="after")
    def _weapons_exist(self) -> Self:
        for name, unit in self.units.items():
            missing = [weapon for weapon in unit.weapons if weapon not in self.weapons]
            if missing:
                raise ValueError(f"unit {name!r} names the weapon {missing[0]!r}; known: {sorted(self.weapons)}")
        return self


class Arena(_Data):
    """Walkable ground: a rectangle of cells, or rows of cells ('.' walkable, '#' not) from an origin."""

    bounds: tuple[int, int, int, int] | None = None
    origin: tuple[int, int] | None = None
    rows_north_to_south: list[str] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.bounds is None) == (self.rows_north_to_south is None or self.origin is None):
            raise ValueError("an arena has either 'bounds' or 'origin' with 'rows_north_to_south'")
        return self

    def walkable(self, size: int) -> np.ndarray:
        """Walkable cells, bool [size, size], indexed [x, y]."""
        cells = np.zeros((size, size), dtype=np.bool_)
        if self.bounds is not None:
            x0, y0, x1, y1 = self.bounds
            cells[x0:x1, y0:y1] = True
        elif self.origin is not None and self.rows_north_to_south is not None:
            rows = np.array([[cell == "." for cell in row] for row in reversed(self.rows_north_to_south)])
            x0, y0 = self.origin
            cells[x0 : x0 + rows.shape[1], y0 : y0 + rows.shape[0]] = rows.T
        return cells


class Map(_Data):
    """One SMAC map."""

    arena: str
    allies: dict[str, int] = Field(min_length=1)
    enemies: dict[str, int] = Field(min_length=1)
    episode_limit: int = Field(gt=0)
    allied_spawn: tuple[float, float] = (9.0, 16.0)
    enemy_spawn: tuple[float, float] = (23.0, 16.0)
    enemy_index: Literal["created", "newest_first"] = "created"
    spawn_offsets: list[tuple[float, float]] | None = None


class MapData(_Data):
    """The file maps.yaml."""

    map_size: int
    arenas: dict[str, Arena]
    maps: dict[str, Map]

    @model_validator(mode="after")
    def _arenas_exist(self) -> Self:
        for name, battle_map in self.maps.items():
            if battle_map.arena not in self.arenas:
                raise ValueError(f"map {name!r} names the arena {battle_map.arena!r}; known: {sorted(self.arenas)}")
        return self


class Mechanics(_Data):
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
    search_interval_loops: int = Field(ge=1)
    chase_nearest: bool
    backswing_holds: float = Field(ge=0, le=1)
    second_hit_holds: bool
    retaliate: bool
    call_for_help_range: float = Field(ge=0)
    start_delay_loops: int = Field(ge=0)
    detour_memory_loops: int = Field(ge=1, le=100)
    arrival_radius: float = Field(ge=0)
    spawn_gap: float = Field(ge=0)
    spawn_angles_degrees: list[float] = Field(min_length=1)


_Model = TypeVar("_Model", bound=_Data)


def load_data(model: type[_Model], path: Path) -> _Model:
    """Read and validate one data file.

    Raises:
        ValueError: a key is missing, unknown or impossible; the message names the file and the key.
    """
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
        raise ValueError(f"{path}: {problems}") from error


def _data_file(name: str) -> Path:
    return Path(str(resources.files("dm2.battle") / "data" / name))


@functools.cache
def unit_data() -> UnitData:
    """The units and weapons shipped with the package."""
    return load_data(UnitData, _data_file("units.yaml"))


@functools.cache
def map_data() -> MapData:
    """The maps shipped with the package."""
    return load_data(MapData, _data_file("maps.yaml"))


@functools.cache
def mechanics() -> Mechanics:
    """The rules of battle shipped with the package."""
    return load_data(Mechanics, _data_file("mechanics.yaml"))


RULES = np.dtype(
    [
        ("n_agents", "i8"),
        ("n_types", "i8"),  # unit types told apart by a one-hot feature; 0 on maps with one type of agents
        ("map_size", "i8"),
        ("episode_limit", "i8"),  # environment steps
        ("loops_per_step", "i8"),
        ("search_interval", "i8"),  # loops
        ("start_delay", "i8"),  # loops
        ("detour_memory", "i8"),  # loops
        ("allies_have_shields", "?"),
        ("enemies_have_shields", "?"),
        ("chase_nearest", "?"),
        ("second_hit_holds", "?"),
        ("retaliate", "?"),
        ("goal_x", "f8"),  # end of the enemies' attack-move
        ("goal_y", "f8"),
        ("cooldown_delay_low", "f8"),  # loops
        ("cooldown_delay_high", "f8"),
        ("range_slop", "f8"),
        ("turn_cos", "f8"),  # of the angle a unit turns in a loop
        ("turn_sin", "f8"),
        ("facing_cos", "f8"),  # of the angle within which a weapon fires
        ("minimum_damage", "f8"),
        ("shield_delay", "f8"),  # loops
        ("shield_regeneration", "f8"),  # per loop
        ("leash", "f8"),
        ("backswing_holds", "f8"),
        ("call_for_help_range", "f8"),
        ("arrival_radius", "f8"),
        ("max_reward", "f8"),  # SMAC's normaliser: 10 per enemy, 200, the enemies' full health and shields
    ],
    align=True,
)
KIND = np.dtype(
    [
        (field, "f8")
        for field in (
            "spawn_x",
            "spawn_y",
            "max_health",
            "max_shield",
            "armour",
            "health_regeneration",  # per loop
            "speed",  # map units per loop
            "radius",
            "scan_range",  # free space
            "per_health",  # reciprocals, by which the observations are scaled
            "per_shield",
            "per_cooldown",
        )
    ]
    + [("unit_type", "i8")]
)
ARM = np.dtype(  # times in loops, range in free space, speed in map units per loop (0: instant)
    [(f, "f8") for f in ("range", "period", "damage_point", "backswing", "missile_speed", "hit_interval")]
)


class World(NamedTuple):
    """A scenario in the kernel's units (loops, map units per loop), read-only.

    U units, agents first. Each has two arms, the second being the weapon it uses in melee (a copy of the first where
    there is none).
    """

    rules: np.ndarray  # RULES [1]
    kinds: np.ndarray  # KIND [U]
    arms: np.ndarray  # ARM [2, U]
    damage: np.ndarray  # float64 [2, U, U]; per hit of an attacker's arm on a target before armour, bonus included
    body2: np.ndarray  # float64 [U, U]; squared centre distance below which two bodies overlap, 0 on the diagonal
    walkable: np.ndarray  # bool [map_size, map_size], [x, y]


def _roster(sides: dict[str, int]) -> list[str]:
    return [name for name, count in sides.items() for _ in range(count)]


def _placements(names: list[str], units: dict[str, Unit], rules: Mechanics) -> list[tuple[float, float]]:
    """Offsets of freshly created units from their spawn point, in order of creation.

    The first stands on the point; each next one takes the first free angle on the tightest ring around it. Two units
    keep the older one's separation radius + the newer one's inner radius + `spawn_gap` (seen in a real episode).
    """
    placed: list[tuple[float, float]] = []
    for index, name in enumerate(names):
        gaps = [units[older].separation_radius + units[name].inner_radius + rules.spawn_gap for older in names[:index]]
        ring = gaps[0] if gaps else 0.0
        spot = None if gaps else (0.0, 0.0)
        while spot is None:
            for angle in rules.spawn_angles_degrees + [a + 30.0 for a in rules.spawn_angles_degrees]:
                x, y = ring * math.cos(math.radians(angle)), ring * math.sin(math.radians(angle))
                if all(math.hypot(x - px, y - py) > gap - 1e-6 for (px, py), gap in zip(placed, gaps, strict=True)):
                    spot = (x, y)
                    break
            ring += 0.125
        placed.append(spot)
    return placed


def _spawns(battle_map: Map, units: dict[str, Unit], rules: Mechanics) -> tuple[list[str], np.ndarray]:
    """Unit names and positions [U, 2] of both sides, in SMAC's order of agents and enemies."""
    allies, enemies = _roster(battle_map.allies), _roster(battle_map.enemies)
    allied_offsets = battle_map.spawn_offsets or _placements(allies, units, rules)
    enemy_offsets = battle_map.spawn_offsets or _placements(enemies, units, rules)
    types = list(dict.fromkeys(allies))  # SMAC's type ids follow the order of creation on every map offered
    created = [(name, ox, oy) for name, (ox, oy) in zip(allies, allied_offsets, strict=True)]
    created.sort(key=lambda unit: (types.index(unit[0]), unit[1], unit[2]))
    opponents = [(name, ox, oy) for name, (ox, oy) in zip(enemies, enemy_offsets, strict=True)]
    if battle_map.enemy_index == "newest_first":
        opponents.reverse()
    names = [name for name, _, _ in created + opponents]
    positions = [(battle_map.allied_spawn[0] + x, battle_map.allied_spawn[1] + y) for _, x, y in created]
    positions += [(battle_map.enemy_spawn[0] + x, battle_map.enemy_spawn[1] + y) for _, x, y in opponents]
    return names, np.round(np.array(positions) * 4096) / 4096


def unknown_name(kind: str, name: str, known: list[str]) -> ValueError:
    """The error for a name that is not in `known`, with the nearest one."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return ValueError(f"unknown {kind} {name!r}{hint} (known: {', '.join(known)})")


def _kinds(roster: list[Unit], spawn: np.ndarray, types: list[int], n_agents: int, rules: Mechanics) -> np.ndarray:
    kinds = np.zeros(len(roster), dtype=KIND)
    for index, unit in enumerate(roster):
        allied_health = unit.allied_health if index < n_agents else None
        kinds[index]["max_health"] = allied_health or unit.health
        kinds[index]["max_shield"] = unit.shield
        kinds[index]["speed"] = unit.speed / rules.loops_per_second
        if unit.race == "zerg":
            kinds[index]["health_regeneration"] = rules.zerg_health_regeneration_per_loop
        kinds[index]["per_health"] = 1.0 / kinds[index]["max_health"]
        kinds[index]["per_shield"] = 1.0 / unit.shield if unit.shield else 0.0
        kinds[index]["per_cooldown"] = 1.0 / unit.smac_max_cooldown
        kinds[index]["armour"], kinds[index]["radius"] = unit.armour, unit.radius
    kinds["spawn_x"], kinds["spawn_y"], kinds["unit_type"] = spawn[:, 0], spawn[:, 1], types
    return kinds


def _arms(weapons: list[list[Weapon]], loops_per_second: int) -> np.ndarray:
    arms = np.zeros((2, len(weapons[0])), dtype=ARM)
    for index in np.ndindex(*arms.shape):
        weapon = weapons[index[0]][index[1]]
        arms[index]["range"] = weapon.range
        arms[index]["missile_speed"] = weapon.missile_speed / loops_per_second
        for field in ("period", "damage_point", "backswing", "hit_interval"):
            arms[index][field] = getattr(weapon, field) * loops_per_second
    return arms


def _rules(battle_map: Map, map_size: int, n_types: int, roster: list[Unit], rules: Mechanics) -> np.ndarray:
    n_agents = sum(battle_map.allies.values())
    enemies = roster[n_agents:]
    turn = math.radians(rules.turn_degrees_per_loop)
    values = {
        "n_agents": n_agents,
        "n_types": n_types,
        "map_size": map_size,
        "episode_limit": battle_map.episode_limit,
        "search_interval": rules.search_interval_loops,
        "start_delay": rules.start_delay_loops,
        "detour_memory": rules.detour_memory_loops,
        "allies_have_shields": roster[0].race == "protoss",
        "enemies_have_shields": enemies[0].race == "protoss",
        "goal_x": battle_map.allied_spawn[0],
        "goal_y": battle_map.allied_spawn[1],
        "cooldown_delay_low": rules.cooldown_delay_loops[0],
        "cooldown_delay_high": rules.cooldown_delay_loops[1],
        "turn_cos": math.cos(turn),
        "turn_sin": math.sin(turn),
        "facing_cos": math.cos(math.radians(rules.facing_tolerance_degrees)),
        "shield_delay": rules.shield_regeneration_delay_loops,
        "shield_regeneration": rules.shield_regeneration_per_loop,
        "max_reward": 10 * len(enemies) + 200 + sum(enemy.health + enemy.shield for enemy in enemies),
    }
    record = np.zeros(1, dtype=RULES)
    for field in RULES.fields or ():
        record[field] = values[field] if field in values else getattr(rules, field)
    return record


def compile_scenario(map_name: str, units: UnitData, maps: MapData, rules: Mechanics) -> World:
    """The kernel's numbers for one map.

    Raises:
        ValueError: the map or one of its units is unknown.
    """
    if map_name not in maps.maps:
        raise unknown_name("map", map_name, sorted(maps.maps))
    battle_map = maps.maps[map_name]
    for name in (*battle_map.allies, *battle_map.enemies):
        if name not in units.units:
            raise unknown_name(f"unit of map {map_name!r}", name, sorted(units.units))
    names, spawn = _spawns(battle_map, units.units, rules)
    n_agents = sum(battle_map.allies.values())
    roster = [units.units[name] for name in names]
    weapons = [[units.weapons[unit.weapons[min(arm, len(unit.weapons) - 1)]] for unit in roster] for arm in range(2)]
    types = list(dict.fromkeys(names[:n_agents])) if len(battle_map.allies) > 1 else []
    kinds = _kinds(roster, spawn, [types.index(name) if types else 0 for name in names], n_agents, rules)
    kinds["scan_range"] = [max(w.scan_range for w in pair) for pair in zip(*weapons, strict=True)]
    separation = np.array([unit.separation_radius for unit in roster])
    body2 = (separation[:, None] + separation[None, :]) ** 2
    np.fill_diagonal(body2, 0.0)
    return World(
        rules=_rules(battle_map, maps.map_size, len(types), roster, rules),
        kinds=kinds,
        arms=_arms(weapons, rules.loops_per_second),
        damage=np.array([[[weapon.damage_to(target) for target in roster] for weapon in row] for row in weapons]),
        body2=body2,
        walkable=maps.arenas[battle_map.arena].walkable(maps.map_size),
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
