"""Write the JSON schemas of the configuration, for editors that complete and check YAML as it is typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from dm2.scripts import options


def schemas() -> dict[str, dict[str, Any]]:
    """The schemas by file name, made from the settings classes."""
    from dm2.settings.base import Settings
    from dm2.settings.demonstrations import DemonstrationSettings
    from dm2.settings.files import AlgorithmsFile, ExperimentsFile, Scale
    from dm2.settings.run import RunSettings

    models: dict[str, type[Settings]] = {
        "algorithms": AlgorithmsFile,
        "demonstrations": DemonstrationSettings,
        "experiments": ExperimentsFile,
        "scale": Scale,
        "settings": RunSettings,
    }
    return {f"{name}.schema.json": model.model_json_schema() for name, model in models.items()}


def main(
    folder: Annotated[Path, typer.Argument(help="Folder to write to.", file_okay=False)] = Path("workflow/schemas"),
) -> None:
    """Write the schemas of all configuration files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in schemas().items():
        (folder / name).write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    options.run(main)
