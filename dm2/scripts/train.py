"""Train a baseline, or DM² from demonstrations or own best episodes (stages `train_expert`, `train_dm2`)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from dm2.scripts import options
from dm2.watchdog import STALL_MINUTES


def main(
    settings: Annotated[
        list[Path],
        typer.Option(
            help="Settings file, YAML. Again for each further seed to train with it.", exists=True, dir_okay=False
        ),
    ],
    run_directory: Annotated[
        list[Path], typer.Option(help="Folder of the run's files; as often, in the same order.", file_okay=False)
    ],
    demonstrations: Annotated[
        Path | None, typer.Option(help="Archive, where the settings name demonstrations.", exists=True, dir_okay=False)
    ] = None,
    threads: options.Threads = 1,
    device: Annotated[
        str,
        typer.Option(help="Where the networks are: cpu, cuda, or auto: cuda for two seeds or more, if there is one."),
    ] = "cpu",
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
    """Train one run, or seeds of one condition together, to the end.

    A stopped run goes on from its last checkpoint, a finished one is left alone.
    """
    from dm2.backends import env_spec
    from dm2.config import RunSettings
    from dm2.demonstrations import Demonstrations
    from dm2.errors import UserError
    from dm2.event_files import EventFiles
    from dm2.output import Output
    from dm2.resume import changes_since_start
    from dm2.storage import RunDirectory
    from dm2.training import RunToTrain, check_given, check_group, run_identity, train_group

    if len(settings) != len(run_directory):
        raise UserError(
            f"found {len(settings)} --settings and {len(run_directory)} --run-directory, expected one folder per file"
        )
    runs = [RunSettings.from_yaml(path) for path in settings]
    check_group(runs)
    first = runs[0]
    spec = env_spec(first.backend, first.map_name)
    check_given(first, demonstrations)
    archive = None
    if demonstrations is not None and first.demonstrations is not None:
        archive = Demonstrations.load(demonstrations, spec, first.demonstrations.episodes)

    def run_to_train(run: RunSettings, folder: Path) -> RunToTrain:
        changes = changes_since_start(RunDirectory(folder), run_identity(run, spec, archive))
        if fresh_if_changed and changes:
            Output(sys.stderr).line(
                f"{folder}: starting over, since the run was started otherwise: {'; '.join(changes)}"
            )
        on_evaluation = EventFiles(folder / "tensorboard") if tensorboard else lambda rows: None
        return RunToTrain(run, folder, fresh or (fresh_if_changed and bool(changes)), on_evaluation)

    train_group(
        [run_to_train(run, folder) for run, folder in zip(runs, run_directory, strict=True)],
        demonstrations=archive,
        threads=threads,
        stall_minutes=stall_minutes,
        device=device,
    )


if __name__ == "__main__":
    options.run(main)
