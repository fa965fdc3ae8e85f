"""A team of which each agent was trained in a team of its own: agent i is agent i of team i.

Its agents never trained together. Demonstrations of it are concurrent and independent (`dm2.play.demonstrations`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dm2.play.rollout import ActResult, Hidden, Policy


class MixedTeam:
    """The policies of several teams as one policy; see dm2.play.rollout.Policy. It records nothing.

    Every team answers for all agents, since its networks may be one stack, and one agent's answer of each is taken.
    """

    def __init__(self, teams: Sequence[Policy]) -> None:
        """Let agent i be agent i of teams[i].

        Args:
            teams: one per agent.
        """
        self.teams = tuple(teams)

    def initial_hidden(self, n_battles: int) -> Hidden:
        """Recurrent state of all agents of every team, each [n_agents, n_battles, ...]."""
        return {
            f"{number}.{name}": value
            for number, team in enumerate(self.teams)
            for name, value in team.initial_hidden(n_battles).items()
        }

    def act(
        self, obs: Tensor, last_actions: Tensor, avail_actions: Tensor, hidden: Hidden, uniform: Tensor
    ) -> ActResult:
        """Choose the actions of one step."""
        actions = torch.empty_like(last_actions)
        following: Hidden = {}
        for agent, team in enumerate(self.teams):
            prefix = f"{agent}."
            own = {name.removeprefix(prefix): value for name, value in hidden.items() if name.startswith(prefix)}
            answer = team.act(obs, last_actions, avail_actions, own, uniform)
            actions[agent] = answer.actions[agent]
            following |= {f"{prefix}{name}": value for name, value in answer.hidden.items()}
        return ActResult(actions, following)
