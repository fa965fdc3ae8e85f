"""The commands of docs/reproduction.md plan what they say, and together all that the paper ran."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from support.snakemake_run import REPOSITORY, snakemake

from dm2.settings.matrix import Matrix

PAGE = (REPOSITORY / "docs" / "reproduction.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(command) for command in re.findall(r"`(snakemake [^`]+)`", PAGE)]
WHOLE = Matrix.load(REPOSITORY / "config", {"scale": "paper"})
CONFIGURED_ONLY = {"6h_vs_8z"}
"""Maps on which the paper's code was configured, and that no figure of it shows."""


def overrides(command: list[str]) -> dict[str, object]:
    """What a command says after --config, read as Snakemake reads it."""
    given = command[command.index("--config") + 1 :]
    given = given[: given.index("--")] if "--" in given else given
    return {key: yaml.safe_load(value) for key, value in (one.split("=", 1) for one in given)}


def targets(command: list[str]) -> list[str]:
    return command[command.index("--") + 1 :] if "--" in command else []


ALONE = [one for one in COMMANDS if len(overrides(one)) > 1]


@pytest.mark.parametrize("command", ALONE, ids=lambda command: command[-1])
def test_a_command_plans_its_part_of_the_paper_scale(command: list[str]) -> None:
    matrix = Matrix.load(REPOSITORY / "config", overrides(command))
    assert matrix.scale.scale == "paper" and matrix.learners
    if not set(matrix.scale.map_names) & CONFIGURED_ONLY:
        assert set(matrix.runs) < set(WHOLE.runs)


def test_together_the_commands_run_the_whole_matrix_and_draw_every_figure() -> None:
    planned = [Matrix.load(REPOSITORY / "config", overrides(command)) for command in ALONE]
    assert {run for matrix in planned for run in matrix.runs} >= set(WHOLE.runs)
    alone = [matrix for matrix in planned if matrix.scale.figures]
    assert sorted(name for matrix in alone for name in matrix.figures) == sorted(WHOLE.figures)


def test_targets_named_exist_in_the_plan(tmp_path: Path) -> None:
    wanted = [target for command in COMMANDS for target in targets(command)]
    done = snakemake(tmp_path, "--dry-run", "--quiet", "rules", "--config", "scale=paper", "--", *wanted)
    assert len(wanted) == 9
    assert done.returncode == 0, done.stdout


def test_a_figure_alone_plans_its_runs_and_no_other_figure(tmp_path: Path) -> None:
    done = snakemake(tmp_path, "--dry-run", "--quiet", "rules", "--config", "scale=smoke", "figures=[bc_pretrain]")
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout, flags=re.MULTILINE))
    expected = {"train_without_demonstrations": "3", "train_from_demonstrations": "2", "draw_figure": "1"}
    assert expected.items() <= jobs.items()
