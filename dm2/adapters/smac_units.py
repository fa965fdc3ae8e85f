"""The units of a battle as SMAC's clients read them: what of the game's Unit message they use, under its names."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dm2.adapters.smac_maps import allied_types, enemy_type
from dm2.battle.records import UNIT, Battles, World
from dm2.battle.scenario import map_data, unit_data, unit_names

SELF, ENEMY = 1, 4  # alliances, as the game numbers them
AGENTS, OPPONENT = 1, 2  # owners


class Point(NamedTuple):
    """A place in map units."""

    x: float
    y: float
    z: float = 0.0


@dataclass(slots=True)
class SmacUnit:
    """One unit at one moment; the dead have health 0 and stay where they fell."""

    tag: int
    unit_type: int
    owner: int
    alliance: int
    pos: Point
    facing: float  # radians from the east
    radius: float
    health: float
    health_max: float
    shield: float
    shield_max: float
    energy: float
    energy_max: float
    weapon_cooldown: float  # game loops


@dataclass(frozen=True)
class UnitTypes:
    """Who the units of a map are; U units, agents first.

    Attributes:
        names: of their types [U].
        numbers: of their types, int64 [U].
        n_agents: how many are agents.
        kinds: World.kinds.
        smac_max_cooldown: by what SMAC's state divides the weapon cooldown, by number of type.
        max_shield: by number of type.
        max_energy: [U].
    """

    names: list[str]
    numbers: np.ndarray
    n_agents: int
    kinds: np.ndarray
    smac_max_cooldown: dict[int, float]
    max_shield: dict[int, float]
    max_energy: np.ndarray

    @classmethod
    def of(cls, map_name: str, world: World) -> UnitTypes:
        """The units of a map."""
        names, n_agents = unit_names(map_name), int(world.rules[0]["n_agents"])
        allied = allied_types(map_data().maps[map_name])
        numbers = [allied[name] for name in names[:n_agents]] + [enemy_type(name) for name in names[n_agents:]]
        units = [unit_data().units[name] for name in names]
        return cls(
            names=names,
            numbers=np.array(numbers),
            n_agents=n_agents,
            kinds=world.kinds,
            smac_max_cooldown={number: unit.smac_max_cooldown for number, unit in zip(numbers, units, strict=True)},
            max_shield={number: unit.shield for number, unit in zip(numbers, units, strict=True)},
            max_energy=np.array([unit.heal.max_energy if unit.heal else 0.0 for unit in units]),
        )


class Frame(NamedTuple):
    """What a battle looks like at one moment.

    Attributes:
        x, y: float64 [U]; the dead stay where they fell.
        records: dm2.battle.records.UNIT [U].
    """

    x: np.ndarray
    y: np.ndarray
    records: np.ndarray

    @classmethod
    def of(cls, battles: Battles, before: Frame | None) -> Frame:
        """A copy of the first battle's units; `before` knows where the dead fell."""
        x, y = battles.x[0].copy(), battles.y[0].copy()
        records = np.frombuffer(battles.units[0].tobytes(), dtype=UNIT)  # copy() goes field by field, 50 times as slow
        if before is not None and not (alive := records["alive"]).all():
            np.copyto(x, before.x, where=~alive)
            np.copyto(y, before.y, where=~alive)
        return cls(x, y, records)

    @property
    def alive(self) -> np.ndarray:
        """Bool [U]."""
        return self.records["alive"]

    @property
    def vitality(self) -> np.ndarray:
        """Health and shields together, float64 [U]."""
        return self.records["health"] + self.records["shield"]

    def units(self, types: UnitTypes) -> list[SmacUnit]:
        """All units, agents first."""
        return [self.unit(types, u) for u in range(len(self.x))]

    def unit(self, types: UnitTypes, u: int) -> SmacUnit:
        """One unit."""
        record, kind, ally = self.records[u], types.kinds[u], u < types.n_agents
        heals = types.max_energy[u] > 0
        spare = max(float(record["cooldown"]), 0.0)  # of a healer: its energy
        return SmacUnit(
            tag=u + 1,
            unit_type=int(types.numbers[u]),
            owner=AGENTS if ally else OPPONENT,
            alliance=SELF if ally else ENEMY,
            pos=Point(float(self.x[u]), float(self.y[u])),
            facing=math.atan2(record["facing_y"], record["facing_x"]),
            radius=float(kind["radius"]),
            health=float(record["health"]),
            health_max=float(kind["max_health"]),
            shield=float(record["shield"]),
            shield_max=float(kind["max_shield"]),
            energy=spare if heals else 0.0,
            energy_max=float(types.max_energy[u]),
            weapon_cooldown=0.0 if heals else spare,
        )
