"""Play battles with a policy and write them so that one can watch them (`dm2 watch`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dm2.core.errors import UserError
from dm2.scripts import options

if TYPE_CHECKING:
    from torch import Tensor

    from dm2.play.policy_files import PolicyFile
    from dm2.play.rollout import Episodes
    from dm2.viewer.recording import Recording
    from dm2.viewer.watch import Thoughts

ENDINGS = (".html", ".gif", ".mp4", ".json")


def main(
    source: Annotated[
        Path | None,
        typer.Argument(help="Policy file or run directory to play with, or a recording (.json).", exists=True),
    ] = None,
    policy: Annotated[str | None, typer.Option(help="Instead of a file: heuristic or random.")] = None,
    map_name: Annotated[str | None, typer.Option("--map", help="Map that --policy plays on.")] = None,
    episodes: Annotated[int, typer.Option(help="Battles to play.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the battles.", min=0)] = 0,
    stochastic: Annotated[
        bool, typer.Option("--stochastic", "--sample", help="Let the policy sample its actions instead of the best.")
    ] = False,
    output: Annotated[
        list[Path] | None,
        typer.Option(help="File to write: .html to watch, .gif, .mp4, .json to keep; may be given several times."),
    ] = None,
) -> None:
    """Play battles, greedily unless told otherwise, or replay a recording, and write them for watching."""
    if not output:
        raise UserError("found no --output, expected a file to write, such as --output battle.html")
    for path in output:
        if path.suffix not in ENDINGS:
            raise UserError(f"{path}: found the ending {path.suffix!r}, expected one of {', '.join(ENDINGS)}")
    import torch

    from dm2.viewer.watch import write_animation, write_viewer

    torch.set_num_threads(1)  # float sums, and so actions, would depend on their number
    recording, title, thoughts = _battles(source, policy, map_name, episodes, seed, stochastic)
    for path in output:
        if path.suffix == ".html":
            write_viewer(path, recording, title, thoughts)
        elif path.suffix == ".json":
            recording.save(path)
        else:
            write_animation(path, recording, title)
        typer.echo(path)


def _battles(
    source: Path | None, name: str | None, map_name: str | None, episodes: int, seed: int, stochastic: bool
) -> tuple[Recording, str, list[Thoughts] | None]:
    """The battles, who plays, and what the policy thought."""
    from dm2.viewer.recording import Recording

    if (source is None) == (name is None) or (name is None) != (map_name is None):
        raise UserError(
            f"found file {source}, --policy {name}, --map {map_name}; expected either a policy file, run directory or"
            " recording, or --policy heuristic|random together with --map"
        )
    if stochastic and (source is None or source.suffix == ".json"):
        raise UserError("found --stochastic, expected it with a policy file or run directory only; leave it out")
    if source is None:
        return _of_script(str(name), str(map_name), episodes, seed)
    if source.suffix == ".json":
        return Recording.load(source), f"replay of {source.name}", None
    return battles_of_run(source, episodes, seed, stochastic=stochastic)


def _of_script(name: str, map_name: str, episodes: int, seed: int) -> tuple[Recording, str, list[Thoughts]]:
    from dm2.backends.make_env import env_spec
    from dm2.play.scripted import scripted_policy
    from dm2.viewer.watch import record_battles

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
    from dm2.play.policy_files import read_policy
    from dm2.viewer.watch import record_battles

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
    from dm2.learners.discriminator import stored_logits

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


if __name__ == "__main__":
    options.run(main)
