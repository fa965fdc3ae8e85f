"""Battles to watch, played by a policy that was trained or scripted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dm2.backends.make_env import env_spec
from dm2.core.errors import UserError
from dm2.learners.discriminator import stored_logits
from dm2.play.policy_files import PolicyFile, read_policy
from dm2.play.scripted import scripted_policy
from dm2.viewer.watch import record_battles

if TYPE_CHECKING:
    from torch import Tensor

    from dm2.play.rollout import Episodes
    from dm2.viewer.recording import Recording
    from dm2.viewer.watch import Thoughts


def battles_of_script(name: str, map_name: str, episodes: int, seed: int) -> tuple[Recording, str, list[Thoughts]]:
    """Battles of a policy that nobody trained.

    Args:
        name: of the policy, heuristic or random.
        map_name: map to play on.
        episodes: how many battles.
        seed: of the battles.

    Returns:
        The recording, who plays, and the policy's thoughts in each battle.

    Raises:
        UserError: the policy or the map is unknown.
    """
    spec = env_spec("simulator", map_name)
    recording, thoughts = record_battles(scripted_policy(name, spec), map_name, seed, episodes)
    return recording, f"{name} policy", thoughts


def battles_of_run(
    source: Path, episodes: int, seed: int, *, stochastic: bool = False
) -> tuple[Recording, str, list[Thoughts]]:
    """Battles of a trained policy.

    Args:
        source: policy file or run directory.
        episodes: how many battles.
        seed: of the battles.
        stochastic: the policy samples its actions.

    Returns:
        The recording, who plays, and the policy's thoughts in each battle.

    Raises:
        UserError: the policy or its judges cannot be used, or it not be sampled from.
    """
    trained = read_policy(_policy_file(source), greedy=not stochastic, with_values=True)
    run = trained.settings
    if stochastic:
        trained.check_samples("--stochastic")
    title = f"{run.condition}, seed {run.seed}, {trained.percent} %{', sampled' if stochastic else ''}"
    recording, thoughts = record_battles(
        trained.policy,
        run.map_name,
        seed,
        episodes,
        regeneration_pays=run.quirks.regeneration_pays,
        discriminators=_judge(trained),
    )
    return recording, title, thoughts


def _judge(trained: PolicyFile) -> Callable[[Episodes], Tensor] | None:
    """What the discriminators of a policy file say of episodes; None if it holds none."""
    if trained.discriminators is None or trained.settings.discriminator is None:
        return None
    try:
        return stored_logits(trained.discriminators, trained.spec, trained.settings.discriminator)
    except ValueError as error:
        raise UserError(
            f"{trained.path}: {error}; the file's discriminators are not those of its run: train it again"
        ) from error


def _policy_file(source: Path) -> Path:
    """The file itself, or the last policy of a run, finished or not."""
    if source.is_file():
        return source
    found = sorted(source.glob("policies/*.safetensors")) or sorted(source.glob("checkpoints/policies/*.safetensors"))
    if not found:
        raise UserError(
            f"{source}: found no policies/*.safetensors, expected a run directory; train it, or name a file"
        )
    return found[-1]
