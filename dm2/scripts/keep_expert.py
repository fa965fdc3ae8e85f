"""Keep a policy of the run that wins most in the end (stage `keep_expert`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dm2.scripts import options


def main(
    run_directories: Annotated[list[Path], typer.Argument(help="Folders of the condition's finished runs on the map.")],
    percent: Annotated[int, typer.Option(help="After which share of the training, in percent.", min=1, max=100)],
    output: options.Output,
) -> None:
    """Copy the policy of the run that choose-expert names."""
    from dm2.core.files import copy_file
    from dm2.core.run_directory import RunDirectory
    from dm2.play.experts import choose_expert
    from dm2.settings.run import RunSettings

    seed = choose_expert(run_directories).seed
    (run,) = (folder for folder in run_directories if RunSettings.from_yaml(folder / "settings.yaml").seed == seed)
    copy_file(RunDirectory(run).policy(percent), output)


if __name__ == "__main__":
    options.run(main)
