"""dm2.adapters.pettingzoo: PettingZoo's own checks, and what they do not look at."""

import warnings

import numpy as np
import pytest

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
