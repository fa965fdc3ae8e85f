"""The loop's bookkeeping, and runs that are killed, damaged or asked to stop."""

import contextlib
import csv
import json
import os
import pty
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from support.limited_files import LimitedFileSize
from support.real_runs import LEARNERS, real_run
from support.toy_training import SETTINGS, ToyLearner, ToyPolicy, rows_of, run_toy, stopped_run, toy_evaluate

from dm2.core.errors import report_errors
from dm2.core.files import StorageError
from dm2.core.randomness import stream
from dm2.core.run_directory import RunDirectory
from dm2.core.tensor_files import load_tensors, save_tensors
from dm2.learners import cloning
from dm2.learners.interface import Learner, build_learner
from dm2.play.rollout import Episodes
from dm2.training.evaluations import ABSOLUTE_FACTOR, FIRST_COLUMNS, WALL_CLOCK_COLUMNS
from dm2.training.loop import Training, TrainingDiverged
from dm2.training.resume import changes_since_start, checkpoints, load_checkpoint
from dm2.training.run import train
from dm2.training.stop_signals import EXIT_INTERRUPTED, TrainingInterrupted

TESTS = Path(__file__).parents[1]
TOY_TRAINING = [sys.executable, "-m", "support.toy_training"]
"""A program, to be started in TESTS."""


def same_results(run: RunDirectory, other: RunDirectory) -> None:
    rows, expected = rows_of(run.metrics), rows_of(other.metrics)
    assert rows == expected
    assert list(rows[0]) == list(expected[0])  # the columns' order too
    for percent in SETTINGS.policy_percents:
        assert run.policy(percent).read_bytes() == other.policy(percent).read_bytes()
    assert run.best_policy.read_bytes() == other.best_policy.read_bytes()
    assert absolute_metric(run) == absolute_metric(other)


def absolute_metric(run: RunDirectory) -> dict[str, dict[str, float]]:
    return json.loads(run.record.read_text())["absolute_metric"]


@pytest.fixture(scope="module")
def unkilled(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    run = RunDirectory(tmp_path_factory.mktemp("unkilled"))
    run_toy(run.path)
    return run


# --- a run that nobody disturbs ------------------------------------------------------------------------------------


def test_rows_stand_at_zero_then_once_per_interval_then_at_the_end(unkilled: RunDirectory) -> None:
    rows = rows_of(unkilled.metrics)
    steps = [int(row["env_steps"]) for row in rows]
    assert steps[0] == 0
    assert steps[-1] >= SETTINGS.env_steps
    # at most one row in each hundred, and the first update that reaches a hundred has it
    assert [step // 100 for step in steps] == sorted({step // 100 for step in steps})
    assert all(step % 100 < 4 * 8 for step in steps)  # an update plays four battles of at most eight steps
    assert [int(row["episodes"]) % 4 for row in rows] == [0] * len(rows)
    assert {(row["backend"], row["map_name"], row["condition"], row["seed"]) for row in rows} == {
        ("fake 1", "fake", "toy", "7")
    }


def test_losses_are_means_since_the_row_before(unkilled: RunDirectory, tmp_path: Path) -> None:
    class Numbered(ToyLearner):
        def learn(self, episodes):
            super().learn(episodes)
            return {"policy_loss": float(self.updates)} | ({"even": 1.0} if self.updates % 2 == 0 else {})

    run_toy(tmp_path, Numbered())
    rows = rows_of(RunDirectory(tmp_path).metrics)
    updates = [int(row["episodes"]) // 4 for row in rows]
    assert rows[0]["policy_loss"] == ""
    for before, after, row in zip(updates, updates[1:], rows[1:], strict=False):
        assert float(row["policy_loss"]) == pytest.approx((before + 1 + after) / 2)
        assert row["even"] == ("1.0" if after - before > 1 or after % 2 == 0 else "")
    assert "policy_loss" in rows_of(unkilled.metrics)[0]


def test_every_learner_metric_is_a_column(unkilled: RunDirectory) -> None:
    with open(unkilled.metrics, newline="") as file:
        header = next(csv.reader(file))
    assert header[-5:] == ["policy_loss", "reward_seen", "only_at_times", *WALL_CLOCK_COLUMNS]
    assert header[:12] == list(FIRST_COLUMNS)


def test_a_policy_is_that_of_the_first_update_past_its_percent(unkilled: RunDirectory) -> None:
    for percent, threshold in ((20, 120), (50, 300), (100, 600)):
        tensors, record = load_tensors(unkilled.policy(percent), kind="policy", shapes={"weights": [2, 4]})
        assert threshold <= record["env_steps"] < threshold + 32
        assert record["percent"] == percent
        assert record["settings"]["seed"] == SETTINGS.seed
        assert tensors["weights"].abs().sum() > 0


def test_the_record_tells_what_made_the_run(unkilled: RunDirectory) -> None:
    record = json.loads(unkilled.record.read_text())
    assert record["settings"] == SETTINGS.model_dump(mode="json")
    assert record["packages"]["torch"] == version("torch")
    assert record["backend"] == "fake 1"
    assert record["resumes"] == 0
    assert record["threads"] == 1
    assert record["peak_memory_bytes"] > 2**20
    assert record["wall_seconds"] > 0
    assert set(record["sha256"]["policies"]) == {"020", "050", "100"}


def test_the_absolute_metric_is_of_ten_times_the_episodes(unkilled: RunDirectory) -> None:
    rows, found = rows_of(unkilled.metrics), absolute_metric(unkilled)
    best = max(rows, key=lambda row: float(row["win_rate"]))
    assert (
        found["best"]["env_steps"] == int(best["env_steps"]) < found["last"]["env_steps"] == int(rows[-1]["env_steps"])
    )
    assert found["best"]["n_episodes"] == found["last"]["n_episodes"] == 10 * SETTINGS.evaluation_episodes
    kept, record = load_tensors(unkilled.best_policy, kind="policy", shapes={"weights": [2, 4]})
    assert record["env_steps"] == int(best["env_steps"])
    assert record["percent"] == 100 * int(best["env_steps"]) // SETTINGS.env_steps
    seed = int(stream(SETTINGS.seed, "absolute metric").integers(2**62))
    for name, weights in (("best", kept), ("last", load_tensors(unkilled.policy(100), kind="policy")[0])):
        played = toy_evaluate(ToyPolicy(weights["weights"], greedy=True), "", "", seed, 30)
        assert played.return_mean == found[name]["return_mean"]
    assert found["best"]["return_mean"] != found["last"]["return_mean"]


class JudgedToy(ToyLearner):
    def judges_state(self) -> dict[str, torch.Tensor]:
        return {"critic.weights": 2 * self.weights}


def test_the_best_policy_is_the_first_of_equal_ones_and_may_be_the_last(tmp_path: Path) -> None:
    rates = iter([0.2, 0.5, 0.1, 0.5, *[0.0] * 20])

    def evaluate(*arguments, **options):
        return replace(toy_evaluate(*arguments, **options), win_rate=next(rates))

    with mock.patch("support.toy_training.toy_evaluate", evaluate):
        run_toy(tmp_path / "first")
        rates = iter(n / 100 for n in range(20))
        run_toy(tmp_path / "last", JudgedToy())
    rows = rows_of(RunDirectory(tmp_path / "first").metrics)
    assert absolute_metric(RunDirectory(tmp_path / "first"))["best"]["env_steps"] == int(rows[1]["env_steps"])
    last = RunDirectory(tmp_path / "last")
    assert absolute_metric(last)["best"] == absolute_metric(last)["last"]
    assert int(rows_of(last.metrics)[-1]["env_steps"]) >= 1.01 * SETTINGS.env_steps  # the last update went past the end
    assert last.best_policy.read_bytes() == last.policy(100).read_bytes()
    tensors, record = load_tensors(last.best_policy, kind="policy")
    assert record["percent"] == 100 and tensors.keys() == {"weights", "critic.weights"}


def test_an_observer_is_told_before_the_first_update_and_after_each(unkilled: RunDirectory, tmp_path: Path) -> None:
    seen: list[tuple[int, int, int]] = []

    def observe(training: Training) -> None:
        seen.append((training.logbook.episodes, training.logbook.env_steps, len(training.logbook.rows)))

    run_toy(tmp_path, observers=[observe])
    assert [episodes for episodes, _, _ in seen] == list(range(0, seen[-1][0] + 1, 4))
    rows = rows_of(unkilled.metrics)
    assert seen[0][2] == 1 and seen[-1][1:] == (int(rows[-1]["env_steps"]), len(rows))  # told after the evaluations


def test_a_finished_run_leaves_nothing_behind(unkilled: RunDirectory) -> None:
    files = {str(path.relative_to(unkilled.path)) for path in unkilled.path.rglob("*") if path.is_file()}
    policies = {f"policies/{percent:03d}.safetensors" for percent in SETTINGS.policy_percents}
    assert files == {"metrics.csv", "run.json", "best_policy.safetensors", "log.txt", "checkpoints/lock"} | policies


def test_the_same_seed_gives_the_same_files_and_another_seed_others(unkilled: RunDirectory, tmp_path: Path) -> None:
    again, other = RunDirectory(tmp_path / "again"), RunDirectory(tmp_path / "other")
    run_toy(again.path)
    same_results(again, unkilled)
    run_toy(other.path, settings=SETTINGS.model_copy(update={"seed": 8}))
    assert rows_of(other.metrics)[1:] != rows_of(unkilled.metrics)[1:]


def test_a_finished_run_is_left_alone_unless_fresh(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run = RunDirectory(tmp_path)
    run_toy(tmp_path)
    before = run.record.stat().st_mtime_ns
    run_toy(tmp_path)
    assert run.record.stat().st_mtime_ns == before
    assert "is finished: nothing to do (--fresh" in capsys.readouterr().err
    run_toy(tmp_path, fresh=True)
    assert run.record.stat().st_mtime_ns > before


@pytest.mark.parametrize("name", ["metrics.csv", "best_policy.safetensors", "policies/050.safetensors"])
def test_outputs_that_a_workflow_deleted_are_made_again(unkilled: RunDirectory, tmp_path: Path, name: str) -> None:
    run = RunDirectory(tmp_path)
    run_toy(tmp_path)
    (tmp_path / name).unlink()
    run_toy(tmp_path)
    same_results(run, unkilled)


# --- kills ---------------------------------------------------------------------------------------------------------


def start(run: RunDirectory, seconds_per_update: float, checkpoint_minutes: float, *kills: float) -> subprocess.Popen:
    """A process that trains the toy, after others that were killed so many seconds after their start."""
    arguments = [str(run.path), *map(str, (seconds_per_update, checkpoint_minutes, *kills))]
    return subprocess.Popen(
        [*TOY_TRAINING, *arguments],
        cwd=TESTS,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_a_run_that_is_killed_many_times_ends_like_an_unkilled_one(unkilled: RunDirectory, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    moments = random.Random(int(os.environ.get("DM2_KILL_SEED", "1")))
    kills = [moments.uniform(0.0, 0.3) for _ in range(int(os.environ.get("DM2_KILLS", "12")))]
    process = start(run, 0.03, 0.0, *kills)  # a checkpoint after every update
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()
    assert output.decode().split().count("killed") >= 4
    same_results(run, unkilled)
    assert json.loads(run.record.read_text())["resumes"] >= 2
    assert not list(tmp_path.rglob("*.part"))


class Killed(BaseException):
    """Stands for the end of the process at a chosen moment."""


def die_at(patch: pytest.MonkeyPatch, moment: int) -> None:
    """Every rename is a moment between a written file and its place: end just before (even) or after (odd) one."""
    replace, calls = os.replace, iter(range(10**6))

    def replace_or_die(source, target):
        call = next(calls)
        if (call, 0) == divmod(moment, 2):
            raise Killed
        replace(source, target)
        if (call, 1) == divmod(moment, 2):
            raise Killed

    patch.setattr(os, "replace", replace_or_die)


def test_a_kill_at_every_write_ends_like_an_unkilled_run(tmp_path: Path) -> None:
    short = SETTINGS.model_copy(update={"env_steps": 200, "policy_percents": (50, 100)})
    run_toy(tmp_path / "unkilled", settings=short)
    expected = rows_of(RunDirectory(tmp_path / "unkilled").metrics)
    for moment in range(1000):
        run = RunDirectory(tmp_path / str(moment))
        with pytest.MonkeyPatch.context() as patch:
            die_at(patch, moment)
            try:
                run_toy(run.path, settings=short, checkpoint_minutes=0.0005)
            except Killed:
                pass
            else:
                break
        run_toy(run.path, settings=short)
        assert rows_of(run.metrics) == expected
        assert run.policy(50).read_bytes() == RunDirectory(tmp_path / "unkilled").policy(50).read_bytes()
        assert absolute_metric(run) == absolute_metric(RunDirectory(tmp_path / "unkilled"))
    assert 16 < moment < 999


def test_the_best_policy_is_that_of_the_rows_that_stand_where_a_run_goes_on_otherwise(tmp_path: Path) -> None:
    """What was evaluated between the checkpoint and the kill is as good as never played, the policies too."""
    run, rates = RunDirectory(tmp_path), iter([0.1, 0.2, 0.9])

    def evaluate(*arguments, **options):
        return replace(toy_evaluate(*arguments, **options), win_rate=next(rates, 0.0))

    class DyingAfterTheThird(ToyLearner):
        def learn(self, episodes):
            if len(rows_of(run.metrics_so_far)) == 3:
                raise Killed
            return super().learn(episodes)

    class StoppingAfterTheSecond(ToyLearner):
        def learn(self, episodes):
            if len(rows_of(run.metrics_so_far)) == 2:
                signal.raise_signal(signal.SIGTERM)
            return super().learn(episodes)

    with mock.patch("support.toy_training.toy_evaluate", evaluate):
        with pytest.raises(TrainingInterrupted):
            run_toy(tmp_path, StoppingAfterTheSecond(), checkpoint_minutes=60.0)
        with pytest.raises(Killed):
            run_toy(tmp_path, DyingAfterTheThird(), checkpoint_minutes=60.0)
        run_toy(tmp_path)
    rows = rows_of(run.metrics)
    assert [float(row["win_rate"]) for row in rows[:3]] == [0.1, 0.2, 0.0]
    _, record = load_tensors(run.best_policy, kind="policy")
    assert record["env_steps"] == absolute_metric(run)["best"]["env_steps"] == int(rows[1]["env_steps"])
    assert not list(run.checkpoints.glob("*.safetensors"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_run_that_is_asked_to_stop_goes_on_later(unkilled: RunDirectory, tmp_path: Path, number: int) -> None:
    run = RunDirectory(tmp_path)
    process = start(run, 0.05, 60.0)
    while not run.metrics_so_far.exists():  # the loop has begun
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == EXIT_INTERRUPTED == 75
    assert f"{signal.Signals(number).name}: stopped at " in errors.decode()
    assert "Traceback" not in errors.decode()
    assert len(checkpoints(run)) == 1
    assert not run.record.exists()
    run_toy(tmp_path)
    same_results(run, unkilled)
    assert json.loads(run.record.read_text())["resumes"] == 1


def test_ctrl_c_without_a_reader_of_the_output_leaves_a_checkpoint(unkilled: RunDirectory, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    process = start(run, 0.05, 60.0)
    while not run.metrics_so_far.exists():
        time.sleep(0.01)
    for pipe in (process.stdout, process.stderr):  # as `2>&1 | tee log`, whose tee got the same Ctrl-C
        assert pipe is not None
        pipe.close()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == EXIT_INTERRUPTED
    assert len(checkpoints(run)) == 1
    assert "SIGINT: stopped at " in run.log.read_text()
    run_toy(tmp_path)
    same_results(run, unkilled)


@pytest.mark.parametrize("output", ["pipe", "terminal", "closed"])
def test_a_lost_output_does_not_stop_a_run(unkilled: RunDirectory, tmp_path: Path, output: str) -> None:
    run = RunDirectory(tmp_path)
    reader, writer = pty.openpty() if output == "terminal" else os.pipe()
    closing = {"preexec_fn": lambda: os.close(2)} if output == "closed" else {}
    process = subprocess.Popen(
        [*TOY_TRAINING, str(tmp_path), "0.02", "60.0"],
        cwd=TESTS,
        stdout=writer,
        stderr=writer,
        **closing,  # type: ignore[call-overload]
    )
    os.close(writer)
    while not run.metrics_so_far.exists():
        time.sleep(0.01)
    os.close(reader)
    assert process.wait(timeout=60) == 0, run.log.read_text()
    same_results(run, unkilled)


def test_a_stop_during_the_last_evaluations_does_not_wait_for_them(unkilled: RunDirectory, tmp_path: Path) -> None:
    def evaluate(policy, backend, map_name, seed, n_episodes, **options):
        if n_episodes == ABSOLUTE_FACTOR * SETTINGS.evaluation_episodes:
            signal.raise_signal(signal.SIGTERM)
            raise AssertionError("it went on")
        return toy_evaluate(policy, backend, map_name, seed, n_episodes, **options)

    run = RunDirectory(tmp_path)
    with mock.patch("support.toy_training.toy_evaluate", evaluate), pytest.raises(TrainingInterrupted) as stop:
        run_toy(tmp_path)
    assert stop.value.code == EXIT_INTERRUPTED
    assert "SIGTERM: stopped at 6" in run.log.read_text() and not run.record.exists()
    run_toy(tmp_path)
    same_results(run, unkilled)


def test_a_stop_during_pretraining_does_not_wait_for_it(tmp_path: Path) -> None:
    class Pretrained(ToyLearner):
        def pretrain(self) -> dict[str, float]:
            signal.raise_signal(signal.SIGTERM)
            raise AssertionError("it went on")

    with pytest.raises(TrainingInterrupted):
        run_toy(tmp_path, Pretrained())
    assert not checkpoints(RunDirectory(tmp_path))


def test_training_works_in_a_thread_where_signals_cannot_be_taken(unkilled: RunDirectory, tmp_path: Path) -> None:
    thread = threading.Thread(target=run_toy, args=(tmp_path,))
    thread.start()
    thread.join()
    same_results(RunDirectory(tmp_path), unkilled)


# --- the real learners ---------------------------------------------------------------------------------------------


class StoppingAfter:
    """A learner that gets the process a SIGTERM after some updates."""

    def __init__(self, build: Callable, updates: int) -> None:
        self.build = build
        self.updates = updates

    def __call__(self, *arguments: object) -> Learner:
        learner = self.build(*arguments)
        learn = learner.learn

        def learn_and_stop(episodes: Episodes) -> dict[str, float]:
            self.updates -= 1
            if self.updates == 0:
                signal.raise_signal(signal.SIGTERM)
            return learn(episodes)

        learner.learn = learn_and_stop
        return learner


def kill_in_training(run: RunDirectory, train: Callable[[], None]) -> None:
    """Train in a process of its own and kill it some time after its first checkpoint, perhaps in the middle of one."""
    child = os.fork()
    if child == 0:
        train()
        os._exit(0)
    while not checkpoints(run):
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
        time.sleep(0.005)
    time.sleep(random.Random(str(run.path)).uniform(0, 0.05))
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL


@pytest.fixture(params=LEARNERS)
def condition(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def whole(condition: str, tmp_path: Path) -> RunDirectory:
    settings, archive = real_run(condition)
    train(settings, tmp_path / "whole", demonstrations=archive)
    return RunDirectory(tmp_path / "whole")


def test_every_learner_goes_on_as_if_it_had_not_stopped(
    condition: str, whole: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, archive = real_run(condition)
    stopped = RunDirectory(tmp_path / "stopped")
    kill_in_training(stopped, lambda: train(settings, stopped.path, demonstrations=archive, checkpoint_minutes=0))
    for updates in (1, 2, 4):
        monkeypatch.setattr("dm2.training.run.build_learner", StoppingAfter(build_learner, updates))
        with pytest.raises(TrainingInterrupted):
            train(settings, stopped.path, demonstrations=archive)
    monkeypatch.undo()
    train(settings, stopped.path, demonstrations=archive)
    same_results(stopped, whole)
    assert json.loads(stopped.record.read_text())["resumes"] == 4


def test_a_kill_while_pretraining_starts_it_over_and_the_first_row_tells_its_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, archive = real_run("ippo_bc_pretrain")
    whole, killed = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "killed")
    train(settings, whole.path, demonstrations=archive)
    clone, agents = cloning.clone, iter(range(3))

    def clone_two_agents(*arguments):
        if next(agents) == 2:
            raise Killed
        return clone(*arguments)

    monkeypatch.setattr(cloning, "clone", clone_two_agents)
    with pytest.raises(Killed):
        train(settings, killed.path, demonstrations=archive)
    monkeypatch.undo()
    train(settings, killed.path, demonstrations=archive)
    same_results(killed, whole)
    first, *later = rows_of(whole.metrics)
    assert first["cloning_epochs"] == "2.0" and float(first["cloning_cross_entropy"]) > 0
    assert {row["cloning_accuracy"] for row in later} == {""}


def test_neither_threads_nor_a_fresh_process_change_a_result(tmp_path: Path) -> None:
    settings = real_run("ippo")[0].model_copy(update={"env_steps": 400, "evaluation_interval": 200})
    settings.to_yaml(tmp_path / "settings.yaml")
    train(settings, tmp_path / "1", threads=1)
    where = ["--settings", tmp_path / "settings.yaml", "--run-directory", tmp_path / "2", "--threads", "2"]
    told = subprocess.run(
        [sys.executable, "-m", "dm2.scripts.train", *where], check=True, stderr=subprocess.PIPE, text=True
    )
    same_results(RunDirectory(tmp_path / "1"), RunDirectory(tmp_path / "2"))
    assert "3m ippo seed 3: finished" in told.stderr


# --- faults --------------------------------------------------------------------------------------------------------


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    middle = len(content) // 2
    changed = {
        "cut": content[:middle],
        "empty": b"",
        "flipped": content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :],
    }
    path.write_bytes(changed[how])


@pytest.mark.parametrize("how", ["cut", "empty", "flipped"])
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_taken(
    unkilled: RunDirectory, tmp_path: Path, how: str, capsys: pytest.CaptureFixture
) -> None:
    run = stopped_run(tmp_path)
    newest, older = checkpoints(run)
    damage(newest, how)
    run_toy(tmp_path)
    errors = capsys.readouterr().err
    assert f"{newest}: damaged" in errors
    assert f"Going on from {older.name} instead" in errors
    same_results(run, unkilled)


def test_without_a_whole_checkpoint_the_run_is_an_error_and_fresh_starts_over(
    unkilled: RunDirectory, tmp_path: Path
) -> None:
    run = stopped_run(tmp_path)
    for path in checkpoints(run):
        damage(path, "flipped")
    with pytest.raises(StorageError, match="No checkpoint of this run is whole: start it over with --fresh"):
        run_toy(tmp_path)
    assert len(checkpoints(run)) == 2
    run_toy(tmp_path, fresh=True)
    same_results(run, unkilled)


def test_another_configuration_does_not_go_on_from_a_run(tmp_path: Path) -> None:
    run = stopped_run(tmp_path)
    assert SETTINGS.ippo is not None
    ippo = SETTINGS.ippo.model_copy(update={"gamma": 0.5})
    other = SETTINGS.model_copy(update={"env_steps": 700, "ippo": ippo})
    before = [path.read_bytes() for path in checkpoints(run)]
    with pytest.raises(StorageError) as error:
        run_toy(tmp_path, settings=other)
    assert "settings.env_steps: found 600, expected 700; settings.ippo.gamma: found 0.99, expected 0.5" in str(
        error.value
    )
    assert "seed" not in str(error.value)
    assert "--fresh" in str(error.value)
    assert [path.read_bytes() for path in checkpoints(run)] == before
    run_toy(tmp_path, settings=other, fresh=True)
    assert json.loads(run.record.read_text())["env_steps"] >= 700


def test_another_configuration_does_not_overwrite_a_finished_run(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run_toy(tmp_path)
    before = run.metrics.read_bytes()
    with pytest.raises(
        StorageError, match=r"run.json: made by another configuration .* settings.seed: found 7, expected 8"
    ):
        run_toy(tmp_path, settings=SETTINGS.model_copy(update={"seed": 8}))
    assert run.metrics.read_bytes() == before


def test_a_full_disk_stops_the_run_and_loses_nothing(unkilled: RunDirectory, tmp_path: Path) -> None:
    run = stopped_run(tmp_path)
    before = {path: path.read_bytes() for path in checkpoints(run)}
    with LimitedFileSize(1000), pytest.raises(StorageError, match=r"cannot be written .*start the same command again"):
        run_toy(tmp_path, checkpoint_minutes=0.0)
    assert {path: path.read_bytes() for path in checkpoints(run)} == before
    assert not list(tmp_path.rglob("*.part"))
    run_toy(tmp_path)
    same_results(run, unkilled)


@contextlib.contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[None]:
    """A file system of so many KiB; the test is skipped where it cannot be mounted."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", folder], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def remount(folder: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", folder], check=True)


def test_a_disk_that_runs_full_stops_the_run_and_loses_nothing(unkilled: RunDirectory, tmp_path: Path) -> None:
    with small_disk(tmp_path, kib=32):
        run = RunDirectory(tmp_path)
        with pytest.raises(StorageError, match=r"cannot be written \(No space left on device\).*same command again"):
            run_toy(tmp_path, checkpoint_minutes=0.0)
        assert checkpoints(run)
        assert not list(tmp_path.rglob("*.part"))
        remount(tmp_path, "size=10m")
        run_toy(tmp_path)
        same_results(run, unkilled)
        assert json.loads(run.record.read_text())["resumes"] == 1


def test_results_that_are_read_only_are_refused_until_they_are_not(unkilled: RunDirectory, tmp_path: Path) -> None:
    with small_disk(tmp_path, kib=10_000):
        run = stopped_run(tmp_path / "run")
        remount(tmp_path, "ro")
        with pytest.raises(StorageError, match=r"lock: cannot be locked \(Read-only file system\)"):
            run_toy(run.path)
        remount(tmp_path, "rw")
        run_toy(run.path)
        same_results(run, unkilled)


@pytest.mark.parametrize("out_of_memory", [lambda: bytearray(2**62), lambda: np.ones(2**55), lambda: torch.ones(2**55)])
def test_out_of_memory_ends_with_a_message_and_loses_nothing(
    unkilled: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture, out_of_memory: Callable[[], object]
) -> None:
    class Greedy(ToyLearner):
        def learn(self, episodes):
            if self.updates == 9:
                out_of_memory()
            return super().learn(episodes)

    with pytest.raises(SystemExit) as stopped, report_errors():
        run_toy(tmp_path, Greedy(), checkpoint_minutes=0.0)
    assert stopped.value.code == 1
    assert "error: out of memory (" in capsys.readouterr().err
    run_toy(tmp_path)
    same_results(RunDirectory(tmp_path), unkilled)
    assert json.loads((tmp_path / "run.json").read_text())["resumes"] == 1


def test_other_runtime_errors_keep_their_traceback() -> None:
    with pytest.raises(RuntimeError, match="shape"), report_errors():
        raise RuntimeError("shape '[2]' is invalid")


def test_a_checkpoint_with_another_logbook_is_damaged(unkilled: RunDirectory, tmp_path: Path) -> None:
    run = stopped_run(tmp_path)
    newest = checkpoints(run)[0]
    tensors, record = load_tensors(newest, kind="resume")
    for changed in ({**record, "logbook": {"episodes": "many"}}, {**record, "identity": 3}, {}):
        save_tensors(newest, tensors, kind="resume", metadata=changed)
        assert changes_since_start(run, record["identity"]) == []
        found = load_checkpoint(run, record["identity"], warn=lambda text: None)
        assert found is not None and found[1].episodes < record["logbook"]["episodes"]
    run_toy(tmp_path)
    same_results(run, unkilled)


def test_results_that_cannot_be_written_are_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where a folder should be")
    with pytest.raises(StorageError, match="run/checkpoints/lock: cannot be locked"):
        run_toy(tmp_path / "run")


def test_a_second_process_on_a_run_is_refused(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    process = start(run, 0.05, 60.0)
    try:
        while not run.metrics_so_far.exists():
            time.sleep(0.01)
        with pytest.raises(StorageError, match=f"in use by process {process.pid} on "):
            run_toy(tmp_path, fresh=True)
        assert run.metrics_so_far.exists()  # fresh deleted nothing of the other's
    finally:
        process.kill()
        process.communicate()


def test_a_loss_that_is_no_number_stops_the_run_with_its_last_good_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(TrainingDiverged, match=r"policy_loss is nan after \d+ env steps, expected a finite number"):
        run_toy(tmp_path, ToyLearner(fails_at=10), checkpoint_minutes=0.0)
    run = RunDirectory(tmp_path)
    tensors, record = load_tensors(checkpoints(run)[0], kind="resume")
    assert int(tensors["updates"]) == 9
    assert record["logbook"]["episodes"] == 36
    assert "fake toy seed 7: TrainingDiverged: " in run.log.read_text().splitlines()[-1]


def test_a_parameter_that_is_no_number_never_gets_into_a_checkpoint(tmp_path: Path) -> None:
    class Broken(ToyLearner):
        def learn(self, episodes):
            metrics = super().learn(episodes)
            if self.updates == 5:
                self.seen = torch.full_like(self.seen, torch.inf)
            return metrics

    with pytest.raises(TrainingDiverged, match="seen is nan"):
        run_toy(tmp_path, Broken(), checkpoint_minutes=0.0)
    assert int(load_tensors(checkpoints(RunDirectory(tmp_path))[0], kind="resume")[0]["updates"]) == 4


def test_a_clock_that_jumps_changes_nothing(
    unkilled: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jumps = random.Random(0)
    monkeypatch.setattr(time, "time", lambda: jumps.uniform(0, 4e9))
    run_toy(tmp_path)
    same_results(RunDirectory(tmp_path), unkilled)
    assert 0 < json.loads((tmp_path / "run.json").read_text())["wall_seconds"] < 60


def test_the_log_tells_of_every_process_that_worked_on_a_run(tmp_path: Path) -> None:
    run = stopped_run(tmp_path)
    run_toy(tmp_path)
    told = [line.partition(": ")[2] for line in run.log.read_text().splitlines()]
    places = [next(i for i, line in enumerate(told) if word in line) for word in ("SIGTERM", "resumed", "finished")]
    assert told[0].startswith("0 env steps: win rate") and places == sorted(places) and places[-1] == len(told) - 1
