"""Data files and their compilation."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.duels import duel, open_battle

from dm2.battle.env import BattleEnv, simulator_spec
from dm2.battle.scenario import compile_scenario, contact, load_scenario, mechanics
from dm2.settings.maps import UnitData, map_data, unit_data

STARTS = Path(__file__).parents[2] / "results" / "starcraft2" / "real_episode_starts.csv"

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
    "25m": (250, 950, 31, 150),
    "10m_vs_11m": (105, 243, 17, 150),
    "27m_vs_30m": (285, 1170, 36, 180),
    "3s5z_vs_3s6z": (136, 230, 15, 170),
    "MMM": (160, 290, 16, 150),
    "MMM2": (176, 322, 18, 180),
    "1c3s5z": (162, 270, 15, 180),
    "2m_vs_1z": (16, 26, 7, 150),
    "2s_vs_1sc": (17, 27, 7, 300),
    "2c_vs_64zg": (332, 342, 70, 400),
    "corridor": (156, 282, 30, 400),
    "so_many_baneling": (202, 397, 38, 100),
    "bane_vs_bane": (336, 984, 30, 200),
}


@pytest.mark.parametrize("map_name", SMAC_SHAPES)
def test_interface_sizes_are_smacs(map_name: str) -> None:
    spec = simulator_spec(map_name)
    assert (spec.obs_size, spec.state_size, spec.n_actions, spec.episode_limit) == SMAC_SHAPES[map_name]


def test_every_map_has_its_sizes_here() -> None:
    assert set(SMAC_SHAPES) == set(map_data().maps)


@pytest.mark.parametrize("map_name", sorted(map_data().maps))
def test_every_unit_starts_on_walkable_ground_without_overlap(map_name: str) -> None:
    world = load_scenario(map_name)
    x, y = world.kinds["spawn_x"], world.kinds["spawn_y"]
    assert world.walkable[x.astype(int), y.astype(int)].all()
    distance2 = (x[:, None] - x) ** 2 + (y[:, None] - y) ** 2
    assert (distance2 >= world.body2).all()


def test_2s3z_starts_as_seen_in_the_real_game() -> None:
    kinds = load_scenario("2s3z").kinds
    allies = np.c_[kinds["spawn_x"][:5] - 9, kinds["spawn_y"][:5] - 16]
    seen = [(0, -1.1885), (0, 0), (-0.752, 0.7517), (0.7517, 0.7517), (0.9414, -0.4946)]
    np.testing.assert_allclose(allies, seen, atol=1e-3)
    enemies = np.c_[kinds["spawn_x"][5:] - 23, kinds["spawn_y"][5:] - 16]
    seen = [(0.7517, 0.7517), (-0.752, 0.7517), (0.9414, -0.4946), (0, -1.1885), (0, 0)]
    np.testing.assert_allclose(enemies, seen, atol=1e-3)


def test_marines_form_a_cross_as_seen_in_the_real_game() -> None:
    starts = pd.read_csv(STARTS)
    seen = starts[(starts["map"] == "5m_vs_6m") & (starts.layout == "first")][["x", "y"]].to_numpy()
    kinds = load_scenario("5m_vs_6m").kinds[[0, 1, 3, 4]]  # the one in the middle is not told
    np.testing.assert_allclose(np.c_[kinds["spawn_x"], kinds["spawn_y"]], seen, atol=14e-4)  # 28 times half a digit


def test_units_of_later_episodes_stand_apart_as_bodies_do_here() -> None:
    rules, units, pairs = mechanics(), unit_data().units, 0
    for (_, layout), group in pd.read_csv(STARTS).dropna().groupby(["map", "layout"]):
        for one, other in itertools.combinations(group.itertuples(), 2):
            apart = math.hypot(one.x - other.x, one.y - other.y)
            least = contact(units[one.unit], units[other.unit], rules.body_overlap)
            assert apart > least - 28e-4, layout
            pairs += apart < least + 28e-4
    assert pairs == 9  # touch


@pytest.mark.parametrize("map_name", ["3m", "2s3z", "MMM2", "27m_vs_30m", "bane_vs_bane", "2m_vs_1z"])
def test_agents_are_created_among_those_whom_the_battle_before_left(map_name: str) -> None:
    world = load_scenario(map_name, start_delay_loops=0)
    env = BattleEnv(map_name, 64, 0, world=world)
    env.reset()
    n, kinds = env.spec.n_agents, world.kinds
    x, y = env.battles.x[:, :n], env.battles.y[:, :n]
    assert world.walkable[x.astype(int), y.astype(int)].all()
    apart2 = (x[:, :, None] - x[:, None]) ** 2 + (y[:, :, None] - y[:, None]) ** 2
    assert (apart2 >= world.body2[:n, :n]).all()
    types = np.broadcast_to(kinds["unit_type"][:n], x.shape)
    np.testing.assert_array_equal(np.lexsort((y, x, types)), np.broadcast_to(np.arange(n), x.shape))
    as_first = (np.isclose(x, kinds["spawn_x"][:n]) & np.isclose(y, kinds["spawn_y"][:n])).all(axis=1)
    assert not as_first.all()
    assert np.hypot(x - kinds["point_x"][:n], y - kinds["point_y"][:n]).max() < 5
    np.testing.assert_array_equal(env.battles.x[:, n:], np.broadcast_to(kinds["spawn_x"][n:], (64, env.spec.n_enemies)))


def test_a_third_of_the_battles_of_2s3z_begin_as_the_first_of_a_game() -> None:
    world = load_scenario("2s3z")
    env = BattleEnv("2s3z", 1024, 0, world=world)
    env.reset()
    x = np.isclose(env.battles.x[:, :5], world.kinds["spawn_x"][:5])
    y = np.isclose(env.battles.y[:, :5], world.kinds["spawn_y"][:5])
    assert 0.17 < (x & y).all(axis=1).mean() < 0.59  # 6 of 17 states printed by a run on the real game, 95 % interval


def test_without_survivors_all_battles_begin_alike() -> None:
    env = BattleEnv("8m", 8, 0, world=load_scenario("8m", survivors_radius=0.0, start_delay_loops=0))
    env.reset()
    np.testing.assert_array_equal(env.battles.x, np.broadcast_to(env.world.kinds["spawn_x"], (8, 16)))


def test_a_point_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the point \(60.0, 16.0\): .* found no place for 2 of them"):
        duel({"Marine": 1}, {"Marine": 2}, enemy_spawn=(60.0, 16.0))


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


def test_agents_are_ordered_by_smacs_type_ids() -> None:
    mmm, bane = load_scenario("MMM").kinds, load_scenario("bane_vs_bane").kinds
    assert mmm["max_health"].tolist() == [125] * 2 + [45] * 7 + [150] + [150] + [125] * 2 + [45] * 7
    assert mmm["unit_type"].tolist() == [0] * 2 + [1] * 7 + [2] + [2] + [0] * 2 + [1] * 7
    assert bane["max_health"][:24].tolist() == [30] * 4 + [35] * 20


@pytest.mark.parametrize("map_name", SMAC_SHAPES)
def test_agents_of_a_type_are_ordered_by_x_then_y(map_name: str) -> None:
    world = load_scenario(map_name)
    agents = world.kinds[: int(world.rules[0]["n_agents"])]
    places = list(zip(agents["unit_type"], agents["spawn_x"], agents["spawn_y"], strict=True))
    assert places == sorted(places)


def test_enemy_types_are_numbered_as_smac_does() -> None:
    assert load_scenario("2s3z").kinds["unit_type"].tolist() == [0] * 2 + [1] * 3 + [0] * 3 + [1] * 2
    assert load_scenario("1c3s5z").kinds["unit_type"][9:].tolist() == [2] * 5 + [1] * 3 + [0]


def test_weapons_that_cannot_hit_the_air() -> None:
    world = load_scenario("MMM2")
    marauder, marine, medivac, enemy_medivac = 0, 2, 9, 10
    assert world.damage[0, marauder, enemy_medivac] == 0
    assert world.damage[0, marine, enemy_medivac] == 6
    assert (world.damage[:, medivac] == 0).all()
    assert world.kinds["speed"][medivac] == 2.75 / 16  # SMAC's own medivac is faster
    assert world.kinds["speed"][enemy_medivac] == 2.5 / 16


@pytest.mark.parametrize("enemies", [{"Marine": 1, "Zealot": 1}, {"Zealot": 1, "Marine": 1}])
def test_a_side_has_shields_if_one_of_its_units_has(enemies: dict[str, int]) -> None:
    world = duel({"Marine": 1, "Zealot": 1}, enemies)
    assert world.rules[0]["allies_have_shields"] and world.rules[0]["enemies_have_shields"]
    env = open_battle(world)
    zealot = int(np.flatnonzero(world.kinds["max_shield"][2:] > 0)[0])
    assert env.state[0, 2 * 7 + 6 * zealot + 3] == 1  # health, x, y, shield, types
    none = duel({"Marine": 1}, {"Marine": 1}).rules[0]
    assert not none["allies_have_shields"] and not none["enemies_have_shields"]


def test_units_of_a_type_are_dealt_to_their_points() -> None:
    kinds = load_scenario("2m_vs_1z").kinds
    assert list(zip(kinds["spawn_x"], kinds["spawn_y"], strict=True)) == [(13, 12), (19, 12), (16, 19)]


def test_unknown_map_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown map '5m_vs_6n'; did you mean '5m_vs_6m'"):
        load_scenario("5m_vs_6n")


def test_healers_need_an_action_per_agent() -> None:
    with pytest.raises(ValueError, match="found 2 agents, healers among them, and 1 enemies"):
        duel({"Marine": 1, "Medivac": 1}, {"Marine": 1})


@pytest.mark.parametrize(("speed", "refused"), [(2.0, True), (6.7, True), (6.8, False)])
def test_a_missile_has_to_land_before_the_next_one_starts(speed: float, refused: bool) -> None:
    # 6 + 1 and radii of 0.625 and 0.5 within 1.87 s less a loop, after a Zealot that walks 2.25 a second: 6.745
    data = unit_data().model_dump()
    data["weapons"]["ParticleDisruptors"]["missile_speed"] = speed
    units = UnitData.model_validate(data)
    if not refused:
        compile_scenario("3s_vs_3z", units, map_data(), mechanics())
        return
    with pytest.raises(ValueError, match=rf"weapons.ParticleDisruptors.missile_speed: found {speed:g}, expected"):
        compile_scenario("3s_vs_3z", units, map_data(), mechanics())
