"""Train one run: IPPO, QMIX, or DM² from demonstrations (stages `train_expert` and `train_dm2`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dm2.scripts import options


def main(
    settings: options.Settings,
    run_directory: Annotated[Path, typer.Option(help="Folder of the run's files.", file_okay=False)],
    demonstrations: Annotated[
        Path | None, typer.Option(help="Archive, for the rewards gail and mixed.", exists=True, dir_okay=False)
    ] = None,
    threads: options.Threads = 1,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget an earlier start or result of the run.")] = False,
) -> None:
    """Train one run to its end; a stopped one goes on from its last checkpoint, a finished one is left alone."""
    from dm2.backends import env_spec
    from dm2.config import RunSettings
    from dm2.demonstrations import Demonstrations
    from dm2.training import train

    run_settings = RunSettings.from_yaml(settings)
    spec = env_spec(run_settings.backend, run_settings.map_name)
    archive = None if demonstrations is None else Demonstrations.load(demonstrations, spec)
    train(run_settings, run_directory, demonstrations=archive, threads=threads, fresh=fresh)


if __name__ == "__main__":
    options.run(main)
