"""Gradients of IPPO's two losses: by the outputs in `dm2.learners.ppo_kernels`, by the nets in `dm2.nets.kernels`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dm2.learners.ppo_kernels import policy_gradient, value_gradient
from dm2.nets.actor_critic import Folded
from dm2.nets.kernels import ChunkLoss, loss_gradients

if TYPE_CHECKING:
    from dm2.settings.learners import IPPOSettings


class ActorRows(NamedTuple):
    """The rows in which one agent lives; the arguments of `policy_objective` and its network's."""

    inputs: Tensor
    hidden: Tensor
    avail_actions: Tensor
    actions: Tensor
    old_log_prob: Tensor
    advantages: Tensor


class CriticRows(NamedTuple):
    """The rows of one agent that are not padded; the arguments of `value_loss` and its network's."""

    inputs: Tensor
    hidden: Tensor
    old_values: Tensor
    returns: Tensor


def policy_gradients(
    net: Folded, rows: list[ActorRows], steps: Tensor, settings: IPPOSettings
) -> tuple[Folded, Tensor]:
    """Gradients of all agents' policy losses.

    Args:
        net: the actors.
        rows: one per agent.
        steps: number of steps that each agent's loss is the mean of, [A].
        settings: clip_epsilon and entropy_coefficient are read.

    Returns:
        Gradients by the actors' folded parameters, and per agent [A, 3] the sums over rows of the surrogate, of the
        entropy and of whether the ratio was clipped.
    """
    sums = np.zeros((len(rows), 3))

    def loss(agent: int, first: int, last: int, logits: np.ndarray) -> None:
        policy_gradient(
            logits,
            rows[agent].avail_actions[first:last].numpy(),
            rows[agent].actions[first:last].numpy(),
            rows[agent].old_log_prob[first:last].numpy(),
            rows[agent].advantages[first:last].numpy(),
            settings.clip_epsilon,
            settings.entropy_coefficient,
            1.0 / float(steps[agent]),
            sums[agent],
        )

    losses = [ChunkLoss(own.inputs, own.hidden, partial(loss, agent)) for agent, own in enumerate(rows)]
    return loss_gradients(net, losses), torch.from_numpy(sums)


def value_gradients(
    net: Folded, rows: list[CriticRows], steps: Tensor, settings: IPPOSettings, one_sided: bool
) -> tuple[Folded, Tensor]:
    """Gradients of all agents' value losses, value_loss_coefficient included.

    Args:
        net: the critics.
        rows: one per agent.
        steps: number of steps that each agent's loss is the mean of, [A].
        settings: clip_epsilon, huber_delta and value_loss_coefficient are read.
        one_sided: quirk 6.

    Returns:
        Gradients by the critics' folded parameters, and each agent's sum of losses over rows [A], the coefficient left
        out.
    """
    sums = np.zeros((len(rows), 1))

    def loss(agent: int, first: int, last: int, values: np.ndarray) -> None:
        old_values = rows[agent].old_values[first:last].numpy()
        returns = rows[agent].returns[first:last].numpy()
        limits = settings.clip_epsilon, settings.huber_delta
        scale = settings.value_loss_coefficient / float(steps[agent])
        value_gradient(values, old_values, returns, *limits, one_sided, scale, sums[agent])

    losses = [ChunkLoss(own.inputs, own.hidden, partial(loss, agent)) for agent, own in enumerate(rows)]
    return loss_gradients(net, losses), torch.from_numpy(sums[:, 0])
