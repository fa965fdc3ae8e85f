"""Gradients of PPO's two losses by the networks' outputs, row by row.

The plain twins are `policy_objective` and `value_loss` in `dm2.learners.ppo`.
"""

from __future__ import annotations

import numpy as np

from dm2.core.jit import njit
from dm2.nets.kernels import FAST, Scalar, exp

f32 = np.float32


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
