"""Seeds of a condition that train in one process: every seed ends as it does alone, whoever else is in the group."""

import json
import os
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from test_training import real_run, rows_of, same_results
from toy_training import SETTINGS as TOY
from toy_training import toy_parts

from dm2 import training
from dm2.backends import env_spec, make_env
from dm2.config import RunSettings, SettingsError
from dm2.demonstrations import Demonstrations
from dm2.randomness import stream
from dm2.resume import Row, checkpoints
from dm2.rollout import Episodes, collect, collect_together
from dm2.storage import RunDirectory
from dm2.training import (
    EXIT_INTERRUPTED,
    Learner,
    RunToTrain,
    StackedLearner,
    TrainingInterrupted,
    build_learner,
    train,
    train_group,
)

SEEDS = (3, 4, 5)


def seeds_of(condition: str, seeds: tuple[int, ...] = SEEDS) -> tuple[list[RunSettings], Demonstrations | None]:
    settings, archive = real_run(condition)
    return [settings.model_copy(update={"seed": seed}) for seed in seeds], archive


def group(folder: Path, settings: list[RunSettings], **options: object) -> list[RunToTrain]:
    return [RunToTrain(own, folder / str(own.seed), **options) for own in settings]


def runs_in(folder: Path, settings: list[RunSettings]) -> list[RunDirectory]:
    return [RunDirectory(folder / str(own.seed)) for own in settings]


def play(learners: list[Learner], settings: list[RunSettings], update: int, together: bool) -> list[Episodes]:
    envs = [make_env("simulator", "3m", learners[0].episodes_per_update, own.seed) for own in settings]
    numbers = [np.arange(8 * update, 8 * update + 8) for _ in settings]
    generators = [stream(own.seed, "policy", update) for own in settings]
    needs = {"keep_state": learners[0].keeps_state, "act_at_end": learners[0].acts_at_end}
    if together:
        return collect_together(envs, learners[0].joint_policy(learners), numbers, generators, **needs)
    policies = [learner.policy() for learner in learners]
    parts = zip(envs, policies, numbers, generators, strict=True)
    return [collect(*one, **needs) for one in parts]


def plainly(learner: Learner) -> Learner:
    """The learner on the way of other devices than the CPU."""
    for part in (learner, getattr(learner, "ippo", None), getattr(learner, "discriminator", None)):
        if hasattr(part, "use_kernels"):
            part.use_kernels = False
    return learner


@pytest.mark.parametrize(
    "condition", ["ippo", "dm2_ippo_demo", "gail_only_state_action", "open_loop", "dm2_sil", "rmappo", "qmix"]
)
def test_the_first_updates_of_a_stack_are_those_of_each_seed_alone(condition: str) -> None:
    """Three seeds as one stack, by batched padded products, and alone, by the CPU's kernels."""
    settings, archive = seeds_of(condition)
    spec = env_spec("simulator", "3m")
    alone = [build_learner(own, spec, archive) for own in settings]
    stack = [plainly(build_learner(own, spec, archive)) for own in settings]
    assert isinstance(stack[0], StackedLearner)
    for update in range(2):
        expected, played = play(alone, settings, update, False), play(stack, settings, update, True)
        for one, other in zip(played, expected, strict=True):
            for name in ("lengths", "obs", "actions", "reward", "final_obs"):
                assert torch.equal(getattr(one, name), getattr(other, name)), name
            for name, extra in other.extras.items():
                torch.testing.assert_close(one.extras[name], extra, rtol=1e-5, atol=5e-6)
        metrics = stack[0].learn_together(stack, played)
        for learner, own, found in zip(alone, expected, metrics, strict=True):
            assert found == pytest.approx(learner.learn(own), rel=1e-4, abs=1e-6)
    for own, other in zip(stack, alone, strict=True):
        state, expected_state = own.state(), other.state()
        assert state.keys() == expected_state.keys()
        for name, value in expected_state.items():
            torch.testing.assert_close(state[name], value, rtol=1e-4, atol=5e-6, msg=f"{name} differs")
    first, second = (own.policy_state() for own in alone[:2])
    assert not any(torch.equal(value, second[name]) for name, value in first.items() if "weight" in name)


@pytest.mark.parametrize("condition", ["ippo_bc_pretrain", "dm2_sil", "rmappo", "qmix"])
def test_a_seed_in_a_group_ends_as_it_does_alone(condition: str, tmp_path: Path) -> None:
    settings, archive = seeds_of(condition, (3, 4))
    train_group(group(tmp_path, settings), demonstrations=archive)
    train(settings[1], tmp_path / "alone", demonstrations=archive)
    same_results(RunDirectory(tmp_path / "4"), RunDirectory(tmp_path / "alone"))


# --- resuming -----------------------------------------------------------------------------------------------------


class StopAt:
    """Gets the process a SIGTERM once a run has so many evaluations."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __call__(self, rows: Sequence[Row]) -> None:
        if len(rows) >= self.rows:
            self.rows = 10**6
            signal.raise_signal(signal.SIGTERM)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seeds of DM² that nobody disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    settings, archive = seeds_of("dm2_ippo_demo")
    train_group(group(folder, settings), demonstrations=archive)
    return folder


def test_a_group_that_is_killed_and_asked_to_stop_ends_like_an_undisturbed_one(whole: Path, tmp_path: Path) -> None:
    settings, archive = seeds_of("dm2_ippo_demo")
    runs = runs_in(tmp_path, settings)
    child = os.fork()
    if child == 0:
        train_group(group(tmp_path, settings), demonstrations=archive, checkpoint_minutes=0)
        os._exit(0)
    while not all(map(checkpoints, runs)):
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
        time.sleep(0.005)
    time.sleep(random.Random(str(tmp_path)).uniform(0, 0.05))  # perhaps between the checkpoints of two seeds
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    runs_to_stop = [RunToTrain(settings[0], runs[0].path, on_evaluation=StopAt(4)), *group(tmp_path, settings[1:])]
    with pytest.raises(TrainingInterrupted) as stopped:
        train_group(runs_to_stop, demonstrations=archive)
    assert stopped.value.code == EXIT_INTERRUPTED
    assert not any(run.record.exists() for run in runs)
    train_group(group(tmp_path, settings), demonstrations=archive)
    for run, other in zip(runs, runs_in(whole, settings), strict=True):
        same_results(run, other)
        assert json.loads(run.record.read_text())["resumes"] == 2


def test_a_finished_seed_is_left_alone(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    settings, archive = seeds_of("dm2_ippo_demo")
    runs = runs_in(tmp_path, settings)
    train(settings[1], runs[1].path, demonstrations=archive)
    before = runs[1].record.read_bytes()
    train_group(group(tmp_path, settings), demonstrations=archive)
    assert "is finished: nothing to do" in capsys.readouterr().err
    assert runs[1].record.read_bytes() == before
    for n in (0, 2):
        same_results(runs[n], runs_in(whole, settings)[n])
    train_group(group(tmp_path, settings, fresh=True), demonstrations=archive)
    for run, other in zip(runs, runs_in(whole, settings), strict=True):
        same_results(run, other)


def test_seeds_at_different_steps_go_on_together_and_are_published_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, part in toy_parts().items():
        monkeypatch.setattr(training, name, part)
    settings = [TOY.model_copy(update={"seed": seed}) for seed in (7, 8)]
    ahead, behind = runs_in(tmp_path, settings)
    with pytest.raises(TrainingInterrupted):
        train(settings[0], ahead.path, on_evaluation=StopAt(6))

    def disk_breaks(rows: Sequence[Row]) -> None:
        if len(rows) == 5:
            raise OSError("no disk")

    with pytest.raises(OSError, match="no disk"):
        train_group(
            [RunToTrain(settings[0], ahead.path), RunToTrain(settings[1], behind.path, on_evaluation=disk_breaks)]
        )
    assert len(rows_of(ahead.metrics_so_far)) == 7  # at its end, and its checkpoint waits for the other
    assert checkpoints(ahead) and not ahead.record.exists() and not ahead.metrics.exists()
    train_group(group(tmp_path, settings))
    for own, run in zip(settings, (ahead, behind), strict=True):
        train(own, tmp_path / "alone" / str(own.seed))
        same_results(run, RunDirectory(tmp_path / "alone" / str(own.seed)))
        assert not checkpoints(run)


# --- what is refused ----------------------------------------------------------------------------------------------


def test_only_seeds_of_one_condition_form_a_group(tmp_path: Path) -> None:
    first = real_run("ippo")[0]
    other = first.model_copy(update={"seed": 4, "env_steps": 1000, "map_name": "8m"})
    with pytest.raises(
        SettingsError, match=r"env_steps: found 1000, expected 2000; map_name: found '8m', expected '3m'"
    ):
        train_group(group(tmp_path, [first, other]))
    assert not list(tmp_path.iterdir())
