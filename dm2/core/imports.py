"""Which modules of this package a module imports, read from their sources without importing them."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def imported(modules: Iterable[str], leave_out: Collection[str] = (), deferred: bool = True) -> set[str]:
    """The modules and all modules of this package that they import, directly or through others.

    Args:
        modules: dotted names.
        leave_out: modules that are not followed and not named.
        deferred: whether imports inside functions and for type checkers alone count.

    Raises:
        ModuleNotFoundError: the package has no such module.
    """
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found and name not in leave_out:
            found.add(name)
            waiting += imports(name, deferred)
    return found


def source(module: str) -> Path:
    """The file of a module of this package.

    Raises:
        ModuleNotFoundError: the package has no such module.
    """
    if not _exists(module):
        raise ModuleNotFoundError(f"no module {module!r} in {PACKAGE}")
    return _path(module) / "__init__.py" if is_package(module) else _path(module).with_suffix(".py")


@cache
def syntax_tree(module: str) -> ast.Module:
    """The parsed source of a module of this package."""
    return ast.parse(source(module).read_bytes())


def is_package(module: str) -> bool:
    """Whether the module is a folder."""
    return (_path(module) / "__init__.py").is_file()


@cache
def imports(module: str, deferred: bool) -> tuple[str, ...]:
    """The modules that a module itself imports, and the packages that they lie in."""
    tree = syntax_tree(module)
    statements = ast.walk(tree) if deferred else _run_at_import(tree.body)
    names = {target for statement in statements for target in _targets(statement, module)}
    with_parents = {
        ".".join(parts[:n]) for parts in (name.split(".") for name in names) for n in range(1, len(parts) + 1)
    }
    return tuple(sorted(name for name in with_parents if name.split(".")[0] == PACKAGE.name and _exists(name)))


def _run_at_import(statements: Iterable[ast.AST]) -> Iterator[ast.AST]:
    for statement in statements:
        yield statement
        if isinstance(statement, ast.If) and getattr(statement.test, "id", None) == "TYPE_CHECKING":
            yield from _run_at_import(statement.orelse)
        elif not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.expr)):
            yield from _run_at_import(ast.iter_child_nodes(statement))


def _targets(node: ast.AST, module: str) -> Iterator[str]:
    """Dotted names an import statement may refer to; `from a import b` may mean module a or module a.b."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        parts = [*module.split("."), "__init__"] if is_package(module) else module.split(".")
        base = ".".join([*parts[: -node.level], *filter(None, [node.module])] if node.level else [node.module or ""])
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names)


def _path(module: str) -> Path:
    return PACKAGE.parent.joinpath(*module.split("."))


def _exists(module: str) -> bool:
    return is_package(module) or _path(module).with_suffix(".py").is_file()
