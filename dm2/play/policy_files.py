"""Read a trained policy together with what it was trained for, whatever the algorithm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dm2.backends.make_env import env_spec
from dm2.core.errors import UserError
from dm2.core.files import check_record, sha256_of_file
from dm2.core.interface import EnvSpec
from dm2.core.tensor_files import load_tensors
from dm2.settings.algorithms import load, policy_name
from dm2.settings.run import ALGORITHMS, RunSettings

if TYPE_CHECKING:
    from torch import Tensor

    from dm2.play.rollout import Policy


JUDGES = ("critic.", "discriminator.")
"""How the names of networks begin that judge a policy and do not play."""


@dataclass(frozen=True)
class PolicyFile:
    """A policy, the settings of its run and where it comes from."""

    path: Path
    policy: Policy
    settings: RunSettings
    spec: EnvSpec
    percent: int
    env_steps: int
    discriminators: Tensor | None
    """Parameters of all agents' discriminators, float32 [n_agents, ...]; None if the file holds none."""

    def check_samples(self, option: str) -> None:
        """Refuse to have its actions sampled, which `option` asks for, where they have no probabilities.

        Raises:
            UserError: so it is.
        """
        if ALGORITHMS[self.settings.algorithm].acts_by_epsilon:
            raise UserError(
                f"{option}: {self.path} is of {self.settings.algorithm}, which has no probabilities to sample from;"
                " leave it out"
            )

    def record(self) -> dict[str, Any]:
        """Where demonstrations of this policy come from, for their metadata."""
        return {
            "condition": self.settings.condition,
            "seed": self.settings.seed,
            "percent": self.percent,
            "env_steps": self.env_steps,
            "sha256": sha256_of_file(self.path),
        }


def read_policy(path: Path, *, epsilon: float = 0.0, greedy: bool = False, with_values: bool = False) -> PolicyFile:
    """Read a policy file.

    Args:
        path: `policies/<percent>.safetensors` of a run.
        epsilon: share of random actions; QMIX only.
        greedy: always the best action.
        with_values: the policy also records what its critics expect, if the file holds them.

    Raises:
        UserError: the file cannot be used; the message names it.
    """
    tensors, metadata = load_tensors(path, kind="policy")
    _check_numbers(path, tensors)
    check_record(path, metadata, settings=dict, percent=int, env_steps=int)
    settings = RunSettings.from_mapping(metadata["settings"], str(path))
    try:
        spec = env_spec(settings.backend, settings.map_name)
    except ValueError as error:
        raise UserError(f"{path}: {error}; the map on which the policy was trained is not there") from error
    playing = {name: value for name, value in tensors.items() if with_values or not name.startswith(JUDGES)}
    policy = policy_from_state(spec, settings, playing, str(path), epsilon=epsilon, greedy=greedy)
    discriminators = tensors.get("discriminator.parameters")
    return PolicyFile(path, policy, settings, spec, metadata["percent"], metadata["env_steps"], discriminators)


def _check_numbers(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse what no network computes with."""
    import torch

    for name, tensor in tensors.items():
        found = f"of type {str(tensor.dtype).removeprefix('torch.')}" if tensor.dtype != torch.float32 else None
        if found is None and not bool(tensor.isfinite().all()):
            found = "not finite"
        if found is not None:
            raise UserError(f"{path}: tensor {name!r} is {found}, expected finite float32 numbers; train it again")


def policy_from_state(
    spec: EnvSpec,
    settings: RunSettings,
    tensors: Mapping[str, Tensor],
    source: str,
    *,
    epsilon: float = 0.0,
    greedy: bool = False,
) -> Policy:
    """Rebuild a policy to play with; with the critics that IPPO's tensors may hold it also records what they expect.

    Args:
        spec: sizes of the map it is to play on.
        settings: of the run that trained it.
        tensors: what the learner's `policy_state` returned, its `judges_state` too or not.
        source: where the tensors come from (a file's name), for the error message.
        epsilon: share of random actions; QMIX only.
        greedy: always the best action; by default IPPO and R-MAPPO sample from their policy and QMIX acts by epsilon.

    Raises:
        UserError: the algorithm takes no epsilon, or the tensors are not its policy for this map.
    """
    algorithm = settings.algorithm
    if epsilon and (greedy or not ALGORITHMS[algorithm].acts_by_epsilon):
        raise UserError(
            f"epsilon: found {epsilon} for a policy ({algorithm}, greedy={greedy}) that takes none; leave it 0"
        )
    try:
        policy: Policy = load(policy_name(settings))(spec, tensors, greedy=greedy, epsilon=epsilon)
    except (KeyError, ValueError) as error:
        reason = f"found no tensor {error}, expected one" if isinstance(error, KeyError) else error
        raise UserError(
            f"{source}: not a policy of {algorithm} for {spec.map_name} ({reason}); was it trained on this map?"
        ) from error
    return policy
