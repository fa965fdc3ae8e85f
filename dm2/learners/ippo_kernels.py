"""Gradients of IPPO's two losses: row by row for the networks' outputs, the rest by `dm2.nets.kernels`.

The plain twins are `policy_objective` and `value_loss` in `dm2.learners.ippo`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dm2.core.jit import njit
from dm2.nets.actor_critic import Folded
from dm2.nets.kernels import FAST, ChunkLoss, Scalar, exp, loss_gradients

if TYPE_CHECKING:
    from dm2.settings.learners import IPPOSettings

f32 = np.float32


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


@njit(fastmath=FAST, error_model="numpy", cache=True)
def policy_gradient(
    logits: np.ndarray,
    avail_actions: np.ndarray,
    actions: np.ndarray,
    old_log_prob: np.ndarray,
    advantages: np.ndarray,
    clip_epsilon: float,
    entropy_coefficient: float,
    scale: float,
    sums: np.ndarray,
) -> None:
    """Replace logits [R, n_actions] by scale times the gradient of each row's policy loss; add to `sums`.

    Args:
        logits: the actor's outputs before masking, float32 [R, n_actions].
        avail_actions: bool [R, n_actions].
        actions: int64 [R].
        old_log_prob: when the action was taken, float32 [R].
        advantages: normalised, float32 [R].
        clip_epsilon: clip range of the ratio.
        entropy_coefficient: weight of the entropy bonus.
        scale: one over the number of rows that the loss is the mean of.
        sums: float64 [3]: sums over rows of the surrogate objective, the entropy and whether the ratio was clipped.
    """
    low, high = f32(1.0) - f32(clip_epsilon), f32(1.0) + f32(clip_epsilon)
    bonus, weight = f32(entropy_coefficient), f32(scale)
    rows, n_actions = logits.shape
    p = np.empty(n_actions, np.float32)
    for i in range(rows):
        row, available = logits[i], avail_actions[i]
        highest = f32(-np.inf)
        for j in range(n_actions):
            if available[j]:
                highest = max(highest, row[j])
        total, weighted = f32(0.0), f32(0.0)
        for j in range(n_actions):
            row[j] -= highest
            p[j] = exp(row[j]) if available[j] else f32(0.0)
            total += p[j]
            weighted += p[j] * row[j] if available[j] else f32(0.0)
        log_total = np.log(total)
        entropy = log_total - weighted / total
        ratio = exp(row[actions[i]] - log_total - old_log_prob[i])
        clipped = min(max(ratio, low), high)
        surrogate = min(ratio * advantages[i], clipped * advantages[i])
        by_log_prob = ratio * advantages[i] if ratio * advantages[i] == surrogate else f32(0.0)
        for j in range(n_actions):
            probability = p[j] / total
            by_entropy = probability * (row[j] - log_total + entropy) if available[j] else f32(0.0)
            row[j] = weight * (by_log_prob * probability + bonus * by_entropy)
        row[actions[i]] -= weight * by_log_prob
        sums[0] += surrogate
        sums[1] += entropy
        sums[2] += ratio != clipped


@njit(inline="always")
def huber(error: Scalar, delta: Scalar, one_sided: bool) -> tuple[Scalar, Scalar]:
    """Huber loss of one error and its derivative; one-sided: nothing at all below -delta."""
    if error > delta:
        return delta * (error - f32(0.5) * delta), delta
    if error >= -delta:
        return f32(0.5) * error * error, error
    if one_sided:
        return f32(0.0), f32(0.0)
    return delta * (-error - f32(0.5) * delta), -delta


@njit(error_model="numpy", cache=True)
def value_gradient(
    values: np.ndarray,
    old_values: np.ndarray,
    returns: np.ndarray,
    clip_epsilon: float,
    huber_delta: float,
    one_sided: bool,
    scale: float,
    sums: np.ndarray,
) -> None:
    """Replace values [R, 1] by scale times the gradient of each row's clipped value loss; add to `sums`.

    Args:
        values: the critic's outputs, float32 [R, 1].
        old_values: when the action was taken, float32 [R].
        returns: targets, float32 [R].
        clip_epsilon: clip range of the value's change.
        huber_delta: error beyond which the loss is linear.
        one_sided: whether errors below -huber_delta cost nothing.
        scale: weight of the loss over the number of rows that it is the mean of.
        sums: float64 [1]: sum over rows of the loss.
    """
    epsilon, delta, weight = f32(clip_epsilon), f32(huber_delta), f32(scale)
    for i in range(values.shape[0]):
        change = values[i, 0] - old_values[i]
        loss, slope = huber(returns[i] - values[i, 0], delta, one_sided)
        if abs(change) > epsilon:
            clipped_value = old_values[i] + min(max(change, -epsilon), epsilon)
            clipped_loss, _ = huber(returns[i] - clipped_value, delta, one_sided)
            if clipped_loss > loss:
                loss, slope = clipped_loss, f32(0.0)
        values[i, 0] = -weight * slope
        sums[0] += loss


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
