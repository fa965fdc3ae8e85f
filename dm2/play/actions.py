"""How actions are chosen by value: greedily, or at random with a probability that is annealed."""

from __future__ import annotations

import torch
from torch import Tensor

from dm2.settings.learners import QMIXSettings


def epsilon_at(env_steps: int, settings: QMIXSettings) -> float:
    """Share of random actions after so many env steps: falls linearly, then stays."""
    progress = min(1.0, env_steps / settings.epsilon_anneal_env_steps)
    return settings.epsilon_start + progress * (settings.epsilon_finish - settings.epsilon_start)


def epsilon_greedy(values: Tensor, avail_actions: Tensor, epsilon: float, uniform: Tensor) -> Tensor:
    """The best available action, or with probability epsilon any available one.

    One uniform number serves both: below epsilon it is spread over the available actions.

    Args:
        values: float32 [..., n_actions].
        avail_actions: bool [..., n_actions], at least one True.
        epsilon: in [0, 1].
        uniform: float32 [...] in [0, 1).

    Returns:
        int64 [...].
    """
    greedy = values.masked_fill(~avail_actions, -torch.inf).argmax(-1)
    if epsilon == 0.0:
        return greedy
    available = avail_actions.cumsum(-1)  # 1 at the first available action, 2 at the second, ...
    number = available[..., -1]
    pick = torch.minimum((uniform / epsilon * number).long(), number - 1)
    anything = (available > pick[..., None]).long().argmax(-1)
    return torch.where(uniform < epsilon, anything, greedy)
