"""dm2.play.evaluation: the same numbers for the same arguments, and the right ones."""

import dataclasses

import numpy as np
import torch
from support.fake_env import FakeEnv

from dm2.backends.make_env import env_spec
from dm2.learners.ippo import IPPO
from dm2.play.evaluation import Evaluation, evaluate, summarise
from dm2.play.rollout import collect
from dm2.settings.learners import IPPOSettings, QuirkSettings


def policy(seed=0):
    return IPPO(env_spec("simulator", "3m"), IPPOSettings(hidden_size=8), QuirkSettings(), seed).policy()


def test_evaluation_is_a_function_of_its_arguments():
    first = evaluate(policy(), "simulator", "3m", seed=1, n_episodes=6)
    assert first == evaluate(policy(), "simulator", "3m", seed=1, n_episodes=6, n_threads=2)
    assert first != evaluate(policy(), "simulator", "3m", seed=2, n_episodes=6)
    assert first != evaluate(policy(seed=3), "simulator", "3m", seed=1, n_episodes=6)


def test_summary_by_hand():
    ippo = IPPO(FakeEnv(4).spec, IPPOSettings(hidden_size=8), QuirkSettings(), 0)
    episodes = collect(FakeEnv(4), ippo.greedy_policy(), np.arange(4), np.random.default_rng(0))
    reward = torch.zeros(episodes.rows)
    reward[episodes.starts[:-1]] = torch.tensor([1.0, 2.0, 3.0, 6.0])
    episodes = dataclasses.replace(
        episodes, reward=reward, battle_won=torch.tensor([True, False, False, False]), dead_enemies=torch.arange(4)
    )
    assert episodes.lengths.tolist() == [3, 4, 5, 6]
    assert summarise(episodes) == Evaluation(
        n_episodes=4,
        win_rate=0.25,
        return_mean=3.0,
        return_sd=3.5**0.5,
        episode_length_mean=4.5,
        dead_allies_mean=1.0,
        dead_enemies_mean=1.5,
    )
