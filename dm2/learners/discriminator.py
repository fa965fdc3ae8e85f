"""The discriminators of distribution matching: one per learner, telling a learner's rows from its expert's.

Source: Wang et al., "DM2: Decentralized Multi-Agent Reinforcement Learning via Distribution Matching" (AAAI 2023),
after Ho & Ermon 2016 (GAIL) with the gradient penalty of Gulrajani et al. 2017. Each discriminator is an MLP

    logit(x) = w3 . tanh(W2 tanh(W1 x + b1) + b2) + b3

of an observation, or of an observation and the number of the action taken. It minimises

    L = mean BCE(logit(expert), 1) + mean BCE(logit(own), 0) + weight * mean (||grad_x logit(mixed)|| - 1)^2

where row k of the mixture is alpha_k expert_k + (1 - alpha_k) own_k, alpha uniform in [0, 1). The reward it pays is
log D - log(1 - D) with D = sigmoid(logit), which is the logit itself.

Quirk 1 of the paper's code (absorbing zeros): an episode of L steps has a row more, the final observation, and goes on
with zero rows until it has one row more than the episode limit; the rows of a dead agent are zeros too. All of these
take part. Zero rows are one and the same row, so `dm2.learners.discriminator_kernels` computes it once, weighted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from math import prod, sqrt
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dm2.core.checks import check_shape
from dm2.core.interface import EnvSpec
from dm2.core.randomness import stream
from dm2.learners.discriminator_kernels import EpisodeRows, GradientEngine, Parameters, episode_rows
from dm2.nets.products import linear
from dm2.play.rollout import Episodes
from dm2.settings.learners import DiscriminatorSettings, QuirkSettings

if TYPE_CHECKING:
    from dm2.play.demonstrations import Demonstrations


def discriminator_input_size(obs_size: int, kind: str) -> int:
    """Numbers the discriminator reads per step; kind is "state" or "state_action"."""
    return obs_size + (kind == "state_action")


def inputs(obs: Tensor, actions: Tensor, kind: str) -> Tensor:
    """What the discriminator reads of each step.

    Args:
        obs: [..., obs_size].
        actions: int64 [...]; a dead agent's is 0, so that its rows stay all zeros.
        kind: "state": the observation; "state_action": the observation and the action's number (quirk 7).

    Returns:
        [..., input_size].
    """
    return torch.cat((obs, actions[..., None].to(obs.dtype)), dim=-1) if kind == "state_action" else obs


def own_rows(episodes: Episodes, kind: str, terminal: bool) -> list[EpisodeRows]:
    """The rows of played episodes, per agent, with the terminal rows or without."""
    rows, starts = inputs(episodes.obs, episodes.actions, kind).numpy(), episodes.starts.numpy()
    if not terminal:
        return [episode_rows(agent, starts) for agent in rows]
    assert episodes.final_actions is not None  # asked for by the learner's acts_at_end
    final = inputs(episodes.final_obs, episodes.final_actions, kind).numpy()
    return [with_terminal_rows(agent, own, starts) for agent, own in zip(rows, final, strict=True)]


def demonstration_rows(demonstrations: Demonstrations, kind: str, terminal: bool) -> list[EpisodeRows]:
    """The rows of demonstrations, per agent, with the terminal rows or without."""
    found = []
    for agent in demonstrations.agents:
        rows = inputs(torch.from_numpy(agent.obs), torch.from_numpy(agent.actions), kind).numpy()
        final = inputs(torch.from_numpy(agent.final_obs), torch.from_numpy(agent.final_actions), kind).numpy()
        found.append(with_terminal_rows(rows, final, agent.starts) if terminal else episode_rows(rows, agent.starts))
    return found


def with_terminal_rows(rows: np.ndarray, final: np.ndarray, starts: np.ndarray) -> EpisodeRows:
    """One learner's episodes, each with a row more at its end.

    Args:
        rows: of all steps played, [rows, input_size].
        final: of the final observations, [episodes, input_size].
        starts: first row of each episode and the number of rows at the end, int64 [episodes + 1].
    """
    return episode_rows(np.insert(rows, starts[1:], final, axis=0), starts + np.arange(len(starts)))


def logits(net: Parameters, x: Tensor) -> Tensor:
    """logit(x) of every learner; x is [learners, rows, input_size], the result [learners, rows]."""
    h1 = torch.tanh(linear(x, net.w1.mT, net.b1))
    h2 = torch.tanh(linear(h1, net.w2.mT, net.b2))
    return linear(h2, net.w3[:, :, None], net.b3)[:, :, 0]


def stored_logits(parameters: Tensor, spec: EnvSpec, settings: DiscriminatorSettings) -> Callable[[Episodes], Tensor]:
    """What discriminators that a policy file holds say, as a function of played episodes: [agents, rows].

    Args:
        parameters: of all agents' discriminators, [agents, parameters of one].
        spec: sizes of the map.
        settings: of the run.

    Raises:
        ValueError: the parameters are of other networks.
    """
    shapes = parameter_shapes(discriminator_input_size(spec.obs_size, settings.input), settings.hidden_size)
    check_shape("discriminator.parameters", parameters, (spec.n_agents, sum(map(prod, shapes.values()))))
    net = parameter_views(parameters, shapes)
    return lambda episodes: logits(net, inputs(episodes.obs, episodes.actions, settings.input))


class Discriminator:
    """One discriminator per agent, stacked along a leading learner axis, each with its own data and random stream.

    Args:
        spec: sizes of the map.
        settings: sizes and training of the discriminators.
        quirks: absorbing_zeros decides whether zero rows take part.
        seed: of the run.
    """

    def __init__(self, spec: EnvSpec, settings: DiscriminatorSettings, quirks: QuirkSettings, seed: int) -> None:
        self.spec, self.settings, self.quirks, self.seed = spec, settings, quirks, seed
        self.input_size = discriminator_input_size(spec.obs_size, settings.input)
        self.rows_per_episode = spec.episode_limit + quirks.absorbing_zeros  # the terminal row is one more
        self.updates = 0
        shapes = parameter_shapes(self.input_size, settings.hidden_size)
        initial = np.stack([self._initial(agent) for agent in range(spec.n_agents)])
        self.flat = torch.nn.Parameter(torch.from_numpy(initial))
        self.flat.grad = torch.zeros_like(self.flat)
        self.net, self.gradient = parameter_views(self.flat.data, shapes), parameter_views(self.flat.grad, shapes)
        self.optimizer = torch.optim.Adam([self.flat], lr=settings.learning_rate)

    @cached_property
    def engine(self) -> GradientEngine:
        """The gradient."""
        return GradientEngine(
            self.input_size,
            self.settings.hidden_size,
            self.settings.batch_episodes,
            self.rows_per_episode,
            self.settings.gradient_penalty,
            self.quirks.absorbing_zeros,
        )

    def _initial(self, agent: int) -> np.ndarray:
        """Parameters of one learner, flat: uniform within 1 / sqrt(inputs of the layer), as torch.nn.Linear has it."""
        generator = stream(self.seed, "initialisation", "discriminator", agent)
        shapes = parameter_shapes(self.input_size, self.settings.hidden_size)
        fan_in = {"1": self.input_size, "2": self.settings.hidden_size, "3": self.settings.hidden_size}
        parts = [generator.uniform(-1.0, 1.0, prod(shape)) / sqrt(fan_in[name[-1]]) for name, shape in shapes.items()]
        return np.concatenate(parts).astype(np.float32)

    def update(self, expert: Sequence[EpisodeRows], own: Sequence[EpisodeRows]) -> dict[str, float]:
        """Train each agent's discriminator on expert episodes and on the agent's own.

        Args:
            expert: demonstrations, per agent.
            own: what each agent has just played.

        Returns:
            Means over steps and agents: discriminator_loss (L), discriminator_accuracy_expert and
            discriminator_accuracy_own (share of rows told right, zero rows left out), gradient_penalty (weighted).

        Raises:
            ValueError: fewer episodes than one step draws.
        """
        minibatches = self.minibatches(expert, own)
        sums = np.zeros(5)
        for _ in range(self.settings.steps_per_update):
            for agent, draws in enumerate(minibatches):
                expert_ids, own_ids, alpha = next(draws)
                sums += self.engine.gradient(
                    self.net.of(agent), expert[agent], expert_ids, own[agent], own_ids, alpha, self.gradient.of(agent)
                )
            self.optimizer.step()
        self.updates += 1
        count = self.settings.steps_per_update * self.spec.n_agents
        expert_loss, own_loss, expert_right, own_right, penalty = (sums / count).tolist()
        return {
            "discriminator_loss": expert_loss + own_loss + penalty,
            "discriminator_accuracy_expert": expert_right,
            "discriminator_accuracy_own": own_right,
            "gradient_penalty": penalty,
        }

    def minibatches(
        self, expert: Sequence[EpisodeRows], own: Sequence[EpisodeRows]
    ) -> list[Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]]:
        """What each learner draws in a step of this update: expert episodes, own episodes, shares in the mixtures."""
        return [self._minibatches(agent, expert[agent], own[agent]) for agent in range(self.spec.n_agents)]

    def _minibatches(
        self, agent: int, expert: EpisodeRows, own: EpisodeRows
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        batch = self.settings.batch_episodes
        generator = stream(self.seed, "minibatch", "discriminator", self.updates, agent)
        for name, episodes in (("demonstrations", len(expert.steps)), ("own episodes", len(own.steps))):
            if episodes < batch:
                raise ValueError(
                    f"{name} of agent {agent}: found {episodes} episodes, expected at least {batch}, which each step"
                    " draws; lower discriminator.batch_episodes"
                )
        while True:
            yield (
                generator.choice(len(expert.steps), batch, replace=False),
                generator.choice(len(own.steps), batch, replace=False),
                generator.random((batch, self.rows_per_episode), dtype=np.float32),
            )

    def logits(self, obs: Tensor, actions: Tensor) -> Tensor:
        """The reward of each row.

        Args:
            obs: [agents, rows, obs_size].
            actions: int64 [agents, rows].

        Returns:
            [agents, rows].
        """
        return logits(self.net, inputs(obs, actions, self.settings.input))

    def zero_logit(self) -> Tensor:
        """The reward of a padded row, [agents]."""
        zero = self.flat.new_zeros(self.spec.n_agents, 1, self.input_size)
        return logits(self.net, zero)[:, 0].detach()

    def state(self) -> dict[str, Tensor]:
        """Parameters, Adam's moments and the number of updates."""
        moments = self.optimizer.state.get(self.flat, {})
        zeros = torch.zeros_like(self.flat)
        return {
            "parameters": self.flat.detach().clone(),
            "adam_mean": moments.get("exp_avg", zeros).clone(),
            "adam_square": moments.get("exp_avg_sq", zeros).clone(),
            "adam_steps": torch.as_tensor(moments.get("step", 0.0)).clone(),
            "updates": torch.tensor(self.updates),
        }

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `state` returned.

        Raises:
            ValueError: a tensor has another shape.
        """
        for name in ("parameters", "adam_mean", "adam_square"):
            check_shape(name, tensors[name], tuple(self.flat.shape))
        self.flat.data.copy_(tensors["parameters"])
        moments = {"step": "adam_steps", "exp_avg": "adam_mean", "exp_avg_sq": "adam_square"}
        self.optimizer.state[self.flat] = {key: tensors[name].clone() for key, name in moments.items()}
        self.updates = int(tensors["updates"])


def parameter_shapes(input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
    """Shape of each of one learner's parameters, in the order in which they are stored."""
    return {
        "w1": (hidden_size, input_size),
        "b1": (hidden_size,),
        "w2": (hidden_size, hidden_size),
        "b2": (hidden_size,),
        "w3": (hidden_size,),
        "b3": (1,),
    }


def parameter_views(flat: Tensor, shapes: Mapping[str, tuple[int, ...]]) -> Parameters:
    """Parameters as views into flat, [learners, total]."""
    parts = flat.split([prod(shape) for shape in shapes.values()], dim=1)
    return Parameters(*(part.view(-1, *shape) for part, shape in zip(parts, shapes.values(), strict=True)))
