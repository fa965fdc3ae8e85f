"""What of StarCraft II is installed: the game, SMAC's maps, and the Python packages between them and dm2.

Nothing is imported or started here but by `try_imports`, which does it in another process.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from dm2.core.errors import UserError

EXECUTABLE = "SC2_x64"
MAP_FOLDER = Path("Maps", "SMAC_Maps")
STAND_IN_MARK = "dm2_stand_in.txt"  # beside Versions where dm2's own program is in the game's place
SMAC_SOURCE = "git+https://github.com/oxwhirl/smac.git@d6aab33"
PROTOCOL_VERSION = "5.0.17.98310.0"
_IMPORT_SECONDS = 120


@dataclass(frozen=True)
class Finding:
    """One part of the installation: whether it is as it must be, and in words what was found or how to get it."""

    part: str
    good: bool
    text: str


def inspect_installation(map_name: str | None = None) -> list[Finding]:
    """Every part in the order in which one installs them; with a map's name, that map is among them."""
    return [game(), maps(map_name), pysc2(), protocol(), protobuf(), smac()]


def require_installation(map_name: str) -> None:
    """Refuse to go on without StarCraft II.

    Raises:
        UserError: a part is missing or wrong; one sentence that names the first.
    """
    for finding in inspect_installation(map_name):
        if not finding.good:
            raise UserError(f"backend starcraft2: {finding.part}: {finding.text} (`dm2 doctor` shows every part)")


def game_folder() -> Path:
    """Where pysc2 looks for the game on Linux."""
    return Path(os.environ.get("SC2PATH", "~/StarCraftII")).expanduser()


def game_builds() -> list[int]:
    """Builds of the game that are installed, ascending; pysc2 starts the last."""
    folders = game_folder().glob(f"Versions/Base*/{EXECUTABLE}")
    numbers = [path.parent.name.removeprefix("Base") for path in folders if os.access(path, os.X_OK)]
    return sorted(int(number) for number in numbers if number.isdigit())


def is_stand_in() -> bool:
    """Whether the game is dm2's stand-in (dm2.adapters.stand_in), not StarCraft II."""
    return (game_folder() / STAND_IN_MARK).is_file()


def game() -> Finding:
    """The game's executable."""
    folder, builds = game_folder(), game_builds()
    source = "SC2PATH" if "SC2PATH" in os.environ else "SC2PATH is not set"
    if builds and is_stand_in():
        return Finding("game", True, f"dm2's stand-in in {folder} ({source}): the simulator, not StarCraft II")
    if builds:
        return Finding("game", True, f"build {builds[-1]} in {folder} ({source})")
    mend = "unpack Blizzard's Linux package (github.com/Blizzard/s2client-proto) and set SC2PATH to its folder"
    return Finding("game", False, f"found no Versions/Base*/{EXECUTABLE} in {folder} ({source}); {mend}")


def maps(map_name: str | None = None) -> Finding:
    """SMAC's maps, or one of them."""
    folder = game_folder() / MAP_FOLDER
    found = sorted(path.stem for path in folder.glob("*.SC2Map"))
    mend = "unpack SMAC_Maps.zip of SMAC's releases (github.com/oxwhirl/smac) there"
    if not found:
        return Finding("maps", False, f"found no *.SC2Map in {folder}; {mend}")
    if map_name is not None and map_name not in found:
        return Finding("maps", False, f"found no {map_name}.SC2Map in {folder}, only {', '.join(found)}; {mend}")
    return Finding("maps", True, f"{len(found)} in {folder}")


def pysc2() -> Finding:
    """The package that talks to the game."""
    return _package("pysc2", "pysc2", "pip install --no-deps pysc2==4.0.0")


def protocol() -> Finding:
    """The game's messages."""
    name = "s2clientprotocol"
    return _package(name, name, f"pip install --no-deps {name}=={PROTOCOL_VERSION}")


def protobuf() -> Finding:
    """What the game's messages are made with; any version will do, see dm2.backends.protobuf_loader."""
    version = _version("protobuf")
    if version is None:
        return Finding("protobuf", False, "not installed; pip install protobuf")
    return Finding("protobuf", True, version)


def smac() -> Finding:
    """The field's SMAC; the package index has another project under this name."""
    folders, mend = _folders("smac"), f'pip install --no-deps "smac @ {SMAC_SOURCE}"'
    if not folders:
        return Finding("smac", False, f"not installed; {mend}")
    if any((folder / "env" / "starcraft2").is_dir() for folder in folders):
        return Finding("smac", True, f"{_version('smac') or 'version unknown'} in {folders[0]}")
    found = f"the package in {folders[0]} (version {_version('smac') or 'unknown'})"
    automl = any((folder / "facade").is_dir() for folder in folders)
    what = "AutoML's SMAC3, which the package index calls smac" if automl else "another project of that name"
    return Finding("smac", False, f"{found} is {what}, not StarCraft's; pip uninstall smac, then {mend}")


def try_imports() -> Finding:
    """Whether the packages work together, tried in another process."""
    program = "from dm2.backends.starcraft2_worker import import_smac; import_smac()"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", program]
    try:
        tried = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=_IMPORT_SECONDS)
    except subprocess.TimeoutExpired:
        text = (
            f"smac cannot be imported: no end after {_IMPORT_SECONDS} s; `python -v -c 'import smac.env'` shows where"
        )
        return Finding("imports", False, text)
    if tried.returncode == 0:
        return Finding("imports", True, "smac, pysc2 and protobuf work together")
    why = (tried.stderr.strip().splitlines() or [f"exit code {tried.returncode}"])[-1]
    return Finding("imports", False, f"smac cannot be imported: {why}")


def _package(part: str, name: str, mend: str) -> Finding:
    folders = _folders(name)
    if not folders:
        return Finding(part, False, f"not installed; {mend}")
    return Finding(part, True, f"{_version(name) or 'version unknown'} in {folders[0]}")


def _folders(package: str) -> list[Path]:
    found = importlib.util.find_spec(package)
    return [Path(folder) for folder in found.submodule_search_locations or []] if found else []


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
