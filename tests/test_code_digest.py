import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from dm2 import code_digest as subject
from dm2 import imports
from dm2.code_digest import code_digest

FILES = {
    "__init__.py": "",
    "stage.py": "from pkg.equation import double\nimport pkg.engine\n\nx = double(1)\n",
    "equation.py": 'def double(x):\n    """Twice x."""\n    return 2 * x  # the equation\n',
    "other.py": "y = 1\n",
    "engine/__init__.py": "from .kernel import step\n",
    "engine/kernel.py": "def step():\n    import pkg.deferred\n",
    "engine/units.yaml": "Marine: {health: 45}  # full\n",
    "deferred.py": "z = 1\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    root = tmp_path / "pkg"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.setattr(imports, "PACKAGE", root)
    monkeypatch.setattr(subject, "SETTLED_ELSEWHERE", ("pkg",))
    forget()
    yield root
    monkeypatch.undo()
    forget()


def forget() -> None:
    for cached in (imports._imports, imports.syntax_tree, subject._module_digest):
        cached.cache_clear()


def digest_after(package: Path, name: str, text: str) -> str:
    (package / name).write_text(text)
    forget()
    return code_digest("pkg.stage")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("equation.py", 'def double(x):\n    """x, two times."""\n\n    # another comment\n    return 2 * (x)\n'),
        ("engine/units.yaml", "# a comment\nMarine:\n  health: 45\n"),
        ("other.py", "y = 2\n"),
        ("__init__.py", '__version__ = "2"\n'),
    ],
)
def test_comments_docstrings_layout_and_unused_modules_do_not_count(package: Path, name: str, text: str) -> None:
    before = code_digest("pkg.stage")
    assert digest_after(package, name, text) == before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("stage.py", FILES["stage.py"] + "x += 1\n"),
        ("equation.py", "def double(x):\n    return 3 * x\n"),
        ("engine/kernel.py", "def step():\n    import pkg.other\n"),
        ("engine/units.yaml", "Marine: {health: 46}\n"),
        ("deferred.py", "z = 2\n"),
    ],
)
def test_changed_code_and_data_of_any_imported_module_count(package: Path, name: str, text: str) -> None:
    before = code_digest("pkg.stage")
    assert digest_after(package, name, text) != before


def test_modules_left_out_do_not_count(package: Path) -> None:
    before = code_digest("pkg.stage", leave_out=["pkg.equation"])
    (package / "equation.py").write_text("def double(x):\n    return 3 * x\n")
    forget()
    assert code_digest("pkg.stage", leave_out=["pkg.equation"]) == before


def test_unknown_module_is_refused(package: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"no module 'pkg\.stag'"):
        code_digest("pkg.stag")


def test_the_package_itself_holds_its_version_alone() -> None:
    tree = ast.parse((Path(subject.__file__).parent / "__init__.py").read_text())
    assert [type(node) for node in tree.body] == [ast.Expr, ast.Assign]
