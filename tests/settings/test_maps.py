"""dm2.settings.maps: a user's own units and maps are refused by file, map and key, or can be played."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dm2.battle.env import BattleEnv
from dm2.battle.scenario import compile_scenario, mechanics
from dm2.settings import maps
from dm2.settings.base import SettingsError
from dm2.settings.maps import MapData, UnitData, check_units, map_data, unit_data
from dm2.settings.matrix import Matrix

CONFIG = Path(__file__).parents[2] / "config"
TINY = {"arena": "moon", "allies": {"Marine": 1}, "enemies": {"Marine": 1}, "episode_limit": 5}


def with_map(folder: Path, arenas: dict[str, Any] | None = None, **keys: Any) -> Path:
    """The shipped maps and the map `tiny`."""
    data = yaml.safe_load(maps.MAPS_FILE.read_text())
    data["arenas"] |= {"moon": {"bounds": [0, 0, 32, 32]}} | (arenas or {})
    data["maps"]["tiny"] = TINY | keys
    path = folder / "maps.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.fixture
def own_maps(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Takes the place of the shipped maps."""

    def take(path: Path) -> None:
        monkeypatch.setattr(maps, "MAPS_FILE", path)
        map_data.cache_clear()

    yield take
    monkeypatch.undo()
    map_data.cache_clear()


WRONG = [
    ({"enemies": {"Zealot": 1}, "allies": {"Marine": 1, "Medivac": 1}}, "maps.tiny: enemies: found 'Zealot', which no"),
    ({"allies": {"Marine": 0}}, "maps.tiny.allies.Marine: Input should be greater than or equal to 1, found 0"),
    ({"enemies": {"Marine": -1}}, "maps.tiny.enemies.Marine: Input should be greater than or equal to 1, found -1"),
    ({"allies": {}}, "maps.tiny.allies: Dictionary should have at least 1 item"),
    ({"allies": {"Marin": 1}}, "maps.tiny.allies: unknown unit 'Marin'; did you mean 'Marine'?"),
    ({"enemies": {"Marin": 1}}, "maps.tiny.enemies: unknown unit 'Marin'; did you mean 'Marine'?"),
    ({"allied_points": {"Marin": [[9, 9]]}}, "maps.tiny: allied_points: found 'Marin', which is not on that side; did"),
    ({"enemy_points": {"Zealot": [[9, 9]]}}, "maps.tiny: enemy_points: found 'Zealot', which is not on that side; exp"),
    ({"allied_points": {"Marine": []}}, "maps.tiny.allied_points.Marine: List should have at least 1 item"),
    ({"allied_spawn": [99, 16]}, "maps.tiny.allied_spawn: found (99, 16), expected a walkable point of arena 'moon'"),
    ({"enemy_points": {"Marine": [[9, -1]]}}, "maps.tiny.enemy_points.Marine: found (9, -1), expected a walkable"),
    ({"arena": "octagon", "enemy_spawn": [0.5, 0.5]}, "maps.tiny.enemy_spawn: found (0.5, 0.5), expected a walkable"),
    ({"arena": "mon"}, "maps.tiny.arena: unknown arena 'mon'; did you mean 'moon'?"),
    ({"episode_limit": 0}, "maps.tiny.episode_limit: Input should be greater than 0"),
    ({"alies": {}}, "maps.tiny: unknown key 'alies'; did you mean 'allies'?"),
    ({"allies": {"Marine": 1, "Medivac": 1}}, "maps.tiny.allies: found 2 agents, healers among them, and 1 enemies"),
    (
        {"allies": {"Marine": 1, "Zealot": 1}, "enemies": {"Zealot": 1}, "enemy_types": ["Zealot", "Marin"]},
        "maps.tiny: enemy_types: found ['Zealot', 'Marin'] beside allies ['Marine', 'Zealot']",
    ),
]


@pytest.mark.parametrize(("keys", "message"), WRONG)
def test_a_map_that_cannot_be_stops_the_planning_by_file_map_and_key(
    tmp_path: Path, own_maps: Any, keys: dict[str, Any], message: str
) -> None:
    own_maps(with_map(tmp_path, **keys))
    with pytest.raises(SettingsError) as error:
        Matrix.load(CONFIG)
    assert str(error.value).startswith(f"{tmp_path}/maps.yaml: {message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arena", "message"),
    [
        (
            {"bounds": [0, 8, 33, 24]},
            "arenas.room: found ground from (0, 8) to (33, 24), expected some, within 0 to 32",
        ),
        ({"bounds": [4, 8, 4, 24]}, "arenas.room: found ground from (4, 8) to (4, 24), expected some, within 0 to 32"),
        ({"origin": [30, 0], "rows_north_to_south": ["...."]}, "arenas.room: found ground from (30, 0) to (34, 1)"),
        ({"origin": [0, 0], "rows_north_to_south": ["..", "."]}, "arenas.room: rows_north_to_south: found ['..', '.']"),
        ({"origin": [0, 0], "rows_north_to_south": [".x"]}, "arenas.room: rows_north_to_south: found ['.x'], expected"),
        ({"origin": [0, 0], "rows_north_to_south": []}, "arenas.room: rows_north_to_south: found [], expected"),
    ],
)
def test_an_arena_that_cannot_be_is_refused(tmp_path: Path, arena: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as error:
        MapData.from_yaml(with_map(tmp_path, {"room": arena}))
    assert f"{tmp_path}/maps.yaml: {message}" in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("health: 45", "health: -45", "units.Marine.health: Input should be greater than 0, found -45"),
        ("health: 45", "health: .inf", "units.Marine.health: Input should be a finite number, found inf"),
        ("health: 45", "helth: 45", "units.Marine: unknown key 'helth'; did you mean 'health'?"),
        ("weapons: [GaussRifle]", "weapons: [GausRifle]", "unit 'Marine' names the weapon 'GausRifle'"),
        ("weapons: [GaussRifle]", "weapons: []", "units.Marine: a unit has either 'weapons' or 'heal'"),
        ("[Light, Biological]", "[Light, Biologicl]", "units.Marine.attributes.1: Input should be 'Light', 'Armored'"),
        ("bonus: {Armored: 5}", "bonus: {Armord: 5}", "bonus.Armord.[key]: Input should be 'Light', 'Armored'"),
        (
            "missile_speed: 18.75",
            "missile_speed: 18.75\n    hit_interval: 0.3",
            "weapons.ParticleDisruptors: found hit_interval and missile_speed, expected one of them: a weapon",
        ),
        (
            "burst_radius: 2.2",
            "burst_radius: 2.2\n    missile_speed: 9",
            "found missile_speed and burst_radius",
        ),
        (
            "channel: 0.375}",
            "channel: 0.375}\n    hit_interval: 0.3",
            "found hit_interval and sweep, expected",
        ),
        (
            "weapons: [VolatileBurst]",
            "weapons: [VolatileBurst, Claws]",
            "unit 'Baneling': found the weapons ['VolatileBurst', 'Claws'], expected 'VolatileBurst' alone",
        ),
        ("  Stalker:\n", "  Marine:\n", "not readable as YAML: line 16: found 'Marine' again, first in line 6"),
    ],
)
def test_a_wrong_unit_file_is_refused_by_file_and_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = maps.UNITS_FILE.read_text()
    assert old in text
    (tmp_path / "units.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(SettingsError) as error:
        UnitData.from_yaml(tmp_path / "units.yaml")
    assert str(error.value).startswith(f"{tmp_path}/units.yaml: ") and message in str(error.value)


POINTS = st.tuples(*[st.floats(-1, 33) | st.sampled_from([0.0, 9.0, 16.0, 31.9, 32.0])] * 2).map(list)
SIDES = st.dictionaries(
    st.sampled_from(["Marine", "Zealot", "Medivac", "Colossus", "Marin"]), st.integers(-1, 3), max_size=3
)


@given(
    st.fixed_dictionaries(
        {"allies": SIDES, "enemies": SIDES},
        optional={
            "arena": st.sampled_from(["strip", "octagon", "ridge", "mon"]),
            "allied_spawn": POINTS,
            "enemy_spawn": POINTS,
            "enemy_goal": POINTS,
            "allied_points": st.dictionaries(st.sampled_from(["Marine", "Zealot"]), st.lists(POINTS, max_size=2)),
            "enemy_types": st.lists(st.sampled_from(["Marine", "Zealot", "Marin"]), max_size=3),
            "enemies_hunt": st.booleans(),
        },
    )
)
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=int(os.environ.get("DM2_FUZZ_EXAMPLES", "100")),
    deadline=None,
)
def test_any_map_is_refused_or_can_be_played(tmp_path: Path, keys: dict[str, Any]) -> None:
    try:
        data = MapData.from_yaml(with_map(tmp_path, **keys))
        check_units("tiny", data.maps["tiny"], unit_data())
        world = compile_scenario("tiny", unit_data(), data, mechanics())
    except SettingsError:
        return
    env = BattleEnv("tiny", 1, 0, world=world)
    env.reset()
    env.step(env.avail_actions.argmax(axis=2))
    assert np.isfinite(env.obs).all() and np.isfinite(env.state).all() and np.isfinite(env.reward).all()
