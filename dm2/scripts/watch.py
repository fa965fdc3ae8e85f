"""Play battles with a policy and write them so that one can watch them (`dm2 watch`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dm2.core.errors import UserError
from dm2.scripts import options

if TYPE_CHECKING:
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
    from dm2.viewer.battles import battles_of_run, battles_of_script
    from dm2.viewer.recording import Recording

    if (source is None) == (name is None) or (name is None) != (map_name is None):
        raise UserError(
            f"found file {source}, --policy {name}, --map {map_name}; expected either a policy file, run directory or"
            " recording, or --policy heuristic|random together with --map"
        )
    if stochastic and (source is None or source.suffix == ".json"):
        raise UserError("found --stochastic, expected it with a policy file or run directory only; leave it out")
    if source is None:
        return battles_of_script(str(name), str(map_name), episodes, seed)
    if source.suffix == ".json":
        return Recording.load(source), f"replay of {source.name}", None
    return battles_of_run(source, episodes, seed, stochastic=stochastic)


if __name__ == "__main__":
    options.run(main)
