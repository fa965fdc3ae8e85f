"""A hash of the code a stage runs: changed equations change it, changed comments, docstrings and layout do not.

It is the same under every version of Python, so that another one trains nothing again.

Snakemake watches a rule's command and not what the command imports. Each rule therefore carries the digest of its
script and of all modules of this package that the script imports, directly or through others, and of the data files
beside them; of units and maps, of those that the stage plays. Settings do not count: their effect stands in the
settings files, which are inputs of the rules. Nor does what shows progress.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Collection
from functools import cache
from pathlib import Path

from dm2.core.imports import imported, is_package, source, syntax_tree
from dm2.settings.base import read_yaml
from dm2.settings.maps import MAPS_FILE, UNITS_FILE, data_of_maps

NEVER_COUNTED = (
    "dm2",
    *("dm2.settings.base", "dm2.settings.demonstrations", "dm2.settings.learners", "dm2.settings.run"),
    *("dm2.training.event_files", "dm2.training.progress"),
)
"""The version; the settings classes, since their effect stands in the settings files; what shows a training alone."""
DIGEST_CHARACTERS = 16


def code_digest(*names: str, leave_out: Collection[str] = (), map_names: Collection[str] | None = None) -> str:
    """Digest of modules of this package and of all they import from this package.

    Args:
        names: the stage's module, e.g. "dm2.scripts.train", and what it only imports by name: `module:attribute`.
        leave_out: modules that the stage imports but does not use, e.g. another engine.
        map_names: maps that the stage is about: of units.yaml and maps.yaml they and their units count. None: all do.

    Returns:
        `DIGEST_CHARACTERS` hexadecimal digits.

    Raises:
        ModuleNotFoundError: the package has no such module.
    """
    maps = None if map_names is None else frozenset(map_names)
    digest = hashlib.sha256(f"{names}\n".encode())
    for name in sorted(counted_modules(*names, leave_out=leave_out)):
        digest.update(f"{name}\n{_module_digest(name)}\n".encode())
        for path in _data_files(name):
            digest.update(f"{path.name}\n{_data_digest(path, maps)}\n".encode())
    return digest.hexdigest()[:DIGEST_CHARACTERS]


def counted_modules(*names: str, leave_out: Collection[str] = ()) -> set[str]:
    """The modules that `code_digest` of the same names is made of."""
    return imported([name.partition(":")[0] for name in names], {*leave_out, *NEVER_COUNTED})


@cache
def _module_digest(module: str) -> str:
    return hashlib.sha256(_rendered(syntax_tree(module)).encode()).hexdigest()


@cache
def _data_digest(path: Path, map_names: frozenset[str] | None) -> str:
    if map_names is not None and path in (MAPS_FILE, UNITS_FILE):
        maps, units = data_of_maps(map_names)
        # The order of keys counts: that of a map's units changes its battles.
        data = ascii((maps if path == MAPS_FILE else units).model_dump()).encode()
    else:
        data = ascii(read_yaml(path)).encode() if path.suffix == ".yaml" else path.read_bytes()
    return hashlib.sha256(data).hexdigest()


@cache
def _data_files(module: str) -> list[Path]:
    """What modules read beside code: all YAML files of a package; of any module, the files beside it that it names."""
    folder = source(module).parent
    strings = {node.value for node in ast.walk(syntax_tree(module)) if isinstance(node, ast.Constant)}
    named = {path for path in folder.iterdir() if path.name in strings and path.is_file()}
    return sorted(named | set(folder.rglob("*.yaml") if is_package(module) else []))


def _rendered(node: object) -> str:
    """A syntax tree as text; nothing for what is absent or empty, such as the fields that later versions add."""
    if node is None:
        return ""
    if isinstance(node, ast.Constant):
        return ascii(node.value)  # not its kind, u"" or ""
    if isinstance(node, ast.AST):
        fields = ((name, _rendered(getattr(node, name, None))) for name in sorted(node._fields))
        return f"{type(node).__name__}({', '.join(f'{name}={text}' for name, text in fields if text)})"
    if isinstance(node, list):
        items = [_rendered(item) for item in node if not _does_nothing(item)]
        return f"[{', '.join(items)}]" if items else ""
    return ascii(node)


def _does_nothing(node: object) -> bool:
    """Whether it is `pass`, or a constant that stands alone: a docstring, the description of a field, `...`."""
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
