"""Read a trained policy together with what it was trained for; shared by the stages that play with one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dm2.backends import EnvSpec, env_spec
from dm2.config import RunSettings
from dm2.policies import policy_from_state
from dm2.storage import check_record, load_tensors, sha256_of_file

if TYPE_CHECKING:
    from dm2.rollout import Policy


@dataclass(frozen=True)
class PolicyFile:
    """A policy, the settings of its run and where it comes from."""

    path: Path
    policy: Policy
    settings: RunSettings
    spec: EnvSpec
    percent: int
    env_steps: int

    def record(self) -> dict[str, Any]:
        """Where demonstrations of this policy come from, for their metadata."""
        return {
            "condition": self.settings.condition,
            "seed": self.settings.seed,
            "percent": self.percent,
            "env_steps": self.env_steps,
            "sha256": sha256_of_file(self.path),
        }


def read_policy(path: Path, *, epsilon: float = 0.0, greedy: bool = False) -> PolicyFile:
    """Read a policy file.

    Args:
        path: `policies/<percent>.safetensors` of a run.
        epsilon: share of random actions; QMIX only.
        greedy: always the best action.

    Raises:
        UserError: the file cannot be used; the message names it.
    """
    tensors, metadata = load_tensors(path, kind="policy")
    check_record(path, metadata, settings=dict, percent=int, env_steps=int)
    settings = RunSettings.from_mapping(metadata["settings"], str(path))
    spec = env_spec(settings.backend, settings.map_name)
    policy = policy_from_state(
        spec,
        settings.algorithm,
        tensors,
        str(path),
        epsilon=epsilon,
        greedy=greedy,
        open_loop=settings.is_open_loop,
    )
    return PolicyFile(path, policy, settings, spec, metadata["percent"], metadata["env_steps"])
