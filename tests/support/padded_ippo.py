"""IPPO and DM² the plain way: one agent at a time, every row up to the limit stored, torch's own modules and Adam.

The oracle of what dm2.learners.ippo, dm2.learners.discriminator and dm2.learners.distribution_matching compute with
shortcuts. It follows the words of the experiments' specification, in double precision, and imports none of the code
that builds their batches; written for reading, not for speed.

An episode of L steps has rows 0 to T, T being the episode limit:

    t < L       played: observation, hidden states, action, environment's reward
    t = L       terminal: final observation, hidden states after the last step, the action that nobody took, no reward
    t = L + 1   padded: zeros, but the last action is the terminal one
    t > L + 1   padded: zeros

Losses and advantages are of rows 0 to T - 1, discriminators see row T too, and row T's value is the bootstrap value.
Without absorbing zeros there are the played rows alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from support.separate_net import SeparateNet
from torch import Tensor, nn

from dm2.nets.actor_critic import NetShape
from dm2.play.rollout import Episodes
from dm2.settings.learners import DiscriminatorSettings, IPPOSettings, QuirkSettings

Draw = tuple[np.ndarray, np.ndarray, np.ndarray]
"""One gradient step of a discriminator: expert episodes, own episodes, the expert's share in each mixed row."""


@dataclass(frozen=True)
class Task:
    """What one agent's update depends on.

    Attributes:
        agent: its number.
        n_agents: of the team.
        n_actions: of the map.
        steps: T, the episode limit.
        settings: of IPPO.
        quirks: of the paper's code.
        reward: "env", "mixed" or "gail".
        matching: settings of the discriminator, for "mixed" and "gail".
    """

    agent: int
    n_agents: int
    n_actions: int
    steps: int
    settings: IPPOSettings
    quirks: QuirkSettings
    reward: str = "env"
    matching: DiscriminatorSettings | None = None


@dataclass
class Table:
    """One agent's rows, T + 1 of each of N episodes; see the module's docstring.

    Attributes:
        obs: [N, T + 1, obs_size].
        last: the last action, one-hot, [N, T + 1, n_actions].
        avail: bool [N, T + 1, n_actions], nothing on padding.
        action: int64 [N, T + 1].
        hidden: of actor and critic, [N, T + 1, hidden] each.
        log_prob: of the action when it was taken, [N, T + 1].
        value: [N, T + 1].
        env_reward: [N, T + 1].
    """

    obs: Tensor
    last: Tensor
    avail: Tensor
    action: Tensor
    hidden: tuple[Tensor, Tensor]
    log_prob: Tensor
    value: Tensor
    env_reward: Tensor


@dataclass
class Updated:
    """What one agent's update made and came by.

    Attributes:
        rewards: of rows 0 to T - 1, [N, T].
        advantages: normalised, [N, T].
        returns: [N, T].
        actor: parameters afterwards, [P].
        critic: likewise.
        discriminator: likewise; None without.
        discriminator_gradients: of each step.
    """

    rewards: Tensor
    advantages: Tensor
    returns: Tensor
    actor: Tensor
    critic: Tensor
    discriminator: Tensor | None = None
    discriminator_gradients: list[Tensor] = field(default_factory=list)


class PlainDiscriminator(nn.Module):
    """Two tanh layers and a logit."""

    def __init__(self, flat: Tensor, inputs: int, hidden: int) -> None:
        super().__init__()
        self.layer1, self.layer2 = nn.Linear(inputs, hidden), nn.Linear(hidden, hidden)
        self.layer3 = nn.Linear(hidden, 1)
        self.to(torch.float64)
        with torch.no_grad():
            torch.nn.utils.vector_to_parameters(flat.double(), self.parameters())

    def forward(self, x: Tensor) -> Tensor:
        """The logit of each row [..., inputs]."""
        return self.layer3(torch.tanh(self.layer2(torch.tanh(self.layer1(x)))))[..., 0]


def masked_log_probs(logits: Tensor, avail: Tensor) -> Tensor:
    """Log-probabilities with unavailable logits set to -1e10: uniform where no action is available."""
    return logits.masked_fill(~avail, -1e10).log_softmax(-1)


def action_log_probs(logits: Tensor, avail: Tensor, action: Tensor) -> Tensor:
    """Log-probability of each row's action."""
    return masked_log_probs(logits, avail).gather(-1, action[..., None])[..., 0]


def net_inputs(task: Task, obs: Tensor, last: Tensor) -> Tensor:
    """Observation, last action one-hot, agent one-hot; on padding too."""
    identity = torch.zeros(*obs.shape[:-1], task.n_agents, dtype=obs.dtype)
    identity[..., task.agent] = 1.0
    return torch.cat([obs, last, identity], dim=-1)


@torch.no_grad()
def tabulate(task: Task, episodes: Episodes, actor: SeparateNet, critic: SeparateNet) -> Table:
    """Every row of every episode, one after the other."""
    agent, n_episodes, rows = task.agent, len(episodes.lengths), task.steps + 1
    size, hidden_size = episodes.obs.shape[2], task.settings.hidden_size

    def zeros(*shape: int) -> Tensor:
        return torch.zeros(n_episodes, rows, *shape, dtype=torch.float64)

    table = Table(
        obs=zeros(size),
        last=zeros(task.n_actions),
        avail=zeros(task.n_actions).bool(),
        action=zeros().long(),
        hidden=(zeros(hidden_size), zeros(hidden_size)),
        log_prob=zeros(),
        value=zeros(),
        env_reward=zeros(),
    )
    row = 0
    for n, length in enumerate(episodes.lengths.tolist()):
        for t in range(length):
            table.obs[n, t] = episodes.obs[agent, row]
            table.avail[n, t] = episodes.avail_actions[agent, row]
            table.action[n, t] = episodes.actions[agent, row]
            table.hidden[0][n, t] = episodes.extras["actor_hidden"][agent, row]
            table.hidden[1][n, t] = episodes.extras["critic_hidden"][agent, row]
            table.log_prob[n, t] = episodes.extras["log_prob"][agent, row]
            table.value[n, t] = episodes.extras["value"][agent, row]
            table.env_reward[n, t] = episodes.reward[row]
            if t > 0:
                table.last[n, t, episodes.actions[agent, row - 1]] = 1.0
            row += 1
        table.obs[n, length] = episodes.final_obs[agent, n]
        table.last[n, length, episodes.actions[agent, row - 1]] = 1.0
        last_inputs = net_inputs(task, table.obs[n, length - 1], table.last[n, length - 1])[None]
        for net, hidden in zip((actor, critic), table.hidden, strict=True):
            hidden[n, length] = net(last_inputs, hidden[n, length - 1 : length])[1][0]
        if task.quirks.absorbing_zeros:
            assert episodes.final_actions is not None
            table.avail[n, length] = episodes.final_avail_actions[agent, n]
            table.action[n, length] = episodes.final_actions[agent, n]
            if length < task.steps:
                table.last[n, length + 1, table.action[n, length]] = 1.0
        if task.quirks.first_action_leak:
            table.last[n, 0, table.action[n, 0]] = 1.0
        inputs = net_inputs(task, table.obs[n], table.last[n])
        logits, values = actor(inputs, table.hidden[0][n])[0], critic(inputs, table.hidden[1][n])[0][:, 0]
        first = 0 if task.quirks.first_action_leak else length  # the rollout's numbers, or as the epochs will see it
        table.log_prob[n, first:] = action_log_probs(logits, table.avail[n], table.action[n])[first:]
        table.value[n, first:] = values[first:]
    return table


def discriminator_inputs(obs: Tensor, action: Tensor, kind: str) -> Tensor:
    """Observation, and the action's number if the discriminator sees it."""
    return torch.cat([obs, action[..., None].to(obs.dtype)], dim=-1) if kind == "state_action" else obs


def rows_that_take_part(rows: Tensor, absorbing_zeros: bool) -> Tensor:
    """True for all rows, or for those of each episode up to its last that is not all zeros; rows [B, T + 1, inputs]."""
    takes_part = torch.ones(rows.shape[:2], dtype=torch.bool)
    if not absorbing_zeros:
        for n, episode in enumerate(rows):
            for t in reversed(range(len(episode))):
                if episode[t].any():
                    break
                takes_part[n, t] = False
    return takes_part


def discriminator_loss(net: PlainDiscriminator, expert: Tensor, own: Tensor, task: Task, alpha: Tensor) -> Tensor:
    """Cross-entropies of expert and own rows [B, rows, inputs], and the gradient penalty of their mixtures."""
    assert task.matching is not None
    expert_part, own_part = (rows_that_take_part(rows, task.quirks.absorbing_zeros) for rows in (expert, own))
    to_one = -nn.functional.logsigmoid(net(expert))
    to_zero = -nn.functional.logsigmoid(-net(own))
    mixed = (alpha[..., None] * expert + (1.0 - alpha[..., None]) * own).requires_grad_()
    (slope,) = torch.autograd.grad(net(mixed).sum(), mixed, create_graph=True)
    penalty = (slope.norm(dim=-1) - 1.0) ** 2
    return (
        to_one[expert_part].mean()
        + to_zero[own_part].mean()
        + task.matching.gradient_penalty * penalty[expert_part & own_part].mean()
    )


def train_discriminator(
    task: Task, flat: Tensor, expert: Tensor, own: Tensor, draws: Sequence[Draw]
) -> tuple[PlainDiscriminator, list[Tensor]]:
    """A step for each draw, from episodes of rows [episodes, rows, inputs]; the net afterwards and each gradient."""
    assert task.matching is not None
    net = PlainDiscriminator(flat, expert.shape[2], task.matching.hidden_size)
    optimizer = torch.optim.Adam(net.parameters(), lr=task.matching.learning_rate)
    gradients = []
    for expert_ids, own_ids, alpha in draws:
        optimizer.zero_grad()
        discriminator_loss(net, expert[expert_ids], own[own_ids], task, torch.from_numpy(alpha).double()).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]))
        optimizer.step()
    return net, gradients


def generalised_advantages(task: Task, rewards: Tensor, values: Tensor, episodes: Episodes) -> Tensor:
    """GAE of rows 0 to T - 1 [N, T] from values [N, T + 1]; 0 behind an episode's end where that ends the return."""
    gamma, gae_lambda = task.settings.gamma, task.settings.gae_lambda
    result = torch.zeros_like(rewards)
    for n, length in enumerate(episodes.lengths.tolist()):
        end = task.steps if task.quirks.absorbing_zeros else length
        following = 0.0
        for t in reversed(range(end)):
            decided = not task.quirks.absorbing_zeros and t == length - 1 and not episodes.truncated[n]
            next_value = 0.0 if decided else values[n, t + 1]
            following = rewards[n, t] + gamma * next_value - values[n, t] + gamma * gae_lambda * following
            result[n, t] = following
    return result


def plain_huber(errors: Tensor, delta: float, one_sided: bool) -> Tensor:
    """As in the paper's code: a e^2 / 2 + b delta (|e| - delta / 2); its b leaves out the negative side (quirk 6)."""
    inside = (errors.abs() <= delta).double()
    outside = (errors > delta).double() if one_sided else (errors.abs() > delta).double()
    return inside * errors**2 / 2 + outside * delta * (errors.abs() - delta / 2)


def update(
    task: Task,
    episodes: Episodes,
    actor: tuple[Tensor, NetShape],
    critic: tuple[Tensor, NetShape],
    discriminator: Tensor | None = None,
    expert: tuple[Tensor, Tensor] | None = None,
    draws: Sequence[Draw] = (),
) -> Updated:
    """One whole update of one agent.

    Args:
        task: what it depends on.
        episodes: what the team played.
        actor: all agents' parameters [A, P] and their shape.
        critic: likewise.
        discriminator: the agent's parameters before the update.
        expert: the expert's observations [episodes, T + 1, obs_size] and actions, terminal row included, zeros behind.
        draws: one per gradient step of the discriminator.
    """
    nets = [SeparateNet(flat.double(), shape, task.agent) for flat, shape in (actor, critic)]
    table = tabulate(task, episodes, *nets)
    rewards, found = table.env_reward[:, :-1].clone(), None
    gradients: list[Tensor] = []
    if discriminator is not None:
        assert task.matching is not None and expert is not None
        kind = task.matching.input
        obs, action = table.obs.clone(), table.action
        if not task.quirks.absorbing_zeros:
            for n, length in enumerate(episodes.lengths.tolist()):
                obs[n, length:] = 0.0
        own = discriminator_inputs(obs, action, kind)
        net, gradients = train_discriminator(task, discriminator, discriminator_inputs(*expert, kind), own, draws)
        found = torch.nn.utils.parameters_to_vector(net.parameters()).detach()
        with torch.no_grad():
            logits = net(own)[:, :-1]
        rewards = logits if task.reward == "gail" else rewards + task.matching.reward_weight * logits
    advantages = generalised_advantages(task, rewards, table.value, episodes)
    returns = advantages + table.value[:, :-1]
    live = table.avail[:, :-1, 1:].any(-1)
    played = torch.arange(task.steps) < episodes.lengths[:, None]
    everything = torch.ones_like(played)
    counted, of_critic = (everything, everything) if task.quirks.absorbing_zeros else (live & played, played)
    spread = advantages[counted].std(correction=1) + 1e-5
    normalised = (advantages - advantages[counted].mean()) / spread
    run_epochs(task, table, nets, normalised, returns, counted, of_critic)
    return Updated(rewards, normalised, returns, nets[0].flat(), nets[1].flat(), found, gradients)


def run_epochs(
    task: Task,
    table: Table,
    nets: Sequence[SeparateNet],
    advantages: Tensor,
    returns: Tensor,
    of_actor: Tensor,
    of_critic: Tensor,
) -> None:
    """Train actor and critic on the rows that each learns from, bool [N, T]."""
    (actor, critic), settings, quirks = nets, task.settings, task.quirks
    learned = torch.ones_like(of_actor)
    if quirks.last_episode_left_out:
        learned[-1] = False
    of_actor, of_critic = of_actor & learned, of_critic & learned
    inputs = net_inputs(task, table.obs, table.last)[:, :-1]
    actor_hidden, critic_hidden = (hidden[:, :-1] for hidden in table.hidden)
    avail, action, old_log_prob, old_values = (
        part[:, :-1] for part in (table.avail, table.action, table.log_prob, table.value)
    )
    trained = [p for name, p in critic.named_parameters() if not (quirks.frozen_critic_head and "head" in name)]
    adam = {"lr": settings.learning_rate, "eps": settings.adam_epsilon}
    actor_optimizer = torch.optim.Adam(actor.parameters(), **adam)
    critic_optimizer = torch.optim.Adam(trained, **adam)
    epsilon, delta = settings.clip_epsilon, settings.huber_delta
    for _ in range(settings.ppo_epochs):
        logits = actor(inputs[of_actor], actor_hidden[of_actor])[0]
        log_probs = masked_log_probs(logits, avail[of_actor])
        ratio = (log_probs.gather(1, action[of_actor][:, None])[:, 0] - old_log_prob[of_actor]).exp()
        own = advantages[of_actor]
        surrogate = torch.min(ratio * own, ratio.clamp(1 - epsilon, 1 + epsilon) * own)
        entropy = -(log_probs.exp() * log_probs).sum(1)
        actor_optimizer.zero_grad()
        (-surrogate - settings.entropy_coefficient * entropy).mean().backward()
        torch.nn.utils.clip_grad_norm_(actor.parameters(), settings.max_gradient_norm)
        actor_optimizer.step()

        values, old, target = (
            critic(inputs[of_critic], critic_hidden[of_critic])[0][:, 0],
            old_values[of_critic],
            returns[of_critic],
        )
        clipped = old + (values - old).clamp(-epsilon, epsilon)
        losses = [plain_huber(target - v, delta, quirks.one_sided_huber) for v in (values, clipped)]
        critic_optimizer.zero_grad()
        (settings.value_loss_coefficient * torch.max(*losses).mean()).backward()
        torch.nn.utils.clip_grad_norm_(trained, settings.max_gradient_norm)
        critic_optimizer.step()
