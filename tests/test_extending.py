"""Do what docs/extending.md says, in a copy of the repository, and run the commands it gives."""

import json
import re
import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from support.pages import REPOSITORY, run

from dm2.play.rollout import Episodes

COPIED = ("dm2", "config", "workflow", "benchmarks", "results/quick", "results/paper")
PAGE = (REPOSITORY / "docs" / "extending.md").read_text(encoding="utf-8")
STEP = re.compile(
    r"[Nn]ew file `(?P<new>[^`]+)`\s+```\w+\n(?P<whole>.*?)```"
    r"|[Ii]n\s`(?P<file>[^`]+)`,\s(?P<where>after|before)\s`(?P<line>[^`]+)`\s+```\w+\n(?P<block>.*?)```"
    r"|```console\n(?P<commands>.*?)```",
    re.DOTALL,
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the page changes, with the compiled kernels, which numba knows by the files' times."""
    directory = tmp_path_factory.mktemp("project")
    for name in COPIED:
        shutil.copytree(REPOSITORY / name, directory / name, ignore=shutil.ignore_patterns("runs", "demonstrations"))
    return directory


@pytest.fixture(scope="module")
def outputs(project: Path) -> dict[str, str]:
    """Follow the page from top to bottom; what each command printed."""
    printed: dict[str, str] = {}
    for step in STEP.finditer(PAGE):
        if step["new"]:
            (project / step["new"]).write_text(step["whole"], encoding="utf-8")
        elif step["file"]:
            insert(project / step["file"], step["line"], step["block"], after=step["where"] == "after")
        else:
            printed |= {command: run(command, project) for command in step["commands"].splitlines()}
    return printed


def insert(path: Path, line: str, block: str, after: bool) -> None:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    as_written = [i for i, one in enumerate(lines) if one.rstrip() == line]  # a top-level key before nested ones
    found = as_written or [i for i, one in enumerate(lines) if one.strip() == line]
    assert len(found) == 1, f"{path}: the line {line!r} stands there {len(found)} times, expected once"
    at = found[0] + after
    path.write_text("".join([*lines[:at], block, *lines[at:]]), encoding="utf-8")


def printed_by(outputs: dict[str, str], start: str) -> str:
    (found,) = (text for command, text in outputs.items() if command.startswith(start))
    return found


def test_every_block_of_the_page_is_done() -> None:
    assert len(list(STEP.finditer(PAGE))) == PAGE.count("```") // 2


def test_the_new_unit_fights_on_the_new_map(outputs: dict[str, str]) -> None:
    result = json.loads(printed_by(outputs, "dm2 evaluate --policy heuristic"))
    assert (result["map_name"], result["n_episodes"]) == ("2m_vs_3sc", 16)
    assert result["win_rate"] == 1.0  # it stands still and pricks


def test_the_new_condition_has_settings(outputs: dict[str, str]) -> None:
    assert "reward_weight: 1.0" in printed_by(outputs, "dm2 show-settings 3m dm2_strong")


def test_the_new_scale_is_planned(outputs: dict[str, str]) -> None:
    plan = printed_by(outputs, "snakemake")
    assert re.search(r"^Scale tiny, from nothing: 8 runs, 16,000 env steps", plan, re.MULTILINE)
    assert re.search(r"^sample_demonstrations +2$", plan, re.MULTILINE)
    assert re.search(r"^  in no figure: dm2_strong on 3m, 2m_vs_3sc$", plan, re.MULTILINE)


def test_the_new_figures_are_drawn(outputs: dict[str, str], project: Path) -> None:
    assert {"figures/quick/weights.pdf", "figures/quick/speed.pdf"} <= set(
        printed_by(outputs, "dm2 draw-figures").split()
    )
    assert set(pd.read_csv(project / "figures" / "quick" / "speed.csv")["condition"]) == {"ippo", "dm2_ippo_demo"}


def test_the_new_algorithm_is_trained_and_evaluated(outputs: dict[str, str], project: Path) -> None:
    metrics = pd.read_csv(project / "reinforce" / "metrics.csv")
    assert metrics["env_steps"].max() >= 2_000
    assert metrics["policy_loss"].abs().max() > 0
    result = json.loads(printed_by(outputs, "dm2 evaluate reinforce/"))
    assert (result["condition"], result["n_episodes"]) == ("reinforce", 16)


def test_an_addition_is_made_in_one_place_and_a_file_of_its_own() -> None:
    """Of the package's code the page changes the settings alone."""
    assert {step["file"] for step in STEP.finditer(PAGE) if str(step["file"]).endswith(".py")} == {
        "dm2/settings/learners.py",
        "dm2/settings/run.py",
    }


def episodes(actions: list[int], reward: list[float], lengths: list[int]) -> Episodes:
    """One agent that always sees [1] and may take two actions."""
    rows, n_episodes = len(actions), len(lengths)
    nothing = torch.zeros(n_episodes, dtype=torch.int64)
    return Episodes(
        lengths=torch.tensor(lengths),
        obs=torch.ones(1, rows, 1),
        avail_actions=torch.ones(1, rows, 2, dtype=torch.bool),
        actions=torch.tensor([actions]),
        reward=torch.tensor(reward),
        battle_won=nothing.bool(),
        truncated=nothing.bool(),
        dead_allies=nothing,
        dead_enemies=nothing,
        final_obs=torch.ones(1, n_episodes, 1),
        final_avail_actions=torch.ones(1, n_episodes, 2, dtype=torch.bool),
    )


def test_the_new_algorithm_is_what_its_head_says(outputs: dict[str, str], project: Path) -> None:
    reinforce = runpy.run_path(str(project / "dm2" / "learners" / "reinforce.py"))
    gains = reinforce["returns_to_go"](episodes([0, 0, 0, 0], [0.0, 1.0, 1.0, 4.0], [2, 2]), 0.5)
    assert gains.tolist() == [0.5, 1.0, 3.0, 4.0]
    settings = SimpleNamespace(gamma=1.0, learning_rate=1.0)
    learner = reinforce["Reinforce"](SimpleNamespace(n_agents=1, obs_size=1, n_actions=2), settings)
    learner.learn(episodes([0, 1], [1.0, 0.0], [1, 1]))
    # gains 1 and 0, mean 0.5; at even chances grad log pi is (0.5, -0.5) of action 0 and (-0.5, 0.5) of action 1
    assert learner.weights.flatten().tolist() == pytest.approx([0.25, -0.25])
