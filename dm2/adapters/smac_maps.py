"""SMAC's registry of maps and StarCraft II's numbers of unit types, from the simulator's data.

SMAC's maps hold copies of the agents' unit types, whose numbers follow the alphabet; here they begin at
FIRST_ALLIED_TYPE. The enemies' types are the game's own.
"""

from __future__ import annotations

from typing import Any

from dm2.settings.base import SettingsError, did_you_mean
from dm2.settings.maps import Map, map_data, unit_data

FIRST_ALLIED_TYPE = 2000  # ours: the real ones differ between builds of the game
FIRST_OTHER_TYPE = 3000  # of enemies that StarCraft II does not know
GAME_TYPES = {
    "Colossus": 4,
    "Baneling": 9,
    "Marine": 48,
    "Marauder": 51,
    "Medivac": 54,
    "Zealot": 73,
    "Stalker": 74,
    "SpineCrawler": 98,
    "Zergling": 105,
    "Hydralisk": 107,
}
_MAP_TYPES = {
    ("Marine",): "marines",
    ("Stalker",): "stalkers",
    ("Zealot",): "zealots",
    ("Colossus",): "colossus",
    ("Hydralisk",): "hydralisks",
    ("Stalker", "Zealot"): "stalkers_and_zealots",
    ("Colossus", "Stalker", "Zealot"): "colossi_stalkers_zealots",
    ("Marauder", "Marine", "Medivac"): "MMM",
    ("Baneling", "Zergling"): "bane",
}


def get_map_params(map_name: str) -> dict[str, Any]:
    """What SMAC keeps of a map: n_agents, n_enemies, limit, a_race, b_race, unit_type_bits, map_type.

    Raises:
        SettingsError: unknown map.
    """
    maps = map_data().maps
    if map_name not in maps:
        raise SettingsError(f"unknown map {map_name!r}; {did_you_mean(map_name, maps)}")
    battle_map = maps[map_name]
    types = tuple(sorted(battle_map.allies))
    return {
        "n_agents": sum(battle_map.allies.values()),
        "n_enemies": sum(battle_map.enemies.values()),
        "limit": battle_map.episode_limit,
        "a_race": _race(battle_map.allies),
        "b_race": _race(battle_map.enemies),
        "unit_type_bits": len(types) if len(types) > 1 else 0,
        "map_type": _MAP_TYPES.get(types, "_".join(types).lower()),
    }


def get_smac_map_registry() -> dict[str, dict[str, Any]]:
    """`get_map_params` of every map."""
    return {map_name: get_map_params(map_name) for map_name in map_data().maps}


def _race(side: dict[str, int]) -> str:
    """P where somebody has shields, as SMAC tells these by it; else the race of the first."""
    units = [unit_data().units[name] for name in side]
    return "P" if any(unit.shield for unit in units) else units[0].race[0].upper()


def allied_types(battle_map: Map) -> dict[str, int]:
    """The numbers of the agents' unit types, by name."""
    return {name: FIRST_ALLIED_TYPE + nth for nth, name in enumerate(sorted(battle_map.allies))}


def enemy_type(unit: str) -> int:
    """The number of an enemy's unit type."""
    return GAME_TYPES.get(unit, FIRST_OTHER_TYPE + list(unit_data().units).index(unit))
