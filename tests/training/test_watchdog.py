"""A training that stalls is ended, tells where, and goes on when it is started again."""

import os
import time
from pathlib import Path

import pytest
from support.toy_training import ToyLearner, run_toy

from dm2.core.run_directory import RunDirectory
from dm2.training.progress import ProgressReport
from dm2.training.watchdog import watchdog


def exit_code_of_a_fork(work) -> int:
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Stalling(ToyLearner):
    def learn(self, episodes):
        if self.updates == 9:
            time.sleep(600)
        return super().learn(episodes)


def test_a_run_that_stalls_is_ended_and_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    options = {"checkpoint_minutes": 0.0, "stall_minutes": 2 / 60}
    assert exit_code_of_a_fork(lambda: run_toy(tmp_path / "stalled", Stalling(), **options)) == 1
    run, whole = RunDirectory(tmp_path / "stalled"), RunDirectory(tmp_path / "whole")
    log = run.log.read_text()
    assert "Timeout (0:00:02)!" in log and "in learn\n" in log
    run_toy(run.path)
    run_toy(whole.path)
    for percent in (20, 50, 100):
        assert run.policy(percent).read_bytes() == whole.policy(percent).read_bytes()
    assert "resumed at" in run.log.read_text()


def test_the_stacks_are_in_the_log_that_followed_a_full_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dm2.training.progress.MAX_LOG_BYTES", 200)
    log = tmp_path / "log.txt"

    def work() -> None:
        with ProgressReport("3m ippo", 1000, "env steps", log=log) as report, watchdog(log, seconds=1.0) as alive:
            for number in range(20):
                report.message(f"message {number}")
                alive()
            time.sleep(600)

    assert exit_code_of_a_fork(work) == 1
    assert (tmp_path / "log.txt.1").exists()
    told = log.read_text()
    assert "message 19\n" in told and "Timeout (0:00:01)!" in told and "in work\n" in told


def test_a_block_that_is_alive_or_has_ended_is_left_alone(tmp_path: Path) -> None:
    def work() -> None:
        with watchdog(tmp_path / "log.txt", seconds=1.0) as alive:
            for _ in range(12):
                time.sleep(0.1)
                alive()
        time.sleep(1.2)

    assert exit_code_of_a_fork(work) == 0
    assert (tmp_path / "log.txt").read_text() == ""


def test_an_error_in_the_block_ends_the_watch(tmp_path: Path) -> None:
    def work() -> None:
        with pytest.raises(KeyError), watchdog(tmp_path / "log.txt", seconds=0.5):
            raise KeyError
        time.sleep(0.7)

    assert exit_code_of_a_fork(work) == 0
