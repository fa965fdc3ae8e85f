"""Write the settings of a run or of a demonstration archive, checked (the rules `write_settings_of_...`)."""

from __future__ import annotations

import json
from enum import Enum
from typing import Annotated

import typer

from dm2.scripts import options


class Kind(Enum):
    """What the settings are for."""

    RUN = "run"
    DEMONSTRATIONS = "demonstrations"


def main(
    kind: Annotated[Kind, typer.Option(help="What the settings are for.")],
    settings: Annotated[str, typer.Option(help="The settings, JSON.")],
    output: options.Output,
) -> None:
    """Write settings given as JSON to a YAML file, every default spelled out."""
    from dm2.settings.base import Settings
    from dm2.settings.demonstrations import DemonstrationSettings
    from dm2.settings.run import RunSettings

    model: type[Settings] = RunSettings if kind is Kind.RUN else DemonstrationSettings
    output.parent.mkdir(parents=True, exist_ok=True)
    model.from_mapping(json.loads(settings), "--settings").to_yaml(output)


if __name__ == "__main__":
    options.run(main)
