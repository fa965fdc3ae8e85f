import ast
import hashlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import dm2
from dm2.core import imports
from dm2.settings import code_digest as subject
from dm2.settings import maps
from dm2.settings.code_digest import code_digest
from dm2.settings.files import Layer, merge
from dm2.settings.maps import MapData, UnitData, map_data, unit_data

CACHED = (subject._module_digest, subject._data_files, subject._data_digest)
FILES = {
    "__init__.py": "",
    "stage.py": "from pkg.equation import double\nimport pkg.engine\n\nx = double(1)\npage = 'page.html'\n",
    "page.html": "<p>",
    "other.html": "<p>",
    "equation.py": 'def double(x):\n    """Twice x."""\n    return 2 * x  # the equation\n',
    "other.py": "y = 1\n",
    "engine/__init__.py": "from .kernel import step\n",
    "engine/kernel.py": "def step():\n    import pkg.deferred\n",
    "engine/units.yaml": "Marine: {health: 45}  # full\nZealot: {health: 100}\n",
    "deferred.py": "z = 1\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    root = tmp_path / "pkg"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.setattr(imports, "PACKAGE", root)
    monkeypatch.setattr(subject, "NEVER_COUNTED", ("pkg",))
    forget()
    yield root
    monkeypatch.undo()
    forget()


def forget() -> None:
    for cached in (imports.imports, imports.syntax_tree, *CACHED):
        cached.cache_clear()


def digest_after(package: Path, name: str, text: str) -> str:
    (package / name).write_text(text)
    forget()
    return code_digest("pkg.stage")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("equation.py", 'def double(x):\n    """x, two times."""\n\n    # another comment\n    return 2 * (x)\n'),
        ("engine/units.yaml", "# a comment\nMarine:\n  health: 45\nZealot:\n  health: 100\n"),
        ("equation.py", "def double(x):\n    ...\n    pass\n    return 2 * x\n"),
        ("other.py", "y = 2\n"),
        ("other.html", "<br>"),
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
        ("engine/units.yaml", FILES["engine/units.yaml"].replace("45", "46")),
        ("engine/units.yaml", "Zealot: {health: 100}\nMarine: {health: 45}\n"),
        ("page.html", "<br>"),
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


def test_what_is_looked_up_by_name_counts(package: Path) -> None:
    one, other = code_digest("pkg.stage", "pkg.equation:double"), code_digest("pkg.stage", "pkg.equation:halve")
    assert one != other


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def f(*, a): 1", "def f(*, a=None): 1"),
        ("x = {None: y}", "x = {**y}"),
        ("x = True", "x = 1"),
        ("x = 1", "x = 1.0"),
        ("x = 'a'", "x = b'a'"),
        ("x = 'a'", "x = a"),
        ("f'{x}'", "f'{x!r}'"),
        ("if x: y()", "if x: pass\nelse: y()"),
    ],
)
def test_other_programs_are_rendered_otherwise(one: str, other: str) -> None:
    assert subject._rendered(ast.parse(one)) != subject._rendered(ast.parse(other))


def test_fields_that_are_absent_or_empty_are_the_same() -> None:
    """Python 3.12 adds `type_params`, which 3.11 has not, to functions and classes."""
    absent = ast.FunctionDef(name="f", args=ast.arguments(args=[]), body=[ast.Return()])
    empty = ast.FunctionDef(
        name="f", args=ast.arguments(kwarg=None), body=[ast.Return()], decorator_list=[], returns=None
    )
    assert (
        subject._rendered(absent)
        == subject._rendered(empty)
        == "FunctionDef(args=arguments(), body=[Return()], name='f')"
    )


# Made by Python 3.11.7, 3.12.7, 3.13.2 and 3.14.2, all alike.
RECORDED = "2cb016c3bce24617"
PROGRAM = """
import ast, hashlib, sys, types

# It needs pydantic, which another Python may lack.
sys.modules["dm2.settings.base"] = types.ModuleType("dm2.settings.base")
sys.modules["dm2.settings.base"].read_yaml = None
sys.modules["dm2.settings.maps"] = maps = types.ModuleType("dm2.settings.maps")
maps.MAPS_FILE = maps.UNITS_FILE = maps.data_of_maps = None
from dm2.settings.code_digest import _rendered

print(hashlib.sha256(_rendered(ast.parse(sys.stdin.buffer.read())).encode()).hexdigest()[:16])
"""
CONSTRUCTS = Path(__file__).parents[1] / "support" / "constructs.py.txt"


def test_a_program_of_all_constructs_has_the_recorded_digest() -> None:
    rendered = subject._rendered(ast.parse(CONSTRUCTS.read_bytes()))
    assert hashlib.sha256(rendered.encode()).hexdigest()[:16] == RECORDED


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_every_python_on_this_machine_renders_the_same(version: str) -> None:
    python = shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "--version"], capture_output=True).returncode != 0:
        pytest.skip(f"no python{version} here, or only a shim of pyenv")
    root = Path(dm2.__file__).parents[1]
    done = subprocess.run(
        [python, "-c", PROGRAM], cwd=root, input=CONSTRUCTS.read_bytes(), capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == RECORDED


def test_the_viewers_page_is_data_of_the_module_that_fills_it() -> None:
    assert [path.name for path in subject._data_files("dm2.viewer.watch")] == ["viewer.html"]


def test_every_data_file_of_the_package_counts_for_some_module() -> None:
    root = Path(dm2.__file__).parent
    modules = [".".join(path.relative_to(root.parent).with_suffix("").parts) for path in root.rglob("*.py")]
    counted = {file for module in modules for file in subject._data_files(module.removesuffix(".__init__"))}
    data = {path for path in root.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc", ".nbc", ".nbi")}
    assert data - counted == {root / "py.typed"}


def digests_of_maps() -> dict[str, str]:
    """The digest of what makes battles, for each shipped map."""
    return {name: code_digest("dm2.battle.scenario", map_names=[name]) for name in SHIPPED}


SHIPPED = tuple(map_data().maps)
NEW_UNIT = {"units": {"Scarecrow": unit_data().units["Marine"].model_dump() | {"weapons": ["Straw"]}}}
NEW_WEAPON = {"weapons": {"Straw": unit_data().weapons["GaussRifle"].model_dump()}}
NEW_MAP = {"maps": {"2m_vs_3sc": map_data().maps["3m"].model_dump() | {"enemies": {"Scarecrow": 3}}}}


@pytest.fixture
def ship(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Layer, Layer], None]]:
    """Takes units.yaml and maps.yaml that are to be the package's."""

    def take(units: Layer, battle_maps: Layer) -> None:
        new_units, new_maps = UnitData.model_validate(units), MapData.model_validate(battle_maps)
        monkeypatch.setattr(maps, "unit_data", lambda: new_units)
        monkeypatch.setattr(maps, "map_data", lambda: new_maps)
        subject._data_digest.cache_clear()

    yield take
    monkeypatch.undo()
    subject._data_digest.cache_clear()


def with_unit(name: str) -> set[str]:
    return {key for key, one in map_data().maps.items() if name in one.allies or name in one.enemies}


def on_arena(name: str) -> set[str]:
    return {key for key, one in map_data().maps.items() if one.arena == name}


@pytest.mark.parametrize(
    ("in_units", "in_maps", "changed"),
    [
        ({}, {}, set()),
        (merge(NEW_UNIT, NEW_WEAPON), merge(NEW_MAP, {"arenas": {"moon": {"bounds": [0, 0, 32, 32]}}}), set()),
        ({"units": {"Zealot": {"health": 101}}}, {}, with_unit("Zealot")),
        ({"units": {"Medivac": {"heal": {"range": 5}}}}, {}, {"MMM", "MMM2"}),
        ({"weapons": {"GaussRifle": {"damage": 7}}}, {}, with_unit("Marine")),
        ({}, {"arenas": {"round": {"cliff": [10, 10, 11, 11]}}}, on_arena("round")),
        ({}, {"maps": {"3m": {"episode_limit": 61}}}, {"3m"}),
        ({}, {"playable_size": 29}, set(SHIPPED)),
    ],
    ids=["nothing", "additions", "unit", "healer", "weapon", "arena", "map", "all maps"],
)
def test_a_map_counts_by_its_own_units_and_ground(
    ship: Callable[[Layer, Layer], None], in_units: Layer, in_maps: Layer, changed: set[str]
) -> None:
    before = digests_of_maps()
    ship(merge(unit_data().model_dump(), in_units), merge(map_data().model_dump(), in_maps))
    after = digests_of_maps()
    assert {name for name in SHIPPED if before[name] != after[name]} == changed


def test_the_order_of_a_maps_units_counts(ship: Callable[[Layer, Layer], None]) -> None:
    before = digests_of_maps()
    data = map_data().model_dump()
    data["maps"]["2s3z"]["allies"] = dict(reversed(data["maps"]["2s3z"]["allies"].items()))
    ship(unit_data().model_dump(), data)
    after = digests_of_maps()
    assert {name for name in SHIPPED if before[name] != after[name]} == {"2s3z"}


def test_the_rules_of_battle_count_whole_for_every_map(package: Path) -> None:
    """As all data do but those of units and maps."""
    before = code_digest("pkg.stage", map_names=["3m"])
    (package / "engine" / "units.yaml").write_text("Marine: {health: 45}\n")
    forget()
    assert code_digest("pkg.stage", map_names=["3m"]) != before


def test_unknown_module_is_refused(package: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"no module 'pkg\.stag'"):
        code_digest("pkg.stag")


def test_the_package_itself_holds_its_version_alone() -> None:
    tree = ast.parse(Path(dm2.__file__).read_text())
    assert [type(node) for node in tree.body] == [ast.Expr, ast.Assign]
