"""A folder that pysc2 takes for an installation of StarCraft II."""

from __future__ import annotations

import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

from dm2.backends.installation import EXECUTABLE, MAP_FOLDER, STAND_IN_MARK
from dm2.battle.scenario import map_data
from dm2.core.errors import UserError
from dm2.core.files import atomic_write

BUILD = 75689  # of StarCraft II 4.10, with which SMAC's results were made
PACKAGES = ("websockets", "google.protobuf", "s2clientprotocol")
# Many clients set it, as they need protobuf's slow backend to read s2clientprotocol. The program does not, and is three
# times as slow with it.
NOT_FOR_US = "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"


def lay_out(folder: Path) -> Path:
    """Lay the folder out, anew if it is the stand-in's already.

    Returns:
        The program.

    Raises:
        UserError: a package is missing, or the folder holds something else.
    """
    missing = [name for name in PACKAGES if not _is_there(name)]
    if missing:
        raise UserError(f'stand-in: found no package {missing[0]}, expected it: pip install "dm2[stand-in]"')
    if folder.exists() and any(folder.iterdir()) and not (folder / STAND_IN_MARK).is_file():
        raise UserError(f"{folder}: found files that are not the stand-in's, expected an empty folder or none")
    program = folder / "Versions" / f"Base{BUILD}" / EXECUTABLE
    maps = folder / MAP_FOLDER
    for place in (program.parent, maps):
        place.mkdir(parents=True, exist_ok=True)
    _write(
        folder / STAND_IN_MARK,
        "The battle simulator of dm2 in the place of StarCraft II; set SC2PATH to this folder.\n",
    )
    for name in map_data().maps:
        _write(maps / f"{name}.SC2Map", f"{name}, as dm2's battle simulator has it; no map of StarCraft II.\n")
    start = f'exec {shlex.quote(sys.executable)} -m dm2.adapters.stand_in.server "$@"'
    _write(program, f"#!/bin/sh\nunset {NOT_FOR_US}\n{start}\n")
    program.chmod(0o755)
    return program


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # its parent
        return False


def _write(path: Path, text: str) -> None:
    with atomic_write(path, "w") as file:
        file.write(text)
