"""IPPO with absorbing zeros the plain way: one agent at a time, every padded step stored, torch's own modules and Adam.

The oracle of dm2.ippo's shortcuts; written for reading, not for speed.
"""

from __future__ import annotations

import torch
from separate_net import SeparateNet
from torch import Tensor

from dm2.ippo import IPPO
from dm2.rollout import Episodes


def padded(rows: Tensor, episodes: Episodes, steps: int, padding: float) -> Tensor:
    """One agent's rows [R, ...] as [N * steps, ...], padded with a number."""
    result = torch.full((episodes.n_episodes, steps, *rows.shape[1:]), padding, dtype=rows.dtype)
    for n, part in enumerate(rows.split(episodes.lengths.tolist())):
        result[n, : len(part)] = part
    return result.flatten(0, 1)


def padded_inputs(learner: IPPO, episodes: Episodes, agent: int) -> Tensor:
    """Observation, last action one-hot, agent one-hot, not normalised; zeros but for the agent on padding."""
    spec = learner.spec
    one_hot = torch.nn.functional.one_hot(episodes.actions[agent], spec.n_actions).float()
    last = torch.cat([torch.zeros(1, spec.n_actions), one_hot[:-1]])
    first = episodes.starts[:-1]
    last[first] = one_hot[first] if learner.quirks.first_action_leak else 0.0
    parts = [padded(part, episodes, spec.episode_limit, 0.0) for part in (episodes.obs[agent], last)]
    identity = torch.eye(spec.n_agents)[agent].expand(len(parts[0]), -1)
    return torch.cat([*parts, identity], dim=1)


def padded_advantages(rewards: Tensor, values: Tensor, bootstrap: Tensor, gamma: float, gae_lambda: float) -> Tensor:
    """GAE of [N, T] steps none of which is terminal; bootstrap is the value after the last step."""
    steps = rewards.shape[1]
    result, following, next_value = torch.zeros_like(rewards), torch.zeros(len(rewards)), bootstrap.expand(len(rewards))
    for t in reversed(range(steps)):
        following = rewards[:, t] + gamma * next_value - values[:, t] + gamma * gae_lambda * following
        result[:, t], next_value = following, values[:, t]
    return result


def masked_log_probs(logits: Tensor, avail: Tensor) -> Tensor:
    """Log-probabilities with unavailable logits set to -1e10: uniform where no action is available."""
    return logits.masked_fill(~avail, -1e10).log_softmax(-1)


def plain_huber(errors: Tensor, delta: float, one_sided: bool) -> Tensor:
    """As in the paper's code: a e^2 / 2 + b delta (|e| - delta / 2); its b leaves out the negative side (quirk 6)."""
    inside = (errors.abs() <= delta).float()
    outside = (errors > delta).float() if one_sided else (errors.abs() > delta).float()
    return inside * errors**2 / 2 + outside * delta * (errors.abs() - delta / 2)


def padded_update(learner: IPPO, episodes: Episodes, rewards: Tensor, absorbing: Tensor) -> tuple[Tensor, Tensor]:
    """Parameters of actors [A, P] and critics [A, P'] after the update that `learner.update` would do."""
    results = [one_agents_update(learner, episodes, rewards[a], absorbing[a], a) for a in range(learner.spec.n_agents)]
    actors, critics = zip(*results, strict=True)
    return torch.stack(actors), torch.stack(critics)


def one_agents_update(
    learner: IPPO, episodes: Episodes, rewards: Tensor, absorbing: Tensor, agent: int
) -> tuple[Tensor, Tensor]:
    """Flat parameters of this agent's actor and critic after the update."""
    settings, quirks, steps = learner.settings, learner.quirks, learner.spec.episode_limit
    actor = SeparateNet(learner.actor, learner.actor_shape, agent)
    critic = SeparateNet(learner.critic, learner.critic_shape, agent)
    inputs = padded_inputs(learner, episodes, agent)

    def spread(name: str) -> Tensor:
        return padded(episodes.extras[name][agent], episodes, steps, 0.0)

    actor_hidden, critic_hidden = spread("actor_hidden"), spread("critic_hidden")
    avail = padded(episodes.avail_actions[agent], episodes, steps, False)
    actions = padded(episodes.actions[agent], episodes, steps, 0)
    filled = padded(torch.ones(episodes.rows, dtype=torch.bool), episodes, steps, False)
    with torch.no_grad():
        nothing = torch.zeros(1, inputs.shape[1])
        nothing[:, -learner.spec.n_agents :] = torch.eye(learner.spec.n_agents)[agent]
        empty_value = critic(nothing, torch.zeros(1, settings.hidden_size))[0][0, 0]
        old_values = torch.where(filled, spread("value"), empty_value)
        uniform = masked_log_probs(actor(inputs, actor_hidden)[0], avail)[:, 0]
        old_log_prob = torch.where(filled, spread("log_prob"), uniform)
    paid = torch.where(filled, padded(rewards, episodes, steps, 0.0), absorbing)
    shape = (episodes.n_episodes, steps)
    advantages = padded_advantages(
        paid.view(shape), old_values.view(shape), empty_value, settings.gamma, settings.gae_lambda
    ).flatten()
    returns = advantages + old_values
    advantages = (advantages - advantages.mean()) / (advantages.std(correction=0) + 1e-5)
    trained = [p for name, p in critic.named_parameters() if not (quirks.frozen_critic_head and "head" in name)]
    adam = {"lr": settings.learning_rate, "eps": settings.adam_epsilon}
    actor_optimizer = torch.optim.Adam(actor.parameters(), **adam)
    critic_optimizer = torch.optim.Adam(trained, **adam)
    epsilon, delta = settings.clip_epsilon, settings.huber_delta
    for _ in range(settings.ppo_epochs):
        log_probs = masked_log_probs(actor(inputs, actor_hidden)[0], avail)
        ratio = (log_probs.gather(1, actions[:, None])[:, 0] - old_log_prob).exp()
        surrogate = torch.min(ratio * advantages, ratio.clamp(1 - epsilon, 1 + epsilon) * advantages)
        entropy = -(log_probs.exp() * log_probs).sum(1)
        actor_optimizer.zero_grad()
        (-surrogate - settings.entropy_coefficient * entropy).mean().backward()
        torch.nn.utils.clip_grad_norm_(actor.parameters(), settings.max_gradient_norm)
        actor_optimizer.step()

        values = critic(inputs, critic_hidden)[0][:, 0]
        clipped = old_values + (values - old_values).clamp(-epsilon, epsilon)
        losses = [plain_huber(returns - v, delta, quirks.one_sided_huber) for v in (values, clipped)]
        critic_optimizer.zero_grad()
        (settings.value_loss_coefficient * torch.max(*losses).mean()).backward()
        torch.nn.utils.clip_grad_norm_(trained, settings.max_gradient_norm)
        critic_optimizer.step()
    return actor.flat(), critic.flat()
