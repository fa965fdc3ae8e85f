"""A small IPPO learner, the episodes it plays and rewards to learn from."""

import numpy as np
import torch
from support.fake_env import FakeEnv, FakeSpec

from dm2.core.randomness import stream
from dm2.learners.ippo import IPPO, Rewards
from dm2.play.rollout import collect
from dm2.settings.learners import IPPOSettings, QuirkSettings

SETTINGS = IPPOSettings(episodes_per_update=12, ppo_epochs=3, clip_epsilon=0.05, hidden_size=12, huber_delta=0.7)


def learner(settings=SETTINGS, spec=None, **quirks):
    return IPPO(spec or FakeSpec(), settings, QuirkSettings(**quirks), seed=5)


def play(ippo, first=0, seed=1, deaths=None):
    n = ippo.episodes_per_update
    env = FakeEnv(n, spec=ippo.spec, deaths=deaths)
    numbers = np.arange(first, first + n)
    return collect(env, ippo.policy(), numbers, stream(seed, "policy"), act_at_end=ippo.acts_at_end)


def agent_rewards(episodes, seed=0):
    """Rewards that differ between agents, as with distribution matching; large enough for the linear part."""
    generator = torch.Generator().manual_seed(seed)
    played = torch.randn(episodes.n_agents, episodes.rows, generator=generator)
    terminal = torch.randn(episodes.n_agents, episodes.n_episodes, generator=generator)
    return Rewards(episodes.reward + played, terminal, torch.tensor([0.3, -0.8]))
