"""`dm2 doctor`."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from dm2 import cli
from dm2.backends.installation import Finding
from dm2.scripts import doctor


def test_without_starcraft_it_says_what_is_missing_and_that_it_is_optional(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SC2PATH", str(tmp_path))
    shown = CliRunner().invoke(cli.app, ["doctor"])
    assert shown.exit_code == 0
    lines = shown.output.splitlines()
    assert lines[0].startswith("ok       simulator")
    assert "optional" in shown.output
    assert any(line.startswith("MISSING  game") and str(tmp_path) in line for line in lines)
    assert any(line.startswith("MISSING  maps") for line in lines)
    assert lines[-1] == "backend starcraft2 cannot be used yet; everything else works without it"


def test_a_complete_installation_is_praised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dm2.backends.installation.inspect_installation", lambda: [Finding("game", True, "build 1")])
    monkeypatch.setattr("dm2.backends.installation.try_imports", lambda: Finding("imports", True, "together"))
    shown = CliRunner().invoke(cli.app, ["doctor"])
    assert shown.exit_code == 0
    assert "ok       imports           together" in shown.output
    assert "everything that backend starcraft2 needs is there" in shown.output


def test_it_says_where_machine_code_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path))
    assert f"ok       machine code      kept in {tmp_path / 'dm2'}" in CliRunner().invoke(cli.app, ["doctor"]).output


def test_nowhere_to_keep_machine_code_is_said_and_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file where the folder would be")
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path / "taken"))
    shown = CliRunner().invoke(cli.app, ["doctor"])
    assert shown.exit_code == 0
    assert f"MISSING  machine code      cannot be kept in {tmp_path / 'taken' / 'dm2'}" in shown.output
    assert "NUMBA_CACHE_DIR" in shown.output


def test_a_simulator_that_does_not_start_is_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise ImportError("numba is not installed")

    monkeypatch.setattr("dm2.backends.make_env.make_env", broken)
    shown = CliRunner().invoke(cli.app, ["doctor"])
    assert shown.exit_code == 1
    assert "MISSING  simulator         does not start: numba is not installed" in shown.output
    assert doctor.simulator().good is False
