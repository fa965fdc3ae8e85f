"""Play with a trained or scripted policy and say how well it does (`dm2 evaluate`)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dm2.scripts import options

if TYPE_CHECKING:
    from dm2.core.interface import EnvSpec
    from dm2.play.rollout import Policy


def main(
    trained: Annotated[
        Path | None,
        typer.Argument(metavar="[POLICY]", help="policies/*.safetensors of a run.", exists=True, dir_okay=False),
    ] = None,
    policy: Annotated[str | None, typer.Option(help="Instead of a file: heuristic or random.")] = None,
    map_name: Annotated[str | None, typer.Option("--map", help="Map that --policy plays on.")] = None,
    backend: Annotated[str | None, typer.Option(help="Engine that --policy plays on; by default simulator.")] = None,
    episodes: Annotated[int, typer.Option(help="Battles to play.", min=1)] = 320,
    seed: Annotated[int, typer.Option(help="Seed of the battles.", min=0)] = 0,
    sample: Annotated[
        bool, typer.Option("--sample", help="Let the policy sample its actions instead of the best.")
    ] = False,
    threads: options.Threads = 1,
) -> None:
    """Play battles with a policy, greedily unless told otherwise, and print the statistics as JSON."""
    import torch

    from dm2.play.evaluation import evaluate

    torch.set_num_threads(1)  # float sums, and so results, would depend on their number
    if trained is None:
        player = scripted_player(policy, map_name, backend or "simulator", sample)
    else:
        player = trained_player(trained, sample, {"--policy": policy, "--map": map_name, "--backend": backend})
    played = evaluate(
        player.policy,
        player.backend,
        player.spec.map_name,
        seed,
        episodes,
        n_threads=threads,
        regeneration_pays=player.regeneration_pays,
    )
    typer.echo(json.dumps(player.record | {"backend": player.spec.backend} | asdict(played), indent=2))


@dataclass(frozen=True)
class Player:
    """A policy, where it plays, and how it is named in the result."""

    policy: Policy
    spec: EnvSpec
    backend: str
    regeneration_pays: bool
    record: dict[str, Any]


def trained_player(path: Path, sample: bool, unwanted: dict[str, str | None]) -> Player:
    """The policy of a file, on the map and engine of its run.

    Raises:
        UserError: the file cannot be used, its policy not be sampled from, or options are given that only go without
            one.
    """
    from dm2.core.errors import UserError
    from dm2.play.policy_files import read_policy

    given = [name for name, value in unwanted.items() if value is not None]
    if given:
        raise UserError(f"found the policy file {path} and {given[0]}, expected one of them; the file tells its map")
    found = read_policy(path, greedy=not sample)
    if sample:
        found.check_samples("--sample")
    run = found.settings
    return Player(found.policy, found.spec, run.backend, run.quirks.regeneration_pays, found.record())


def scripted_player(name: str | None, map_name: str | None, backend: str, sample: bool) -> Player:
    """A policy that nobody trained.

    Raises:
        UserError: no policy, no map, one that is unknown, or --sample.
    """
    from dm2.backends.make_env import env_spec
    from dm2.core.errors import UserError
    from dm2.play.scripted import scripted_policy

    if name is None or map_name is None:
        raise UserError("found no policy file, expected one, or --policy heuristic|random together with --map")
    if sample:
        raise UserError(f"--sample: found it with --policy {name}, expected with a policy file; leave it out")
    spec = env_spec(backend, map_name)
    return Player(scripted_policy(name, spec), spec, backend, True, {"policy": name, "map_name": map_name})


if __name__ == "__main__":
    options.run(main)
