"""Merge the configuration into the settings of one run, to read or to train with (`dm2 show-settings`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dm2.scripts import options


def main(
    map_name: Annotated[str, typer.Argument(help="Map, e.g. 5m_vs_6m.")],
    condition: Annotated[str, typer.Argument(help="Condition of config/experiments.yaml, e.g. dm2_ippo_demo.")],
    seed: Annotated[int, typer.Option(help="Seed of the run.", min=0)] = 0,
    scale: Annotated[str, typer.Option(help="Scale, a file of config/scales.")] = "quick",
    output: Annotated[Path | None, typer.Option(help="File to write instead of the terminal.", dir_okay=False)] = None,
    config_folder: options.ConfigFolder = Path("config"),
) -> None:
    """Show all settings of one run of one scale, or write them to a file."""
    from dm2.settings.files import check_name, map_names
    from dm2.settings.matrix import Matrix, Run

    check_name("map", map_name, map_names(), "MAP_NAME")
    settings = Matrix.load(config_folder, {"scale": scale}).settings(Run(map_name, condition, seed))
    if output is None:
        typer.echo(settings.yaml_text(), nl=False)
    else:
        settings.to_yaml(output)


if __name__ == "__main__":
    options.run(main)
