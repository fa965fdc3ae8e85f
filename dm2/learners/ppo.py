"""The equations of PPO that IPPO and R-MAPPO share; the story of each is in its own file.

Source: Schulman et al. 2017, "Proximal policy optimization algorithms". The gradients of the two losses are computed in
`dm2.learners.ppo_kernels`; the losses here are their plain twins.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dm2.core.checks import check_shape

ACTOR_HEAD_GAIN = 0.01
CRITIC_HEAD_GAIN = 1.0
ADVANTAGE_EPSILON = 1e-5


def gae(rewards: Tensor, values: Tensor, continues: Tensor, filled: Tensor, gamma: float, gae_lambda: float) -> Tensor:
    """Generalised advantage estimate (Schulman et al. 2016, eq. 16).

        delta_t = r_t + gamma * c_t * V(s_{t+1}) - V(s_t)
        A_t     = delta_t + gamma * lambda * c_t * A_{t+1}

    Args:
        rewards: r_t per env step, [episodes, steps].
        values: V(s_t), [episodes, steps + 1]; the one after an episode's last filled step is the bootstrap value.
        continues: c_t, True where s_{t+1} is not terminal, [episodes, steps].
        filled: True where step t counts, False on padding, [episodes, steps].
        gamma: discount per env step, in [0, 1].
        gae_lambda: lambda, in [0, 1].

    Returns:
        A_t, [episodes, steps]; 0 on padding.

    Raises:
        ValueError: a shape differs from the ones above.
    """
    episodes, steps = rewards.shape
    check_shape("values", values, (episodes, steps + 1))
    check_shape("continues", continues, (episodes, steps))
    check_shape("filled", filled, (episodes, steps))
    advantages = torch.zeros_like(rewards)
    following = torch.zeros_like(rewards[:, 0])
    for t in reversed(range(steps)):
        next_value = torch.where(continues[:, t], values[:, t + 1], 0.0)
        next_advantage = torch.where(continues[:, t], following, 0.0)
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        following = torch.where(filled[:, t], delta + gamma * gae_lambda * next_advantage, 0.0)
        advantages[:, t] = following
    return advantages


def masked_log_softmax(logits: Tensor, avail_actions: Tensor) -> Tensor:
    """Log-probabilities of the available actions, -inf for the others; [..., n_actions]."""
    return logits.masked_fill(~avail_actions, -torch.inf).log_softmax(-1)


def sample_actions(log_probs: Tensor, uniform: Tensor) -> Tensor:
    """Draw actions by inverting the distribution function.

    Args:
        log_probs: -inf where an action is not available, [..., n_actions].
        uniform: in [0, 1 - 2^-24], [...].

    Returns:
        int64 [...].
    """
    cumulative = log_probs.double().exp().cumsum(-1)  # in double precision the threshold stays below the sum
    threshold = uniform.double() * cumulative[..., -1]
    return (cumulative > threshold[..., None]).int().argmax(-1)


def policy_objective(
    logits: Tensor,
    avail_actions: Tensor,
    actions: Tensor,
    old_log_prob: Tensor,
    advantages: Tensor,
    clip_epsilon: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """PPO's clipped surrogate (Schulman et al. 2017, eq. 7), to be maximised, and the policy's entropy.

    Args:
        logits: the actor's outputs, [..., n_actions].
        avail_actions: bool [..., n_actions].
        actions: int64 [...].
        old_log_prob: of these actions when they were taken, [...].
        advantages: normalised, [...].
        clip_epsilon: clip range of the ratio.

    Returns:
        Per row [...]: the surrogate, the entropy in nats, and whether the ratio was clipped.
    """
    log_probs = masked_log_softmax(logits, avail_actions)
    ratio = (log_probs.gather(-1, actions[..., None])[..., 0] - old_log_prob).exp()
    clipped = ratio.clamp(1.0 - clip_epsilon, 1.0 + clip_epsilon)
    finite = log_probs.masked_fill(~avail_actions, 0.0)
    entropy = -(log_probs.exp() * finite).sum(-1)
    return torch.minimum(ratio * advantages, clipped * advantages), entropy, ratio != clipped


def huber_loss(errors: Tensor, delta: float, one_sided: bool) -> Tensor:
    """e^2 / 2 up to |e| = delta, linear beyond; one-sided (quirk 6): errors below -delta cost nothing."""
    quadratic, linear = 0.5 * errors**2, delta * (errors.abs() - 0.5 * delta)
    below = torch.zeros_like(errors) if one_sided else linear
    return torch.where(errors > delta, linear, torch.where(errors < -delta, below, quadratic))


def value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, clip_epsilon: float, delta: float, one_sided: bool
) -> Tensor:
    """The worse of the Huber losses of the value and of the value clipped to stay near the old one, per row [...]."""
    clipped = old_values + (values - old_values).clamp(-clip_epsilon, clip_epsilon)
    losses = (huber_loss(returns - v, delta, one_sided) for v in (values, clipped))
    return torch.maximum(*losses)


def normalise_advantages(advantages: Tensor, counted: Tensor, correction: int = 1) -> Tensor:
    """One agent's advantages, shifted and scaled by the mean and standard deviation of the counted ones.

    Args:
        advantages: any shape.
        counted: [n].
        correction: 1: the variance is a sum over n - 1, as in DM2's code; 0: over n, as in that of R-MAPPO's authors.
    """
    return (advantages - counted.mean()) / (counted.std(correction=correction) + ADVANTAGE_EPSILON)
