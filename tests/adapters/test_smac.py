"""dm2.adapters.smac: a PyMARL-style runner plays on it; numbers, types and options are SMAC's."""

import inspect
from typing import Any

import numpy as np
import pytest

from dm2.adapters.smac import MultiAgentEnv, StarCraft2Env
from dm2.battle import BattleEnv

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
    assert {name: parameter.default for name, parameter in found.items()} == SMAC_ARGUMENTS
    assert list(found) == list(SMAC_ARGUMENTS)
    StarCraft2Env(**SMAC_ARGUMENTS)


@pytest.mark.parametrize(
    ("map_name", "obs", "state", "actions", "limit"),
    [
        ("3m", 30, 48, 9, 60),
        ("8m", 80, 168, 14, 120),
        ("2s3z", 80, 120, 11, 120),
        ("3s5z", 128, 216, 14, 150),
        ("5m_vs_6m", 55, 98, 12, 70),
        ("3s_vs_5z", 48, 68, 11, 250),
        ("6h_vs_8z", 78, 140, 14, 150),
    ],
)
def test_env_info_is_smacs(map_name: str, obs: int, state: int, actions: int, limit: int) -> None:
    info = StarCraft2Env(map_name).get_env_info()
    assert (info["obs_shape"], info["state_shape"]) == (obs, state)
    assert (info["n_actions"], info["episode_limit"]) == (actions, limit)


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
    env, simulator = StarCraft2Env("3m", seed=5), BattleEnv("3m", 1, 5)
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
    return env._reward()


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
        ("obs_last_action", True, "last actions"),
        ("obs_pathing_grid", True, "walkable ground"),
        ("reward_only_positive", False, "enemies lose alone"),
        ("heuristic_ai", True, "dm2.scripted.HeuristicPolicy"),
        ("replay_dir", "replays", "no StarCraft II replays"),
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
    with pytest.raises(NotImplementedError, match="keep those"):
        env.save_replay()


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
