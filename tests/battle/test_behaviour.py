"""How units obey, notice, choose, turn, walk and fire: one rule of docs/mechanics.md each."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.duels import EAST, NORTH, SOUTH, STOP, WEST, act, duel, harmless, open_battle, place, random_actions

from dm2.battle.env import BattleEnv
from dm2.battle.records import CHANNELLING, NO_ORDER, NOBODY

FIRST, SECOND = 6, 7  # attacks on the first and on the second enemy


# --- orders ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("loops", "way"), [(1, 0.140625), (8, 1.125), (16, 2.0)])
@pytest.mark.parametrize(("action", "dx", "dy"), [(NORTH, 0, 1), (SOUTH, 0, -1), (EAST, 1, 0), (WEST, -1, 0)])
def test_a_move_starts_at_full_speed_and_ends_after_two_map_units(
    action: int, dx: int, dy: int, loops: int, way: float
) -> None:
    env = open_battle(harmless(duel({"Marine": 1}, {"Marine": 1}, loops_per_step=loops)))
    act(env, action)
    assert (env.battles.x[0, 0], env.battles.y[0, 0]) == (9 + dx * way, 16 + dy * way)
    assert (env.battles.units["order"][0, 0] == NO_ORDER) == (way == 2)


@pytest.mark.parametrize(("action", "loops"), [(EAST, 0), (NORTH, 1), (SOUTH, 1), (WEST, 2)])
@pytest.mark.parametrize("stands", [False, True])
def test_a_walking_unit_turns_before_it_goes_another_way_and_a_standing_one_starts_at_once(
    action: int, loops: int, stands: bool
) -> None:
    env = open_battle(harmless(duel({"Marine": 1}, {"Marine": 1}, loops_per_step=1)))
    act(env, EAST)
    if stands:
        act(env, STOP)
    at = env.battles.x[0, 0], env.battles.y[0, 0]
    turned = 0
    act(env, action)
    while (env.battles.x[0, 0], env.battles.y[0, 0]) == at:
        turned += 1
        act(env, action)
    assert turned == (0 if stands else loops)  # 62 degrees a loop


@pytest.mark.parametrize(("action", "end"), [(EAST, 30), (NORTH, 30), (WEST, 2), (SOUTH, 2)])
def test_units_stay_within_the_playable_area(action: int, end: float) -> None:
    env = open_battle(harmless(duel({"Marine": 1}, {"Marine": 1}, enemy_spawn=(23.0, 23.0))))
    for _ in range(25):
        act(env, action)
    assert (env.battles.x[0, 0] if action in (EAST, WEST) else env.battles.y[0, 0]) == pytest.approx(end, abs=0.15)
    assert env.avail_actions[0, 0, action]  # SMAC asks the ground, which goes on


def test_an_attack_order_follows_its_target_and_takes_no_other() -> None:
    # with the slop the target would leave what SMAC offers before it leaves the reach
    env = open_battle(harmless(duel({"Marine": 1}, {"Marine": 2}, slop_repeats=False)))
    place(env, 1, 11.0, 17.0)  # nearer
    place(env, 2, 14.5, 16.0)
    act(env, STOP)
    env.battles.units["health"][0, 2] = 1000
    for _ in range(8):
        place(env, 2, env.battles.x[0, 2] + 0.5, 16.0)
        env.step(np.array([[SECOND]]))
    assert env.battles.units["health"][0, 1] == 45
    assert env.battles.units["health"][0, 2] <= 1000 - 4 * 6
    assert env.battles.x[0, 0] >= env.battles.x[0, 2] - 5.75 > 9


def test_a_target_out_of_the_slop_is_followed() -> None:
    env = open_battle(harmless(duel({"Zealot": 1}, {"Marine": 2})))  # reaches 1.0, and 1 more once it has begun
    place(env, 1, 9.0, 18.0)  # nearer
    place(env, 2, 11.5, 16.0)
    act(env, STOP)
    env.battles.units["health"][0, 2] = 1000
    for _ in range(12):
        place(env, 2, env.battles.x[0, 2] + 0.5, 16.0)
        env.step(np.array([[SECOND]]))
    assert env.battles.units["health"][0, 1] == 45
    assert env.battles.units["health"][0, 2] <= 1000 - 2 * 2 * 8
    assert env.battles.x[0, 0] >= env.battles.x[0, 2] - 2.1 > 9


def test_an_agent_whose_target_has_died_stands_idle() -> None:
    env = open_battle(harmless(duel({"Marine": 1}, {"Marine": 2}, loops_per_step=64)))
    place(env, 1, 13.0, 16.0)
    place(env, 2, 13.0, 17.0)
    env.battles.units["health"][0, 1] = 6
    act(env, STOP)
    act(env, FIRST)
    assert env.battles.units["alive"][0].tolist() == [True, False, True]
    assert env.battles.units["health"][0, 2] == 45
    assert (env.battles.x[0, 0], env.battles.units["order"][0, 0]) == (9, NO_ORDER)


def test_a_walk_after_the_shot_leaves_the_cooldown_running() -> None:
    env = open_battle(harmless(duel({"Stalker": 1}, {"Zealot": 1}, enemy_spawn=(14.0, 16.0), loops_per_step=1)))
    while env.battles.units["missile_target"][0, 0] == NOBODY:
        act(env, FIRST)
    left = env.battles.units["cooldown"][0, 0]
    act(env, WEST)  # cuts the backswing
    assert left > 20
    assert env.battles.units["cooldown"][0, 0] == left - 1
    assert 9 - env.battles.x[0, 0] == pytest.approx(2.9531 / 16, abs=1 / 4096)


# --- the enemies' attack-move ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("enemy", "scan_range"), [("Marine", 5.5), ("Stalker", 6.5), ("Zealot", 5), ("Hydralisk", 5.5)]
)
@pytest.mark.parametrize("side", [-1, 1])  # in front, behind
def test_enemies_notice_within_their_scan_range_all_round(enemy: str, scan_range: float, side: int) -> None:
    for margin, beyond in ((0.0, -0.01), (0.0, 0.01), (0.5, -0.01), (0.5, 0.01)):
        world = duel({"Marine": 1}, {enemy: 1}, loops_per_step=1, scan_margin=margin)
        env = open_battle(world)
        free = scan_range + margin + beyond
        place(env, 0, 23 + side * (free + world.kinds["radius"].sum()), 16)
        act(env, STOP)
        assert env.battles.units["target"][0, 1] == (0 if beyond < 0 else NOBODY)


@pytest.mark.parametrize(  # a Zealot reaches 1.1
    ("nearest", "distance", "swaps"),
    [(False, 1.05, True), (False, 1.5, False), (True, 1.5, True), (True, 4.9, True), (True, 5.1, False)],
)
def test_a_target_walked_to_is_swapped_for_one_in_reach_or_any_nearer(
    nearest: bool, distance: float, swaps: bool
) -> None:
    env = open_battle(duel({"Zealot": 2}, {"Zealot": 1}, loops_per_step=1, chase_nearest=nearest))
    place(env, 0, 18.0, 16.0)
    place(env, 1, 10.0, 16.0)
    act(env, STOP)
    assert env.battles.units["target"][0, 2] == 0
    place(env, 0, env.battles.x[0, 2] - 5.0, 16.0)
    place(env, 1, env.battles.x[0, 2], 16.0 + distance)
    act(env, STOP)
    assert env.battles.units["target"][0, 2] == int(swaps)


def test_a_target_in_reach_is_kept_when_a_nearer_one_comes() -> None:
    env = open_battle(duel({"Marine": 2}, {"Marine": 1}, loops_per_step=1))
    place(env, 0, 18.0, 16.0)
    place(env, 1, 10.0, 16.0)
    act(env, STOP)
    assert env.battles.units["target"][0, 2] == 0
    place(env, 1, env.battles.x[0, 2], 17.0)
    for _ in range(8):
        act(env, STOP)
        assert env.battles.units["target"][0, 2] == 0


@pytest.mark.parametrize(("holds", "dies", "loops"), [(False, False, 1), (True, False, 12), (True, True, 1)])
def test_a_chase_may_wait_for_the_end_of_the_backswing_unless_the_target_died(
    holds: bool, dies: bool, loops: int
) -> None:
    env = open_battle(duel({"Marine": 2}, {"Marine": 1}, loops_per_step=1, backswing_holds=holds))
    place(env, 1, 9.0, 9.0)
    place(env, 0, 18.0, 16.0)
    if dies:
        env.battles.units["health"][0, 0] = 6  # of one shot
    while env.battles.units["health"][0, 0] in (6, 45):
        act(env, STOP)
    stood = env.battles.x[0, 2]
    if not dies:
        place(env, 0, stood - 6.8, 16.0)  # out of reach, slop included
    waited = 0
    while env.battles.x[0, 2] == stood:
        act(env, STOP)
        waited += 1
    assert waited == loops  # 0.75 s are 12


@pytest.mark.parametrize(("repeats", "away", "walks"), [(False, 6.5, True), (True, 6.5, False), (True, 6.8, True)])
def test_a_repeated_attack_may_reach_as_far_as_one_that_has_begun(repeats: bool, away: float, walks: bool) -> None:
    env = open_battle(duel({"Marine": 1}, {"Marine": 1}, loops_per_step=1, slop_repeats=repeats))
    place(env, 0, 18.0, 16.0)
    while env.battles.units["health"][0, 0] == 45:
        act(env, STOP)
    stood = env.battles.x[0, 1]
    place(env, 0, stood - away, 16.0)  # Marines reach 5.75, and 1 more once they have begun
    act(env, STOP)
    assert (env.battles.x[0, 1] != stood) == walks
    while env.battles.units["health"][0, 0] == 45 - 6:
        act(env, STOP)
    found = env.battles.x[0, 1] - env.battles.x[0, 0]
    assert found == (away if not walks else pytest.approx(5.75, abs=0.15))  # who had to walk comes into reach again


def test_a_hit_enemy_without_a_target_turns_on_its_attacker_and_calls_comrades_within_four() -> None:
    env = open_battle(harmless(duel({"Marine": 2}, {"Marine": 4}, loops_per_step=1)))
    place(env, 0, 9.0, 16.0)
    place(env, 1, 9.0, 28.0)
    for unit, (x, y) in enumerate([(14.0, 16.0), (14.0, 19.99), (18.01, 16.0), (14.0, 13.0)], start=2):
        place(env, unit, x, y)
    act(env, STOP)
    targets = env.battles.units["target"][0]
    targets[5] = 1  # this one has somebody
    while env.battles.units["health"][0, 2] == 45:
        assert targets[2:].tolist() == [NOBODY, NOBODY, NOBODY, 1]
        env.step(np.array([[FIRST, STOP]]))
    assert targets[2:].tolist() == [0, 0, NOBODY, 1]
    while env.battles.units["health"][0, 5] == 45:
        env.step(np.array([[FIRST + 3, STOP]]))
    assert targets[5] == 1


def test_enemies_walk_to_the_agents_start_and_fight_on_from_there() -> None:
    env = open_battle(duel({"Marine": 1}, {"Marine": 1}, loops_per_step=1))
    place(env, 0, 30.0, 30.0)
    for _ in range(101):  # 14 map units at 0.140625
        act(env, STOP)
    assert (env.battles.x[0, 1], env.battles.y[0, 1]) == (9, 16)
    place(env, 0, 15.0, 16.0)  # within its scan range
    act(env, STOP)
    assert env.battles.units["target"][0, 1] == 0
    place(env, 0, env.battles.x[0, 1] + 0.75 + 20.99, 16.0)
    act(env, STOP)
    assert env.battles.units["target"][0, 1] == 0  # it follows
    place(env, 0, env.battles.x[0, 1] + 0.75 + 21.01, 16.0)
    act(env, STOP)
    assert env.battles.units["target"][0, 1] == NOBODY
    for _ in range(5):
        act(env, STOP)
    assert env.battles.x[0, 1] == 9  # it went back


def test_battles_begin_with_enemies_up_to_two_loops_under_way() -> None:
    env = BattleEnv("3m", 64, 0)
    env.reset()
    walked = (env.world.kinds["spawn_x"][3:] - env.battles.x[:, 3:]).max(axis=1) / 0.140625
    assert sorted(set(walked)) == [0, 1, 2]
    assert np.bincount(walked.astype(int)).min() > 64 / 6


# --- turning and firing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("degrees", "loops"), [(0, 1), (73, 1), (75, 2), (136, 2), (137, 3), (180, 3)])
def test_units_turn_62_degrees_a_loop_and_fire_within_eleven(degrees: float, loops: int) -> None:
    env = open_battle(harmless(duel({"Marine": 1}, {"Marine": 1}, enemy_spawn=(14.0, 16.0), loops_per_step=1)))
    angle = math.radians(degrees)
    env.battles.units["facing_x"][0, 0], env.battles.units["facing_y"][0, 0] = math.cos(angle), math.sin(angle)
    turned = 0
    while env.battles.units["shots"][0, 0] == 0:
        act(env, FIRST)
        turned += 1
    assert turned == loops


@pytest.mark.parametrize(("beyond", "fires"), [(0.99, True), (1.01, False)])
def test_a_begun_attack_holds_its_place_and_survives_its_target_being_one_farther(beyond: float, fires: bool) -> None:
    env = open_battle(duel({"Zealot": 1}, {"Stalker": 1}, enemy_spawn=(15.0, 16.0), loops_per_step=1))
    act(env, STOP)
    assert env.battles.units["shots"][0, 1] == 1  # winding up, 2.67 loops
    place(env, 0, 15.0 - 7.125 - beyond, 16.0)
    for _ in range(3):
        act(env, STOP)
    assert (env.battles.units["missile_target"][0, 1] == 0) == fires
    assert (env.battles.x[0, 1] == 15.0) == fires
    assert (env.battles.units["cooldown"][0, 1] > 0) == fires  # assumed: what was not fired costs nothing


def test_a_missile_follows_its_target_and_is_lost_with_it() -> None:
    env = open_battle(harmless(duel({"Stalker": 2}, {"Zealot": 2}, loops_per_step=1)))
    for unit, x, y in ((0, 9.0, 15.0), (1, 9.0, 17.0), (2, 13.0, 16.0), (3, 13.0, 19.0)):
        place(env, unit, x, y)
    act(env, STOP)
    units = env.battles.units
    while (units["missile_target"][0, :2] != 2).any():
        act(env, FIRST)
    place(env, 2, 17.0, 16.0)  # beyond their reach, 7.125
    units["shield"][0, 2], units["health"][0, 2] = 0, 12
    for _ in range(10):
        act(env, STOP)
    assert not units["alive"][0, 2]
    assert (units["missile_target"][0, :2] == NOBODY).all()
    assert units["health"][0, 3] + units["shield"][0, 3] == 150


def test_shots_of_one_loop_may_all_go_into_the_same_target() -> None:
    env = open_battle(harmless(duel({"Marine": 2}, {"Marine": 2}, enemy_spawn=(14.0, 16.0), loops_per_step=1)))
    env.battles.units["health"][0, 2] = 6
    while env.battles.units["alive"][0, 2]:
        act(env, FIRST)
    assert (env.battles.units["cooldown"][0, :2] > 10).all()  # both have fired
    assert env.battles.units["health"][0, 3] == 45


def test_a_zealots_second_hit_comes_448_loops_after_the_first_and_is_lost_with_the_target() -> None:
    env = open_battle(harmless(duel({"Zealot": 1}, {"Marine": 2}, loops_per_step=1)))
    place(env, 1, 9.9, 16.0)
    place(env, 2, 9.0, 16.9)
    act(env, STOP)
    health = env.battles.units["health"][0]
    left = []
    for _ in range(6):
        act(env, FIRST)
        left.append(float(health[1]))
    assert left == [37] * 5 + [29]
    health[1] = 8
    for _ in range(30):
        act(env, FIRST)
    assert health[1:].tolist() == [0, 45]


# --- what has been fired lands ----------------------------------------------------------------------------------------


def fired(env: BattleEnv) -> None:
    """Attack the first enemy until its unit channels or its missile flies."""
    units = env.battles.units[0, 0]
    while units["phase"] != CHANNELLING and units["missile_target"] == NOBODY:
        act(env, FIRST)


@pytest.mark.parametrize("order", [WEST, STOP, SECOND])
def test_a_zealots_second_hit_lands_whatever_order_comes_next_and_wherever_its_target_is(order: int) -> None:
    env = open_battle(harmless(duel({"Zealot": 1}, {"Marine": 2}, loops_per_step=1)))
    place(env, 1, 9.9, 16.0)
    place(env, 2, 9.0, 16.9)
    fired(env)
    place(env, 1, 12.0, 16.0)
    for _ in range(5):
        act(env, order)
    assert env.battles.units["health"][0, 1:].tolist() == [45 - 2 * 8, 45]
    assert (env.battles.x[0, 0] < 9 - 4 * 0.14) == (order == WEST)  # it walks off meanwhile


def test_a_zealots_second_hit_is_lost_with_the_zealot() -> None:
    env = open_battle(harmless(duel({"Zealot": 1, "Marine": 1}, {"Marine": 1}, loops_per_step=1)))
    zealot, enemy = 1, 2  # agents go by the alphabet
    for unit, x in ((0, 2.5), (zealot, 9.0), (enemy, 9.9)):
        place(env, unit, x, 16.0)
    act(env, STOP)
    while env.battles.units["phase"][0, zealot] != CHANNELLING:
        env.step(np.array([[STOP, FIRST]]))
    env.battles.units["health"][0, zealot] = 0
    for _ in range(8):
        act(env, STOP)
    assert env.battles.units["health"][0, enemy] == 45 - 8


@pytest.mark.parametrize("order", [WEST, STOP, SECOND])
@pytest.mark.parametrize("shooter_dies", [False, True])
def test_a_missile_lands_whatever_order_comes_next_and_when_its_shooter_dies(order: int, shooter_dies: bool) -> None:
    env = open_battle(harmless(duel({"Stalker": 2}, {"Zealot": 2}, loops_per_step=1)))
    for unit, x, y in ((0, 9.0, 16.0), (1, 2.5, 24.0), (2, 14.0, 16.0), (3, 9.0, 21.0)):
        place(env, unit, x, y)
    act(env, STOP)
    while env.battles.units["missile_target"][0, 0] == NOBODY:
        env.step(np.array([[FIRST, STOP]]))
    if shooter_dies:
        env.battles.units["health"][0, 0] = 0
    for _ in range(6):
        env.step(np.array([[order if env.avail_actions[0, 0, order] else 0, STOP]]))
    assert env.battles.units["alive"][0, 0] != shooter_dies
    assert env.battles.units["shield"][0, 2:].tolist() == [50 - 13, 50]


@pytest.mark.parametrize("order", [WEST, STOP, SECOND])
def test_beams_keep_their_line_whatever_order_comes_next_and_follow_their_target_alone(order: int) -> None:
    world = duel({"Colossus": 1}, {"Zergling": 3}, loops_per_step=1, zerg_health_regeneration_per_loop=0.0)
    env = open_battle(harmless(world))
    for unit, y in ((1, 16.0), (2, 17.0), (3, 15.0)):
        place(env, unit, 14.0, y)
    fired(env)
    place(env, 1, 14.0, 20.0)  # the target leaves the line
    place(env, 3, 12.0, 15.0)  # another one too
    for _ in range(6):
        act(env, order)
    assert (35 - env.battles.units["health"][0, 1:]).tolist() == [30, 30, 0]
    assert (env.battles.x[0, 0] < 9 - 5 * 0.14) == (order == WEST)


def test_beams_land_though_their_target_has_died_but_not_when_their_colossus_has() -> None:
    for who, hurt in ((2, 30), (0, 0)):  # the target, the Colossus
        world = duel({"Colossus": 2}, {"Zergling": 2}, loops_per_step=1, zerg_health_regeneration_per_loop=0.0)
        env = open_battle(harmless(world))
        for unit, x, y in ((0, 9.0, 16.0), (1, 2.5, 24.0), (2, 14.0, 16.0), (3, 14.0, 17.0)):
            place(env, unit, x, y)
        act(env, STOP)
        while env.battles.units["phase"][0, 0] != CHANNELLING:
            env.step(np.array([[FIRST, STOP]]))
        env.battles.units["health"][0, who] = 0
        for _ in range(8):
            act(env, STOP)
        assert not env.battles.units["alive"][0, who]
        assert 35 - env.battles.units["health"][0, 3] == hurt


def test_a_unit_that_channels_stands_until_a_new_order_comes() -> None:
    env = open_battle(harmless(duel({"Zealot": 1}, {"Marine": 1}, loops_per_step=1)))
    place(env, 1, 9.9, 16.0)
    fired(env)
    place(env, 1, 14.0, 16.0)  # out of reach, the order is to follow
    loops = 0
    while env.battles.x[0, 0] == 9.0:
        act(env, FIRST)
        loops += 1
    assert loops == 6  # walks in the loop after the second hit, 4.48 after the first


def test_a_hit_takes_half_a_point_at_least() -> None:
    world = harmless(duel({"Marine": 1}, {"Zealot": 1}, enemy_spawn=(14.0, 16.0)))
    world.kinds["armour"][1] = 100
    env = open_battle(world)
    env.battles.units["shield"][0, 1] = 0
    act(env, FIRST)
    assert env.battles.units["health"][0, 1] == 99.5


@pytest.mark.parametrize(("unit", "per_loop"), [("Zergling", 70 / 4096), ("Marine", 0.0), ("Zealot", 0.0)])
def test_zerg_alone_regain_health(unit: str, per_loop: float) -> None:
    env = open_battle(harmless(duel({"Marine": 1}, {unit: 1})))
    env.battles.units["health"][0, 1] = 10
    act(env, STOP)
    assert env.battles.units["health"][0, 1] == 10 + 8 * per_loop


# --- moving and bumping ----------------------------------------------------------------------------------------------


def test_positions_are_multiples_of_a_4096th() -> None:
    env = BattleEnv("2s3z", 4, 0)
    env.reset()
    generator = np.random.default_rng(0)
    for _ in range(20):
        env.step(random_actions(env, generator))
        for places in (env.battles.x, env.battles.y):
            np.testing.assert_array_equal(places * 4096, np.round(places * 4096))
    assert (env.battles.x != env.world.kinds["spawn_x"]).mean() > 0.9


def test_idle_comrades_step_aside_and_fighters_and_enemies_do_not() -> None:
    for who in ("idle", "fighter", "enemy"):
        env = open_battle(harmless(duel({"Marine": 2}, {"Marine": 1}, enemy_spawn=(15.0, 16.0))))
        place(env, 0, 9.0, 16.0)
        place(env, 1, 10.5, 16.0)
        if who == "enemy":
            place(env, 1, 2.0, 16.0)
            place(env, 2, 10.5, 16.0)
        env.battles.units["health"][0, 2] = 1000
        act(env, STOP)
        for _ in range(2):
            env.step(np.array([[EAST, FIRST if who == "fighter" else STOP]]))
        in_the_way = 2 if who == "enemy" else 1
        stayed = (env.battles.x[0, in_the_way], env.battles.y[0, in_the_way]) == (10.5, 16.0)
        straight = (env.battles.x[0, 0], env.battles.y[0, 0]) == (9 + 2 * 1.125, 16)
        assert (stayed, straight) == ((False, True) if who == "idle" else (True, False)), who


def test_fighters_keep_their_place_to_the_last_digit() -> None:
    env = open_battle(duel({"Stalker": 2}, {"Stalker": 2}, enemy_spawn=(14.0, 16.0)))
    env.battles.units["health"][0] = 1e6
    act(env, FIRST)
    act(env, FIRST)
    shots, x, y = (array[0].copy() for array in (env.battles.units["shots"], env.battles.x, env.battles.y))
    for _ in range(21):
        act(env, FIRST)
    assert (env.battles.units["shots"][0] > shots + 3).all()
    np.testing.assert_array_equal(env.battles.x[0], x)
    np.testing.assert_array_equal(env.battles.y[0], y)


def test_melee_attackers_walk_round_those_in_front() -> None:
    env = open_battle(duel({"Marine": 1}, {"Zealot": 4}))
    for k in range(4):
        place(env, 1 + k, 11.0 + 0.8 * k, 16.0)
    env.battles.units["health"][0, 0] = 1e6
    for _ in range(12):
        act(env, STOP)
    distance = np.hypot(env.battles.x[0, 1:] - 9, env.battles.y[0, 1:] - 16)
    assert (distance <= 0.1 + 0.5 + 0.375).all()


def test_a_colossus_walks_over_small_units() -> None:
    env = open_battle(harmless(duel({"Colossus": 1}, {"Zergling": 1})))
    place(env, 1, 11.0, 16.0)
    for _ in range(3):
        act(env, EAST)
    assert (env.battles.x[0].tolist(), env.battles.y[0].tolist()) == ([9 + 3 * 1.125, 11.0], [16.0, 16.0])


# --- SMAC's layer ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("distance", "offered", "seen"),
    [(5.99, True, True), (6.01, False, True), (8.99, False, True), (9.01, False, False)],
)
def test_attacks_are_offered_within_six_and_units_seen_within_nine(distance: float, offered: bool, seen: bool) -> None:
    env = open_battle(harmless(duel({"Marine": 1}, {"Zealot": 1})))
    place(env, 1, 9 + distance, 16.0)
    act(env, STOP)
    assert env.avail_actions[0, 0, FIRST] == offered
    assert bool(env.obs[0, 0, 4:10].any()) == seen
