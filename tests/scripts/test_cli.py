import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.main import get_command
from typer.testing import CliRunner

import dm2
from dm2 import cli
from dm2.backends.make_env import env_spec
from dm2.core.tensor_files import save_tensors
from dm2.learners.interface import build_learner
from dm2.learners.ippo import IPPO
from dm2.play.demonstrations import Demonstrations
from dm2.settings.learners import QuirkSettings
from dm2.settings.matrix import Matrix, Run
from dm2.settings.run import RunSettings
from dm2.training.run import run_identity

REPOSITORY = Path(__file__).parents[2]
CONFIG = str(REPOSITORY / "config")
STAGES = sorted(get_command(cli.app).commands)

DM2 = {
    **{"scale": "smoke", "map_name": "3m", "condition": "dm2_ippo_demo", "seed": 1, "algorithm": "ippo"},
    **{"env_steps": 10, "evaluation_interval": 10, "evaluation_episodes": 2, "reward": "mixed", "ippo": {}},
    "discriminator": {"batch_episodes": 4},
}
"""Settings of a run that learns from demonstrations, but for their source."""


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
    newest = re.search(r"^## (.+)$", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None and newest[1] == dm2.__version__
    assert f"\nversion: {dm2.__version__}\n" in (REPOSITORY / "CITATION.cff").read_text()


def test_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "dm2.cli", "--version"], check=True, capture_output=True, text=True)
    assert done.stdout == f"{dm2.__version__}\n"


def test_settings_are_shown_and_written_alike(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    wanted = [
        "show-settings",
        "5m_vs_6m",
        "dm2_ippo_demo",
        "--scale",
        "paper",
        "--seed",
        "78590",
        "--config-folder",
        CONFIG,
    ]
    assert dm2_command(monkeypatch, *wanted) == 0
    shown = capsys.readouterr().out
    path = tmp_path / "settings.yaml"
    assert dm2_command(monkeypatch, *wanted, "--output", str(path)) == 0
    assert path.read_text() == shown
    settings = RunSettings.from_yaml(path)
    assert settings.seed == 78590
    assert settings.demonstrations is not None
    assert settings.demonstrations.expert_seeds == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show-settings", "5m_vs_6n", "ippo"], "unknown map '5m_vs_6n'; did you mean '5m_vs_6m'?"),
        (["show-settings", "3m", "dm2_ipo_demo"], "unknown condition 'dm2_ipo_demo'; did you mean 'dm2_ippo_demo'?"),
        (["show-settings", "3m", "ippo", "--scale", "papr"], "unknown scale 'papr'; did you mean 'paper'?"),
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
    assert dm2_command(monkeypatch, "draw-figures", "--results", str(tmp_path), "--config-folder", CONFIG) == 1
    assert "make reproduce" in capsys.readouterr().err


def test_a_scripted_policy_is_evaluated(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["evaluate", "--policy", "heuristic", "--map", "3m", "--episodes", "3"]
    assert dm2_command(monkeypatch, *arguments) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["policy"], shown["map_name"], shown["n_episodes"]) == ("heuristic", "3m", 3)
    assert shown["dead_enemies_mean"] > 0
    assert "simulator" in shown["backend"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "found no policy file, expected one, or --policy heuristic|random together with --map"),
        (["--policy", "random"], "found no policy file, expected one, or --policy"),
        (["--policy", "clever", "--map", "3m"], "policy: found 'clever', expected one of heuristic, random"),
        (["--policy", "random", "--map", "3mm"], "unknown map '3mm'; did you mean '3m'?"),
        (["--policy", "random", "--map", "3m", "--backend", "sc2"], "unknown backend 'sc2'"),
        (["--policy", "random", "--map", "3m", "--sample"], "--sample: found it with --policy random"),
        ([__file__, "--map", "3m"], "and --map, expected one of them"),
    ],
)
def test_impossible_evaluations_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert dm2_command(monkeypatch, "evaluate", *arguments) == 1
    shown = capsys.readouterr().err
    assert message in shown
    assert len(shown.splitlines()) == 1


@pytest.mark.parametrize(
    ("command", "option"), [(["evaluate"], "--sample"), (["watch", "--output", "x.html"], "--stochastic")]
)
def test_a_policy_without_probabilities_is_not_sampled_in_silence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    command: list[str],
    option: str,
) -> None:
    settings = Matrix.load(CONFIG, {"scale": "smoke"}).settings(Run("3m", "qmix", 1))
    learner = build_learner(env_spec("simulator", "3m"), settings, None)
    record = {"percent": 100, "env_steps": 0, "settings": settings.model_dump(mode="json")}
    save_tensors(tmp_path / "100.safetensors", learner.policy_state(), kind="policy", metadata=record)
    assert dm2_command(monkeypatch, *command, str(tmp_path / "100.safetensors"), option) == 1
    shown = capsys.readouterr().err
    assert f"{option}: {tmp_path}/100.safetensors is of qmix, which has no probabilities to sample from" in shown


def test_help_is_shown_on_a_terminal_of_any_encoding() -> None:
    command = [sys.executable, "-c", "from dm2.cli import main; main()", "--help"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii:strict"}
    shown = subprocess.run(command, capture_output=True, check=True, env=environment).stdout.decode("ascii")
    assert "Usage" in shown and "DM\\xb2" in shown


def test_a_scripted_expert_is_sampled_and_takes_no_policy_files(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    settings, archive = tmp_path / "heuristic.yaml", tmp_path / "heuristic.npz"
    source = {"expert": "heuristic", "expert_seeds": [3, 4, 5], "episodes": 4, "joint": False, "epsilon": 0.1}
    settings.write_text(json.dumps({"scale": "smoke", "map_name": "3m", "source": source}))
    wanted = ["sample-demonstrations", "--settings", str(settings), "--output", str(archive)]
    assert dm2_command(monkeypatch, *wanted, __file__) == 1
    assert "policies: found 1, expected none: the settings' expert is 'heuristic'" in capsys.readouterr().err
    assert dm2_command(monkeypatch, *wanted) == 0
    demonstrations = Demonstrations.load(archive, env_spec("simulator", "3m"), episodes=4)
    assert (demonstrations.n_agents, demonstrations.n_episodes) == (3, 4)
    assert demonstrations.metadata["experts"] == [{"condition": "heuristic"}] * 3
    assert demonstrations.metadata["expert"] == "heuristic"
    assert np.array_equal(demonstrations.agents[0].lengths, demonstrations.agents[1].lengths)  # a mixed team's battles


def test_a_trained_expert_needs_its_policy_files(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    settings = tmp_path / "ippo.yaml"
    settings.write_text(json.dumps({"scale": "smoke", "map_name": "3m", "source": {"expert": "ippo"}}))
    assert (
        dm2_command(
            monkeypatch, "sample-demonstrations", "--settings", str(settings), "--output", str(tmp_path / "x.npz")
        )
        == 1
    )
    assert "policies: found 0, expected one, the expert's, as keep-expert leaves it" in capsys.readouterr().err


def write_policy(path: Path, seed: int) -> Path:
    """An untrained policy of IPPO on 3m, as a run leaves it."""
    spec, blocks = env_spec("simulator", "3m"), {"ippo": {"hidden_size": 8}}
    run = {"scale": "smoke", "map_name": "3m", "condition": "ippo", "seed": seed, "algorithm": "ippo"}
    lengths = {"env_steps": 10, "evaluation_interval": 10, "evaluation_episodes": 2}
    settings = RunSettings.model_validate(run | lengths | blocks)
    assert settings.ippo is not None
    learner = IPPO(spec, settings.ippo, QuirkSettings(), seed)
    metadata = {"settings": settings.model_dump(mode="json"), "percent": 100, "env_steps": 10}
    save_tensors(path, learner.policy_state(), kind="policy", metadata=metadata)
    return path


def test_the_expert_given_is_sampled_and_another_expert_makes_another_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings, spec = tmp_path / "ippo.yaml", env_spec("simulator", "3m")
    source = {"expert": "ippo", "episodes": 8}
    settings.write_text(json.dumps({"scale": "smoke", "map_name": "3m", "source": source, "greedy_episodes": 12}))
    run = RunSettings.model_validate(DM2 | {"demonstrations": source})
    identities = []
    for seed in (5, 6):
        policy, archive = write_policy(tmp_path / f"{seed}.safetensors", seed), tmp_path / f"{seed}.npz"
        sample = ["sample-demonstrations", "--settings", str(settings), "--output", str(archive)]
        assert dm2_command(monkeypatch, *sample, str(policy)) == 0
        demonstrations = Demonstrations.load(archive, spec, episodes=8)
        assert demonstrations.metadata["sampling_seeds"] == [seed]
        assert demonstrations.metadata["sampled_episodes"] == 8
        assert demonstrations.metadata["greedy_episodes"] == 12 and "greedy_win_rate" in demonstrations.metadata
        assert [expert["seed"] for expert in demonstrations.metadata["experts"]] == [seed]
        identities.append(run_identity(run, spec, demonstrations))
    first, second = identities
    assert {key for key in first if first[key] != second[key]} == {"demonstrations"}


def test_a_run_without_the_demonstrations_that_it_needs_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    settings, run = tmp_path / "settings.yaml", tmp_path / "run"
    wanted = ["--scale", "smoke", "--output", str(settings), "--config-folder", CONFIG]
    train = ["train", "--settings", str(settings), "--run-directory", str(run)]
    for condition, given, message in (
        ("dm2_ippo_demo", [], "needs demonstrations, found none: name an archive (--demonstrations)"),
        ("ippo", ["--demonstrations", __file__], "needs no demonstrations, found some: leave it out"),
    ):
        assert dm2_command(monkeypatch, "show-settings", "3m", condition, *wanted) == 0
        assert dm2_command(monkeypatch, *train, *given) == 1
        assert f"error: condition '{condition}' with reward" in (shown := capsys.readouterr().err) and message in shown
    assert not run.exists()


@pytest.mark.parametrize("asked", ["by flag", "by environment"])
def test_event_files_without_their_package_stop_the_training_before_it_begins(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, asked: str
) -> None:
    settings, run = tmp_path / "settings.yaml", tmp_path / "run"
    assert (
        dm2_command(monkeypatch, "show-settings", "3m", "ippo", "--output", str(settings), "--config-folder", CONFIG)
        == 0
    )
    monkeypatch.setattr("dm2.training.event_files.find_spec", lambda name: None)
    monkeypatch.setenv("DM2_TENSORBOARD", "1" if asked == "by environment" else "")
    flag = ["--tensorboard"] if asked == "by flag" else []
    assert dm2_command(monkeypatch, "train", "--settings", str(settings), "--run-directory", str(run), *flag) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("error: --tensorboard: found no package tensorboard")
    assert len(shown.splitlines()) == 1
    assert not run.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"map_name": "3mm"}, "error: unknown map '3mm'; did you mean '3m'?\n"),
        ({"backend": "simulater"}, "error: unknown backend 'simulater'; did you mean 'simulator'?\n"),
    ],
)
def test_a_run_of_an_unknown_map_or_backend_is_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    changes: dict[str, str],
    message: str,
) -> None:
    wanted = ["show-settings", "3m", "ippo", "--scale", "smoke", "--seed", "112358", "--config-folder", CONFIG]
    assert dm2_command(monkeypatch, *wanted, "--output", str(tmp_path / "right.yaml")) == 0
    wrong = RunSettings.from_yaml(tmp_path / "right.yaml").model_copy(update=changes)
    wrong.to_yaml(tmp_path / "settings.yaml")
    train = ["train", "--settings", str(tmp_path / "settings.yaml"), "--run-directory", str(tmp_path / "run")]
    assert dm2_command(monkeypatch, *train) == 1
    assert capsys.readouterr().err == message


def test_a_report_without_figures_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    tables = str(REPOSITORY / "results" / "quick")
    assert dm2_command(monkeypatch, "write-report", "--results", tables, "--output", str(page)) == 0
    assert "<h2>Win rates</h2>" in page.read_text(encoding="utf-8")
