"""Units and maps of the battles as validated data: `dm2/battle/data/{units,maps}.yaml`.

Adding a unit or a map means adding an entry there. Planning reads them too, so that nothing starts on a map that cannot
be; neither numba nor the simulator is imported for it.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

import numpy as np
from pydantic import Field, model_validator

from dm2.settings.base import Count, Name, Settings, SettingsError, did_you_mean

DATA = Path(__file__).parents[1] / "battle" / "data"
UNITS_FILE, MAPS_FILE = DATA / "units.yaml", DATA / "maps.yaml"
Entry = TypeVar("Entry")
Attribute = Literal["Light", "Armored", "Biological", "Mechanical", "Psionic", "Massive", "Structure"]


class Sweep(Settings):
    """Beams that sweep a line across the target: each hits every opponent on the ground that it touches once."""

    beams: int = Field(ge=1)
    half_length: float = Field(gt=0)  # of the line, at right angles to the way to the target
    radius: float = Field(gt=0)  # within which of the line bodies are touched
    channel: float = Field(gt=0)  # from the damage point to the damage


class Weapon(Settings):
    """A weapon; distances in map units, times in game seconds, speed in map units per game second.

    It strikes at once, twice, by a missile, a sweep or a burst.
    """

    damage: float = Field(gt=0)
    bonus: dict[Attribute, float] = Field(default_factory=dict)
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

    @property
    def _strikes(self) -> list[str]:
        """How, where not at once: the keys that say so."""
        return [key for key in ("hit_interval", "missile_speed", "sweep", "burst_radius") if getattr(self, key)]

    @property
    def is_area(self) -> bool:
        """Whether it sweeps or bursts."""
        return self.sweep is not None or self.burst_radius > 0

    @model_validator(mode="after")
    def _strikes_in_one_way(self) -> Self:
        if len(self._strikes) > 1:
            raise ValueError(f"found {' and '.join(self._strikes)}, expected one of them: a weapon strikes in one way")
        return self

    def damage_to(self, target: Unit) -> float:
        """Damage of one hit on `target` before armour, bonus included; 0 if it cannot be hit."""
        if target.layer == "air" and not self.hits_air:
            return 0.0
        return self.damage + sum(self.bonus.get(attribute, 0.0) for attribute in target.attributes)


class Heal(Settings):
    """What a unit does instead of attacking: it heals one of its own side that has the attribute."""

    attribute: Attribute
    health_per_second: float = Field(gt=0)
    energy_per_health: float = Field(gt=0)
    range: float = Field(ge=0)
    scan_range: float = Field(gt=0)
    start_energy: float = Field(ge=0)
    max_energy: float = Field(gt=0)
    energy_per_second: float = Field(ge=0)


class Unit(Settings):
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
    attributes: list[Attribute]
    weapons: list[str] = Field(default_factory=list, max_length=2)
    heal: Heal | None = None
    smac_max_cooldown: float = Field(gt=0)  # of a healer: its energy in the place of the cooldown

    @model_validator(mode="after")
    def _fights_or_heals(self) -> Self:
        if bool(self.weapons) == (self.heal is not None):
            raise ValueError("a unit has either 'weapons' or 'heal'")
        return self


class UnitData(Settings):
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

    @model_validator(mode="after")
    def _area_weapons_are_alone(self) -> Self:
        for name, unit in self.units.items():
            area = [weapon for weapon in unit.weapons if self.weapons[weapon].is_area]
            if area and len(unit.weapons) > 1:
                raise ValueError(
                    f"unit {name!r}: found the weapons {unit.weapons}, expected {area[0]!r} alone: a unit that sweeps"
                    " or bursts has no other weapon"
                )
        return self


class Arena(Settings):
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
        rows = ["."] if self.rows_north_to_south is None else self.rows_north_to_south
        if len({len(row) for row in rows}) != 1 or not set("".join(rows)) <= set(".#") or not rows[0]:
            raise ValueError(f"rows_north_to_south: found {rows}, expected rows of equal length of '.' and '#'")
        return self

    def extent(self) -> tuple[int, int, int, int]:
        """The rectangle that it fills, bounds."""
        if self.bounds is not None:
            return self.bounds
        (x, y), rows = self.origin or (0, 0), self.rows_north_to_south or ["."]
        return x, y, x + len(rows[0]), y + len(rows)

    def walkable(self, size: int) -> np.ndarray:
        """Walkable cells, bool [size, size], indexed [x, y]."""
        cells = rectangle(self.bounds, size)
        if self.bounds is not None:
            return cells
        if self.origin is not None and self.rows_north_to_south is not None:
            rows = np.array([[cell == "." for cell in row] for row in reversed(self.rows_north_to_south)])
            x0, y0 = self.origin
            cells[x0 : x0 + rows.shape[1], y0 : y0 + rows.shape[0]] = rows.T
        return cells


def rectangle(bounds: tuple[int, int, int, int] | None, size: int) -> np.ndarray:
    """The cells within bounds, bool [size, size], [x, y]; none without bounds."""
    cells = np.zeros((size, size), dtype=np.bool_)
    if bounds is not None:
        x0, y0, x1, y1 = bounds
        cells[x0:x1, y0:y1] = True
    return cells


Point = tuple[float, float]
Points = Annotated[list[Point], Field(min_length=1)]


class Map(Settings):
    """One SMAC map."""

    arena: str
    allies: dict[str, Count] = Field(min_length=1)
    enemies: dict[str, Count] = Field(min_length=1)
    episode_limit: int = Field(gt=0)
    allied_spawn: Point = (9.0, 16.0)
    enemy_spawn: Point = (23.0, 16.0)
    allied_points: dict[str, Points] = Field(default_factory=dict)  # of unit types created elsewhere, in equal parts
    enemy_points: dict[str, Points] = Field(default_factory=dict)
    enemy_goal: Point | None = None  # end of the enemies' attack-move; by default the agents' spawn point
    enemy_goal_to: Point | None = None  # drawn per battle between enemy_goal and this point
    enemies_hunt: bool = False  # look for agents on the whole map, but for the leash of mechanics.yaml
    enemy_index: Literal["created", "newest_first"] = "created"
    enemy_types: list[str] | None = None  # numbering of the enemies' types; that of the agents' unless given

    def points_of_creation(self) -> Iterator[tuple[str, Point]]:
        """The points at which units are created, each after its key."""
        for side, spawn, key, elsewhere in (
            (self.allies, self.allied_spawn, "allied", self.allied_points),
            (self.enemies, self.enemy_spawn, "enemy", self.enemy_points),
        ):
            yield from ((f"{key}_points.{unit}", point) for unit, points in elsewhere.items() for point in points)
            if side.keys() - elsewhere.keys():
                yield f"{key}_spawn", spawn

    @model_validator(mode="after")
    def _points_are_of_units_there_are(self) -> Self:
        for key, points, side in (
            ("allied_points", self.allied_points, self.allies),
            ("enemy_points", self.enemy_points, self.enemies),
        ):
            for unit in points.keys() - side.keys():
                raise ValueError(f"{key}: found {unit!r}, which is not on that side; {did_you_mean(unit, side)}")
        return self

    @model_validator(mode="after")
    def _enemies_have_a_number(self) -> Self:
        for unit in self.enemies.keys() - self.allies.keys() if len(self.allies) > 1 else ():
            raise ValueError(
                f"enemies: found {unit!r}, which no agent is, beside agents of several types; expected types of theirs"
                f" alone ({', '.join(sorted(self.allies))}): observations number the types of agents"
            )
        return self

    @model_validator(mode="after")
    def _numbered_types_are_those_shown(self) -> Self:
        if self.enemy_types is not None and not set(self.enemies) <= set(self.enemy_types) == set(self.allies):
            raise ValueError(
                f"enemy_types: found {self.enemy_types} beside allies {sorted(self.allies)} and enemies"
                f" {sorted(self.enemies)}, expected the allies' types, those of the enemies among them"
            )
        return self


class MapData(Settings):
    """The file maps.yaml."""

    map_size: Count
    playable_size: float = Field(gt=0)
    arenas: dict[str, Arena]
    maps: dict[Name, Map]

    @model_validator(mode="after")
    def _arenas_exist(self) -> Self:
        for name, battle_map in self.maps.items():
            arena = battle_map.arena
            if arena not in self.arenas:
                raise ValueError(f"maps.{name}.arena: unknown arena {arena!r}; {did_you_mean(arena, self.arenas)}")
        return self

    @model_validator(mode="after")
    def _arenas_lie_on_the_map(self) -> Self:
        for name, arena in self.arenas.items():
            for x0, y0, x1, y1 in filter(None, (arena.extent(), arena.cliff)):
                if not (0 <= x0 < x1 <= self.map_size and 0 <= y0 < y1 <= self.map_size):
                    raise ValueError(
                        f"arenas.{name}: found ground from ({x0}, {y0}) to ({x1}, {y1}), expected some, within 0 to"
                        f" {self.map_size}"
                    )
        return self

    @model_validator(mode="after")
    def _units_are_created_on_ground(self) -> Self:
        for name, battle_map in self.maps.items():
            walkable = self.arenas[battle_map.arena].walkable(self.map_size)
            for key, (x, y) in battle_map.points_of_creation():
                if not (0 <= x < self.map_size and 0 <= y < self.map_size and walkable[int(x), int(y)]):
                    raise ValueError(
                        f"maps.{name}.{key}: found ({x:g}, {y:g}), expected a walkable point of arena"
                        f" {battle_map.arena!r}"
                    )
        return self


@functools.cache
def unit_data() -> UnitData:
    """The units and weapons shipped with the package."""
    return UnitData.from_yaml(UNITS_FILE)


@functools.cache
def map_data() -> MapData:
    """The maps shipped with the package, of units that there are."""
    maps = MapData.from_yaml(MAPS_FILE)
    for name, battle_map in maps.maps.items():
        check_units(f"{MAPS_FILE}: maps.{name}", battle_map, unit_data())
    return maps


def data_of_maps(names: Collection[str]) -> tuple[MapData, UnitData]:
    """What the battles on some maps are made of: these maps and their arenas; their units and the weapons of those.

    What holds for all maps is there too. A name that no map has, such as that of a map of StarCraft II's, adds nothing.
    """
    maps, units = map_data(), unit_data()
    own = _only(names, maps.maps)
    arenas = {one.arena for one in own.values()}
    sides = {unit for one in own.values() for unit in (*one.allies, *one.enemies)}
    weapons = {weapon for unit in sides for weapon in units.units[unit].weapons}
    return (
        maps.model_copy(update={"maps": own, "arenas": _only(arenas, maps.arenas)}),
        units.model_copy(update={"units": _only(sides, units.units), "weapons": _only(weapons, units.weapons)}),
    )


def _only(names: Collection[str], entries: Mapping[str, Entry]) -> dict[str, Entry]:
    return {name: entry for name, entry in entries.items() if name in names}


def check_units(where: str, battle_map: Map, units: UnitData) -> None:
    """Refuse a map whose units do not exist or cannot all act.

    Raises:
        SettingsError: a unit is unknown, or the map's healers have more agents to choose from than actions.
    """
    for key, side in (("allies", battle_map.allies), ("enemies", battle_map.enemies)):
        for name in side:
            if name not in units.units:
                raise SettingsError(f"{where}.{key}: unknown unit {name!r}; {did_you_mean(name, units.units)}")
    agents, enemies = sum(battle_map.allies.values()), sum(battle_map.enemies.values())
    if agents > enemies and any(units.units[name].heal for name in battle_map.allies):
        raise SettingsError(
            f"{where}.allies: found {agents} agents, healers among them, and {enemies} enemies; expected at least as"
            " many enemies: SMAC has an action per enemy, and its healers choose an agent by it"
        )
