"""dm2.training.progress: what a person sees of a run, on a terminal and in a log."""

import time
from pathlib import Path

import pytest

from dm2.training.progress import ProgressReport


class Terminal:
    """Where a person looks."""

    def __init__(self) -> None:
        self.text = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass


def test_a_log_gets_few_lines(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with ProgressReport("3m ippo", 1000, "env steps") as report:
        for done in range(0, 1000, 10):
            report.update(done)
            now += 1.0
        report.message("half way [not markup]")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert lines[0].endswith("3m ippo: 300 of 1,000 env steps (30.0 %), 10 per second, 0:01:10 left")
    assert lines[3].endswith("half way [not markup]")


def test_a_log_that_is_full_moves_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dm2.training.progress.MAX_LOG_BYTES", 1000)
    for process in range(40):
        with ProgressReport("3m ippo", 1000, "env steps", log=tmp_path / "log.txt") as report:
            report.message(f"message {process}")
    assert {path.name for path in tmp_path.iterdir()} == {"log.txt", "log.txt.1"}
    kept = (tmp_path / "log.txt.1").read_text() + (tmp_path / "log.txt").read_text()
    assert [int(line.split()[-1]) for line in kept.splitlines()] == list(range(40 - len(kept.splitlines()), 40))
    assert 1000 < len(kept) <= 2000


def test_a_terminal_gets_a_bar_and_the_log_its_lines(tmp_path: Path) -> None:
    terminal = Terminal()
    with ProgressReport("3m ippo", 1000, "env steps", file=terminal, log=tmp_path / "log.txt") as report:  # type: ignore[arg-type]
        report.update(1200)
        report.message("win rate [0.5]")
    assert "3m ippo" in terminal.text
    assert "1000/1000" in terminal.text
    assert "win rate [0.5]" in terminal.text
    assert (tmp_path / "log.txt").read_text().endswith(" 3m ippo: win rate [0.5]\n")
