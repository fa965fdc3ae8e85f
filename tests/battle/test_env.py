"""SMAC's interface over a batch of battles."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
from support.duels import STOP, act, random_actions

from dm2.backends.make_env import env_spec, make_env
from dm2.battle.env import BattleEnv
from dm2.battle.scenario import load_scenario


def test_observation_follows_smacs_layout() -> None:
    env = BattleEnv("2s3z", 1, 0)
    env.reset()
    env.battles.x[0, 5], env.battles.y[0, 5] = env.battles.x[0, 1] + 3, env.battles.y[0, 1] + 4  # enemy 0, a zealot
    env.step(np.full((1, 5), STOP))
    obs = env.obs[0, 1]
    x, y = env.battles.x[0], env.battles.y[0]
    dx, dy = x[5] - x[1], y[5] - y[1]
    distance = np.hypot(dx, dy)
    assert obs[:4].tolist() == [1, 1, 1, 1]
    enemy = [
        distance <= 6,
        distance / 9,
        dx / 9,
        dy / 9,
        1,
        1,
        1,
        0,
    ]  # health, shield; SMAC counts enemies' types from the zealot
    np.testing.assert_allclose(obs[4:12], enemy, atol=1e-6)
    np.testing.assert_array_equal(obs[12:44], 0)  # the other enemies are out of sight
    np.testing.assert_allclose(obs[44:46], [1, np.hypot(x[0] - x[1], y[0] - y[1]) / 9], atol=1e-6)
    np.testing.assert_array_equal(obs[-4:], [1, 1, 1, 0])  # own health, shield, stalker


def test_state_follows_smacs_layout() -> None:
    env = BattleEnv("3m", 1, 0)
    env.reset()
    env.step(np.array([[4, 1, 2]]))
    x, y = env.battles.x[0], env.battles.y[0]
    state = env.state[0]
    np.testing.assert_allclose(state[:4], [1, 0, (x[0] - 16) / 28, (y[0] - 16) / 28], atol=1e-6)
    np.testing.assert_allclose(state[12:15], [1, (x[3] - 16) / 28, (y[3] - 16) / 28], atol=1e-6)
    np.testing.assert_array_equal(np.flatnonzero(state[21:]), [4, 9 + 1, 18 + 2])  # last actions


def test_moves_look_one_unit_ahead_and_truncate() -> None:
    env = BattleEnv("3m", 1, 0)
    env.reset()
    for x, y, expected in ((0.5, 16.0, [1, 1, 1, 1]), (5.0, 23.1, [0, 1, 1, 1]), (5.0, 8.9, [1, 0, 1, 1])):
        env.battles.x[0, 0], env.battles.y[0, 0] = x, y
        env.battles.units["order"][0] = 0
        env.step(np.full((1, 3), STOP))
        assert env.avail_actions[0, 0, 2:6].tolist() == [bool(k) for k in expected], (x, y)


def test_episode_limit_ends_without_a_win() -> None:
    env = BattleEnv("3m", 1, 0)
    env.reset()
    steps = 0
    while env.active[0]:
        act(env, 3)  # south, out of the enemies' way
        steps += 1
    assert steps == 60
    assert env.truncated[0]
    assert not env.terminated[0]
    assert not env.battle_won[0]


def test_finished_battles_wait_for_the_others() -> None:
    env = BattleEnv("3m", 16, 3)
    env.reset()
    generator = np.random.default_rng(0)
    while env.active.all():
        env.step(random_actions(env, generator))
    ended = np.flatnonzero(~env.active)
    kept = env.obs[ended].copy()
    env.step(random_actions(env, generator))
    np.testing.assert_array_equal(env.obs[ended], kept)
    assert (env.reward[ended] == 0).all()


def test_autoreset_starts_the_next_battle_and_keeps_the_last_observation() -> None:
    env = BattleEnv("3m", 2, 3, autoreset=True, world=load_scenario("3m", survivors_radius=0.0))
    env.reset()
    first = env.obs.copy()
    while not (env.terminated | env.truncated).any():
        act(env, STOP)
    ended = np.flatnonzero(env.terminated | env.truncated)
    assert env.dead_allies[ended].tolist() == [3] * len(ended)
    assert env.active.all()
    np.testing.assert_allclose(env.obs[ended], first[ended], atol=0.05)  # enemies may be 0 to 2 loops under way
    assert (env.final_obs[ended] == 0).all()
    assert env.final_state[ended].any()


@pytest.mark.parametrize("seed", [-1, 2**63, "3", 1.5, None])
def test_a_seed_that_is_none_is_refused(seed: object) -> None:
    with pytest.raises(ValueError, match=rf"^seed: found {seed!r}, expected an integer from 0 to {2**63 - 1}$"):
        BattleEnv("3m", 1, seed)


def test_some_battles_start_as_all_would_and_the_others_stay() -> None:
    env, fresh = BattleEnv("2s3z", 8, 3), BattleEnv("2s3z", 8, 3)
    env.reset()
    generator = np.random.default_rng(0)
    while env.active.sum() > 6:
        env.step(random_actions(env, generator))
    episodes, mask = np.arange(8) + 8, ~env.active
    kept = [buffer[~mask] for buffer in env.battles]
    fresh.reset(episodes)
    env.reset_some(episodes, mask)
    assert env.active.all()
    assert all(np.array_equal(buffer[~mask], before) for buffer, before in zip(env.battles, kept, strict=True))
    for name in ("x", "y", "status", "last_actions", "obs", "state", "avail_actions"):
        assert np.array_equal(getattr(env.battles, name)[mask], getattr(fresh.battles, name)[mask]), name


def test_a_mask_of_another_shape_or_type_is_refused() -> None:
    env = BattleEnv("3m", 4, 0)
    for mask in (np.ones(3, dtype=bool), np.ones(4)):
        with pytest.raises(ValueError, match=r"mask: found (bool|float64) \(.,\), expected bool \(4,\)"):
            env.reset_some(np.arange(4), mask)


def test_an_unavailable_action_names_battle_agent_and_choices() -> None:
    env = BattleEnv("3m", 4, 0)
    env.reset()
    actions = np.full((4, 3), STOP)
    actions[2, 1] = 6
    with pytest.raises(ValueError, match=r"battle 2, agent 1: action 6 is not available; available: \[1, 2, 3, 4, 5\]"):
        env.step(actions)


@pytest.mark.parametrize("actions", [np.ones((4, 2), dtype=np.int64), np.ones((4, 3)), np.ones((3, 3), dtype=np.int64)])
def test_actions_of_another_shape_or_type_are_refused(actions: np.ndarray) -> None:
    env = BattleEnv("3m", 4, 0)
    env.reset()
    with pytest.raises(ValueError, match=r"actions: expected int64 \(4, 3\), found"):
        env.step(actions)


def test_stepping_after_the_end_is_an_error() -> None:
    env = BattleEnv("3m", 1, 0)
    env.reset()
    while env.active[0]:
        act(env, STOP)
    with pytest.raises(RuntimeError, match=r"call reset\(\)"):
        env.step(np.zeros((1, 3), dtype=np.int64))


@pytest.mark.parametrize("n_threads", [1, 2])
def test_threads_of_the_simulator_are_its_own(n_threads: int) -> None:
    """OpenMP has one number of threads per process: a simulator that set it would make torch spin and sums vary."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    env = BattleEnv("3m", 32, 0, n_threads=n_threads)
    env.reset()
    env.step(np.full((32, 3), STOP))
    found = torch.get_num_threads()
    torch.set_num_threads(before)
    assert found == 1


def test_threads_end_with_their_env() -> None:
    before = set(threading.enumerate())
    env = BattleEnv("3m", 64, 0, n_threads=3)
    env.reset()
    env.step(np.full((64, 3), STOP))
    helpers = set(threading.enumerate()) - before
    assert len(helpers) == 2
    del env
    for helper in helpers:
        helper.join(timeout=30)
        assert not helper.is_alive()


def test_more_threads_than_processors_play_the_same_battles() -> None:
    played = []
    for n_threads in (1, 5):
        env, generator = BattleEnv("2s3z", 70, 3, n_threads=n_threads, autoreset=True), np.random.default_rng(0)
        env.reset()
        for _ in range(60):
            env.step(np.where(env.avail_actions, generator.random(env.avail_actions.shape), -1.0).argmax(2))
        played.append((env.obs.copy(), env.state.copy(), env.reward.copy()))
    for one, other in zip(*played, strict=True):
        np.testing.assert_array_equal(one, other)


def test_backends_open_by_name() -> None:
    env = make_env("simulator", "3m", 2, 0)
    assert env.spec == env_spec("simulator", "3m")
    with pytest.raises(ValueError, match="unknown backend 'starcraft3'"):
        make_env("starcraft3", "3m", 2, 0)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_has_buffers_and_threads_of_its_own(copied: Callable[[BattleEnv], BattleEnv]) -> None:
    env = BattleEnv("2s3z", 16, 3, n_threads=2, autoreset=True)
    env.reset()
    env.step(np.full((16, 5), 4))
    other = copied(env)
    assert other._helpers.count == 1
    for _ in range(3):
        for one in (env, other):
            one.step(np.full((16, 5), 1))
        assert np.array_equal(env.state, other.state) and np.array_equal(env.reward, other.reward)
    kept = env.state.copy()
    other.step(np.full((16, 5), 1))
    assert np.array_equal(env.state, kept) and not np.array_equal(other.state, kept)
