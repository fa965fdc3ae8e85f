"""dm2.play.mixed_team: each agent acts by the networks of its own team, from what it saw and did itself."""

import numpy as np
import torch
from support.fake_env import FakeEnv, FakeSpec

from dm2.learners.ippo import IPPO
from dm2.learners.qmix import QMIX
from dm2.play.mixed_team import MixedTeam
from dm2.play.rollout import Policy, collect
from dm2.settings.learners import IPPOSettings, QMIXSettings, QuirkSettings

SPEC = FakeSpec()


def ippo(seed: int) -> Policy:
    return IPPO(SPEC, IPPOSettings(hidden_size=8), QuirkSettings(), seed).policy()


def qmix(seed: int) -> Policy:
    return QMIX(SPEC, QMIXSettings(hidden_size=8), QuirkSettings(), seed).greedy_policy()


def play(policy: Policy) -> torch.Tensor:
    return collect(FakeEnv(6, deaths={}), policy, np.arange(6), np.random.default_rng(0)).actions


def test_a_team_mixed_of_one_is_that_team() -> None:
    for team in (ippo(0), qmix(0)):
        assert torch.equal(play(MixedTeam([team, team])), play(team))


def test_each_agent_acts_by_its_own_teams_networks_and_memory() -> None:
    draws = torch.Generator().manual_seed(0)
    teams = [ippo(0), ippo(1)]
    mixed = MixedTeam(teams)
    hidden, own = mixed.initial_hidden(50), [team.initial_hidden(50) for team in teams]
    last_actions = torch.full((2, 50), -1)
    avail_actions = torch.ones(2, 50, SPEC.n_actions, dtype=torch.bool)
    differed = False
    for _ in range(4):
        obs, uniform = torch.randn(2, 50, SPEC.obs_size, generator=draws), torch.rand(2, 50, generator=draws)
        found = mixed.act(obs, last_actions, avail_actions, hidden, uniform)
        answers = [
            team.act(obs, last_actions, avail_actions, memory, uniform) for team, memory in zip(teams, own, strict=True)
        ]
        for agent, answer in enumerate(answers):
            assert torch.equal(found.actions[agent], answer.actions[agent])
        differed |= not torch.equal(answers[0].actions, answers[1].actions)
        hidden, own, last_actions = found.hidden, [answer.hidden for answer in answers], found.actions
    assert differed and found.extras == {}
