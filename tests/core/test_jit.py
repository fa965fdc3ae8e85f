"""Machine code on disk that is never older than its sources, in copies of the package that the tests edit."""

import ast
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import dm2
from dm2.core import jit
from dm2.core.imports import imported

PACKAGE = Path(dm2.__file__).parent
IMPORT = "from dm2.core.jit import njit\n"
PARTS_OF_THE_SIMULATOR = (
    *("attacks", "compiled", "creation", "deciding", "draws", "geometry", "observing", "paths", "records"),
    *("rules_of_smac", "walking"),
)
PROGRAM = """
import numpy as np
from dm2.kernels_of_test import curve
out = curve(np.float64(2.0))
print(f"{out:.6f}", sum(curve.stats.cache_hits.values()), sum(curve.stats.cache_misses.values()))
"""
CREATION = """
from dm2.battle.creation import create_sides
from dm2.battle.scenario import load_scenario
kinds, stats = load_scenario("3m").kinds, create_sides.stats
print(*kinds["spawn_x"][:2].round(4), sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package with a kernel of its own that takes a function and a constant from other modules."""
    copy = tmp_path / "dm2"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "helper_of_test.py").write_text(IMPORT + "@njit(inline='always')\ndef double(x):\n    return 2.0 * x\n")
    (copy / "constant_of_test.py").write_text("OFFSET = 1.0\n")
    (copy / "kernels_of_test.py").write_text(
        IMPORT + "from dm2.constant_of_test import OFFSET\nfrom dm2.helper_of_test import double\n"
        "@njit(cache=True)\ndef curve(x):\n    return double(x) + OFFSET\n"
    )
    return copy


def environment(package: Path, **variables: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    return {**inherited, "PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1", **variables}


def play(package: Path, program: str = PROGRAM, limit: Callable[[], None] | None = None, **variables: str) -> list[str]:
    """Standard output's words, then standard error's lines, of a program that uses the copy."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=package.parent,
        env=environment(package, **variables),
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return [*done.stdout.split(), *done.stderr.splitlines()]


def kept(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.nbc"))


def test_an_unchanged_tree_loads_what_an_edited_one_compiles_again(package: Path) -> None:
    assert play(package) == ["5.000000", "0", "1"]
    assert play(package) == ["5.000000", "1", "0"]
    (package / "helper_of_test.py").write_text(IMPORT + "@njit(inline='always')\ndef double(x):\n    return 3.0 * x\n")
    assert play(package) == ["7.000000", "0", "1"]
    (package / "constant_of_test.py").write_text("OFFSET = 2.0\n")
    assert play(package) == ["8.000000", "0", "1"]
    (package / "constant_of_test.py").write_text("OFFSET = 1.0\n")
    assert play(package) == ["7.000000", "1", "0"], "the folder of the earlier sources is still there"
    (package / "cli.py").write_text("")
    assert play(package) == ["7.000000", "1", "0"], "what the kernel does not import does not count"


def test_an_edited_part_of_the_simulator_is_compiled_again(package: Path) -> None:
    assert play(package, CREATION) == ["8.3115", "9.0", "0", "1"]  # 11/16 and 1/1024 apart
    assert play(package, CREATION) == ["8.3115", "9.0", "1", "0"]
    part = package / "battle" / "geometry.py"
    part.write_text(part.read_text().replace("FIXED_POINT = 4096.0", "FIXED_POINT = 2.0"))
    assert play(package, CREATION) == ["8.5", "9.0", "0", "1"]


@pytest.mark.parametrize(
    ("module", "of"),
    [
        *((f"dm2.battle.{part}", "dm2.battle.kernel") for part in PARTS_OF_THE_SIMULATOR),
        ("dm2.battle.records", "dm2.battle.creation"),
        ("dm2.nets.kernels", "dm2.learners.ppo_kernels"),
        ("dm2.nets.kernels", "dm2.nets.recurrence"),
        ("dm2.nets.kernels", "dm2.nets.sequence_kernels"),
        ("dm2.core.jit", "dm2.learners.discriminator_kernels"),
    ],
)
def test_kernels_know_the_modules_that_their_constants_and_helpers_come_from(module: str, of: str) -> None:
    assert module in imported([of], deferred=False)


def test_imports_that_nothing_runs_at_import_do_not_count() -> None:
    assert "dm2.settings.base" in imported(["dm2.learners.ippo_kernels"])
    assert "dm2.settings.base" not in imported(["dm2.learners.ippo_kernels"], deferred=False)


def test_old_folders_do_not_pile_up(package: Path) -> None:
    for number in range(jit.FOLDERS_KEPT + 2):
        (package / "constant_of_test.py").write_text(f"OFFSET = {number}.0\n")
        play(package)
    files = kept(package / "__pycache__" / "machine_code" / "dm2.kernels_of_test")
    assert len(files) == jit.FOLDERS_KEPT
    assert play(package)[1:] == ["1", "0"], "the newest folder is among them"


def test_a_folder_is_used_that_numbas_variable_names(package: Path, tmp_path: Path) -> None:
    play(package, NUMBA_CACHE_DIR=str(tmp_path / "named"))
    assert len(kept(tmp_path / "named" / "dm2")) == 1 and not kept(package)


def test_the_users_cache_is_used_where_the_package_cannot_be_written(package: Path, tmp_path: Path) -> None:
    (package / "__pycache__").write_text("a file where the folder would be")
    assert play(package, XDG_CACHE_HOME=str(tmp_path / "home")) == ["5.000000", "0", "1"]
    assert len(kept(tmp_path / "home" / "dm2")) == 1
    assert play(package, XDG_CACHE_HOME=str(tmp_path / "home")) == ["5.000000", "1", "0"]


def test_nowhere_to_write_is_one_line_of_warning(package: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where the folder would be")
    twice = PROGRAM + "curve(1)\n"  # another signature, the same warning
    *result, warning = play(package, twice, NUMBA_CACHE_DIR=str(tmp_path / "taken"))
    assert result == ["5.000000", "0", "1"]
    assert str(tmp_path / "taken") in warning and "NUMBA_CACHE_DIR" in warning


def test_the_warning_names_every_place(package: Path, tmp_path: Path) -> None:
    for taken in (package / "__pycache__", tmp_path / "home"):
        taken.write_text("a file where the folder would be")
    *_, warning = play(package, XDG_CACHE_HOME=str(tmp_path / "home"))
    assert str(package / "__pycache__") in warning and str(tmp_path / "home") in warning


def test_without_a_home_the_package_alone_is_tried(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setattr("numba.config.CACHE_DIR", "")
    assert jit.places() == [PACKAGE / "__pycache__" / "machine_code"]


def test_a_full_disk_is_one_line_of_warning_and_leaves_no_file(package: Path, tmp_path: Path) -> None:
    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))

    *result, warning = play(package, limit=no_room, NUMBA_CACHE_DIR=str(tmp_path / "full"))
    assert result == ["5.000000", "0", "1"]
    assert "File too large" in warning
    assert not [path for path in (tmp_path / "full").rglob("*") if path.is_file()]


def test_damaged_files_are_compiled_again(package: Path) -> None:
    play(package)
    (file,) = kept(package)
    whole = file.read_bytes()
    for damaged in (b"", whole[:1000], whole[:-1] + bytes([whole[-1] ^ 1]), bytes(len(whole))):
        file.write_bytes(damaged)
        assert play(package) == ["5.000000", "0", "1"]
        assert play(package) == ["5.000000", "1", "0"]


def test_processes_may_compile_at_once(package: Path) -> None:
    programs = [PROGRAM.replace("np.float64(2.0)", value) for value in ("np.float64(2.0)", "np.int64(2)", "np.int8(2)")]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", one], cwd=package.parent, env=environment(package), stdout=-1, text=True
        )
        for one in programs * 2
    ]
    shown = [process.communicate(timeout=300)[0].split()[0] for process in started]
    assert shown == ["5.000000"] * 6
    assert [play(package, one) for one in programs] == [["5.000000", "1", "0"]] * 3


def test_kernels_are_compiled_by_this_module_alone() -> None:
    def compilers(path: Path) -> set[str]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "numba":
                found |= {alias.name for alias in node.names}
        return found & {"jit", "njit", "vectorize", "guvectorize", "cfunc", "stencil"}

    users = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if compilers(path)}
    assert users == {"core/jit.py"}
