"""A hash of the code a stage runs: changed equations change it, changed comments, docstrings and layout do not.

Snakemake watches a rule's command and not what the command imports. Each rule therefore carries the digest of its
script and of all modules of this package that the script imports, directly or through others, and of the data files
beside them. Settings do not count: their effect stands in the settings files, which are inputs of the rules.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Collection
from functools import cache
from pathlib import Path

from dm2.config import read_yaml
from dm2.imports import imported, is_package, source, syntax_tree

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
    digest = hashlib.sha256()
    for name in sorted(imported(modules, {*leave_out, *SETTLED_ELSEWHERE})):
        digest.update(f"{name}\n{_module_digest(name)}\n".encode())
    return digest.hexdigest()[:DIGEST_CHARACTERS]


@cache
def _module_digest(module: str) -> str:
    digest = hashlib.sha256(ast.dump(_without_docstrings(module)).encode())
    for path in _data_files(module):
        digest.update(json.dumps(read_yaml(path), sort_keys=True, default=str).encode())
    return digest.hexdigest()


def _data_files(module: str) -> list[Path]:
    """YAML files of a package, where its modules read their data from."""
    return sorted(source(module).parent.rglob("*.yaml")) if is_package(module) else []


def _without_docstrings(module: str) -> ast.Module:
    """The module without strings that stand alone as statements: docstrings and the descriptions of fields."""
    tree = syntax_tree(module)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not _is_bare_string(one)]  # type: ignore[attr-defined]
    return tree


def _is_bare_string(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
