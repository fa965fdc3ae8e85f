"""The simulator against logs of the real game, on the three maps on which its assumptions were settled.

Numbers: mean of the first episodes (random play) and of tests of nets that only stop, in public PyMARL logs.
"""

from __future__ import annotations

import numpy as np
import pytest

from dm2.battle import BattleEnv
from tests.battle.duels import STOP, act, random_actions

RANDOM_PLAY = {"3m": (26.70, 28.44, 2.963), "8m": (36.52, 60.74, 7.985), "2s3z": (51.93, 192.08, 5.0)}
STOPPING = {"3m": 21.80, "8m": 23.97, "2s3z": 43.08}  # 3 tests, 1 test, 3 tests of 32 episodes


@pytest.mark.parametrize("map_name", RANDOM_PLAY)
def test_random_play(map_name: str) -> None:
    env = BattleEnv(map_name, 2000, seed=1)
    env.reset()
    generator = np.random.default_rng(1)
    length, reward = np.zeros(2000), np.zeros(2000)
    while env.active.any():
        length += env.active
        env.step(random_actions(env, generator))
        reward += env.reward
    real_length, real_reward, real_deaths = RANDOM_PLAY[map_name]
    assert length.mean() == pytest.approx(real_length, rel=0.08)
    assert reward.mean() * float(env.world.rules[0]["max_reward"]) / 20 == pytest.approx(real_reward, rel=0.12)
    assert env.dead_allies.mean() == pytest.approx(real_deaths, abs=0.1)
    assert env.battle_won.mean() < 0.01


@pytest.mark.parametrize("map_name", STOPPING)
def test_a_team_that_only_stops_dies_on_time(map_name: str) -> None:
    env = BattleEnv(map_name, 200, seed=2)
    env.reset()
    length = np.zeros(200)
    while env.active.any():
        length += env.active
        act(env, STOP)
    assert (env.dead_allies == env.spec.n_agents).all()
    assert length.mean() == pytest.approx(STOPPING[map_name], rel=0.02)
