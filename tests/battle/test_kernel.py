"""The rules of battle, each held to its number, and properties of every battle."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.duels import EAST, STOP, WEST, act, duel, harmless, open_battle, place, random_actions

from dm2.battle.env import BattleEnv
from dm2.battle.records import GRAVE, World
from dm2.battle.scenario import load_scenario


def loops_until_death(world: World) -> int:
    """Loops a passive agent lives, to within one loop (the steps are played one loop at a time)."""
    env = open_battle(world)
    loops = 0
    while env.active[0]:
        act(env, STOP)
        loops += 1
    return loops


def single_loops(**changes: object) -> dict[str, object]:
    return {"loops_per_step": 1, **changes}


def test_marine_kills_marine_in_eight_shots() -> None:
    # in reach from the start: damage in the loop after the damage point of 0.8, then 7 periods of 13.77 -> 14 loops
    world = duel({"Marine": 1}, {"Marine": 1}, enemy_spawn=(14.0, 16.0), **single_loops())
    assert loops_until_death(world) == pytest.approx(2 + 7 * 14, abs=1)


def test_zealot_kills_stalker_in_eleven_attacks() -> None:
    # two hits of 8 on 80 shield (5 attacks), two of 7 on 80 health (6 attacks); the last one dies of its second hit,
    # 4.48 loops after the first; periods of 19.2 -> 20 loops
    world = duel({"Stalker": 1}, {"Zealot": 1}, enemy_spawn=(10.2, 16.0), **single_loops())
    assert loops_until_death(world) == pytest.approx(10 * 20 + 5, abs=2)


def test_stalker_needs_thirteen_hits_for_a_zealot() -> None:
    world = duel({"Stalker": 1}, {"Zealot": 1}, enemy_spawn=(14.5, 16.0), **single_loops())
    world.kinds["speed"][1] = 0.0
    world.kinds["scan_range"][1] = 0.0
    env = open_battle(world)
    left = [150.0]
    while env.active[0]:
        env.step(np.array([[6]]))
        total = float(env.battles.units["health"][0, 1] + env.battles.units["shield"][0, 1])
        if total < left[-1]:
            left.append(total)
    # 50 of shield and 2 - 1 of health go with the first four hits, then 12 each
    assert left[1:7] == [137, 124, 111, 99, 87, 75]
    assert len(left) == 1 + 13


def test_missile_flies_to_its_target() -> None:
    # real game: at 5.90 the damage of a stalker's shot came 9 or 10 loops after the order
    world = duel({"Stalker": 1}, {"Zealot": 1}, enemy_spawn=(14.9, 16.0), **single_loops())
    world.kinds["speed"][1] = 0.0
    env = open_battle(world)
    loops = 0
    while env.battles.units["shield"][0, 1] == 50:
        env.step(np.array([[6]]))
        loops += 1
    assert loops in (9, 10)


def test_ordered_to_attack_beyond_its_reach_a_unit_walks_into_it() -> None:
    world = duel({"Marine": 1}, {"Marine": 1}, enemy_spawn=(15.0, 16.0), **single_loops())
    world.kinds["speed"][1] = 0.0
    world.kinds["scan_range"][1] = 0.0
    env = open_battle(world)
    assert env.avail_actions[0, 0, 6]  # at 6.0, though a marine reaches 5.75
    for _ in range(6):
        env.step(np.array([[6]]))
    distance = env.battles.x[0, 1] - env.battles.x[0, 0]
    assert 5.75 - 0.140625 <= distance <= 5.75
    assert env.battles.units["health"][0, 1] == 45 - 6


def test_move_before_the_damage_point_costs_the_shot_but_no_cooldown() -> None:
    world = duel({"Stalker": 1}, {"Zealot": 1}, enemy_spawn=(14.0, 16.0), **single_loops())
    env = open_battle(world)
    env.step(np.array([[6]]))  # winding up, 2.67 loops
    assert env.battles.units["cooldown"][0, 0] > 0
    act(env, WEST)
    assert env.battles.units["cooldown"][0, 0] <= 0
    assert env.battles.units["missile_target"][0, 0] == -1


def test_an_agent_without_orders_never_fires() -> None:
    env = open_battle(duel({"Marine": 1}, {"Marine": 1}, enemy_spawn=(12.0, 16.0)))
    while env.active[0]:
        act(env, STOP)
    assert env.reward.sum() == 0
    assert env.battles.units["health"][0, 1] == 45


def test_speed_of_a_free_walker() -> None:
    env = open_battle(duel({"Stalker": 1}, {"Zealot": 1}))
    for _ in range(2):
        act(env, EAST)
    assert env.battles.x[0, 0] - 9 == pytest.approx(16 * 2.9531 / 16, abs=16 / 4096)
    assert 23 - env.battles.x[0, 1] == 16 * 0.140625  # as seen in the real game


def test_shield_regenerates_ten_seconds_after_the_last_damage() -> None:
    world = duel({"Stalker": 1}, {"Zealot": 1}, enemy_spawn=(14.9, 16.0), **single_loops())
    world.kinds["speed"][1] = 0.0
    world.kinds["scan_range"][1] = 0.0
    env = open_battle(world)
    while env.battles.units["shield"][0, 1] == 50:
        env.step(np.array([[6]]))
    for _ in range(160):
        act(env, WEST)
    assert env.battles.units["shield"][0, 1] == 37
    for _ in range(47):
        act(env, WEST)
    assert env.battles.units["shield"][0, 1] == 37 + 47 / 8  # the real game's stalker: 147.875 after 47 loops


@pytest.mark.parametrize(("pays", "sign"), [(True, 1), (False, 0)])
def test_shield_that_enemies_regain_pays_as_in_smac(pays: bool, sign: int) -> None:
    world = duel({"Stalker": 1}, {"Zealot": 1}, shield_regeneration_delay_loops=0)
    env = BattleEnv("duel", 1, 0, world=world, regeneration_pays=pays)
    env.reset()
    env.battles.units["shield"][0, 1] = 10
    act(env, STOP)
    assert env.reward[0] == pytest.approx(sign * 8 * 0.125 / (float(world.rules[0]["max_reward"]) / 20))


def test_two_units_can_kill_each_other() -> None:
    world = duel({"Marine": 1}, {"Marine": 1}, enemy_spawn=(14.0, 16.0), **single_loops())
    env = open_battle(world)
    env.battles.units["health"][0] = 6
    while env.active[0]:
        env.step(np.array([[6]]))
    assert env.terminated[0]
    assert not env.battle_won[0]
    assert env.dead_allies[0] == env.dead_enemies[0] == 1


def test_a_win_returns_twenty() -> None:
    env = open_battle(duel({"Marine": 5}, {"Marine": 1}, enemy_spawn=(14.0, 16.0)))
    total = 0.0
    while env.active[0]:
        act(env, 6)
        total += float(env.reward[0])
    assert env.battle_won[0]
    assert total == pytest.approx(20.0, rel=1e-6)


def test_weapon_delay_lies_in_its_limits() -> None:
    world = duel(
        {"Marine": 1}, {"Marine": 1}, (9.0, 16.0), (14.0, 16.0), cooldown_delay_loops=(-1, 2), **single_loops()
    )
    world.kinds["max_health"][0] = 1e6
    env = open_battle(world, n_battles=64)
    drawn = []
    for _ in range(160):
        before = env.battles.units["shots"][:, 1].copy()
        act(env, STOP)
        fresh = env.battles.units["shots"][:, 1] > before
        drawn += (env.battles.units["cooldown"][fresh, 1] - 13.7728).tolist()
    assert len(drawn) > 500
    assert -1 <= min(drawn) < -0.9
    assert 1.9 < max(drawn) <= 2
    assert np.mean(drawn) == pytest.approx(0.5, abs=0.1)


def test_kiting_stalker_outruns_a_zealot() -> None:
    """Shoot a step, walk three: a stalker gains 24 x 0.0439 and loses 8 x 0.1406, so it is hardly ever hit."""
    env = open_battle(duel({"Stalker": 1}, {"Zealot": 1}, (22.0, 16.0), (29.0, 16.0)))
    step = 0
    while env.active[0] and env.battles.x[0, 1] - env.battles.x[0, 0] > 6:
        act(env, STOP)
    before = env.battles.units["health"][0, 0] + env.battles.units["shield"][0, 0]
    while env.active[0] and step < 16:
        act(env, 6 if step % 4 == 0 else WEST)
        step += 1
    lost = before - env.battles.units["health"][0, 0] - env.battles.units["shield"][0, 0]
    dealt = 150 - env.battles.units["health"][0, 1] - env.battles.units["shield"][0, 1]
    assert dealt >= 3 * 12
    assert lost <= 2 * 16


def bodies_overlap(env: BattleEnv, allowed: np.ndarray) -> bool:
    for e in range(env.n_battles):
        alive = env.battles.units["alive"][e]
        x, y = env.battles.x[e][alive], env.battles.y[e][alive]
        distance = np.hypot(x[:, None] - x, y[:, None] - y) + np.where(np.eye(len(x)), np.inf, 0.0)
        if (distance < allowed[np.ix_(alive, alive)] - 4 / 4096).any():
            return True
    return False


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    map_name=st.sampled_from(["8m_vs_9m", "2s3z", "3s_vs_5z", "6h_vs_8z", "MMM2", "1c3s5z", "corridor"]),
    seed=st.integers(0, 2**31),
)
def test_no_two_units_ever_overlap(map_name: str, seed: int) -> None:
    world = load_scenario(map_name)
    x, y = world.kinds["spawn_x"], world.kinds["spawn_y"]
    start = np.hypot(x[:, None] - x, y[:, None] - y)
    allowed = np.minimum(np.sqrt(world.body2), np.where(start > 0, start, 0))
    env = BattleEnv(map_name, 4, seed)
    env.reset()
    generator = np.random.default_rng(seed)
    for _ in range(60):
        if not env.active.any():
            break
        env.step(random_actions(env, generator))
        assert not bodies_overlap(env, allowed)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    map_name=st.sampled_from(["3m", "2s3z", "6h_vs_8z", "bane_vs_bane", "so_many_baneling", "2c_vs_64zg", "2s_vs_1sc"]),
    seed=st.integers(0, 2**31),
)
def test_units_stay_on_walkable_ground_and_the_dead_are_inert(map_name: str, seed: int) -> None:
    env = BattleEnv(map_name, 4, seed)
    env.reset()
    n_agents, ground, crosses = env.spec.n_agents, env.world.ground[0], env.world.kinds["crosses"]
    generator = np.random.default_rng(seed)
    while env.active.any():
        env.step(random_actions(env, generator))
        alive = env.battles.units["alive"]
        x, y = env.battles.x, env.battles.y
        # positions are rounded to 1/4096 after the look at the ground, so the border counts to both sides
        corners = [(x[alive] + dx, y[alive] + dy) for dx in (0, -1 / 4096) for dy in (0, -1 / 4096)]
        under = np.min([ground[cx.astype(int), cy.astype(int)] for cx, cy in corners], axis=0)
        assert (under <= np.broadcast_to(crosses, alive.shape)[alive]).all()
        dead = ~alive
        assert (y[dead] == GRAVE).all()
        assert (env.battles.units["health"][dead] == 0).all()
        assert (env.obs[dead[:, :n_agents]] == 0).all()
        assert (env.avail_actions[dead[:, :n_agents]].argmax(axis=1) == 0).all()
        assert (env.avail_actions[dead[:, :n_agents]].sum(axis=1) == 1).all()


@settings(max_examples=10, deadline=None, derandomize=True)
@given(map_name=st.sampled_from(["3m", "5m_vs_6m"]), seed=st.integers(0, 2**31))
def test_damage_is_conserved(map_name: str, seed: int) -> None:
    """Marines neither regenerate nor wear armour: what is lost is whole shots of 6, and the reward pays just that."""
    env = BattleEnv(map_name, 8, seed)
    env.reset()
    generator = np.random.default_rng(seed)
    paid = np.zeros(8)
    scale = float(env.world.rules[0]["max_reward"]) / 20
    while env.active.any():
        env.step(random_actions(env, generator))
        paid += env.reward * scale
    units = env.battles.units
    health = units["health"]
    whole = np.where(units["alive"], (45 - health) % 6, 0)
    assert (whole == 0).all()
    lost = (45 - health[:, env.spec.n_agents :]).sum(axis=1) + 10 * env.dead_enemies + 200 * env.battle_won
    np.testing.assert_allclose(paid, lost, rtol=1e-5, atol=1e-3)


def play(env: BattleEnv, episodes: np.ndarray, seed: int) -> list[tuple[float, ...]]:
    """Per episode the record of a random battle whose actions depend on the episode number alone."""
    env.reset(episodes)
    generators = [np.random.default_rng([seed, int(k)]) for k in episodes]
    records: list[list[float]] = [[] for _ in episodes]
    while env.active.any():
        scores = np.stack([g.random(env.avail_actions.shape[1:]) for g in generators])
        active = env.active.copy()
        env.step(np.where(env.avail_actions, scores, -1.0).argmax(axis=2))
        for e in np.flatnonzero(active):
            records[e] += [float(env.reward[e]), float(env.obs[e].sum()), float(env.state[e].sum())]
    return [tuple(r) for r in records]


@settings(max_examples=6, deadline=None, derandomize=True)
@given(map_name=st.sampled_from(["5m_vs_6m", "2s3z", "6h_vs_8z", "MMM2", "2m_vs_1z"]), seed=st.integers(0, 2**31))
def test_a_battle_depends_on_seed_and_episode_alone(map_name: str, seed: int) -> None:
    episodes = np.arange(40)
    together = play(BattleEnv(map_name, 40, seed), episodes, seed)
    backwards = play(BattleEnv(map_name, 40, seed, n_threads=2), episodes[::-1].copy(), seed)
    assert together == backwards[::-1]
    for few in (episodes[:1], episodes[7:10]):
        assert play(BattleEnv(map_name, len(few), seed), few, seed) == [together[k] for k in few]
    assert play(BattleEnv(map_name, 40, seed + 1), episodes, seed) != together


def turned(world: World) -> World:
    """The same battle turned by 180 degrees about the middle of the map."""
    kinds, rules = world.kinds.copy(), world.rules.copy()
    kinds["spawn_x"], kinds["spawn_y"] = 32 - kinds["spawn_x"], 32 - kinds["spawn_y"]
    kinds["place_x"], kinds["place_y"] = -kinds["place_x"], -kinds["place_y"]
    rules["goal_x"], rules["goal_y"] = 32 - rules["goal_x"], 32 - rules["goal_y"]
    return world._replace(kinds=kinds, rules=rules)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(map_name=st.sampled_from(["3m", "3s_vs_4z"]), seed=st.integers(0, 2**31))
def test_mirrored_start_gives_mirrored_battle(map_name: str, seed: int) -> None:
    world = load_scenario(map_name, survivors_radius=0.0)
    here, there = (BattleEnv(map_name, 4, seed, world=w) for w in (world, turned(world)))
    here.reset()
    there.reset()
    opposite = np.arange(here.spec.n_actions)
    opposite[[2, 3, 4, 5]] = [3, 2, 5, 4]
    for env, sign in ((here, 1.0), (there, -1.0)):
        env.battles.units["facing_x"][:, : env.spec.n_agents] = sign
        env.battles.units["facing_x"][:, env.spec.n_agents :] = -sign
    generator = np.random.default_rng(seed)
    for _ in range(40):
        if not here.active.any():
            break
        both = here.avail_actions & there.avail_actions[:, :, opposite]  # edges are not alike: SMAC truncates
        actions = np.where(both, generator.random(both.shape), -1.0).argmax(axis=2)
        here.step(actions)
        there.step(opposite[actions])
        alive = here.battles.units["alive"]
        np.testing.assert_array_equal(alive, there.battles.units["alive"])
        np.testing.assert_allclose(here.battles.x[alive], 32 - there.battles.x[alive], atol=1e-6)
        np.testing.assert_allclose(here.battles.y[alive], 32 - there.battles.y[alive], atol=1e-6)
        np.testing.assert_array_equal(here.reward, there.reward)


@pytest.mark.parametrize("interval", [1, 4])
def test_enemies_look_round_each_in_a_rhythm_drawn_per_battle(interval: int) -> None:
    rules = {"loops_per_step": 1, "search_interval_loops": interval}
    world = duel({"Marine": 1}, {"Marine": 1}, enemy_spawn=(15.0, 16.0), **rules)  # seen from the start
    env = open_battle(world, n_battles=64)
    noticed = np.full(64, -1)
    for loop in range(6):
        act(env, STOP)
        noticed[(env.battles.units["target"][:, 1] == 0) & (noticed < 0)] = loop
    assert set(noticed) == set(range(interval))
    assert np.bincount(noticed).min() >= 64 // interval // 2


def test_enemies_prefer_the_nearest_and_keep_a_target_in_reach() -> None:
    env = open_battle(duel({"Marine": 2}, {"Marine": 1}, enemy_spawn=(14.5, 16.0), **single_loops()))
    act(env, STOP)
    first = int(env.battles.units["target"][0, 2])
    distance = [math.dist((env.battles.x[0, a], env.battles.y[0, a]), (14.5, 16.0)) for a in range(2)]
    assert first == int(np.argmin(distance))
    env.battles.x[0, 1 - first] = 11.0  # the other one comes nearer
    act(env, STOP)
    assert env.battles.units["target"][0, 2] == first


@pytest.mark.parametrize(("energy", "healed"), [(50.0, 9.0), (0.0, 0.5625 / 0.33)])
def test_medivac_heals_nine_a_second_for_a_third_of_energy_each(energy: float, healed: float) -> None:
    env = open_battle(harmless(duel({"Marine": 1, "Medivac": 1}, {"Marine": 2})))
    units = env.battles.units
    units["health"][0, 0], units["cooldown"][0, 1] = 20, energy
    for _ in range(2):  # a game second
        env.step(np.array([[STOP, 6]]))  # its first target is the first agent
    assert units["health"][0, 0] == pytest.approx(20 + healed)
    assert units["cooldown"][0, 1] == pytest.approx(energy + 0.5625 - healed * 0.33)
    energy_in_state = env.state[0, 6 + 1]  # of the second agent: health, energy/cooldown, x, y, two types
    assert energy_in_state == pytest.approx(units["cooldown"][0, 1] / 200)


def test_healing_ends_at_full_health_and_medivacs_heal_no_medivacs() -> None:
    env = open_battle(harmless(duel({"Marine": 1, "Medivac": 1}, {"Marine": 2})))
    env.battles.units["health"][0, 0] = 44
    env.step(np.array([[STOP, 6]]))
    assert env.battles.units["health"][0, 0] == 45
    assert env.avail_actions[0, 1, 6:].tolist() == [True, False]


def test_a_medivac_flies_to_its_patient_over_others() -> None:
    env = open_battle(harmless(duel({"Marine": 2, "Medivac": 1}, {"Marine": 3})))
    place(env, 0, 9.0, 16.0)
    place(env, 1, 12.0, 16.0)
    place(env, 2, 6.0, 16.0)
    env.battles.units["health"][0, 1] = 20
    act(env, STOP)
    for _ in range(3):
        env.step(np.array([[STOP, STOP, 7]]))
    reach = 4 + 0.75 + 0.375
    assert reach - 2.75 / 16 <= 12 - env.battles.x[0, 2] <= reach
    assert env.battles.units["health"][0, 1] > 20


def test_enemy_medivacs_heal_by_themselves_the_one_with_the_least_of_its_health() -> None:
    env = open_battle(harmless(duel({"Marine": 1}, {"Marine": 2, "Medivac": 1}, **single_loops())))
    env.world.kinds["scan_range"][3] = 5.0
    env.battles.units["health"][0, 1:3] = 30, 20
    act(env, STOP)
    assert env.battles.units["health"][0, 1:3].tolist() == [30, 20 + 9 / 16]


def test_who_cannot_hit_the_air_is_refused_the_order_and_enemies_attack_the_armed_first() -> None:
    sides = {"Marauder": 1, "Medivac": 1}
    env = open_battle(duel(sides, sides, enemy_spawn=(14.0, 16.0), **single_loops()))
    env.world.damage[0, 2, 1] = 10  # as if the enemy marauder could hit the medivac
    place(env, 1, 10.0, 16.0)  # nearer to it than the marauder
    act(env, STOP)
    assert env.avail_actions[0, 0, 6:].tolist() == [True, True]  # SMAC offers both
    env.step(np.array([[6, STOP]]))
    assert env.battles.units["target"][0, 2] == 0
    assert env.battles.units["target"][0, 0] == 2
    env.step(np.array([[7, STOP]]))
    assert env.battles.units["target"][0, 0] == 2  # the order before stays in force


def test_a_side_with_medivacs_only_has_lost() -> None:
    env = open_battle(duel({"Marine": 1, "Medivac": 1}, {"Marine": 1, "Medivac": 1}, enemy_spawn=(14.0, 16.0)))
    env.battles.units["health"][0, 2] = 1
    while env.active[0]:
        env.step(np.array([[6, STOP]]))
    assert env.battle_won[0]
    assert env.dead_enemies[0] == 1
    env.reset()
    env.battles.units["health"][0, 0] = 1
    while env.active[0]:
        env.step(np.array([[STOP, STOP]]))
    assert env.terminated[0]
    assert not env.battle_won[0]
    assert env.dead_allies[0] == 1


def test_colossus_burns_all_that_its_line_touches_with_both_beams() -> None:
    world = harmless(duel({"Colossus": 1}, {"Zergling": 5}, zerg_health_regeneration_per_loop=0.0, **single_loops()))
    env = open_battle(world)
    touched = 1.25 + 0.15 + 0.375  # half of the line, the beam, the body
    spots = [(14.0, 16.0), (14.0, 17.0), (14.0, 16.0 + touched - 0.01), (14.0, 16.0 - touched - 0.01), (15.0, 16.0)]
    for k, (x, y) in enumerate(spots):
        place(env, 1 + k, x, y)
    act(env, STOP)
    for loop in range(9):
        env.step(np.array([[6]]))
        hurt = 35 - env.battles.units["health"][0, 1:]
        assert loop >= 7 or not hurt.any()  # 1.33 loops to the damage point, 6 of sweeping
    assert hurt.tolist() == [30, 30, 30, 0, 0]  # twice 10 + 5 for light


def test_baneling_bursts_once_when_it_attacks() -> None:
    world = harmless(duel({"Baneling": 1}, {"Zergling": 2, "Zealot": 1}, zerg_health_regeneration_per_loop=0.0))
    env = open_battle(world)
    for unit, x in ((1, 9.9), (2, 9.0 + 2.2 + 0.375 + 0.3), (3, 7.0)):
        place(env, unit, x, 16.0)
    act(env, STOP)
    act(env, 6)
    alive, shield = env.battles.units["alive"][0], env.battles.units["shield"][0, 3]
    assert alive.tolist() == [False, False, True, True]  # 35 for light; the second zergling is out of reach
    assert shield == 50 - 35
    assert env.terminated[0]
    assert env.dead_allies[0] == env.dead_enemies[0] == 1


def test_a_killed_baneling_bursts() -> None:
    world = harmless(duel({"Marine": 1}, {"Baneling": 3}, **single_loops()))
    env = open_battle(world)
    env.battles.units["health"][0, 0] = 1000
    place(env, 1, 11.0, 16.0)
    place(env, 2, 9.8, 16.0)
    place(env, 3, 20.0, 16.0)
    env.battles.units["health"][0, 2] = 6
    act(env, STOP)
    while env.battles.units["alive"][0, 2]:
        env.step(np.array([[7]]))
    assert env.battles.units["health"][0, 0] == 1000 - 35
    assert env.battles.units["alive"][0].tolist() == [True, True, False, True]  # comrades are spared


@pytest.mark.parametrize(("health", "all_dead"), [(20, True), (21, False)])  # a burst takes 20 of what is not light
def test_a_burst_that_kills_a_baneling_bursts_it_in_the_same_loop(health: int, all_dead: bool) -> None:
    world = harmless(duel({"Baneling": 2}, {"Baneling": 2}, zerg_health_regeneration_per_loop=0.0, **single_loops()))
    env = open_battle(world)
    for unit, x in ((0, 9.0), (2, 9.9), (1, 12.0), (3, 14.1)):  # each out of reach of the bursts but its neighbours'
        place(env, unit, x, 16.0)
    env.battles.units["health"][0] = [30, 20, health, 20]
    act(env, STOP)
    env.step(np.array([[6, STOP]]))
    assert env.battles.units["alive"][0].tolist() == ([False] * 4 if all_dead else [False, True, True, True])
    assert all_dead or env.battles.units["health"][0].tolist() == [0, 20, 1, 20]


@pytest.mark.parametrize("map_name", ["2c_vs_64zg"])
def test_zerglings_go_round_the_cliff_to_colossi_that_step_over_it(map_name: str) -> None:
    env = BattleEnv(map_name, 1, 0)
    env.reset()
    start = env.battles.units["health"][0, :2].sum() + env.battles.units["shield"][0, :2].sum()
    for _ in range(24):
        act(env, STOP)
    x, y = env.battles.x[0, 2:], env.battles.y[0, 2:]
    assert (y > 14).sum() > 50  # from the low ground onto the plateau, by the ramps at both ends of the cliff
    assert env.battles.units["health"][0, :2].sum() + env.battles.units["shield"][0, :2].sum() < start
    assert np.isin(env.world.ground[0, x.astype(int), y.astype(int)], 0).all()
    env.reset()
    act(env, 3)  # south
    assert (env.world.ground[0, env.battles.x[0, :2].astype(int), env.battles.y[0, :2].astype(int)] == 1).any()


def test_the_zealot_of_2m_vs_1z_goes_to_a_point_drawn_per_battle() -> None:
    env = BattleEnv("2m_vs_1z", 64, 0)
    env.reset()
    goals = env.battles.units["goal_x"][:, 2]
    assert goals.min() >= 13
    assert goals.max() <= 19
    assert goals.std() == pytest.approx(6 / np.sqrt(12), rel=0.25)
    assert (env.battles.units["goal_y"][:, 2] == 12).all()
