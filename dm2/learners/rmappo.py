"""R-MAPPO: PPO with one actor that all agents share and one critic that sees the whole battle.

Source: Yu et al. 2022, "The surprising effectiveness of PPO in cooperative multi-agent games", with the settings of its
authors' public SMAC scripts. The actor sees what an agent of IPPO sees: own observation, own last action, own number.
The critic sees the global state and, to tell whose value is asked for, the agent's observation and number; all but
the number are zeros once the agent is dead ("agent-specific state" with "death masking").

One update, once about `steps_per_update` env steps are played with the current actor:

    values in the task's units = value normalisation^-1 (critic);  advantages A, returns R = A + values by GAE
    A is normalised by mean and deviation over the steps in which agents live
    ppo_epochs times, over all steps at once:
        actor:   mean over living agents' steps of -min(ratio A, clip(ratio) A) - entropy_coefficient * entropy
        critic:  the running mean and variance of R are updated, R' is R normalised by them; mean over all agents'
                 steps, dead ones included, of max(huber(R' - V), huber(R' - clip(V, V_old - e, V_old + e)))

Both GRUs are trained on chunks of 10 steps, from the state that the chunk's first step had when the episode was played,
with back-propagation through time inside the chunk. An end by the episode limit counts as an end, as it does there.

Two things differ from the authors' code. There, 8 battles run for 400 steps, are cut where they stand, go on in the
next batch and chunks run across the ends of episodes; here a batch is whole episodes, as many collections of them as
come nearest to as many steps. There, the inputs are of the authors' own making (an actor also sees the last actions of
visible allies, a critic all units as from the agent); here they are SMAC's observation, and its global state too.

The authors' scripts for 3s_vs_4z and 3s_vs_5z have feed-forward nets on four stacked frames; every map has recurrent
ones here, since which of the two the paper of DM² ran is not known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dm2.core.randomness import stream
from dm2.learners.ppo import (
    ACTOR_HEAD_GAIN,
    CRITIC_HEAD_GAIN,
    gae,
    masked_log_softmax,
    normalise_advantages,
    sample_actions,
)
from dm2.learners.ppo_kernels import policy_gradient, value_gradient
from dm2.learners.replay import episodes_from_state, episodes_state
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
from dm2.nets.sequence_kernels import SequenceBlock, forward_block, make_blocks, sequence_gradients
from dm2.play.rollout import ActResult, Episodes, Hidden, join
from dm2.settings.learners import QuirkSettings, RMAPPOSettings
from dm2.settings.run import RunSettings

if TYPE_CHECKING:
    from dm2.core.interface import EnvSpec
    from dm2.play.demonstrations import Demonstrations


def critic_inputs(episodes: Episodes) -> Tensor:
    """Global state, own observation, own number one-hot; the first two are zeros for the dead.

    Returns:
        Not yet normalised, [A, rows, state_size + obs_size + A].

    Raises:
        ValueError: the episodes were collected without the global state.
    """
    if episodes.state is None:
        raise ValueError("R-MAPPO: found episodes without the global state; collect them with keep_state=True")
    state = episodes.state * episodes.alive[..., None]
    numbers = torch.eye(episodes.n_agents)[:, None].expand(-1, episodes.rows, -1)
    return torch.cat([state, episodes.obs, numbers], dim=-1)


class ValueNorm:
    """Running mean and variance of the returns, in which the critic's values are expressed.

    Exponential moving averages m of R and s of R^2 with weight beta, both started at zero and divided by what they
    would be if R and R^2 had always been 1 (w): mean = m / w, variance = max(s / w - mean^2, 0.01).

    Attributes:
        averages: m, s and w, float64 [3].
    """

    def __init__(self, beta: float) -> None:
        self.beta = beta
        self.averages = torch.zeros(3, dtype=torch.float64)

    def update(self, returns: Tensor) -> None:
        """Take in a batch of returns of any shape."""
        values = returns.double()
        batch = torch.tensor([float(values.mean()), float(values.square().mean()), 1.0], dtype=torch.float64)
        self.averages = self.beta * self.averages + (1.0 - self.beta) * batch

    @property
    def mean_and_deviation(self) -> tuple[float, float]:
        """Before the first batch 0 and 0.1, the smallest deviation."""
        mean, mean_square = (self.averages[:2] / self.averages[2].clamp(min=1e-5)).tolist()
        return mean, max(mean_square - mean**2, 1e-2) ** 0.5

    def normalise(self, returns: Tensor) -> Tensor:
        """From the task's units to the critic's."""
        mean, deviation = self.mean_and_deviation
        return (returns - mean) / deviation

    def denormalise(self, values: Tensor) -> Tensor:
        """From the critic's units to the task's."""
        mean, deviation = self.mean_and_deviation
        return values * deviation + mean


class RMAPPOPolicy:
    """The shared actor of one moment, for playing.

    Args:
        actor: the one that all agents share.
        n_agents: A.
        greedy: take the most probable actions.
    """

    def __init__(self, actor: Folded, n_agents: int, greedy: bool) -> None:
        self.actor = actor
        self.n_agents = n_agents
        self.greedy = greedy

    def initial_hidden(self, n_battles: int) -> Hidden:
        """Zeros, [n_agents, n_battles, hidden_size]."""
        hidden_size = self.actor.head_weight.shape[1]
        return {"hidden": self.actor.head_weight.new_zeros(self.n_agents, n_battles, hidden_size)}

    @torch.no_grad()
    def act(
        self, obs: Tensor, last_actions: Tensor, avail_actions: Tensor, hidden: Hidden, uniform: Tensor
    ) -> ActResult:
        """The most probable actions if greedy, else a sample; see `dm2.play.rollout.Policy`."""
        inputs = normalise(build_inputs(obs, last_actions, avail_actions.shape[-1]))
        before = hidden["hidden"]
        logits, after = forward(self.actor, inputs.flatten(0, 1)[None], before.flatten(0, 1)[None])
        log_probs = masked_log_softmax(logits.view(avail_actions.shape), avail_actions)
        actions = log_probs.argmax(-1) if self.greedy else sample_actions(log_probs, uniform)
        return ActResult(actions, {"hidden": after.view_as(before)})


@dataclass(frozen=True)
class Sequences:
    """One network's data of whole episodes, all agents' steps as rows, [A * rows] in all.

    Attributes:
        starts: first row of each agent's episode, int64 [A * N].
        lengths: rows of it that the network learns from, int64 [A * N].
        inputs: normalised, [A * rows, inputs].
        source: a row with the same input as each row, or itself, int64 [A * rows].
        hidden: the GRU's state after each of these rows when they were played, [A * rows, hidden].
        outputs: the network's outputs then, [A * rows, outputs].
    """

    starts: Tensor
    lengths: Tensor
    inputs: Tensor
    source: Tensor
    hidden: Tensor
    outputs: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, net: Folded, starts: Tensor, lengths: Tensor, inputs: Tensor, source: Tensor) -> Sequences:
        """Run the network through the episodes from their first steps on; other rows' outputs are zeros."""
        hidden_size, n_outputs = net.head_weight.shape[1:]
        hidden, outputs = inputs.new_zeros(len(inputs), hidden_size), inputs.new_zeros(len(inputs), n_outputs)
        nothing, number = inputs.new_zeros(len(starts), hidden_size), torch.arange(len(inputs))
        for block in make_blocks(starts, lengths, inputs, source, nothing, (number,)):
            outputs[block.data[0]], hidden[block.data[0]] = forward_block(net, block)
        return cls(starts, lengths, inputs, source, hidden, outputs)

    def blocks(self, chunk_length: int, data: tuple[Tensor, ...]) -> list[SequenceBlock]:
        """Cut the episodes into chunks of so many steps, the last of each shorter if need be.

        Args:
            chunk_length: steps.
            data: what the loss reads, each [A * rows, ...].
        """
        n_chunks = (self.lengths + chunk_length - 1) // chunk_length
        number = torch.arange(int(n_chunks.sum())) - torch.repeat_interleave(n_chunks.cumsum(0) - n_chunks, n_chunks)
        episode = torch.repeat_interleave(n_chunks)
        starts = self.starts[episode] + number * chunk_length
        lengths = (self.lengths[episode] - number * chunk_length).clamp(max=chunk_length)
        hidden = torch.where(number[:, None] > 0, self.hidden[starts - 1], 0.0)
        return make_blocks(starts, lengths, self.inputs, self.source, hidden, data)


class RMAPPO:
    """Learner: the shared actor, the central critic, their optimizers, and the update.

    Attributes:
        actor: parameters of the actor, [1, P].
        critic: parameters of the critic, [1, P'].
        pending: collections that wait for the batch to be full.
    """

    keeps_state = True
    acts_at_end = False

    def __init__(self, spec: EnvSpec, settings: RMAPPOSettings, quirks: QuirkSettings, seed: int) -> None:
        """Draw the nets.

        Args:
            spec: sizes of the environment.
            settings: hyper-parameters.
            quirks: taken so that all learners are built alike; they are another code's, none touches this update.
            seed: of the run.
        """
        self.spec = spec
        self.settings = settings
        self.episodes_per_update = settings.n_battles
        hidden_size = settings.hidden_size
        self.actor_shape = NetShape(
            input_size(spec.obs_size, spec.n_actions, spec.n_agents), hidden_size, spec.n_actions
        )
        self.critic_shape = NetShape(spec.state_size + spec.obs_size + spec.n_agents, hidden_size, 1)
        generator = stream(seed, "initialisation")
        self.actor = initial_parameters(self.actor_shape, 1, ACTOR_HEAD_GAIN, generator)
        self.critic = initial_parameters(self.critic_shape, 1, CRITIC_HEAD_GAIN, generator)
        optimizer = settings.learning_rate, settings.adam_epsilon, settings.max_gradient_norm
        self.actor_optimizer = ClippedAdam(self.actor, *optimizer)
        self.critic_optimizer = ClippedAdam(self.critic, *optimizer)
        self.value_norm = ValueNorm(settings.value_norm_beta)
        self.pending: list[Episodes] = []

    def policy(self) -> RMAPPOPolicy:
        """Who collects: the current actor, sampling."""
        return RMAPPOPolicy(fold(self.actor.clone(), self.actor_shape), self.spec.n_agents, greedy=False)

    def greedy_policy(self) -> RMAPPOPolicy:
        """Who is evaluated."""
        return RMAPPOPolicy(fold(self.actor.clone(), self.actor_shape), self.spec.n_agents, greedy=True)

    def learn(self, episodes: Episodes) -> dict[str, float]:
        """Keep a collection; update once there are enough steps, until then there is nothing to report."""
        self.pending.append(dataclasses.replace(episodes, extras={}))
        half_a_collection = episodes.rows / 2  # one more would end further from the wanted number
        if sum(waiting.rows for waiting in self.pending) + half_a_collection < self.settings.steps_per_update:
            return {}
        batch, self.pending = join(self.pending), []
        return self.update(batch)

    def update(self, episodes: Episodes) -> dict[str, float]:
        """One update from episodes of `policy()`; returns means over the epochs."""
        actor_blocks, critic_blocks = self.training_blocks(episodes)
        returns = torch.cat([block.data[1] for block in critic_blocks])
        sums: dict[str, float] = {}
        for _ in range(self.settings.ppo_epochs):
            metrics, gradient = self._actor_gradient(actor_blocks)
            metrics["gradient_norm"] = float(self.actor_optimizer.step(gradient))
            self.value_norm.update(returns)
            metrics["value_loss"], gradient = self._critic_gradient(critic_blocks)
            metrics["critic_gradient_norm"] = float(self.critic_optimizer.step(gradient))
            sums = {name: sums.get(name, 0.0) + value for name, value in metrics.items()}
        return {name: value / self.settings.ppo_epochs for name, value in sums.items()}

    def training_blocks(self, episodes: Episodes) -> tuple[list[SequenceBlock], list[SequenceBlock]]:
        """Chunks of the actor with what `policy_objective` reads, and of the critic with what `value_loss` reads."""
        agents, rows = self.spec.n_agents, episodes.rows
        starts = (torch.arange(agents)[:, None] * rows + episodes.starts[:-1]).flatten()
        lengths = episodes.lengths.repeat(agents)
        own = normalise(build_inputs(episodes.obs, episodes.last_actions, self.spec.n_actions)).flatten(0, 1)
        central = normalise(critic_inputs(episodes)).flatten(0, 1)
        actor_net, critic_net = fold(self.actor, self.actor_shape), fold(self.critic, self.critic_shape)
        actor = Sequences.of(actor_net, starts, alive_steps(episodes), own, torch.arange(agents * rows))
        critic = Sequences.of(critic_net, starts, lengths, central, same_input(episodes.alive))
        avail_actions, actions = episodes.avail_actions.flatten(0, 1), episodes.actions.flatten()
        log_prob = masked_log_softmax(actor.outputs, avail_actions).gather(-1, actions[:, None])[:, 0]
        advantages, returns = self.advantages(episodes, critic.outputs.view(agents, rows))
        normalised = normalise_advantages(advantages.flatten(), advantages[episodes.alive], correction=0)
        length = self.settings.chunk_length
        return (
            actor.blocks(length, (avail_actions, actions, log_prob, normalised)),
            critic.blocks(length, (critic.outputs[:, 0], returns.flatten())),
        )

    def advantages(self, episodes: Episodes, values: Tensor) -> tuple[Tensor, Tensor]:
        """Advantages and returns in the task's units, [A, rows] each.

        Args:
            episodes: all of them whole.
            values: in the critic's units, [A, rows].
        """
        agents, n_episodes, steps = self.spec.n_agents, episodes.n_episodes, int(episodes.lengths.max())
        filled = torch.arange(steps) < episodes.lengths[:, None]  # [N, T]
        continues = torch.arange(1, steps + 1) < episodes.lengths[:, None]
        rewards = values.new_zeros(n_episodes, steps)
        rewards[filled] = episodes.reward
        padded_values = values.new_zeros(agents, n_episodes, steps + 1)
        padded_values[:, :, :-1][:, filled] = self.value_norm.denormalise(values)
        advantages = gae(
            rewards.repeat(agents, 1),
            padded_values.flatten(0, 1),
            continues.repeat(agents, 1),
            filled.repeat(agents, 1),
            self.settings.gamma,
            self.settings.gae_lambda,
        ).view(agents, n_episodes, steps)
        returns = advantages + padded_values[:, :, :-1]
        return advantages[:, filled], returns[:, filled]

    def _actor_gradient(self, blocks: list[SequenceBlock]) -> tuple[dict[str, float], Tensor]:
        """Metrics, and the gradient [1, P] of the actor's loss."""
        settings, rows, sums = self.settings, sum(block.rows for block in blocks), np.zeros(3)

        def loss(block: SequenceBlock, logits: np.ndarray) -> None:
            avail_actions, actions, log_prob, advantages = (values.numpy() for values in block.data)
            limits = settings.clip_epsilon, settings.entropy_coefficient, 1.0 / rows
            policy_gradient(logits, avail_actions, actions, log_prob, advantages, *limits, sums)

        gradient = _gradient(self.actor, self.actor_shape, blocks, loss)
        surrogate, entropy, clipped = (sums / rows).tolist()
        return {"policy_loss": -surrogate, "entropy": entropy, "clip_fraction": clipped}, gradient

    def _critic_gradient(self, blocks: list[SequenceBlock]) -> tuple[float, Tensor]:
        """The critic's mean loss, and the gradient [1, P'] of it times its coefficient."""
        settings, rows, sums = self.settings, sum(block.rows for block in blocks), np.zeros(1)
        scale = settings.value_loss_coefficient / rows

        def loss(block: SequenceBlock, values: np.ndarray) -> None:
            old, targets = block.data[0].numpy(), self.value_norm.normalise(block.data[1]).numpy()
            value_gradient(values, old, targets, settings.clip_epsilon, settings.huber_delta, False, scale, sums)

        gradient = _gradient(self.critic, self.critic_shape, blocks, loss)
        return float(sums[0]) / rows, gradient

    def policy_state(self) -> dict[str, Tensor]:
        """What a policy file holds: copies of the actor's parameters by name."""
        return {
            f"actor.{name}": value.clone() for name, value in named_parameters(self.actor, self.actor_shape).items()
        }

    def state(self) -> dict[str, Tensor]:
        """Everything that training goes on from."""
        critic = named_parameters(self.critic, self.critic_shape)
        return (
            self.policy_state()
            | {f"critic.{name}": value.clone() for name, value in critic.items()}
            | {f"actor_optimizer.{name}": value for name, value in self.actor_optimizer.state().items()}
            | {f"critic_optimizer.{name}": value for name, value in self.critic_optimizer.state().items()}
            | {f"pending.{name}": value for name, value in episodes_state(self.pending).items()}
            | {"value_norm": self.value_norm.averages}
        )

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `state` returned.

        Raises:
            ValueError: a tensor is missing or has another shape.
        """
        self.actor.copy_(flat_parameters(entries_of(tensors, "actor"), self.actor_shape, 1))
        self.critic.copy_(flat_parameters(entries_of(tensors, "critic"), self.critic_shape, 1))
        self.actor_optimizer.load_state(entries_of(tensors, "actor_optimizer"))
        self.critic_optimizer.load_state(entries_of(tensors, "critic_optimizer"))
        self.pending = episodes_from_state(entries_of(tensors, "pending"))
        self.value_norm.averages = tensors["value_norm"].clone()


def _gradient(
    flat: Tensor, shape: NetShape, blocks: list[SequenceBlock], loss: Callable[[SequenceBlock, np.ndarray], None]
) -> Tensor:
    """Gradient of a loss, summed over the blocks, by a network's parameters [1, P].

    Args:
        flat: the parameters.
        shape: the network's sizes.
        blocks: the loss's data.
        loss: replaces a block's outputs by the gradient of the loss by them.
    """
    parameters = flat.detach().requires_grad_()
    net = fold(parameters, shape)
    return torch.autograd.grad(net, parameters, sequence_gradients(net, blocks, loss))[0]


def alive_steps(episodes: Episodes) -> Tensor:
    """Steps of each agent's episode in which it lives, always the first ones, int64 [A * N]."""
    episode = torch.repeat_interleave(episodes.lengths)
    alive = torch.zeros(episodes.n_agents, episodes.n_episodes, dtype=torch.int64)
    return alive.index_add_(1, episode, episodes.alive.long()).flatten()


def same_input(alive: Tensor) -> Tensor:
    """The first row in which an agent is dead for all such rows of it, for they see the same; else the row itself.

    Args:
        alive: bool [A, rows].

    Returns:
        int64 [A * rows].
    """
    rows = torch.arange(alive.numel()).view_as(alive)
    first_dead = torch.where(alive, alive.numel(), rows).amin(1, keepdim=True)
    return torch.where(alive, rows, first_dead).flatten()


def build_learner(spec: EnvSpec, settings: RunSettings, demonstrations: Demonstrations | None) -> RMAPPO:
    """The learner of a run; see `dm2.settings.learners.AlgorithmSettings`."""
    assert settings.rmappo is not None  # RunSettings checks that an algorithm has its block
    return RMAPPO(spec, settings.rmappo, settings.quirks, settings.seed)


def build_policy(spec: EnvSpec, tensors: Mapping[str, Tensor], *, greedy: bool, epsilon: float) -> RMAPPOPolicy:
    """The shared actor of a policy file; epsilon is for others."""
    return RMAPPOPolicy(folded_nets(spec, tensors, 1), spec.n_agents, greedy)
