"""dm2.adapters.pettingzoo: PettingZoo's own checks, and what they do not look at."""

import copy
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from support.fake_installation import is_running, processes, wait_until_gone

pytest.importorskip("pettingzoo")
from pettingzoo.test import parallel_api_test, parallel_seed_test

from dm2.adapters.pettingzoo import BattleParallelEnv, parallel_env


@pytest.mark.parametrize("map_name", ["3m", "2s3z"])
def test_pettingzoos_own_checks(map_name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parallel_api_test(parallel_env(map_name), num_cycles=200)
        parallel_seed_test(lambda: parallel_env(map_name), num_cycles=200)


def play(env: BattleParallelEnv, seed: int | None = None) -> list[tuple[object, ...]]:
    """A whole battle of actions drawn from the action spaces."""
    observations, _ = env.reset(seed=seed)
    for i, agent in enumerate(env.agents):
        env.action_space(agent).seed(i)
    steps = []
    while env.agents:
        actions = {agent: env.action_space(agent).sample() for agent in env.agents}
        assert all(observations[agent]["action_mask"][action] for agent, action in actions.items())
        observations, *rest = env.step(actions)
        assert all(env.observation_space(agent).contains(observations[agent]) for agent in observations)
        steps.append((actions, env.state().tolist(), *rest))
    return steps


def test_a_seed_gives_the_same_battles_and_the_next_reset_another_one() -> None:
    one, other = parallel_env("3m"), parallel_env("3m")
    first = [play(one, seed=7), play(one)]
    assert first == [play(other, seed=7), play(other)]
    assert first[0] != first[1]
    assert first[0] != play(one, seed=8)


def test_all_agents_leave_together_and_the_dead_are_paid() -> None:
    steps = play(parallel_env("3m"), seed=0)
    for _, _, rewards, terminations, truncations, infos in steps:
        assert len(set(rewards.values())) == 1 and list(rewards) == ["agent_0", "agent_1", "agent_2"]
        assert len(set(terminations.values())) == len(set(truncations.values())) == 1
        assert infos["agent_0"] == infos["agent_2"]
    assert [terminations["agent_0"] or truncations["agent_0"] for *_, terminations, truncations, _ in steps] == [
        *[False] * (len(steps) - 1),
        True,
    ]
    assert any(0 < infos["agent_0"]["dead_allies"] < 3 for *_, infos in steps)


def test_the_limit_truncates() -> None:
    env = parallel_env("3m")
    env.reset(seed=0)
    env._env.battles.status["steps"] = 59  # the next step is the last
    _, _, terminations, truncations, _ = env.step(dict.fromkeys(env.agents, 1))
    assert not any(terminations.values()) and all(truncations.values())
    assert env.agents == []


def test_observations_do_not_change_with_the_battle() -> None:
    env = parallel_env("3m")
    before, _ = env.reset(seed=0)
    kept = before["agent_0"]["observation"].copy()
    for _ in range(3):
        env.step(dict.fromkeys(env.agents, 4))
    assert np.array_equal(before["agent_0"]["observation"], kept)


def test_bad_use_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown map '3mm'; did you mean '3m'"):
        parallel_env("3mm")
    env = parallel_env("3m")
    with pytest.raises(RuntimeError, match="call reset"):
        env.step({})
    env.reset(seed=0)
    with pytest.raises(
        ValueError, match=r"found those of \['agent_0'\], expected one of each of \['agent_0', 'agent_1"
    ):
        env.step({"agent_0": 1})
    with pytest.raises(ValueError, match="agent 1: action 6 is not available; available: "):
        env.step({"agent_0": 1, "agent_1": 6, "agent_2": 1})


def test_a_seed_may_be_given_when_the_environment_is_built() -> None:
    assert play(parallel_env("3m", seed=7)) == play(parallel_env("3m"), seed=7)


def test_max_cycles_truncates_and_no_map_outlasts_its_limit() -> None:
    assert len(play(parallel_env("3m", max_cycles=4), seed=1)) == 4
    *_, truncations, _ = play(parallel_env("3m", max_cycles=4), seed=1)[-1]
    assert all(truncations.values())
    assert len(play(parallel_env("3m", max_cycles=10_000), seed=1)) == len(play(parallel_env("3m"), seed=1))
    with pytest.raises(ValueError, match="max_cycles: found 0, expected at least 1"):
        parallel_env("3m", max_cycles=0)


def test_pictures() -> None:
    env = parallel_env("3m", render_mode="rgb_array", seed=1)
    env.reset()
    picture = env.render()
    assert picture is not None and picture.dtype == np.uint8 and picture.shape[2] == 3
    with pytest.raises(ValueError, match=r"render_mode: found 'human' .*expected None, or one of \['rgb_array'\]"):
        parallel_env("3m", render_mode="human")
    blind = parallel_env("3m")
    blind.reset()
    with pytest.warns(UserWarning, match="without render_mode='rgb_array'"):
        assert blind.render() is None


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_goes_on_alike_with_masks_of_its_own(
    copied: Callable[[BattleParallelEnv], BattleParallelEnv],
) -> None:
    env = parallel_env("3m", seed=1)
    env.reset()
    env.step(dict.fromkeys(env.agents, 4))
    other = copied(env)
    for _ in range(4):
        actions = dict.fromkeys(env.agents, 1)
        assert env.step(actions)[1:] == other.step(actions)[1:]
        assert np.array_equal(env.state(), other.state())
    first = play(other, seed=3)
    assert first == play(env, seed=3)
    assert other.action_space("agent_0")._masks is other._masks is not env._masks


@pytest.mark.parametrize("kind", [int, np.int8, np.float64, lambda action: np.array([action]), torch.tensor])
def test_actions_of_any_whole_kind_are_taken(kind: Callable[[int], object]) -> None:
    env = parallel_env("3m", seed=1)
    env.reset()
    env.step({agent: kind(1) for agent in env.agents})
    with pytest.raises(ValueError, match="expected whole numbers"):
        env.step(dict.fromkeys(env.agents, 1.5))


def test_close_ends_the_games_of_starcraft_too(packages: Path) -> None:
    env = parallel_env("3m", backend="starcraft2", seed=1)
    env.reset()
    games = processes(packages)
    assert len(games) == 2 and all(map(is_running, games))
    env.close()
    wait_until_gone(games, 5)
    with pytest.raises(RuntimeError, match="call reset"):
        env.step(dict.fromkeys(env.possible_agents, 1))


def test_close_of_the_simulator_leaves_it_as_it_is() -> None:
    env = parallel_env("3m", seed=1)
    env.reset()
    env.close()
    env.close()
    assert env.reset()[0].keys() == set(env.possible_agents)
