"""dm2.settings.algorithms: who learns, and which code a run's results depend on."""

import subprocess
import sys
from pathlib import Path

import pytest

from dm2.settings import algorithms
from dm2.settings.algorithms import learner_name, load, run_digest
from dm2.settings.code_digest import counted_modules
from dm2.settings.matrix import Matrix, Run
from dm2.settings.run import ALGORITHMS, RunSettings

MATRIX = Matrix.load(Path(__file__).parents[2] / "config", {"scale": "paper"})
OWN = {
    "ippo": {"ippo", "ppo"},
    "open_loop": {"open_loop", "ippo", "ppo"},
    "qmix": {"qmix"},
    "rmappo": {"rmappo", "ppo"},
    "dm2_ippo_demo": {"distribution_matching", "ippo", "ppo"},
    "dm2_sil": {"self_imitation", "distribution_matching", "ippo", "ppo"},
    "ippo_bc_pretrain": {"cloning", "ippo", "ppo"},
}
"""Modules of learners that a condition's run is made by."""
LEARNERS = {f"dm2.learners.{name}" for modules in OWN.values() for name in modules}


def plans_or_shows(module: str) -> bool:
    """Whether it is of no account for what runs and their experts are."""
    shows = module.startswith("dm2.analysis") or module in ("dm2.training.event_files", "dm2.training.progress")
    return shows or module in ("dm2.settings.files", "dm2.settings.matrix")


def settings_of(condition: str, **changes: object) -> RunSettings:
    return MATRIX.settings(Run("5m_vs_6m", condition, 112358)).model_copy(update=changes)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `run_digest` return the modules that it counts instead of their digest."""
    monkeypatch.setattr(algorithms, "code_digest", lambda *names, map_names, **rest: counted_modules(*names, **rest))


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("condition", OWN)
def test_a_run_depends_on_its_own_learner_and_on_no_other(condition: str) -> None:
    settings = settings_of(condition)
    modules = set(run_digest("dm2.training.run", settings))
    assert modules & LEARNERS == {f"dm2.learners.{name}" for name in OWN[condition]}
    assert learner_name(settings).partition(":")[0] in modules


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("stage", ["dm2.scripts.train", "dm2.training.run", "dm2.scripts.sample_demonstrations"])
def test_a_run_and_its_demonstrations_depend_on_their_engine_and_on_nothing_that_plans_or_shows(stage: str) -> None:
    here, there = (set(run_digest(stage, settings_of("ippo", backend=one))) for one in ("simulator", "starcraft2"))
    assert {"dm2.play.rollout", "dm2.battle.kernel"} <= here
    assert there - here >= {"dm2.backends.starcraft2"}
    assert {module for module in here if plans_or_shows(module)} == set()


@pytest.mark.parametrize("stage", ["dm2.scripts.choose_expert", "dm2.scripts.keep_expert"])
def test_the_choice_of_an_expert_depends_on_nothing_that_plans_or_shows(stage: str) -> None:
    modules = counted_modules(stage)
    assert {"dm2.play.curves", "dm2.play.experts"} <= modules
    assert {module for module in modules if plans_or_shows(module)} == set()


def test_a_run_depends_on_its_own_map_and_on_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(algorithms, "code_digest", lambda *names, map_names, **rest: asked.append(map_names))
    run_digest("dm2.training.run", settings_of("ippo", map_name="8m"))
    assert asked == [["8m"]]


def test_a_run_depends_on_the_function_that_its_algorithm_names(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of("ippo")
    before = run_digest("dm2.training.run", settings)
    monkeypatch.setattr(ALGORITHMS["ippo"], "learner", "dm2.learners.ippo:IPPO")
    assert run_digest("dm2.training.run", settings) != before


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_has_who_learns_and_who_plays(algorithm: str) -> None:
    block = ALGORITHMS[algorithm]
    assert callable(load(block.learner)) and callable(load(block.policy))


def test_planning_starts_neither_torch_nor_numba() -> None:
    modules = "dm2.settings.algorithms, dm2.settings.matrix, dm2.settings.plan"
    program = f"import sys, {modules}; print({{'torch', 'numba', 'pandas'}} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "set()"
