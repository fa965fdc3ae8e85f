"""Policies from what a policy file holds, whatever the algorithm that trained them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor

from dm2.errors import UserError
from dm2.ippo import IPPOPolicy
from dm2.nets import Folded, NetShape, flat_parameters, fold, input_size
from dm2.open_loop import OpenLoopPolicy, time_inputs
from dm2.qmix import QMIXPolicy
from dm2.rmappo import RMAPPOPolicy

if TYPE_CHECKING:
    from dm2.backends import EnvSpec
    from dm2.rollout import Policy

ALGORITHMS = ("ippo", "qmix", "rmappo")


def policy_from_state(
    spec: EnvSpec,
    algorithm: str,
    tensors: Mapping[str, Tensor],
    source: str,
    *,
    epsilon: float = 0.0,
    greedy: bool = False,
    open_loop: bool = False,
) -> Policy:
    """Rebuild a policy to play with; it records nothing.

    Args:
        spec: sizes of the map it is to play on.
        algorithm: one of `ALGORITHMS`.
        tensors: what the learner's `policy_state` returned.
        source: where the tensors come from (a file's name), for the error message.
        epsilon: share of random actions; QMIX only.
        greedy: always the best action; by default IPPO and R-MAPPO sample from their policy and QMIX acts by epsilon.
        open_loop: the policy of IPPO sees the time alone (`dm2.open_loop`).

    Raises:
        UserError: the algorithm is unknown, takes no epsilon, or the tensors are not its policy for this map.
    """
    if algorithm not in ALGORITHMS:
        raise UserError(f"{source}: found algorithm {algorithm!r}, expected one of {', '.join(ALGORITHMS)}")
    if epsilon and (algorithm != "qmix" or greedy):
        raise UserError(
            f"epsilon: found {epsilon} for a policy ({algorithm}, greedy={greedy}) that takes none; leave it 0"
        )
    try:
        if algorithm == "qmix":
            return QMIXPolicy(dict(tensors), spec, epsilon)
        if algorithm == "rmappo":
            return RMAPPOPolicy(_actor(spec, tensors, 1), spec.n_agents, greedy)
        if open_loop:
            blind = replace(spec, obs_size=time_inputs(spec.episode_limit))
            return OpenLoopPolicy(_actor(blind, tensors, spec.n_agents), None, greedy, spec.episode_limit)
        return IPPOPolicy(_actor(spec, tensors, spec.n_agents), None, greedy)
    except (KeyError, ValueError) as error:
        raise UserError(
            f"{source}: not a policy of {algorithm} for {spec.map_name} ({error}); was it trained on this map?"
        ) from error


def _actor(spec: EnvSpec, tensors: Mapping[str, Tensor], n_learners: int) -> Folded:
    actor = {name.removeprefix("actor."): value for name, value in tensors.items()}
    inputs = input_size(spec.obs_size, spec.n_actions, spec.n_agents)
    shape = NetShape(inputs, actor["gru_norm.bias"].shape[-1], spec.n_actions)
    return fold(flat_parameters(actor, shape, n_learners), shape)
