"""Behavioural cloning before IPPO: each actor starts as an imitation of its own expert.

The paper compares DM2 with "IPPO, policy initialised by behavioural cloning" (Wang et al. 2023, figure on pretraining);
its public code has no cloning, so the design is ours, as near to the IPPO that follows as can be. Every agent alone:

    1. a share of its demonstrated episodes is held out
    2. until the cross-entropy on those no longer falls, gradient steps by Adam on

           -mean over the steps of a batch of episodes of log pi(a_t | o_t, a_{t-1}, h_{t-1})

       with the unavailable actions masked, from the random actor that IPPO would start with
    3. the parameters of the best pass become the actor's; critic and IPPO's optimizers start as always

The GRU is trained one step at a time, as IPPO trains it: the states h_{t-1} are those into which the net itself gets
along the episode, with the parameters of the moment, and no gradient flows through them. So cloning and IPPO differ in
their objective, not in what a recurrent layer can learn by it. Steps after the agent's death have a single action and
teach nothing; they are left out.

An expert is imitated as it was sampled, so the clone of a stochastic expert keeps an entropy with which IPPO can
explore.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dm2.battle.rules_of_smac import NO_OP
from dm2.core.randomness import stream
from dm2.learners.ippo import IPPO
from dm2.learners.ppo import masked_log_softmax
from dm2.nets.actor_critic import Folded, NetShape, build_inputs, fold, forward, normalise
from dm2.nets.adam import ClippedAdam
from dm2.nets.recurrence import pack
from dm2.play.demonstrations import AgentDemonstrations, Demonstrations, check_demonstrations
from dm2.play.rollout import NO_ACTION_YET
from dm2.settings.base import SettingsError
from dm2.settings.learners import CloningSettings
from dm2.settings.run import RunSettings

if TYPE_CHECKING:
    from dm2.core.interface import EnvSpec


@dataclass(frozen=True)
class CloningRows:
    """What one agent's actor is to imitate, without padding and without the steps after its death.

    Attributes:
        starts: first row of each episode, int64 [episodes].
        lengths: rows of each episode, int64 [episodes], each at least 1.
        inputs: normalised inputs of the actor, float32 [rows, inputs].
        avail_actions: bool [rows, n_actions].
        actions: int64 [rows].
    """

    starts: Tensor
    lengths: Tensor
    inputs: Tensor
    avail_actions: Tensor
    actions: Tensor


@dataclass(frozen=True)
class Cloned:
    """How the cloning of one agent went.

    Attributes:
        epochs: passes over the demonstrations.
        cross_entropy: on the held-out episodes, of the parameters that were kept, nats per step.
        accuracy: share of the held-out steps in which the most probable action is the expert's.
    """

    epochs: int
    cross_entropy: float
    accuracy: float


def cloning_rows(demonstrations: AgentDemonstrations, agent: int, n_agents: int) -> CloningRows:
    """The steps of an agent's demonstrations in which it lives, as inputs of its actor and the actions to take."""
    avail_actions = torch.from_numpy(demonstrations.avail_actions)
    actions = torch.from_numpy(demonstrations.actions)
    last_actions = actions.roll(1)
    last_actions[torch.from_numpy(demonstrations.starts[:-1])] = NO_ACTION_YET
    inputs = build_inputs(
        torch.from_numpy(demonstrations.obs).expand(n_agents, -1, -1),
        last_actions.expand(n_agents, -1),
        avail_actions.shape[1],
    )[agent]
    alive = ~avail_actions[:, NO_OP]
    episode = torch.repeat_interleave(torch.from_numpy(demonstrations.lengths))
    lengths = torch.zeros(len(demonstrations.lengths), dtype=torch.int64).index_add_(0, episode, alive.long())
    starts = lengths.cumsum(0) - lengths
    played = lengths > 0
    return CloningRows(starts[played], lengths[played], normalise(inputs[alive]), avail_actions[alive], actions[alive])


def cross_entropy(logits: Tensor, avail_actions: Tensor, actions: Tensor) -> Tensor:
    """-log pi(a) of each row, the policy being that over the available actions.

    Args:
        logits: [rows, n_actions].
        avail_actions: bool [rows, n_actions].
        actions: int64 [rows].

    Returns:
        In nats, [rows].
    """
    return -masked_log_softmax(logits, avail_actions).gather(-1, actions[:, None])[:, 0]


@torch.no_grad()
def hidden_states(net: Folded, inputs: Tensor, counts: Tensor) -> Tensor:
    """The GRU's state before each step, as the net itself gets there.

    Args:
        net: folded parameters of one learner.
        inputs: of episodes packed step by step (see `dm2.nets.recurrence`), normalised, [1, rows, inputs].
        counts: episodes that have a step t, falling, int64 [steps].

    Returns:
        [1, rows, hidden].
    """
    hidden = inputs.new_zeros(1, int(counts[0]), net.head_weight.shape[1])
    before = []
    for step in inputs.split(counts.tolist(), dim=1):
        hidden = hidden[:, : step.shape[1]]
        before.append(hidden)
        _, hidden = forward(net, step, hidden)
    return torch.cat(before, dim=1)


def losses_and_hits(parameters: Tensor, shape: NetShape, rows: CloningRows, episodes: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of every step of some episodes, and whether the most probable action is the expert's.

    Args:
        parameters: of one actor, [1, P]; differentiated through.
        shape: sizes of the actor.
        rows: what it is to imitate.
        episodes: their numbers, int64 [some].

    Returns:
        Both [steps of these episodes].
    """
    packing = pack(rows.starts[episodes], rows.lengths[episodes])
    net, inputs = fold(parameters, shape), rows.inputs[packing.rows][None]
    logits = forward(net, inputs, hidden_states(net, inputs, packing.counts))[0][0]
    avail_actions, actions = rows.avail_actions[packing.rows], rows.actions[packing.rows]
    best = logits.masked_fill(~avail_actions, -torch.inf).argmax(-1)
    return cross_entropy(logits, avail_actions, actions), best == actions


@torch.no_grad()
def loss_and_accuracy(parameters: Tensor, shape: NetShape, rows: CloningRows, episodes: Tensor) -> tuple[float, float]:
    """Mean cross-entropy and accuracy over the steps of some episodes; see `losses_and_hits`."""
    losses, hits = losses_and_hits(parameters, shape, rows, episodes)
    return float(losses.mean()), float(hits.float().mean())


def clone(
    optimizer: ClippedAdam,
    shape: NetShape,
    rows: CloningRows,
    settings: CloningSettings,
    generator: np.random.Generator,
) -> Cloned:
    """Fit one actor to one agent's demonstrations.

    Args:
        optimizer: of the actor's parameters, [1, P]; in the end they are those of the best pass.
        shape: sizes of the actor.
        rows: what it is to imitate, two episodes or more.
        settings: how to.
        generator: draws which episodes are held out and how the others are put into batches.
    """
    parameters = optimizer.parameters
    shuffled = generator.permutation(len(rows.lengths))
    n_held_out = min(max(1, round(settings.held_out * len(shuffled))), len(shuffled) - 1)
    held_out, learned = torch.from_numpy(shuffled[:n_held_out]), shuffled[n_held_out:]
    best, best_parameters = loss_and_accuracy(parameters, shape, rows, held_out), parameters.clone()
    best_epoch = epoch = 0
    while epoch < min(settings.max_epochs, best_epoch + settings.patience):
        epoch += 1
        for batch in torch.from_numpy(generator.permutation(learned)).split(settings.batch_episodes):
            optimizer.step(_gradient(parameters, shape, rows, batch))
        found = loss_and_accuracy(parameters, shape, rows, held_out)
        if found[0] < best[0]:
            best, best_parameters, best_epoch = found, parameters.clone(), epoch
    parameters.copy_(best_parameters)
    return Cloned(epoch, *best)


def _gradient(parameters: Tensor, shape: NetShape, rows: CloningRows, episodes: Tensor) -> Tensor:
    """Gradient [1, P] of the mean cross-entropy over the steps of some episodes."""
    leaf = parameters.detach().requires_grad_()
    losses, _ = losses_and_hits(leaf, shape, rows, episodes)
    return torch.autograd.grad(losses.mean(), leaf)[0]


class ClonedIPPO(IPPO):
    """IPPO on the task's reward, whose actors are clones of the experts when it begins.

    Args:
        spec: sizes of the map.
        settings: of the run; the blocks `ippo`, `cloning` and `demonstrations` must be there.
        demonstrations: what the experts did, one set per agent.

    Raises:
        SettingsError: the demonstrations are of another map or another source.
    """

    def __init__(self, spec: EnvSpec, settings: RunSettings, demonstrations: Demonstrations) -> None:
        if settings.ippo is None or settings.cloning is None:
            raise SettingsError("settings: found no block ippo or no block cloning, expected both")
        check_demonstrations(spec, settings, demonstrations)
        super().__init__(spec, settings.ippo, settings.quirks, settings.seed)
        self.cloning = settings.cloning
        self.demonstrations = demonstrations
        self.seed = settings.seed

    def pretrain(self) -> dict[str, float]:
        """Clone every agent's expert; to be called before the first update.

        Returns:
            Means over agents: cloning_epochs, and on the held-out episodes cloning_cross_entropy (nats per step) and
            cloning_accuracy.
        """
        cloned = []
        for agent, own in enumerate(self.demonstrations.agents):
            rows = cloning_rows(own, agent, self.spec.n_agents)
            actor = self.actor[agent : agent + 1]
            limits = self.settings.adam_epsilon, self.settings.max_gradient_norm
            optimizer = ClippedAdam(actor, self.cloning.learning_rate, *limits)
            cloned.append(clone(optimizer, self.actor_shape, rows, self.cloning, stream(self.seed, "cloning", agent)))
        return {
            "cloning_epochs": float(np.mean([one.epochs for one in cloned])),
            "cloning_cross_entropy": float(np.mean([one.cross_entropy for one in cloned])),
            "cloning_accuracy": float(np.mean([one.accuracy for one in cloned])),
        }


def build_learner(spec: EnvSpec, settings: RunSettings, demonstrations: Demonstrations | None) -> ClonedIPPO:
    """The learner of a run; see `dm2.settings.learners.AlgorithmSettings`."""
    assert demonstrations is not None  # `dm2.settings.algorithms.check_given` has looked
    return ClonedIPPO(spec, settings, demonstrations)
