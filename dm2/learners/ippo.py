"""Independent PPO: every agent learns alone, with an actor and a critic of its own.

Source: Schulman et al. 2017, "Proximal policy optimization algorithms", in the form of DM2's public code (Wang et al.
2023) with the numbers of its YAML files. No parameter, no gradient and no statistic is shared between agents; their
networks are stacked along one axis only to be computed together (`dm2.nets.actor_critic`).

One update: play N episodes with the current actors; estimate advantages (GAE); then `ppo_epochs` times one gradient
step of all actors on

    -min(ratio A, clip(ratio, 1 - e, 1 + e) A) - entropy_coefficient * entropy,   ratio = pi(a) / pi_old(a)

and one of all critics on

    value_loss_coefficient * max(huber(R - V), huber(R - clip(V, V_old - e, V_old + e)))

as means over all steps at once (one minibatch). The GRUs are trained one step at a time on the hidden states that were
stored when the episodes were played.

Absorbing zeros (quirk 1, on by default). Every episode has a row for each step up to the episode limit T. Row L of an
episode of L < T steps, the terminal row, is real: the final observation, the hidden states after the last step, and an
action that the policy chose and nobody took. From row L + 1 on it is in an absorbing state: zero observation, zero
hidden state, no action to choose, no last action but for row L + 1, whose last action is the terminal one. Rewards from
row L on are given by the caller. All these rows and those of dead agents count in the GAE recursion, in the advantages'
mean and deviation, in the critic's loss and in the number of rows that every mean is over; nothing is terminal, and
what lies behind row T - 1 is worth the critic's value of row T, the final observation's if L = T. Almost nothing of the
absorbing state needs computing:
- a padded row of an agent is one of n_actions + 1: that without a last action, or one that follows a terminal action.
  Their values are computed once each. What a padded row returns depends on its time alone, so their losses are sums
  over at most T different returns, weighted by how many episodes are in that row at that time;
- where no action is to be chosen (dead or padded), the ratio is 1 whatever the parameters: the actor has no gradient.

Switched off, the critic learns from all played steps (the team's reward goes on when an agent is dead), the actor from
those in which its agent lives, with advantages normalised over the latter; a decided battle ends the return, an episode
cut off by the limit is bootstrapped with the value of its final observation.

First-action leak (quirk 2): the last action of row 0 is the action that it is about to score. The old log-probability
and value of row 0 are computed with that input too, so the first ratio is 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from dm2.battle.rules_of_smac import NO_OP
from dm2.core.checks import check_shape
from dm2.core.randomness import stream
from dm2.learners import ippo_kernels
from dm2.learners.ippo_kernels import ActorRows, CriticRows
from dm2.learners.ppo import (
    ACTOR_HEAD_GAIN,
    CRITIC_HEAD_GAIN,
    gae,
    masked_log_softmax,
    normalise_advantages,
    sample_actions,
    value_loss,
)
from dm2.nets.actor_critic import (
    Folded,
    NetShape,
    build_inputs,
    entries_of,
    flat_parameters,
    fold,
    folded_nets,
    forward,
    initial_parameters,
    input_size,
    named_parameters,
    normalise,
)
from dm2.nets.adam import ClippedAdam
from dm2.play.rollout import NO_ACTION_YET, ActResult, Episodes, Hidden
from dm2.settings.learners import IPPOSettings, QuirkSettings
from dm2.settings.run import RunSettings

if TYPE_CHECKING:
    from dm2.core.interface import EnvSpec
    from dm2.play.demonstrations import Demonstrations

METRICS = ("policy_loss", "entropy", "clip_fraction", "value_loss", "gradient_norm", "critic_gradient_norm")


class IPPOPolicy:
    """The actors of one moment, for playing; with the critics too it records what an update needs.

    Args:
        actor: of the team's agents.
        critic: theirs.
        greedy: take the most probable actions.
    """

    def __init__(self, actor: Folded, critic: Folded | None, greedy: bool) -> None:
        self.actor = actor
        self.critic = critic
        self.greedy = greedy

    def initial_hidden(self, n_battles: int) -> Hidden:
        """Zeros, [n_agents, n_battles, hidden_size]."""
        agents, hidden_size = self.actor.head_weight.shape[:2]
        names = ["actor_hidden"] if self.critic is None else ["actor_hidden", "critic_hidden"]
        return {name: self.actor.head_weight.new_zeros(agents, n_battles, hidden_size) for name in names}

    @torch.no_grad()
    def act(
        self, obs: Tensor, last_actions: Tensor, avail_actions: Tensor, hidden: Hidden, uniform: Tensor
    ) -> ActResult:
        """The most probable actions if greedy, else a sample; see `dm2.play.rollout.Policy`."""
        inputs = normalise(build_inputs(obs, last_actions, avail_actions.shape[-1]))
        logits, actor_hidden = forward(self.actor, inputs, hidden["actor_hidden"])
        log_probs = masked_log_softmax(logits, avail_actions)
        actions = log_probs.argmax(-1) if self.greedy else sample_actions(log_probs, uniform)
        if self.critic is None:
            return ActResult(actions, {"actor_hidden": actor_hidden})
        values, critic_hidden = forward(self.critic, inputs, hidden["critic_hidden"])
        log_prob = log_probs.gather(-1, actions[..., None])[..., 0]
        extras = {"log_prob": log_prob, "value": values[..., 0], **hidden}
        return ActResult(actions, {"actor_hidden": actor_hidden, "critic_hidden": critic_hidden}, extras)


class Rewards(NamedTuple):
    """What each agent is paid.

    Attributes:
        played: r_t of each step, [A, rows].
        terminal: for the terminal rows, [A, N]; read under absorbing zeros alone.
        padded: for a padded row, [A]; likewise.
    """

    played: Tensor
    terminal: Tensor
    padded: Tensor


@dataclass(frozen=True)
class Tail:
    """The padded rows, K different ones for each of A agents; T steps of the episode limit.

    Attributes:
        inputs: normalised, without a last action and then with each as the last one, [A, K, inputs].
        value: when the episodes were played, [A, K].
        count: number of episodes that are in this row at step t, [A, K, T]; zeros without absorbing zeros.
        returns: targets of the critics at step t, [A, T].
    """

    inputs: Tensor
    value: Tensor
    count: Tensor
    returns: Tensor


@dataclass(frozen=True)
class Batch:
    """What the epochs of one update read, of A agents.

    Attributes:
        actor_rows: one per agent.
        actor_steps: number of rows that each actor's loss is the mean of, [A].
        critic_rows: one per agent.
        critic_steps: number of rows that each critic's loss is the mean of, int64 [A].
        tail: the padded rows.
    """

    actor_rows: list[ActorRows]
    actor_steps: Tensor
    critic_rows: list[CriticRows]
    critic_steps: Tensor
    tail: Tail


class IPPO:
    """The actors and critics of one team, their optimizers, and the update.

    Attributes:
        actor: actors' parameters, [A, P].
        critic: critics' parameters, [A, P'].
    """

    keeps_state = False

    def __init__(self, spec: EnvSpec, settings: IPPOSettings, quirks: QuirkSettings, seed: int) -> None:
        self.spec = spec
        self.settings = settings
        self.quirks = quirks
        inputs = input_size(spec.obs_size, spec.n_actions, spec.n_agents)
        self.actor_shape = NetShape(inputs, settings.hidden_size, spec.n_actions)
        self.critic_shape = NetShape(inputs, settings.hidden_size, 1)
        generator = stream(seed, "initialisation")
        self.actor = initial_parameters(self.actor_shape, spec.n_agents, ACTOR_HEAD_GAIN, generator)
        self.critic = initial_parameters(self.critic_shape, spec.n_agents, CRITIC_HEAD_GAIN, generator)
        optimizer = settings.learning_rate, settings.adam_epsilon, settings.max_gradient_norm
        self.actor_optimizer = ClippedAdam(self.actor, *optimizer)
        self.critic_optimizer = ClippedAdam(self.critic, *optimizer)

    @property
    def episodes_per_update(self) -> int:
        """Battles to play before each update."""
        return self.settings.episodes_per_update

    @property
    def acts_at_end(self) -> bool:
        """Whether an update needs the policy's answers to the final observations."""
        return self.quirks.absorbing_zeros

    def policy(self) -> IPPOPolicy:
        """The current actors, sampling, recording what an update needs."""
        critic = fold(self.critic.clone(), self.critic_shape)
        return IPPOPolicy(self._folded_actor(), critic, greedy=False)

    def greedy_policy(self) -> IPPOPolicy:
        """The current actors, each taking its most probable action."""
        return IPPOPolicy(self._folded_actor(), None, greedy=True)

    def _folded_actor(self) -> Folded:
        return fold(self.actor.clone(), self.actor_shape)  # a copy: the policy stays what it is after the next update

    def learn(self, episodes: Episodes) -> dict[str, float]:
        """One update on the environment's own reward."""
        terminal = self.actor.new_zeros(self.spec.n_agents, episodes.n_episodes)
        rewards = Rewards(episodes.reward.expand(self.spec.n_agents, -1), terminal, terminal[:, 0])
        return self.update(self.batch(episodes, rewards))

    def update(self, batch: Batch) -> dict[str, float]:
        """One update: `ppo_epochs` gradient steps of actors and critics.

        Args:
            batch: what `batch` returned.

        Returns:
            Means over agents and epochs: policy_loss, entropy (nats) and clip_fraction over the steps in which the
            agent lives, value_loss over all steps, gradient_norm and critic_gradient_norm before clipping.
        """
        sums = dict.fromkeys(METRICS, 0.0)
        for _ in range(self.settings.ppo_epochs):
            actor_gradient, objective = self.actor_gradient(batch)
            critic_gradient, losses, tail_losses = self.critic_gradient(batch)
            surrogate, entropy, clipped = objective.mean(0).tolist()
            mean_loss = (float(losses.sum()) + float(tail_losses.sum())) / int(batch.critic_steps.sum())
            norm = float(self.actor_optimizer.step(actor_gradient).mean())
            critic_norm = float(self.critic_optimizer.step(critic_gradient).mean())
            found = (-surrogate, entropy, clipped, mean_loss, norm, critic_norm)
            for name, value in zip(METRICS, found, strict=True):
                sums[name] += value
        return {name: value / self.settings.ppo_epochs for name, value in sums.items()}

    def batch(self, episodes: Episodes, rewards: Rewards) -> Batch:
        """What an update reads, the advantages among it.

        Args:
            episodes: played by `policy()` since the last update; under absorbing zeros with its answers at the end.
            rewards: what each agent is paid for them.
        """
        check_shape("rewards.played", rewards.played, (self.spec.n_agents, episodes.rows))
        check_shape("rewards.terminal", rewards.terminal, (self.spec.n_agents, episodes.n_episodes))
        check_shape("rewards.padded", rewards.padded, (self.spec.n_agents,))
        if self.acts_at_end and episodes.final_actions is None:
            raise ValueError("episodes: found no final_actions, expected them: collect with act_at_end=acts_at_end")
        values, advantages, returns = self.estimates(episodes, rewards)
        rows, (episode, step) = self._rows(episodes), self._places(episodes)
        old_values, advantages, own_returns = (table[:, episode, step] for table in (values, advantages, returns))
        inputs = self.net_inputs(rows["obs"], rows["last_actions"])
        actor_data = (
            inputs,
            rows["actor_hidden"],
            rows["avail_actions"],
            rows["actions"],
            rows["log_prob"],
            advantages,
        )
        critic_data = (inputs, rows["critic_hidden"], old_values, own_returns)
        alive = ~rows["avail_actions"][:, :, NO_OP]
        absorbing, padded = self.quirks.absorbing_zeros, self._learned(episodes) * self.spec.episode_limit
        return Batch(
            actor_rows=[ActorRows(*(data[i][live] for data in actor_data)) for i, live in enumerate(alive)],
            actor_steps=torch.full_like(alive[:, 0], padded, dtype=torch.int64) if absorbing else alive.sum(1),
            critic_rows=[CriticRows(*(data[i] for data in critic_data)) for i in range(self.spec.n_agents)],
            critic_steps=torch.full_like(alive[:, 0], padded if absorbing else len(step), dtype=torch.int64),
            tail=self._tail(episodes, returns),
        )

    def estimates(self, episodes: Episodes, rewards: Rewards) -> tuple[Tensor, Tensor, Tensor]:
        """What GAE is computed from and gives, rows that nobody plays included.

        Args:
            episodes: see `batch`.
            rewards: see `batch`.

        Returns:
            The critics' values of rows 0 to T when the episodes were played, [A, N, T + 1]; normalised advantages and
            returns of rows 0 to T - 1, [A, N, T] each. Without absorbing zeros nothing behind an episode's end means
            anything.
        """
        agents, (n_episodes, limit) = self.spec.n_agents, (episodes.n_episodes, self.spec.episode_limit)
        numbers = torch.arange(n_episodes)
        filled = torch.arange(limit) < episodes.lengths[:, None]  # [N, T]
        paid = rewards.padded[:, None, None].repeat(1, n_episodes, limit + 1)
        paid[:, :, :-1][:, filled] = rewards.played
        paid[:, numbers, episodes.lengths] = rewards.terminal
        values = self._values(episodes, filled)
        continues = torch.ones_like(filled)
        if not self.quirks.absorbing_zeros:
            continues[numbers, episodes.lengths - 1] = episodes.truncated
        advantages = gae(
            paid[:, :, :-1].flatten(0, 1),
            values.flatten(0, 1),
            continues.repeat(agents, 1),
            (filled | self.quirks.absorbing_zeros).repeat(agents, 1),
            self.settings.gamma,
            self.settings.gae_lambda,
        ).unflatten(0, (agents, n_episodes))
        returns = advantages + values[:, :, :-1]
        if self.quirks.absorbing_zeros:
            counted = [agent.flatten() for agent in advantages]
        else:
            counted = [own[filled][live] for own, live in zip(advantages, episodes.alive, strict=True)]
        normalised = torch.stack([normalise_advantages(*pair) for pair in zip(advantages, counted, strict=True)])
        return values, normalised, returns

    def _learned(self, episodes: Episodes) -> int:
        """Number of episodes that the losses are of; they are the first ones."""
        return episodes.n_episodes - self.quirks.last_episode_left_out

    def _with_terminal_row(self, episodes: Episodes) -> Tensor:
        """Numbers of the episodes whose terminal rows the losses are of too."""
        ends_early = episodes.lengths[: self._learned(episodes)] < self.spec.episode_limit
        return torch.nonzero(ends_early & self.quirks.absorbing_zeros)[:, 0]

    def _places(self, episodes: Episodes) -> tuple[Tensor, Tensor]:
        """Episode and step of each row of `_rows`, int64 [R] each."""
        lengths, terminal = episodes.lengths[: self._learned(episodes)], self._with_terminal_row(episodes)
        episode = torch.repeat_interleave(lengths)
        step = torch.arange(len(episode)) - episodes.starts[episode]
        return torch.cat([episode, terminal]), torch.cat([step, lengths[terminal]])

    def _rows(self, episodes: Episodes) -> dict[str, Tensor]:
        """What is stored of the rows that the losses are of, played ones and behind them terminal ones, [A, R, ...]."""
        played = {
            "obs": episodes.obs,
            "last_actions": self._last_actions(episodes),
            "avail_actions": episodes.avail_actions,
            "actions": episodes.actions,
            "log_prob": self._old_log_prob(episodes),
            "actor_hidden": episodes.extras["actor_hidden"],
            "critic_hidden": episodes.extras["critic_hidden"],
        }
        played = {name: value[:, : episodes.starts[self._learned(episodes)]] for name, value in played.items()}
        if not self.quirks.absorbing_zeros:
            return played
        assert episodes.final_actions is not None  # `batch` has looked
        terminal = {
            "obs": episodes.final_obs,
            "last_actions": episodes.actions[:, episodes.starts[1:] - 1],
            "avail_actions": episodes.final_avail_actions,
            "actions": episodes.final_actions,
            **episodes.final_extras,
        }
        numbers = self._with_terminal_row(episodes)
        return {name: torch.cat([value, terminal[name][:, numbers]], dim=1) for name, value in played.items()}

    def _last_actions(self, episodes: Episodes) -> Tensor:
        """The last actions as the epochs see them, int64 [A, rows]."""
        if not self.quirks.first_action_leak:
            return episodes.last_actions
        first = episodes.starts[:-1]
        return episodes.last_actions.index_copy(1, first, episodes.actions[:, first])

    def _leaking_rows(self, episodes: Episodes) -> tuple[Tensor, Tensor]:
        """Numbers of the episodes' first rows, int64 [N], and their inputs under the first-action leak."""
        first = episodes.starts[:-1]
        return first, self.net_inputs(episodes.obs[:, first], episodes.actions[:, first])

    @torch.no_grad()
    def _old_log_prob(self, episodes: Episodes) -> Tensor:
        """Log-probabilities of the actions by the actors that played, of the inputs that the epochs see, [A, rows]."""
        log_prob = episodes.extras["log_prob"]
        if not self.quirks.first_action_leak:
            return log_prob
        first, inputs = self._leaking_rows(episodes)
        logits, _ = forward(fold(self.actor, self.actor_shape), inputs, episodes.extras["actor_hidden"][:, first])
        log_probs = masked_log_softmax(logits, episodes.avail_actions[:, first])
        leaking = log_probs.gather(-1, episodes.actions[:, first, None])[..., 0]
        return log_prob.index_copy(1, first, leaking)

    def _values(self, episodes: Episodes, filled: Tensor) -> Tensor:
        """The critics' values of rows 0 to T when the episodes were played, [A, N, T + 1]; filled is bool [N, T]."""
        numbers, limit, padded = torch.arange(episodes.n_episodes), self.spec.episode_limit, self._padded_values()
        values = padded[:, :1, None].repeat(1, episodes.n_episodes, limit + 1)
        values[:, :, :-1][:, filled] = episodes.extras["value"]
        if self.quirks.first_action_leak:
            first, inputs = self._leaking_rows(episodes)
            values[:, :, 0] = self._value(inputs, episodes.extras["critic_hidden"][:, first])
        if self.quirks.absorbing_zeros:
            assert episodes.final_actions is not None  # `batch` has looked
            values[:, numbers, episodes.lengths] = episodes.final_extras["value"]
            early = numbers[episodes.lengths < limit]
            values[:, early, episodes.lengths[early] + 1] = padded.gather(1, 1 + episodes.final_actions[:, early])
        else:
            values[:, numbers, episodes.lengths] = self._final_values(episodes)
        return values

    def _final_values(self, episodes: Episodes) -> Tensor:
        """The critics' values of the final observations, [A, N], of a policy that did not answer them."""
        last = episodes.starts[1:] - 1
        inputs = self.net_inputs(episodes.obs[:, last], episodes.last_actions[:, last])
        _, hidden = forward(fold(self.critic, self.critic_shape), inputs, episodes.extras["critic_hidden"][:, last])
        return self._value(self.net_inputs(episodes.final_obs, episodes.actions[:, last]), hidden)

    def _tail(self, episodes: Episodes, returns: Tensor) -> Tail:
        """The padded rows; returns is [A, N, T]."""
        agents, n_actions, limit = self.spec.n_agents, self.spec.n_actions, self.spec.episode_limit
        count = torch.zeros(agents, 1 + n_actions, limit)
        if self.quirks.absorbing_zeros:
            assert episodes.final_actions is not None  # `batch` has looked
            lengths = episodes.lengths[: self._learned(episodes)]
            count[:, 0] = (torch.arange(limit) > lengths[:, None] + 1).sum(0)
            followed = torch.nonzero(lengths + 1 < limit)[:, 0]
            for own, actions in zip(count, episodes.final_actions, strict=True):
                places = 1 + actions[followed], lengths[followed] + 1
                own.index_put_(places, own.new_ones(len(followed)), accumulate=True)
        shortest = int(episodes.lengths.argmin())  # what a padded row returns depends on its time alone
        return Tail(self._padded_inputs(), self._padded_values(), count, returns[:, shortest])

    def net_inputs(self, obs: Tensor, last_actions: Tensor) -> Tensor:
        """Normalised inputs of actors and critics; see `dm2.nets.actor_critic.build_inputs`."""
        return normalise(build_inputs(obs, last_actions, self.spec.n_actions))

    def _padded_inputs(self) -> Tensor:
        """Normalised inputs of the padded rows: without a last action, then with each, [A, 1 + n_actions, inputs]."""
        last_actions = torch.arange(NO_ACTION_YET, self.spec.n_actions).expand(self.spec.n_agents, -1)
        nothing = self.actor.new_zeros(*last_actions.shape, self.spec.obs_size)
        return self.net_inputs(nothing, last_actions)

    def _padded_values(self) -> Tensor:
        """The critics' values of the padded rows, [A, 1 + n_actions]."""
        inputs = self._padded_inputs()
        return self._value(inputs, inputs.new_zeros(*inputs.shape[:2], self.settings.hidden_size))

    @torch.no_grad()
    def _value(self, inputs: Tensor, hidden: Tensor) -> Tensor:
        """The critics' values, [A, rows]."""
        return forward(fold(self.critic, self.critic_shape), inputs, hidden)[0][..., 0]

    def actor_gradient(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Gradient of the actors' losses.

        Returns:
            The gradient [A, P], and per agent the means over rows of the surrogate, of the entropy and of whether the
            ratio was clipped, [A, 3].
        """
        parameters = self.actor.detach().requires_grad_()
        net = fold(parameters, self.actor_shape)
        gradients, sums = ippo_kernels.policy_gradients(net, batch.actor_rows, batch.actor_steps, self.settings)
        (gradient,) = torch.autograd.grad(net, parameters, gradients)
        return gradient, sums / torch.tensor([[len(rows.actions)] for rows in batch.actor_rows])

    def critic_gradient(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Gradient of the critics' losses.

        Returns:
            The gradient [A, P'], and per agent the losses without their coefficient: the sum over the rows [A], and the
            padded rows' by row and time [A, K, T].
        """
        settings, tail, one_sided = self.settings, batch.tail, self.quirks.one_sided_huber
        parameters = self.critic.detach().requires_grad_()
        net = fold(parameters, self.critic_shape)
        gradients, sums = ippo_kernels.value_gradients(net, batch.critic_rows, batch.critic_steps, settings, one_sided)
        no_hidden = parameters.new_zeros(*tail.inputs.shape[:2], settings.hidden_size)
        tail_values = forward(net, tail.inputs, no_hidden)[0]  # [A, K, 1]
        limits = settings.clip_epsilon, settings.huber_delta, one_sided
        tail_losses = value_loss(tail_values, tail.value[..., None], tail.returns[:, None], *limits) * tail.count
        weight = (settings.value_loss_coefficient / batch.critic_steps.double()).to(tail_losses.dtype)
        outputs, weights = [*net, tail_losses], [*gradients, weight[:, None, None].expand_as(tail_losses)]
        (gradient,) = torch.autograd.grad(outputs, parameters, weights)
        if self.quirks.frozen_critic_head:
            named = named_parameters(gradient, self.critic_shape)
            named["head.weight"].zero_()
            named["head.bias"].zero_()
        return gradient, sums, tail_losses.detach()

    def state(self) -> dict[str, Tensor]:
        """Copies of everything that the next update depends on, by name."""
        state = self.policy_state() | self.judges_state()
        for owner, optimizer in self._optimizers().items():
            state |= {f"{owner}_optimizer.{name}": value for name, value in optimizer.state().items()}
        return state

    def policy_state(self) -> dict[str, Tensor]:
        """Copies of the actors' parameters by name, what a policy file holds."""
        return {f"actor.{name}": value for name, value in _copies(self.actor, self.actor_shape).items()}

    def judges_state(self) -> dict[str, Tensor]:
        """Copies of the critics' parameters by name; see `dm2.learners.interface.JudgedLearner`."""
        return {f"critic.{name}": value for name, value in _copies(self.critic, self.critic_shape).items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` returned.

        Raises:
            ValueError: a tensor is missing or has another shape.
        """
        self.actor.copy_(flat_parameters(entries_of(state, "actor"), self.actor_shape, self.spec.n_agents))
        self.critic.copy_(flat_parameters(entries_of(state, "critic"), self.critic_shape, self.spec.n_agents))
        for owner, optimizer in self._optimizers().items():
            optimizer.load_state(entries_of(state, f"{owner}_optimizer"))

    def _optimizers(self) -> dict[str, ClippedAdam]:
        return {"actor": self.actor_optimizer, "critic": self.critic_optimizer}


def _copies(flat: Tensor, shape: NetShape) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in named_parameters(flat, shape).items()}


def build_learner(spec: EnvSpec, settings: RunSettings, demonstrations: Demonstrations | None) -> IPPO:
    """The learner of a run; see `dm2.settings.learners.AlgorithmSettings`."""
    assert settings.ippo is not None  # RunSettings checks that an algorithm has its block
    return IPPO(spec, settings.ippo, settings.quirks, settings.seed)


def build_policy(spec: EnvSpec, tensors: Mapping[str, Tensor], *, greedy: bool, epsilon: float) -> IPPOPolicy:
    """The actors of a policy file, with the critics if they are there; epsilon is for others."""
    actor, critic = folded_nets(spec, tensors, spec.n_agents), None
    if any(name.startswith("critic.") for name in tensors):
        critic = folded_nets(spec, tensors, spec.n_agents, "critic")
        check_shape("critic.head.weight", critic.head_weight, (spec.n_agents, actor.head_weight.shape[1], 1))
    return IPPOPolicy(actor, critic, greedy)
