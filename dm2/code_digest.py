"""A hash of the code a stage runs: changed equations change it, changed comments, docstrings and layout do not.

Snakemake watches a rule's command and not what the command imports. Each rule therefore carries the digest of its
script and of all modules of this package that the script imports, directly or through others, and of the data files
beside them. Settings do not count: their effect stands in the settings files, which are inputs of the rules.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from pathlib import Path

from dm2.config import read_yaml

PACKAGE = Path(__file__).parent
SETTLED_ELSEWHERE = ("dm2", "dm2.config")
"""Modules that never count: the version, and the settings classes."""
DIGEST_CHARACTERS = 16


def code_digest(*modules: str, leave_out: Collection[str] = ()) -> str:
    """Digest of modules of this package and of all they import from this package.

    Args:
        modules: dotted names: the stage, e.g. "dm2.scripts.train", and what it only imports by name.
        leave_out: modules that the stage imports but does not use, e.g. another engine.

    Returns:
        `DIGEST_CHARACTERS` hexadecimal digits.

    Raises:
        ModuleNotFoundError: the package has no such module.
    """
    for module in modules:
        _source(module)
    digest = hashlib.sha256()
    for name in sorted(_imported(modules, {*leave_out, *SETTLED_ELSEWHERE})):
        digest.update(f"{name}\n{_module_digest(name)}\n".encode())
    return digest.hexdigest()[:DIGEST_CHARACTERS]


def _imported(modules: Iterable[str], leave_out: Collection[str]) -> set[str]:
    """The modules and all modules of this package they import, transitively."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found and name not in leave_out:
            found.add(name)
            waiting += _imports(name)
    return found


@cache
def _imports(module: str) -> tuple[str, ...]:
    names = {target for node in ast.walk(_syntax_tree(module)) for target in _targets(node, module)}
    with_parents = {
        ".".join(parts[:n]) for parts in (name.split(".") for name in names) for n in range(1, len(parts) + 1)
    }
    return tuple(sorted(name for name in with_parents if name.split(".")[0] == PACKAGE.name and _exists(name)))


def _targets(node: ast.AST, module: str) -> Iterator[str]:
    """Dotted names an import statement may refer to; `from a import b` may mean module a or module a.b."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        parts = [*module.split("."), "__init__"] if _is_package(module) else module.split(".")
        base = ".".join([*parts[: -node.level], *filter(None, [node.module])] if node.level else [node.module or ""])
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names)


@cache
def _module_digest(module: str) -> str:
    digest = hashlib.sha256(ast.dump(_syntax_tree(module)).encode())
    for path in _data_files(module):
        digest.update(json.dumps(read_yaml(path), sort_keys=True, default=str).encode())
    return digest.hexdigest()


def _data_files(module: str) -> list[Path]:
    """YAML files of a package, where its modules read their data from."""
    return sorted(_source(module).parent.rglob("*.yaml")) if _is_package(module) else []


@cache
def _syntax_tree(module: str) -> ast.Module:
    """The module without strings that stand alone as statements: docstrings and the descriptions of fields."""
    tree = ast.parse(_source(module).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not _is_bare_string(one)]  # type: ignore[attr-defined]
    return tree


def _is_bare_string(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _path(module: str) -> Path:
    return PACKAGE.parent.joinpath(*module.split("."))


def _is_package(module: str) -> bool:
    return (_path(module) / "__init__.py").is_file()


def _exists(module: str) -> bool:
    return _is_package(module) or _path(module).with_suffix(".py").is_file()


def _source(module: str) -> Path:
    if not _exists(module):
        raise ModuleNotFoundError(f"code digest: no module {module!r} in {PACKAGE}")
    return _path(module) / "__init__.py" if _is_package(module) else _path(module).with_suffix(".py")
