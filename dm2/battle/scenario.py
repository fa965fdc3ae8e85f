"""Scenarios: units, maps and mechanics as validated data, compiled to the arrays that the kernel reads.

The data files are `dm2/battle/data/{units,maps,mechanics}.yaml`; adding a unit or a map means adding an entry there.
"""

from __future__ import annotations

import difflib
import functools
import math
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dm2.battle.kernel import create_sides
from dm2.battle.paths import next_turns
from dm2.battle.world import ARM, CLIFF, CLOSED, KIND, RULES, WALKABLE, World
from dm2.config import read_yaml


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Sweep(_Data):
    """Beams that sweep a line across the target: each hits every opponent on the ground that it touches once."""

    beams: int = Field(ge=1)
    half_length: float = Field(gt=0)  # of the line, at right angles to the way to the target
    radius: float = Field(gt=0)  # within which of the line bodies are touched
    channel: float = Field(gt=0)  # from the damage point to the damage; a new order cancels it


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
    hits_air: bool = False
    range_slop: float | None = Field(default=None, ge=0)  # where it differs from the common one of mechanics.yaml
    sweep: Sweep | None = None
    burst_radius: float = Field(default=0.0, ge=0)  # > 0: whoever fires or dies bursts and hits every opponent so near

    def damage_to(self, target: Unit) -> float:
        """Damage of one hit on `target` before armour, bonus included; 0 if it cannot be hit."""
        if target.layer == "air" and not self.hits_air:
            return 0.0
        return self.damage + sum(self.bonus.get(attribute, 0.0) for attribute in target.attributes)


class Heal(_Data):
    """What a unit does instead of attacking: it heals one of its own side that has the attribute."""

    attribute: str
    health_per_second: float = Field(gt=0)
    energy_per_health: float = Field(gt=0)
    range: float = Field(ge=0)
    scan_range: float = Field(gt=0)
    start_energy: float = Field(ge=0)
    max_energy: float = Field(gt=0)
    energy_per_second: float = Field(ge=0)


class Unit(_Data):
    """A unit type; `allied_...` where SMAC's copy for the agents' side differs.

    Bodies meet within a layer only. Giants cross cliffs, what is in the air crosses everything.
    """

    race: Literal["terran", "protoss", "zerg"]
    health: float = Field(gt=0)
    allied_health: float | None = Field(default=None, gt=0)
    shield: float = Field(ge=0)
    armour: float = Field(ge=0)
    speed: float = Field(ge=0)
    allied_speed: float | None = Field(default=None, ge=0)
    layer: Literal["ground", "giant", "air"] = "ground"
    radius: float = Field(gt=0)
    attributes: list[str]
    weapons: list[str] = Field(default_factory=list, max_length=2)
    heal: Heal | None = None
    smac_max_cooldown: float = Field(gt=0)  # of a healer: its energy in the place of the cooldown

    @model_validator(mode="after")
    def _fights_or_heals(self) -> Self:
        if bool(self.weapons) == (self.heal is not None):
            raise ValueError("a unit has either 'weapons' or 'heal'")
        return self


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
    cliff: tuple[int, int, int, int] | None = None  # ground that giants alone cross, bounds
    has_corners: bool = False  # walkers have to find their way

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.bounds is None) == (self.rows_north_to_south is None or self.origin is None):
            raise ValueError("an arena has either 'bounds' or 'origin' with 'rows_north_to_south'")
        return self

    def walkable(self, size: int) -> np.ndarray:
        """Walkable cells, bool [size, size], indexed [x, y]."""
        cells = _rectangle(self.bounds, size)
        if self.bounds is not None:
            return cells
        if self.origin is not None and self.rows_north_to_south is not None:
            rows = np.array([[cell == "." for cell in row] for row in reversed(self.rows_north_to_south)])
            x0, y0 = self.origin
            cells[x0 : x0 + rows.shape[1], y0 : y0 + rows.shape[0]] = rows.T
        return cells


def _rectangle(bounds: tuple[int, int, int, int] | None, size: int) -> np.ndarray:
    """The cells within bounds, bool [size, size], [x, y]; none without bounds."""
    cells = np.zeros((size, size), dtype=np.bool_)
    if bounds is not None:
        x0, y0, x1, y1 = bounds
        cells[x0:x1, y0:y1] = True
    return cells


Point = tuple[float, float]


class Map(_Data):
    """One SMAC map."""

    arena: str
    allies: dict[str, int] = Field(min_length=1)
    enemies: dict[str, int] = Field(min_length=1)
    episode_limit: int = Field(gt=0)
    allied_spawn: Point = (9.0, 16.0)
    enemy_spawn: Point = (23.0, 16.0)
    allied_points: dict[str, list[Point]] = Field(
        default_factory=dict
    )  # of unit types created elsewhere, in equal parts
    enemy_points: dict[str, list[Point]] = Field(default_factory=dict)
    enemy_goal: Point | None = None  # end of the enemies' attack-move; by default the agents' spawn point
    enemy_goal_to: Point | None = None  # drawn per battle between enemy_goal and this point
    enemies_hunt: bool = False  # ordered to attack the agents themselves, wherever they are
    enemy_index: Literal["created", "newest_first"] = "created"
    enemy_types: list[str] | None = None  # numbering of the enemies' types; that of the agents' unless given

    @model_validator(mode="after")
    def _numbered_types_are_those_shown(self) -> Self:
        if self.enemy_types is not None and not set(self.enemies) <= set(self.enemy_types) == set(self.allies):
            raise ValueError(
                f"enemy_types: found {self.enemy_types} beside allies {sorted(self.allies)} and enemies"
                f" {sorted(self.enemies)}, expected the allies' types, those of the enemies among them"
            )
        return self


class MapData(_Data):
    """The file maps.yaml."""

    map_size: int
    playable_size: float = Field(gt=0)
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
    scan_margin: float = Field(ge=0)
    search_interval_loops: int = Field(ge=1)
    chase_nearest: bool
    backswing_holds: bool
    slop_repeats: bool
    second_hit_holds: bool
    retaliate: bool
    call_for_help_range: float = Field(ge=0)
    start_delay_loops: int = Field(ge=0)
    detour_memory_loops: int = Field(ge=1, le=100)
    arrival_radius: float = Field(ge=0)
    push_share: float = Field(ge=0, le=1)
    body_overlap: float = Field(ge=0)
    survivors_radius: float = Field(ge=0)


_Model = TypeVar("_Model", bound=_Data)


def load_data(model: type[_Model], path: Path) -> _Model:
    """Read and validate one data file.

    Raises:
        ValueError: a key is missing, unknown or impossible; the message names the file and the key.
    """
    content = read_yaml(path)
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


_CROSSES = {"ground": WALKABLE, "giant": CLIFF, "air": CLOSED}  # the most that a layer's units cross


def _roster(sides: dict[str, int]) -> list[str]:
    return [name for name, count in sides.items() for _ in range(count)]


def contact(one: Unit, other: Unit, overlap: float) -> float:
    """The least distance between the centres of two units, whose bodies overlap a little when they press.

    So far apart stood the units of real episodes, when they pressed on each other and, but for kernel.CREATION_GAP,
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


def unknown_name(kind: str, name: str, known: list[str]) -> ValueError:
    """The error for a name that is not in `known`, with the nearest one."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return ValueError(f"unknown {kind} {name!r}{hint} (known: {', '.join(known)})")


def _kinds(roster: list[Unit], weapons: list[list[Weapon]], n_agents: int, rules: Mechanics) -> np.ndarray:
    kinds = np.zeros(len(roster), dtype=KIND)
    healed = {unit.heal.attribute for unit in roster if unit.heal is not None}
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
        "allies_have_shields": roster[0].race == "protoss",
        "enemies_have_shields": enemies[0].race == "protoss",
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
        "max_reward": 10 * len(enemies) + 200 + sum(enemy.health + enemy.shield for enemy in enemies),
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
        raise ValueError(
            f"the point ({unit['point_x']}, {unit['point_y']}): expected walkable ground around it for all units"
            f" that are created there, found no place for {np.isnan(x).sum()} of them"
        )
    kinds["spawn_x"], kinds["spawn_y"] = x, y
    kinds["place_x"][n_agents:] = x[n_agents:] - enemy_point[0]
    kinds["place_y"][n_agents:] = y[n_agents:] - enemy_point[1]


def _ground(arena: Arena, size: int) -> np.ndarray:
    """See World.ground."""
    walkable = arena.walkable(size)
    cells = np.where(walkable, WALKABLE, np.where(_rectangle(arena.cliff, size), CLIFF, CLOSED))[None]
    if not arena.has_corners:
        return cells.astype(np.int16)
    return np.concatenate([cells, next_turns(walkable).reshape(size * size, size, size)]).astype(np.int16)


def compile_scenario(map_name: str, units: UnitData, maps: MapData, rules: Mechanics) -> World:
    """The kernel's numbers for one map.

    Raises:
        ValueError: the map or one of its units is unknown, or its healers have more agents to choose from than actions.
    """
    if map_name not in maps.maps:
        raise unknown_name("map", map_name, sorted(maps.maps))
    battle_map = maps.maps[map_name]
    for name in (*battle_map.allies, *battle_map.enemies):
        if name not in units.units:
            raise unknown_name(f"unit of map {map_name!r}", name, sorted(units.units))
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
    damage = _damage(roster, weapons)
    contacts = np.array([[contact(one, other, rules.body_overlap) for other in roster] for one in roster])
    layers = np.array([unit.layer for unit in roster])
    body2 = np.where(layers[:, None] == layers, contacts**2, 0.0)
    np.fill_diagonal(body2, 0.0)
    ground = _ground(arena, maps.map_size)
    _place(kinds, body2, ground, n_agents, _enemy_point(battle_map))
    if (kinds["heal_rate"][:n_agents] > 0).any() and n_agents > len(roster) - n_agents:
        raise ValueError(
            f"map {map_name!r}: found {n_agents} agents, healers among them, and {len(roster) - n_agents} enemies;"
            " expected at least as many enemies: SMAC has an action per enemy, and its healers choose an agent by it"
        )
    flags = _flags(kinds, damage, n_agents) | {"has_corners": arena.has_corners}
    return World(
        rules=_rules(battle_map, maps, len(types), roster, flags, rules),
        kinds=kinds,
        arms=_arms(roster, weapons, rules),
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
