import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import dm2
from dm2 import cli
from dm2.config import RunSettings

CONFIG = str(Path(__file__).parent.parent / "config")
STAGES = ["settings", "train", "sample", "evaluate", "aggregate-runs", "aggregate-demonstrations"]
STAGES += ["claims", "figure", "figures", "report"]


def dm2_command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command as a shell would; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["dm2", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_explains_itself(stage: str) -> None:
    shown = CliRunner().invoke(cli.app, [stage, "--help"])
    assert shown.exit_code == 0
    assert "Usage" in shown.output


def test_help_lists_the_stages_and_starts_neither_torch_nor_numba() -> None:
    program = (
        "import sys; from typer.testing import CliRunner; from dm2.cli import app;"
        "print(CliRunner().invoke(app, ['--help']).output); print({'torch', 'numba', 'pandas'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert all(stage in shown for stage in STAGES)
    assert shown.strip().endswith("set()")


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert dm2_command(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.strip() == dm2.__version__


def test_settings_are_shown_and_written_alike(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    wanted = ["settings", "5m_vs_6m", "dm2_ippo_demo", "--scale", "paper", "--seed", "78590", "--config-folder", CONFIG]
    assert dm2_command(monkeypatch, *wanted) == 0
    shown = capsys.readouterr().out
    path = tmp_path / "settings.yaml"
    assert dm2_command(monkeypatch, *wanted, "--output", str(path)) == 0
    assert path.read_text() == shown
    settings = RunSettings.from_yaml(path)
    assert settings.seed == 78590
    assert settings.demonstrations is not None
    assert settings.demonstrations.expert_seeds == (112358,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["settings", "5m_vs_6n", "ippo"], "unknown map '5m_vs_6n'; did you mean '5m_vs_6m'?"),
        (["settings", "3m", "dm2_ipo_demo"], "unknown condition 'dm2_ipo_demo'; did you mean 'dm2_ippo_demo'?"),
        (["settings", "3m", "ippo", "--scale", "papr"], "unknown scale 'papr'; did you mean 'paper'?"),
    ],
)
def test_what_a_user_can_mend_is_one_line_without_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert dm2_command(monkeypatch, *arguments, "--config-folder", CONFIG) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert message in shown
    assert len(shown.splitlines()) == 1


def test_figures_without_tables_say_how_to_make_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert dm2_command(monkeypatch, "figures", "--results", str(tmp_path), "--config-folder", CONFIG) == 1
    assert "make reproduce" in capsys.readouterr().err
