"""QMIX: one value for the team, mixed from the agents' own values (Rashid et al. 2018), as PyMARL trains it.

Every agent i has values Q_i(tau_i, a) of its own history tau_i, from one recurrent net that all agents share. A mixing
net, whose weights depend on the global state s, makes the team's value of them:

    Q_tot(s, q) = w_2(s) . elu(W_1(s) q + b_1(s)) + V(s),    W_1, w_2 >= 0

It never falls when a q_i rises, so that each agent's own best action is its part of the team's best one. Training is
double Q-learning: the online nets choose the next actions, the target nets (theta^-, copied now and then) value them.

    a*_i   = argmax over available a of Q_i(tau'_i, a; theta)
    y      = r + gamma * c * Q_tot(s', Q_i(tau'_i, a*_i; theta^-); theta^-)
    loss   = mean over the steps played of (Q_tot(s, Q_i(tau_i, a_i; theta); theta) - y)^2

c is 0 where the step decided the battle and 1 otherwise; an end by the episode limit decides nothing, so that the value
of the last observation counts. Whole episodes are replayed, and gradients flow back through all their steps.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from dm2.core.checks import check_shape
from dm2.core.randomness import generator_state, restore_generator, stream
from dm2.learners.replay import Replay, ReplayBatch
from dm2.nets.actor_critic import build_inputs, entries_of, input_size
from dm2.nets.products import linear
from dm2.nets.recurrence import GRUWeights, gru, gru_step
from dm2.play.actions import epsilon_at, epsilon_greedy
from dm2.play.rollout import ActResult, Episodes, Hidden
from dm2.settings.learners import QMIXSettings, QuirkSettings
from dm2.settings.run import RunSettings

if TYPE_CHECKING:
    from dm2.core.interface import EnvSpec
    from dm2.play.demonstrations import Demonstrations

Parameters = dict[str, Tensor]


def agent_shapes(spec: EnvSpec, hidden: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the shared agent's parameters: Linear, ReLU, GRU, Linear, of so many hidden units."""
    inputs = input_size(spec.obs_size, spec.n_actions, spec.n_agents)
    return {
        "agent.encoder.weight": (hidden, inputs),
        "agent.encoder.bias": (hidden,),
        "agent.gru.input_weight": (3 * hidden, hidden),
        "agent.gru.hidden_weight": (3 * hidden, hidden),
        "agent.gru.input_bias": (3 * hidden,),
        "agent.gru.hidden_bias": (3 * hidden,),
        "agent.values.weight": (spec.n_actions, hidden),
        "agent.values.bias": (spec.n_actions,),
    }


def mixer_shapes(spec: EnvSpec, settings: QMIXSettings) -> dict[str, tuple[int, ...]]:
    """Shapes of the mixer's parameters: what turns a state into W_1 and w_2 (two layers), b_1 (one) and V (two)."""
    state, embed, hyper = spec.state_size, settings.mixer_embed, settings.hypernet_size
    layers = {
        "mixer.w1.first": (hyper, state),
        "mixer.w1.second": (spec.n_agents * embed, hyper),
        "mixer.w2.first": (hyper, state),
        "mixer.w2.second": (embed, hyper),
        "mixer.b1": (embed, state),
        "mixer.v.first": (embed, state),
        "mixer.v.second": (1, embed),
    }
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (outputs, inputs) in layers.items():
        shapes |= {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}
    return shapes


def draw_parameters(spec: EnvSpec, settings: QMIXSettings, generator: np.random.Generator) -> Parameters:
    """Draw all parameters uniformly within +-1/sqrt(inputs of the layer), the GRU's within +-1/sqrt(its units).

    These are the defaults of torch's layers, which PyMARL leaves as they are.
    """
    shapes = agent_shapes(spec, settings.hidden_size) | mixer_shapes(spec, settings)
    parameters = {}
    for name, shape in shapes.items():
        fan_in = settings.hidden_size if ".gru." in name else shapes[name.replace(".bias", ".weight")][1]
        bound = 1.0 / math.sqrt(fan_in)
        parameters[name] = torch.from_numpy(generator.uniform(-bound, bound, shape).astype(np.float32))
    return parameters


def gru_weights(parameters: Parameters) -> GRUWeights:
    """The shared agent's GRU."""
    return GRUWeights(*(parameters[f"agent.gru.{name}"] for name in GRUWeights._fields))


def agent_inputs(batch: ReplayBatch) -> Tensor:
    """`build_inputs` of every row of a batch, its agents one after the other, float32 [rows * A, inputs]."""
    inputs = build_inputs(batch.obs.transpose(0, 1), batch.last_actions.T, batch.avail_actions.shape[-1])
    return inputs.transpose(0, 1).flatten(0, 1)


def agent_values(parameters: Parameters, batch: ReplayBatch, inputs: Tensor) -> Tensor:
    """Q_i of all actions at every row of a batch of whole episodes, float32 [rows, A, n_actions].

    Args:
        parameters: of the shared agent.
        batch: the episodes.
        inputs: `agent_inputs` of the batch.
    """
    rows, agents = batch.last_actions.shape
    features = _linear(parameters, "agent.encoder", inputs).relu_()
    hidden_size = parameters["agent.gru.hidden_weight"].shape[1]
    start = features.new_zeros(int(batch.counts[0]) * agents, hidden_size)
    hidden = gru(features, batch.counts * agents, start, gru_weights(parameters))
    return _linear(parameters, "agent.values", hidden).unflatten(0, (rows, agents))


def mix(parameters: Parameters, agent_q: Tensor, state: Tensor) -> Tensor:
    """Q_tot of the agents' values.

    Args:
        parameters: of the mixer.
        agent_q: one value per agent, float32 [rows, A].
        state: float32 [rows, state_size].

    Returns:
        float32 [rows].
    """
    first = _linear(parameters, "mixer.w1.second", _linear(parameters, "mixer.w1.first", state).relu()).abs()
    second = _linear(parameters, "mixer.w2.second", _linear(parameters, "mixer.w2.first", state).relu()).abs()
    bias = _linear(parameters, "mixer.b1", state)
    value = _linear(parameters, "mixer.v.second", _linear(parameters, "mixer.v.first", state).relu())[..., 0]
    weights = first.unflatten(-1, (agent_q.shape[-1], -1))  # [rows, A, mixer_embed]
    hidden = functional.elu((agent_q[..., None] * weights).sum(-2) + bias)
    return (hidden * second).sum(-1) + value


def double_q(online: Tensor, target: Tensor, avail_actions: Tensor) -> Tensor:
    """The target net's values of the actions that the online net finds best among the available ones.

    Args:
        online: float32 [..., n_actions].
        target: float32 [..., n_actions].
        avail_actions: bool [..., n_actions].

    Returns:
        float32 [...].
    """
    best = online.masked_fill(~avail_actions, -torch.inf).argmax(-1, keepdim=True)
    return target.gather(-1, best)[..., 0]


def td_targets(reward: Tensor, continues: Tensor, next_values: Tensor, gamma: float) -> Tensor:
    """Targets y = r + gamma * c * Q_tot(next), with c False where the battle was decided; all [steps]."""
    return reward + gamma * torch.where(continues, next_values, 0.0)


def step_values(parameters: Parameters, inputs: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Q_i of all actions after one step, and the GRU's state then.

    Several teams' parameters side by side have a leading axis, and so have inputs and states then.

    Args:
        parameters: of the shared agent.
        inputs: `build_inputs` of so many agents, float32 [rows, inputs].
        hidden: the GRU's state before the step, float32 [rows, H].

    Returns:
        float32 [rows, n_actions] and [rows, H].
    """
    features = _linear(parameters, "agent.encoder", inputs).relu()
    state = gru_step(features, hidden, gru_weights(parameters))
    return _linear(parameters, "agent.values", state), state


def _linear(parameters: Parameters, name: str, inputs: Tensor) -> Tensor:
    return linear(inputs, parameters[f"{name}.weight"].mT, parameters[f"{name}.bias"])


class QMIXPolicy:
    """The team acting by its shared agent, epsilon-greedily; epsilon 0 is greedy."""

    def __init__(self, parameters: Parameters, spec: EnvSpec, epsilon: float) -> None:
        """Act by these parameters.

        Args:
            parameters: of the shared agent; others are not looked at.
            spec: sizes of the environment.
            epsilon: share of random actions.

        Raises:
            ValueError: the parameters are of another map, or epsilon is no probability.
        """
        if not 0.0 <= epsilon <= 1.0:
            raise ValueError(f"epsilon: found {epsilon}, expected a probability between 0 and 1")
        check_shape("agent.encoder.bias", parameters["agent.encoder.bias"], (None,))
        for name, shape in agent_shapes(spec, len(parameters["agent.encoder.bias"])).items():
            check_shape(name, parameters[name], shape)
        self.parameters = {name: value.detach() for name, value in parameters.items() if name.startswith("agent.")}
        self.spec = spec
        self.epsilon = epsilon

    def initial_hidden(self, n_battles: int) -> Hidden:
        """Zeros, [A, n_battles, H]."""
        weight = self.parameters["agent.gru.hidden_weight"]
        return {"hidden": weight.new_zeros(self.spec.n_agents, n_battles, weight.shape[1])}

    @torch.no_grad()
    def act(
        self, obs: Tensor, last_actions: Tensor, avail_actions: Tensor, hidden: Hidden, uniform: Tensor
    ) -> ActResult:
        """Choose the actions of one step; see dm2.play.rollout.Policy."""
        inputs = build_inputs(obs, last_actions, self.spec.n_actions)
        values, state = step_values(self.parameters, inputs.flatten(0, 1), hidden["hidden"].flatten(0, 1))
        actions = epsilon_greedy(values.view(avail_actions.shape), avail_actions, self.epsilon, uniform)
        return ActResult(actions, {"hidden": state.view_as(hidden["hidden"])})


class JointPolicy:
    """Several teams acting at once, each as its own policy does."""

    def __init__(self, policies: Sequence[QMIXPolicy]) -> None:
        self.policies = policies
        self.parameters = {
            name: torch.stack([policy.parameters[name] for policy in policies]) for name in policies[0].parameters
        }

    def initial_hidden(self, n_battles: int) -> Hidden:
        """Zeros, [teams * A, n_battles, H]."""
        return {"hidden": torch.cat([policy.initial_hidden(n_battles)["hidden"] for policy in self.policies])}

    @torch.no_grad()
    def act(
        self, obs: Tensor, last_actions: Tensor, avail_actions: Tensor, hidden: Hidden, uniform: Tensor
    ) -> ActResult:
        """Choose the actions of one step; see dm2.play.rollout.Policy."""
        agents = self.policies[0].spec.n_agents
        obs, last_actions, before = (x.unflatten(0, (-1, agents)) for x in (obs, last_actions, hidden["hidden"]))
        inputs = build_inputs(obs, last_actions, avail_actions.shape[-1])
        values, state = step_values(self.parameters, inputs.flatten(1, 2), before.flatten(1, 2))  # [teams, A * B, ...]
        parts = (x.split(agents) for x in (values.view(avail_actions.shape), avail_actions, uniform))
        actions = [
            epsilon_greedy(own_values, own_avail_actions, policy.epsilon, own_uniform)
            for policy, own_values, own_avail_actions, own_uniform in zip(self.policies, *parts, strict=True)
        ]
        return ActResult(torch.cat(actions), {"hidden": state.view_as(hidden["hidden"])})


class Loss(NamedTuple):
    """One batch's loss and what is reported of it; one number each."""

    td_loss: Tensor
    q_mean: Tensor
    target_mean: Tensor


def batch_loss(parameters: Parameters, target_parameters: Parameters, batch: ReplayBatch, gamma: float) -> Loss:
    """Mean squared error of Q_tot over the steps played."""
    inputs = agent_inputs(batch)
    online = agent_values(parameters, batch, inputs)
    with torch.no_grad():
        target = agent_values(target_parameters, batch, inputs)
        next_q = double_q(online, target, batch.avail_actions)[batch.following]
        next_values = mix(target_parameters, next_q, batch.state[batch.following])
        targets = td_targets(batch.reward, batch.continues, next_values, gamma)
    chosen = online[batch.played].gather(-1, batch.actions[..., None])[..., 0]
    q_total = mix(parameters, chosen, batch.state[batch.played])
    return Loss(*(values.mean() for values in ((q_total - targets).square(), q_total.detach(), targets)))


class QMIX:
    """Learner: replays whole episodes, a few gradient steps after each collection.

    Attributes:
        parameters: of the online nets.
        target: of the target nets.
        replay: episodes.
    """

    keeps_state = True
    acts_at_end = False

    def __init__(self, spec: EnvSpec, settings: QMIXSettings, quirks: QuirkSettings, seed: int) -> None:
        """Draw the nets.

        Args:
            spec: sizes of the environment.
            settings: hyper-parameters.
            quirks: taken so that all learners are built alike; none of them touches QMIX's own update.
            seed: of the run.
        """
        self.spec = spec
        self.settings = settings
        self.episodes_per_update = settings.n_battles
        self.parameters = draw_parameters(spec, settings, stream(seed, "initialisation"))
        self.target = {name: value.clone() for name, value in self.parameters.items()}
        self.square_average = {name: torch.zeros_like(value) for name, value in self.parameters.items()}
        self.replay = Replay(settings.replay_episodes)
        self.generator = stream(seed, "minibatch")
        self.env_steps = 0
        self.episodes = 0
        self.target_updated_at = 0  # episodes
        for value in self.parameters.values():
            value.requires_grad_()

    @property
    def epsilon(self) -> float:
        """Share of random actions in the next collection."""
        return epsilon_at(self.env_steps, self.settings)

    def policy(self) -> QMIXPolicy:
        """Who collects: epsilon-greedy."""
        return QMIXPolicy(self.parameters, self.spec, self.epsilon)

    def greedy_policy(self) -> QMIXPolicy:
        """Who is evaluated."""
        return QMIXPolicy(self.parameters, self.spec, epsilon=0.0)

    def learn(self, episodes: Episodes) -> dict[str, float]:
        """Store a collection and, once the replay holds a batch, take the gradient steps; metrics are their means."""
        metrics = {"epsilon": self.epsilon}
        self.replay.add(episodes)
        if len(self.replay) >= self.settings.batch_episodes:
            steps = self.settings.gradient_steps
            for _ in range(steps):
                step = self.gradient_step(self.replay.sample(self.settings.batch_episodes, self.generator))
                metrics |= {name: metrics.get(name, 0.0) + value / steps for name, value in step.items()}
        # PyMARL counts the episodes before this collection
        if self.episodes - self.target_updated_at >= self.settings.target_update_episodes:
            self.update_target()
            self.target_updated_at = self.episodes
        self.env_steps += episodes.rows
        self.episodes += episodes.n_episodes
        return metrics

    def gradient_step(self, batch: ReplayBatch) -> dict[str, float]:
        """Descend the loss of a batch: clipped gradient, RMSprop."""
        loss = batch_loss(self.parameters, self.target, batch, self.settings.gamma)
        gradients = torch.autograd.grad(loss.td_loss, list(self.parameters.values()))
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients]))
        scale = (self.settings.max_gradient_norm / (norm + 1e-6)).clamp(max=1.0)
        for (name, parameter), gradient in zip(self.parameters.items(), gradients, strict=True):
            rmsprop(parameter, self.square_average[name], gradient * scale, self.settings)
        metrics = {name: float(value.detach()) for name, value in loss._asdict().items()}
        return metrics | {"gradient_norm": float(norm)}

    def update_target(self) -> None:
        """Copy the online nets into the target nets."""
        for name, value in self.parameters.items():
            self.target[name].copy_(value.detach())

    def policy_state(self) -> Parameters:
        """What a policy file holds: the shared agent."""
        return {name: value.detach() for name, value in self.parameters.items() if name.startswith("agent.")}

    def state(self) -> dict[str, Tensor]:
        """Everything that training goes on from; the tensors themselves, not copies."""
        generator = json.dumps(generator_state(self.generator)).encode()
        counters = torch.tensor([self.env_steps, self.episodes, self.target_updated_at])
        return (
            {f"online.{name}": value.detach() for name, value in self.parameters.items()}
            | {f"target.{name}": value for name, value in self.target.items()}
            | {f"square_average.{name}": value for name, value in self.square_average.items()}
            | {f"replay.{name}": value for name, value in self.replay.state().items()}
            | {"counters": counters, "generator": torch.frombuffer(bytearray(generator), dtype=torch.uint8)}
        )

    @torch.no_grad()
    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `state` returned.

        Raises:
            ValueError: a parameter is missing or has another shape.
        """
        groups = {"online": self.parameters, "target": self.target, "square_average": self.square_average}
        for group, own in groups.items():
            copy_into(own, entries_of(tensors, group), group)
        self.replay.load_state(entries_of(tensors, "replay"))
        self.env_steps, self.episodes, self.target_updated_at = tensors["counters"].tolist()
        restore_generator(self.generator, json.loads(bytes(tensors["generator"].tolist())))


@torch.no_grad()
def rmsprop(parameter: Tensor, square_average: Tensor, gradient: Tensor, settings: QMIXSettings) -> None:
    """One step of RMSprop in place: v = alpha v + (1 - alpha) g^2; theta -= lr g / (sqrt(v) + epsilon)."""
    square_average.mul_(settings.rmsprop_alpha).addcmul_(gradient, gradient, value=1.0 - settings.rmsprop_alpha)
    parameter.addcdiv_(gradient, square_average.sqrt().add_(settings.rmsprop_epsilon), value=-settings.learning_rate)


def copy_into(own: Parameters, given: Mapping[str, Tensor], what: str) -> None:
    """Copy parameters of the same names and shapes.

    Raises:
        ValueError: names or a shape differ.
    """
    if own.keys() != given.keys():
        missing, unknown = sorted(own.keys() - given.keys()), sorted(given.keys() - own.keys())
        raise ValueError(f"{what}: missing parameters {missing}, unknown parameters {unknown}; is it QMIX's?")
    for name, value in own.items():
        if value.shape != given[name].shape:
            raise ValueError(
                f"{what}.{name}: found shape {list(given[name].shape)}, expected {list(value.shape)}; another map's?"
            )
        value.detach().copy_(given[name])


def build_learner(spec: EnvSpec, settings: RunSettings, demonstrations: Demonstrations | None) -> QMIX:
    """The learner of a run; see `dm2.settings.learners.AlgorithmSettings`."""
    assert settings.qmix is not None  # RunSettings checks that an algorithm has its block
    return QMIX(spec, settings.qmix, settings.quirks, settings.seed)


def build_policy(spec: EnvSpec, tensors: Mapping[str, Tensor], *, greedy: bool, epsilon: float) -> QMIXPolicy:
    """The shared agent of a policy file; it is greedy without epsilon."""
    return QMIXPolicy(dict(tensors), spec, epsilon)
