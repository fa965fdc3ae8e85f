"""Train a baseline, or DM² from demonstrations or own best episodes (the rules `train_...`)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from dm2.scripts import options
from dm2.training.watchdog import STALL_MINUTES


def main(
    settings: options.Settings,
    run_directory: Annotated[Path, typer.Option(help="Folder of the run's files.", file_okay=False)],
    demonstrations: Annotated[
        Path | None, typer.Option(help="Archive, where the settings name demonstrations.", exists=True, dir_okay=False)
    ] = None,
    threads: options.Threads = 1,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget an earlier start or result of the run.")] = False,
    fresh_if_changed: Annotated[
        bool, typer.Option("--fresh-if-changed", help="The same if other settings, code or demonstrations made it.")
    ] = False,
    stall_minutes: Annotated[
        float,
        typer.Option(
            help="End the process, to be started again, if an update takes longer.",
            min=0.1,
            max=1_000_000,
        ),
    ] = STALL_MINUTES,
    tensorboard: Annotated[
        bool,
        typer.Option(
            "--tensorboard", envvar="DM2_TENSORBOARD", help="Also write event files, RUN_DIRECTORY/tensorboard."
        ),
    ] = False,
) -> None:
    """Train one run to the end.

    A stopped run goes on from its last checkpoint, a finished one is left alone.
    """
    from dm2.backends.make_env import env_spec
    from dm2.core.output import Output
    from dm2.core.run_directory import RunDirectory
    from dm2.play.demonstrations import Demonstrations
    from dm2.settings.algorithms import check_given
    from dm2.settings.run import RunSettings
    from dm2.training.event_files import EventFiles
    from dm2.training.resume import changes_since_start
    from dm2.training.run import run_identity, train

    run = RunSettings.from_yaml(settings)
    spec = env_spec(run.backend, run.map_name)
    check_given(run, demonstrations)
    archive = None
    if demonstrations is not None and run.demonstrations is not None:
        archive = Demonstrations.load(demonstrations, spec, run.demonstrations.episodes)
    changes = changes_since_start(RunDirectory(run_directory), run_identity(run, spec, archive))
    if fresh_if_changed and changes:
        Output(sys.stderr).line(
            f"{run_directory}: starting over, since the run was started otherwise: {'; '.join(changes)}"
        )
    train(
        run,
        run_directory,
        demonstrations=archive,
        threads=threads,
        fresh=fresh or (fresh_if_changed and bool(changes)),
        stall_minutes=stall_minutes,
        observers=[EventFiles(run_directory / "tensorboard")] if tensorboard else [],
    )


if __name__ == "__main__":
    options.run(main)
