"""dm2.adapters.smac: a PyMARL-style runner plays on it; numbers, types and options are SMAC's."""

import copy
import inspect
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dm2.adapters.smac import MultiAgentEnv, StarCraft2Env
from dm2.adapters.smac_maps import get_map_params, get_smac_map_registry
from dm2.battle.env import BattleEnv, simulator_spec
from dm2.battle.scenario import map_data

# default options of oxwhirl/smac (d6aab33), in the order of its constructor
SMAC_ARGUMENTS = {
    "map_name": "8m",
    "step_mul": 8,
    "move_amount": 2,
    "difficulty": "7",
    "game_version": None,
    "seed": None,
    "continuing_episode": False,
    "obs_all_health": True,
    "obs_own_health": True,
    "obs_last_action": False,
    "obs_pathing_grid": False,
    "obs_terrain_height": False,
    "obs_instead_of_state": False,
    "obs_timestep_number": False,
    "state_last_action": True,
    "state_timestep_number": False,
    "reward_sparse": False,
    "reward_only_positive": True,
    "reward_death_value": 10,
    "reward_win": 200,
    "reward_defeat": 0,
    "reward_negative_scale": 0.5,
    "reward_scale": True,
    "reward_scale_rate": 20,
    "replay_dir": "",
    "replay_prefix": "",
    "window_size_x": 1920,
    "window_size_y": 1200,
    "heuristic_ai": False,
    "heuristic_rest": False,
    "debug": False,
}


def play(env: MultiAgentEnv) -> list[tuple[float, bool, dict[str, Any]]]:
    """One episode as PyMARL's runner plays it, each agent attacking the first enemy it can, or else going east."""
    env.reset()
    steps = []
    terminated = False
    while not terminated:
        masks = np.array(env.get_avail_actions())
        numbers = np.arange(masks.shape[1])
        wishes = masks * (1 + 4 * (numbers >= 6) + 2 * (numbers == 4))
        reward, terminated, info = env.step(wishes.argmax(axis=1))
        steps.append((reward, terminated, info))
    return steps


def test_arguments_are_smacs() -> None:
    found = inspect.signature(StarCraft2Env).parameters
    by_position = {name: one.default for name, one in found.items() if one.kind is not one.KEYWORD_ONLY}
    assert by_position == SMAC_ARGUMENTS
    assert list(by_position) == list(SMAC_ARGUMENTS)
    StarCraft2Env(**SMAC_ARGUMENTS)


@pytest.mark.parametrize("map_name", map_data().maps)
def test_env_info_tells_the_simulators_sizes(map_name: str) -> None:
    info, spec = StarCraft2Env(map_name).get_env_info(), simulator_spec(map_name)
    assert (info["obs_shape"], info["state_shape"]) == (spec.obs_size, spec.state_size)
    assert (info["n_actions"], info["n_agents"]) == (spec.n_actions, spec.n_agents)
    assert info["episode_limit"] == spec.episode_limit


def test_feature_names_and_sizes_of_a_map_with_shields_and_types() -> None:
    env = StarCraft2Env("2s3z")
    info = env.get_env_info()
    assert info["agent_features"] == ["health", "energy/cooldown", "rel_x", "rel_y", "shield", "type_0", "type_1"]
    assert info["enemy_features"] == ["health", "rel_x", "rel_y", "shield", "type_0", "type_1"]
    (n_enemies, per_enemy), (n_allies, per_ally) = env.get_obs_enemy_feats_size(), env.get_obs_ally_feats_size()
    parts = env.get_obs_move_feats_size() + n_enemies * per_enemy + n_allies * per_ally + env.get_obs_own_feats_size()
    assert parts == env.get_obs_size() == 80


def test_types_and_shapes_are_smacs() -> None:
    env = StarCraft2Env("3m", seed=0)
    obs, state = env.reset()
    assert isinstance(obs, list) and [(one.shape, one.dtype) for one in obs] == [((30,), np.float32)] * 3
    assert (state.shape, state.dtype) == ((48,), np.float32)
    assert env.get_avail_agent_actions(0) == [0, 1, 1, 1, 1, 1, 0, 0, 0]
    assert env.get_avail_actions() == [env.get_avail_agent_actions(i) for i in range(3)]
    assert all(type(one) is int for one in env.get_avail_agent_actions(0))
    reward, terminated, info = env.step([1, 2, 4])
    assert type(reward) is float and terminated is False
    assert info == {"battle_won": False, "dead_allies": 0, "dead_enemies": 0}
    assert env.last_action.tolist() == np.eye(9)[[1, 2, 4]].tolist()
    assert env.get_state()[-27:].tolist() == env.last_action.ravel().tolist()


def test_what_was_returned_does_not_change_with_the_battle() -> None:
    env = StarCraft2Env("3m", seed=0)
    obs, state = env.reset()
    before = obs[0].copy(), state.copy()
    for _ in range(3):
        env.step([4, 4, 4])
    assert not np.array_equal(env.get_obs()[0], before[0])
    assert np.array_equal(obs[0], before[0]) and np.array_equal(state, before[1])


def test_plays_the_simulators_battles() -> None:
    env, simulator = StarCraft2Env("3m", seed=5, battles_follow_history=False), BattleEnv("3m", 1, 5)
    for episode in range(2):
        rewards = [reward for reward, _, _ in play(env)]
        simulator.reset(np.array([episode]))
        total = 0.0
        while simulator.active[0]:
            numbers = np.arange(9)
            wishes = simulator.avail_actions * (1 + 4 * (numbers >= 6) + 2 * (numbers == 4))
            simulator.step(wishes.argmax(axis=2))
            total += float(simulator.reward[0])
        assert sum(rewards) == pytest.approx(total, rel=1e-6)
        assert np.array_equal(env.get_state(), simulator.state[0])


def play_randomly(env: StarCraft2Env, seed: int) -> list[np.ndarray]:
    """The states of a battle of random actions."""
    generator = np.random.default_rng(seed)
    states, terminated = [env.reset()[1]], False
    while not terminated:
        masks = np.array(env.get_avail_actions())
        _, terminated, _ = env.step((generator.random(masks.shape) * masks).argmax(axis=1))
        states.append(env.get_state())
    return states


def test_workers_of_one_seed_part_once_they_play_differently() -> None:
    workers = [StarCraft2Env("2s3z", seed=7) for _ in range(3)]
    firsts = [play_randomly(worker, seed) for worker, seed in zip(workers, (0, 1, 0), strict=True)]
    assert np.array_equal(firsts[0][0], firsts[1][0])  # as the game's first battle
    for _ in range(2):
        greedy = [play(worker) for worker in workers]
        assert greedy[0] == greedy[2] != greedy[1]
    assert play(StarCraft2Env("2s3z", seed=7)) != greedy[0]


def test_without_history_the_nth_battle_is_the_same_everywhere() -> None:
    workers = [StarCraft2Env("2s3z", seed=7, battles_follow_history=False) for _ in range(2)]
    for seed, worker in enumerate(workers):
        play_randomly(worker, seed)
    assert play(workers[0]) == play(workers[1])


def test_a_battle_given_up_is_history_too() -> None:
    states = []
    for steps in (0, 1, 1):
        env = StarCraft2Env("2s3z", seed=7)
        env.reset()
        for _ in range(steps):
            env.step([1] * 5)
        env.reset()
        states.append(env.step([1] * 5)[0:1] + tuple(env.get_state()))
    assert states[0] != states[1] == states[2]


def test_stats_count_battles() -> None:
    env = StarCraft2Env("3m", seed=0)
    assert env.get_stats()["win_rate"] == 0.0
    outcomes = [play(env)[-1][2]["battle_won"] for _ in range(3)]
    expected = {"battles_won": sum(outcomes), "battles_game": 3, "battles_draw": 0, "win_rate": sum(outcomes) / 3}
    assert env.get_stats() == expected | {"timeouts": 0, "restarts": 0}


@pytest.mark.parametrize("continuing_episode", [False, True])
def test_the_limit_is_told_only_where_it_ended_the_battle(continuing_episode: bool) -> None:
    env = StarCraft2Env("3m", seed=0, continuing_episode=continuing_episode)
    env.reset()
    env._env.battles.status["steps"] = 59  # the next step is the last
    _, terminated, info = env.step([1, 1, 1])
    assert terminated is True
    assert info.get("episode_limit", False) is continuing_episode
    assert env.get_stats()["timeouts"] == 1
    assert "episode_limit" not in play(env)[-1][2]


def test_timestep_last_actions_and_observations_as_state() -> None:
    env = StarCraft2Env("3m", seed=0, obs_timestep_number=True, state_timestep_number=True, state_last_action=False)
    assert (env.get_obs_size(), env.get_state_size()) == (31, 48 - 27 + 1)
    env.reset()
    env.step([1, 1, 1])
    assert env.get_obs()[2][-1] == env.get_state()[-1] == np.float32(1 / 60)
    parts = env.get_state_dict()
    assert np.array_equal(np.concatenate([parts["allies"].ravel(), parts["enemies"].ravel()]), env.get_state()[:-1])
    assert parts["timestep"] == 1 / 60 and "last_action" not in parts
    as_state = StarCraft2Env("3m", seed=0, obs_instead_of_state=True)
    obs, state = as_state.reset()
    assert as_state.get_state_size() == 90
    assert np.array_equal(state, np.concatenate(obs))


def outcome(battle_won: bool, **options: Any) -> float:
    """Reward of a step that wins or loses a battle on 3m, and in which no enemy is hurt."""
    env = StarCraft2Env("3m", seed=0, **options)
    env.reset()
    status = env._env.battles.status
    status["won"], status["terminated"], status["reward"] = battle_won, True, 200 / 365 * 20 if battle_won else 0.0
    status["dead_enemies"] = 3 if battle_won else 0
    return env._reward(battle_won, not battle_won)


def test_reward_options() -> None:
    scale = 365 / 20  # 3 Marines of 45, 10 each for their death, 200 for the victory
    assert StarCraft2Env("3m").max_reward == 365
    assert outcome(True) == pytest.approx(200 / scale)
    assert outcome(True, reward_scale=False) == pytest.approx(200)
    assert outcome(True, reward_scale_rate=1) == pytest.approx(200 / 365)
    assert outcome(True, reward_win=35) == pytest.approx(35 / (200 / 20))
    assert outcome(False, reward_defeat=-50) == pytest.approx(-50 / scale)
    assert outcome(True, reward_defeat=-50) == pytest.approx(200 / scale)
    assert [outcome(True, reward_sparse=True), outcome(False, reward_sparse=True)] == pytest.approx(
        [1 / scale, -1 / scale]
    )


def test_visibility_by_hand() -> None:
    env = StarCraft2Env("3m", seed=0)
    env.reset()
    nobody_yet = np.concatenate([~np.eye(3, dtype=bool), np.zeros((3, 3), dtype=bool)], axis=1)
    assert np.array_equal(env.get_visibility_matrix(), nobody_yet)
    battles = env._env.battles
    battles.x[0], battles.y[0] = [2, 8, 16, 18, 26, 30], [16] * 6
    env.step([1, 1, 1])
    seen = env.get_visibility_matrix()
    assert seen[:, :3].astype(int).tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
    assert seen[0, 3:].tolist() == [False] * 3
    assert seen[2, 3]


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("step_mul", 4, "8 game loops"),
        ("difficulty", "A", "one way to fight"),
        ("game_version", "4.10", "no StarCraft II is started"),
        ("obs_terrain_height", True, "its ground is flat"),
    ],
)
def test_what_the_simulator_cannot_honour_is_refused(option: str, value: object, reason: str) -> None:
    with pytest.raises(ValueError, match=f"{option}: found {value!r}, expected .*{reason}"):
        StarCraft2Env("3m", **{option: value})


def test_bad_use_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown map '3mm'; did you mean '3m'"):
        StarCraft2Env("3mm")
    env = StarCraft2Env("3m", seed=0)
    with pytest.raises(RuntimeError, match="call reset"):
        env.step([1, 1, 1])
    env.reset()
    with pytest.raises(ValueError, match="agent 1: action 6 is not available; available: "):
        env.step([1, 6, 1])
    with pytest.raises(ValueError, match=r"expected int64 \(1, 3\), found int64 \(1, 2\)"):
        env.step([1, 1])
    with pytest.raises(RuntimeError, match="found no battle that has ended"):
        env.save_replay()
    with pytest.raises(NotImplementedError, match="found 'human', expected 'rgb_array'"):
        env.render()


@pytest.mark.parametrize("seed", [-1, "3", 1.5, 2**63])
def test_a_seed_that_is_none_is_refused_in_one_sentence(seed: object) -> None:
    with pytest.raises(ValueError, match=rf"^seed: found {seed!r}, expected an integer from 0 to \d+$"):
        StarCraft2Env("3m", seed=seed)


@pytest.mark.parametrize("seed", [np.int64(3), np.uint8(3), 3])
def test_any_integer_is_a_seed(seed: int) -> None:
    assert StarCraft2Env("3m", seed=seed).seed() == 3


@pytest.mark.parametrize(("option", "value"), [("debug", True), ("window_size_x", 640), ("window_size_y", 480)])
def test_what_has_no_effect_is_accepted_with_a_warning(option: str, value: object) -> None:
    with pytest.warns(UserWarning, match=f"{option}={value!r} has no effect on the simulator"):
        env = StarCraft2Env("3m", **{option: value})
    assert value in (env.debug, *env.window_size)


def test_a_seed_is_drawn_and_can_be_used_again() -> None:
    first = StarCraft2Env("3m")
    assert first.seed() != StarCraft2Env("3m").seed()
    again = StarCraft2Env("3m", seed=first.seed())
    assert play(first) == play(again)


def test_a_side_with_medivacs_only_is_beaten() -> None:
    env = StarCraft2Env(map_name="MMM", seed=1, reward_defeat=-100)
    env.reset()
    units = env._env.battles.units
    units["alive"][0, 11:], units["health"][0, 11:] = False, 0.0  # of the enemies the medivac alone is left
    reward, terminated, info = env.step([1] * 10)
    assert terminated
    assert info["battle_won"]
    assert reward > 0
    env.reset()
    units["alive"][0, :9], units["health"][0, :9] = False, 0.0
    reward, terminated, info = env.step([1] * 10)
    assert terminated
    assert not info["battle_won"]
    assert reward < 0


# public names of an object of oxwhirl/smac's StarCraft2Env (d6aab33) after reset
SMAC_NAMES = """
    agents ally_state_attr_names baneling_id battles_game battles_won can_move check_bounds close colossus_id
    continuing_episode death_tracker_ally death_tracker_enemy debug defeat_counted difficulty distance enemies
    enemy_state_attr_names episode_limit force_restarts full_restart game_version get_agent_action
    get_agent_action_heuristic get_ally_num_attributes get_avail_actions get_avail_agent_actions
    get_enemy_num_attributes get_env_info get_obs get_obs_agent get_obs_ally_feats_size get_obs_enemy_feats_size
    get_obs_move_feats_size get_obs_own_feats_size get_obs_size get_state get_state_dict get_state_size get_stats
    get_surrounding_height get_surrounding_pathing get_surrounding_points get_total_actions get_unit_by_id
    get_unit_type_id get_unit_types get_visibility_matrix heuristic_ai heuristic_rest heuristic_targets hydralisk_id
    init_units last_action last_stats map_name map_type map_x map_y marauder_id marine_id max_distance_x
    max_distance_y max_reward medivac_id n_actions n_actions_move n_actions_no_attack n_agents n_enemies n_obs_height
    n_obs_pathing obs_all_health obs_instead_of_state obs_last_action obs_own_health obs_pathing_grid
    obs_terrain_height obs_timestep_number only_medivac_left pathing_grid previous_ally_units previous_enemy_units
    render renderer replay_dir replay_prefix reset reward reward_battle reward_death_value reward_defeat
    reward_negative_scale reward_only_positive reward_scale reward_scale_rate reward_sparse reward_win save_replay
    seed shield_bits_ally shield_bits_enemy stalker_id state_last_action state_timestep_number step terrain_height
    timeouts unit_max_cooldown unit_max_shield unit_shoot_range unit_sight_range unit_type_bits update_units
    win_counted window_size zealot_id zergling_id
"""
TALK_WITH_THE_GAME = {"get_agent_action", "get_agent_action_heuristic", "init_units", "update_units"}


def test_public_names_are_smacs() -> None:
    env = StarCraft2Env("3m", seed=0)
    env.reset()
    found = {name for name in dir(env) if not name.startswith("_")}
    assert found == set(SMAC_NAMES.split()) - TALK_WITH_THE_GAME


def test_stored_options_are_those_given() -> None:
    options = {name: value for name, value in SMAC_ARGUMENTS.items() if name not in ("seed", "step_mul", "move_amount")}
    env = StarCraft2Env(**options | {"heuristic_rest": True, "reward_win": 3, "obs_last_action": True})
    width, height = options.pop("window_size_x"), options.pop("window_size_y")
    stored = {name: getattr(env, name) for name in options}
    assert stored == options | {"heuristic_rest": True, "reward_win": 3, "obs_last_action": True}
    assert env.window_size == (width, height)


REGISTRY = {  # of smac/env/starcraft2/maps/smac_maps.py: agents, enemies, limit, races, type bits, type
    "3m": (3, 3, 60, "T", "T", 0, "marines"),
    "2s3z": (5, 5, 120, "P", "P", 2, "stalkers_and_zealots"),
    "3s_vs_5z": (3, 5, 250, "P", "P", 0, "stalkers"),
    "2m_vs_1z": (2, 1, 150, "T", "P", 0, "marines"),
    "6h_vs_8z": (6, 8, 150, "Z", "P", 0, "hydralisks"),
    "MMM2": (10, 12, 180, "T", "T", 3, "MMM"),
    "1c3s5z": (9, 9, 180, "P", "P", 3, "colossi_stalkers_zealots"),
    "corridor": (6, 24, 400, "P", "Z", 0, "zealots"),
    "bane_vs_bane": (24, 24, 200, "Z", "Z", 2, "bane"),
    "2c_vs_64zg": (2, 64, 400, "P", "Z", 0, "colossus"),
    "2s_vs_1sc": (2, 1, 300, "P", "Z", 0, "stalkers"),
}


def test_map_registry_is_smacs() -> None:
    registry = get_smac_map_registry()
    assert len(registry) == 23
    assert {name: tuple(get_map_params(name).values()) for name in REGISTRY} == REGISTRY
    assert registry["3m"] == get_map_params("3m")
    with pytest.raises(ValueError, match="unknown map '3mm'; did you mean '3m'"):
        get_map_params("3mm")


def test_the_race_of_a_side_tells_of_shields(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = map_data().maps["3m"].model_copy(update={"allies": {"Marine": 1, "Zealot": 1}})
    maps = map_data().model_copy(update={"maps": {"ours": ours}})
    monkeypatch.setattr("dm2.adapters.smac_maps.map_data", lambda: maps)
    assert (get_map_params("ours")["a_race"], get_map_params("ours")["b_race"]) == ("P", "T")


def test_units_are_what_the_observations_tell() -> None:
    env = StarCraft2Env("2s3z", seed=1)
    assert (env.agents, env.enemies, env.previous_ally_units) == ({}, {}, None)
    with pytest.warns(UserWarning, match="known after reset"):
        assert env.get_unit_types() is None
    state = play_randomly(env, 3)[-1]
    stalker, zealot = env.stalker_id, env.zealot_id
    assert zealot == stalker + 1 and env.marine_id == 0
    assert env.get_unit_types() == [stalker] * 2 + [zealot] * 3 + [73, 73, 73, 74, 74]
    allies, enemies = state[: 5 * 7].reshape(5, 7), state[35 : 35 + 5 * 6].reshape(5, 6)
    for rows, units in ((allies[:, [0, 2, 3, 4]], env.agents), (enemies[:, :4], env.enemies)):
        for row, unit in zip(rows, units.values(), strict=True):
            place = (
                (unit.pos.x - env.map_x / 2) / env.max_distance_x,
                (unit.pos.y - env.map_y / 2) / env.max_distance_y,
            )
            told = [unit.health / unit.health_max, *place, unit.shield / env.unit_max_shield(unit)]
            assert row == pytest.approx(np.array(told) * (unit.health > 0), abs=1e-6)
            assert 0 < unit.pos.x < 32 and unit.weapon_cooldown <= 60
    assert env.get_unit_by_id(2).unit_type == zealot
    assert [env.get_unit_type_id(env.agents[0], True), env.get_unit_type_id(env.enemies[0], False)] == [0, 0]
    assert env.get_unit_type_id(env.enemies[4], False) == 1
    dead = [unit.health == 0 for unit in (*env.agents.values(), *env.enemies.values())]
    assert any(dead) and not all(dead)
    assert np.concatenate([env.death_tracker_ally, env.death_tracker_enemy]).tolist() == dead
    assert (env.win_counted, env.defeat_counted) == (all(dead[5:]), all(dead[:5]))
    before = env.previous_ally_units
    assert before is not None and sum(unit.health for unit in before.values()) > 0
    env.reset()
    assert not env.death_tracker_ally.any() and not env.win_counted and not env.defeat_counted


def test_masks_follow_from_units_and_ground() -> None:
    env = StarCraft2Env("3s_vs_5z", seed=1)
    env.reset()
    for _ in range(20):
        for number, unit in env.agents.items():
            masks = env.get_avail_agent_actions(number)
            assert masks[2:6] == [env.can_move(unit, direction) for direction in range(4)]
            reach = [env.distance(*unit.pos[:2], *enemy.pos[:2]) <= 6 for enemy in env.enemies.values()]
            assert masks[env.n_actions_no_attack :] == reach
        env.step([4 if env.get_avail_agent_actions(number)[4] else 1 for number in range(3)])
    assert not env.check_bounds(32, 0) and env.check_bounds(0, 31)


def test_observations_without_health_and_with_last_actions_and_ground() -> None:
    options = {"obs_all_health": False, "obs_own_health": False, "obs_last_action": True, "obs_pathing_grid": True}
    env, plain = StarCraft2Env("2s3z", seed=2, **options), StarCraft2Env("2s3z", seed=2)
    assert env.get_obs_size() == 12 + 5 * 6 + 4 * (6 + 11) + 2 == len(env.reset()[0][0])
    plain.reset()
    actions = [4, 4, 2, 3, 1]
    env.step(actions)
    plain.step(actions)
    unit, obs, full = env.agents[1], env.get_obs_agent(1), plain.get_obs_agent(1)
    assert np.array_equal(obs[:4], full[:4]) and obs[4:12].tolist() == env.get_surrounding_pathing(unit)
    assert np.array_equal(obs[12:42].reshape(5, 6), full[4:44].reshape(5, 8)[:, [0, 1, 2, 3, 6, 7]])
    allies = obs[42:110].reshape(4, 17)
    assert np.array_equal(allies[:, :6], full[44:76].reshape(4, 8)[:, [0, 1, 2, 3, 6, 7]])
    assert np.array_equal(allies[:, 6:], np.eye(11)[[4, 2, 3, 1]])
    assert np.array_equal(obs[110:], full[78:])
    with_own = StarCraft2Env("2s3z", seed=2, obs_all_health=False)
    assert with_own.get_obs_own_feats_size() == 4


def test_the_dead_observe_nothing_whatever_the_options() -> None:
    env = StarCraft2Env("3m", seed=2, obs_pathing_grid=True, obs_last_action=True)
    play_randomly(env, 1)
    dead = np.flatnonzero(env.death_tracker_ally)
    assert len(dead) and not any(env.get_obs_agent(agent).any() for agent in dead)


def test_rewards_of_losses_by_hand() -> None:
    env = StarCraft2Env(
        "3m", seed=0, reward_only_positive=False, reward_death_value=7, reward_negative_scale=0.25, reward_scale=False
    )
    assert env.max_reward == 3 * 7 + 200 + 3 * 45
    env.reset()
    units = env._env.battles.units
    units["health"][0, [0, 1, 3, 4]] -= [5, 6, 8, 9]
    assert env.step([1, 1, 1])[0] == pytest.approx(8 + 9 - 0.25 * (5 + 6))
    units["health"][0, [0, 3]] = 0
    assert env.step([1, 1, 1])[0] == pytest.approx(37 + 7 - 0.25 * (40 + 7))
    positive = StarCraft2Env("3m", seed=0, reward_death_value=7, reward_scale=False)
    positive.reset()
    positive._env.battles.units["health"][0, [0, 3]] = 0
    assert positive.step([1, 1, 1])[0] == pytest.approx(45 + 7)


def test_losses_sum_to_what_the_agents_had() -> None:
    env = StarCraft2Env("3m", seed=3, reward_only_positive=False, reward_scale=False, reward_defeat=-11)
    total = sum(reward for reward, _, _ in play(env))
    left = [sum(unit.health for unit in side.values()) for side in (env.agents, env.enemies)]
    dead = [int(env.death_tracker_ally.sum()), int(env.death_tracker_enemy.sum())]
    expected = 135 - left[1] + 10 * dead[1] - 0.5 * (135 - left[0] + 10 * dead[0])
    assert total == pytest.approx(expected + 200 * env.win_counted - 11 * env.defeat_counted)


@pytest.mark.parametrize("heuristic_rest", [False, True])
@pytest.mark.parametrize("map_name", ["3m", "MMM"])
def test_the_heuristic_attacks_the_nearest(map_name: str, heuristic_rest: bool) -> None:
    env = StarCraft2Env(map_name, seed=1, heuristic_ai=True, heuristic_rest=heuristic_rest)
    env.reset()
    terminated, attacks = False, 0
    while not terminated:
        masks, alive = np.array(env.get_avail_actions()), env.death_tracker_ally == 0
        near = {
            a: min(range(env.n_enemies), key=lambda e: env.distance(*env.agents[a].pos[:2], *env.enemies[e].pos[:2]))
            for a in np.flatnonzero(alive)
        }
        fresh = [env.heuristic_targets[a] is None for a in range(env.n_agents)]
        actions = [1] * env.n_agents
        _, terminated, _ = env.step(actions)
        chosen = np.array(actions)
        assert (chosen[~alive] == 0).all()
        if heuristic_rest:
            waits = (chosen == 0) & alive  # medivacs without a patient
            ways = np.isin(chosen, (2, 3, 4, 5))
            assert (masks[np.arange(env.n_agents), chosen].astype(bool) | waits | ways).all()
        for a in np.flatnonzero(alive):
            if fresh[a] and env.agents[a].unit_type != env.medivac_id:
                assert env.heuristic_targets[a] == near[a]
        attacks += int((chosen >= 6).sum())
        assert env.last_action[:, 1].all()  # SMAC keeps what was given
        if env.state_last_action:
            assert np.array_equal(env.get_state()[-env.last_action.size :], env.last_action.ravel())
    assert attacks > 10 and env.death_tracker_enemy.any()


def test_the_replay_is_a_page_of_the_battle(tmp_path: Path) -> None:
    env = StarCraft2Env("3m", seed=4, replay_dir=str(tmp_path / "replays"), replay_prefix="watched")
    for _ in range(2):
        steps = play(env)
    path = env.save_replay()
    assert path == tmp_path / "replays" / f"watched_4_{env._battles.number}.html"
    page = path.read_text()
    assert f'"steps":{len(steps)}' in page and "battle 2 of seed 4" in page
    heuristic = StarCraft2Env("3m", seed=4, heuristic_ai=True)
    heuristic.reset()
    heuristic.step([1, 1, 1])  # attacks from afar
    with pytest.raises(RuntimeError, match="no available actions; nothing records them"):
        heuristic.save_replay()


def test_the_picture_shows_the_battle() -> None:
    env = StarCraft2Env("3m", seed=4)
    env.reset()
    first = env.render("rgb_array")
    assert first.dtype == np.uint8 and first.shape[2] == 3
    env.step([4, 4, 4])
    assert not np.array_equal(first, env.render("rgb_array"))


def test_a_full_restart_begins_with_the_first_battle() -> None:
    env = StarCraft2Env("3m", seed=4)
    first = env.reset()[1]
    play(env)
    env.full_restart()
    assert np.array_equal(env.get_state(), first)
    assert env.get_stats()["restarts"] == 1


def test_the_base_class_is_smacs() -> None:
    class Other(MultiAgentEnv):
        n_agents, episode_limit = 2, 9

        def get_state_size(self) -> int:
            return 5

        def get_obs_size(self) -> int:
            return 4

        def get_total_actions(self) -> int:
            return 3

    assert isinstance(StarCraft2Env("3m"), MultiAgentEnv)
    sizes = {"state_shape": 5, "obs_shape": 4, "n_actions": 3, "n_agents": 2, "episode_limit": 9}
    assert Other().get_env_info() == sizes
    for call in (Other().reset, Other().get_obs, Other().render, Other().close, Other().seed, Other().save_replay):
        with pytest.raises(NotImplementedError):
            call()


@pytest.mark.parametrize(
    "actions",
    [
        np.array([1, 1, 4]),
        np.array([[1], [1], [4]]),
        np.array([1, 1, 4], dtype=np.uint8),
        np.array([1.0, 1.0, 4.0]),
        torch.tensor([1, 1, 4]),
        torch.tensor([[1], [1], [4]], dtype=torch.int32),
        [torch.tensor(1), torch.tensor([1]).squeeze(), np.int8(4)],
        [[1], [1], [4]],
        (1, 1, 4),
    ],
)
def test_actions_of_any_whole_kind_are_taken(actions: object) -> None:
    env = StarCraft2Env("3m", seed=4)
    env.reset()
    env.step(actions)
    assert env.last_action.argmax(axis=1).tolist() == [1, 1, 4]


@pytest.mark.parametrize(
    "actions", [[1, 1, 4.5], ["1", "1", "4"], [1, 1, None], [[1], [1, 2], [4]], {0: 1}, np.array([1, 1, np.nan])]
)
def test_other_actions_are_refused(actions: object) -> None:
    env = StarCraft2Env("3m", seed=4)
    env.reset()
    with pytest.raises(ValueError, match=r"actions: found .*, expected"):
        env.step(actions)


def test_a_client_may_write_the_next_actions_over_the_last_ones(tmp_path: Path) -> None:
    env, other = (StarCraft2Env("3m", seed=4, replay_dir=str(tmp_path)) for _ in range(2))
    env.reset()
    other.reset()
    buffer, terminated = np.zeros(3, dtype=np.int64), False
    while not terminated:
        masks = np.array(env.get_avail_actions())
        buffer[:] = (masks * (1 + 4 * (np.arange(9) >= 6) + 2 * (np.arange(9) == 4))).argmax(axis=1)
        _, terminated, _ = env.step(buffer)
        other.step(buffer.tolist())
    buffer[:] = 1
    assert env.save_replay().read_text() == other.save_replay().read_text()
    assert np.array_equal(env.reset()[1], other.reset()[1])


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor, lambda actions: np.array(actions)[:, None]])
def test_the_heuristic_writes_over_the_actions_given_which_are_the_last_ones(kind: Callable[[list[int]], Any]) -> None:
    env = StarCraft2Env("3m", seed=4, heuristic_ai=True)
    env.reset()
    actions = kind([1, 2, 3])
    env.step(actions)
    assert env.last_action.argmax(axis=1).tolist() == [1, 2, 3]
    assert np.asarray(actions).ravel().tolist() == env._battles.actions[0].tolist() == [8, 8, 8]


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ((1, 1, 4), r"found tuple, expected an array or a list"),
        ([1, 1], r"found shape \[2\], expected \[3\]"),
        ([1, 1, 9], r"found \[1, 1, 9\], expected numbers from 0 to 8"),
        ([1, 1, -1], r"found \[1, 1, -1\], expected numbers from 0 to 8"),
    ],
)
def test_the_heuristic_refuses_what_are_no_actions_before_it_plays(actions: Any, message: str) -> None:
    env = StarCraft2Env("3m", seed=4, heuristic_ai=True)
    state = env.reset()[1]
    with pytest.raises(ValueError, match=f"actions: {message}"):
        env.step(actions)
    assert np.array_equal(env.get_state(), state) and env.heuristic_targets == [None] * 3


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_goes_on_alike_and_apart(copied: Callable[[StarCraft2Env], StarCraft2Env]) -> None:
    env = StarCraft2Env("2s3z", seed=4)
    play(env)
    env.reset()
    env.step([4] * 5)
    other = copied(env)
    for _ in range(3):
        assert env.step([1] * 5) == other.step([1] * 5)
        assert np.array_equal(env.get_state(), other.get_state())
    kept = env.get_state()
    one_further = play(other)
    assert np.array_equal(env.get_state(), kept)
    assert play(env) == one_further
