"""Data files and their compilation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dm2.battle.env import simulator_spec
from dm2.battle.scenario import MapData, UnitData, load_data, load_scenario, map_data, unit_data

# obs, state, actions, limit as oxwhirl/smac's get_env_info() gives them
SMAC_SHAPES = {
    "3m": (30, 48, 9, 60),
    "8m": (80, 168, 14, 120),
    "2s3z": (80, 120, 11, 120),
    "3s5z": (128, 216, 14, 150),
    "5m_vs_6m": (55, 98, 12, 70),
    "8m_vs_9m": (85, 179, 15, 120),
    "3s_vs_3z": (36, 54, 9, 150),
    "3s_vs_4z": (42, 61, 10, 200),
    "3s_vs_5z": (48, 68, 11, 250),
    "6h_vs_8z": (78, 140, 14, 150),
}


@pytest.mark.parametrize("map_name", SMAC_SHAPES)
def test_interface_sizes_are_smacs(map_name: str) -> None:
    spec = simulator_spec(map_name)
    assert (spec.obs_size, spec.state_size, spec.n_actions, spec.episode_limit) == SMAC_SHAPES[map_name]


@pytest.mark.parametrize("map_name", sorted(map_data().maps))
def test_every_unit_starts_on_walkable_ground_without_overlap(map_name: str) -> None:
    world = load_scenario(map_name)
    x, y = world.kinds["spawn_x"], world.kinds["spawn_y"]
    assert world.walkable[x.astype(int), y.astype(int)].all()
    distance2 = (x[:, None] - x) ** 2 + (y[:, None] - y) ** 2
    inner = np.sqrt(world.body2) * 0.8  # stalkers are created 0.06 nearer than their separation radii
    assert (distance2 >= inner**2).all()


def test_2s3z_starts_as_seen_in_the_real_game() -> None:
    kinds = load_scenario("2s3z").kinds
    allies = np.c_[kinds["spawn_x"][:5] - 9, kinds["spawn_y"][:5] - 16]
    seen = [(0, -1.1885), (0, 0), (-0.752, 0.7517), (0.7517, 0.7517), (0.9414, -0.4946)]
    np.testing.assert_allclose(allies, seen, atol=1e-3)
    enemies = np.c_[kinds["spawn_x"][5:] - 23, kinds["spawn_y"][5:] - 16]
    seen = [(0.7517, 0.7517), (-0.752, 0.7517), (0.9414, -0.4946), (0, -1.1885), (0, 0)]
    np.testing.assert_allclose(enemies, seen, atol=1e-3)


def test_units_in_loops() -> None:
    world = load_scenario("3s_vs_3z")
    stalker, zealot = world.kinds[0], world.kinds[3]
    assert zealot["speed"] == pytest.approx(0.140625)
    assert stalker["speed"] == pytest.approx(0.184569, abs=1e-6)
    assert world.arms[0, 0]["period"] == pytest.approx(29.92)
    assert world.arms[0, 3]["hit_interval"] == pytest.approx(4.48)
    assert world.rules[0]["max_reward"] == 10 * 3 + 200 + 3 * 150
    assert load_scenario("6h_vs_8z").kinds["max_health"][0] == 80  # SMAC's own hydralisk


def test_bonus_damage_follows_attributes() -> None:
    world = load_scenario("2s3z")
    assert world.damage[0, 0, 5] == 13  # stalker on zealot, light
    assert world.damage[0, 0, 8] == 18  # stalker on stalker, armoured


def test_unknown_map_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown map '5m_vs_6n'; did you mean '5m_vs_6m'"):
        load_scenario("5m_vs_6n")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("health: 45", "health: -45", r"units\.yaml: units\.Marine\.health: .*greater than 0"),
        ("health: 45", "helth: 45", r"units\.Marine\.helth"),
        ("weapons: [GaussRifle]", "weapons: [GausRifle]", r"'Marine' names the weapon 'GausRifle'"),
    ],
)
def test_a_wrong_unit_file_is_refused_by_file_and_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    import yaml

    text = yaml.safe_dump(unit_data().model_dump(mode="json"), default_flow_style=None, width=10_000)
    text = text.replace("weapons: [GaussRifle]", "weapons: [GaussRifle]").replace("health: 45.0", "health: 45")
    assert old in text
    path = tmp_path / "units.yaml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        load_data(UnitData, path)


def test_a_map_on_an_unknown_arena_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "maps.yaml"
    path.write_text(
        "map_size: 32\narenas: {}\n"
        "maps: {tiny: {arena: moon, allies: {Marine: 1}, enemies: {Marine: 1}, episode_limit: 5}}"
    )
    with pytest.raises(ValueError, match="'tiny' names the arena 'moon'"):
        load_data(MapData, path)
