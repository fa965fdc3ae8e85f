"""Progress of long work: a bar on a terminal, a line now and then in a log file."""

from __future__ import annotations

import logging
import sys
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dm2.core.output import Output

SECONDS_BETWEEN_LINES = 30.0
MAX_LOG_BYTES = 2**20  # some days of lines; a full log moves to log.txt.1, in the place of the one before


class Log(RotatingFileHandler):
    """A file that lines are added to, over all processes that work on a run one after the other."""

    def __init__(self, path: Path) -> None:
        """Nothing is opened before the first line."""
        super().__init__(path, maxBytes=MAX_LOG_BYTES, backupCount=1, encoding="utf-8", delay=True)

    def handleError(self, record: logging.LogRecord) -> None:
        """Do without the line: where a disk is full, the next checkpoint says so and stops the run."""


class ProgressReport:
    """Tells a person how far a piece of work is.

    On a terminal a bar moves and messages stand above it. Anywhere else, such as a log file, each message is a line
    with the time, and progress is one line at most every `SECONDS_BETWEEN_LINES`, so that a log stays short. A log of
    its own gets the same lines and the reason why the work ended early, whatever becomes of the output: without one
    that is lost the work goes on.
    """

    def __init__(
        self,
        title: str,
        total: int,
        unit: str,
        *,
        enabled: bool = True,
        file: TextIO | None = None,
        log: Path | None = None,
    ) -> None:
        """Prepare the report; it starts with the `with` block.

        Args:
            title: what is being done.
            total: amount of work.
            unit: what the amount counts, such as "env steps".
            enabled: False says nothing but messages.
            file: where to report; standard error unless given.
            log: a file that the lines are added to; it holds at most `MAX_LOG_BYTES`, its predecessor as many.
        """
        self.title = title
        self.total = total
        self.unit = unit
        self.enabled = enabled
        self.log = None if log is None else Log(log)
        self.file = Output(file if file is not None else sys.stderr)
        self.started = self.last_line = time.monotonic()
        self.first_done: int | None = None
        self.bar = self._make_bar() if enabled and self.file.isatty() else None

    def __enter__(self) -> Self:
        """Show the bar."""
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the bar where it is; the log tells an error, which others show."""
        if self.bar is not None:
            self.bar.stop()
        if error is not None and not isinstance(error, SystemExit):
            self._keep(f"{type(error).__name__}: {error}")
        if self.log is not None:
            self.log.close()

    def message(self, text: str) -> None:
        """Say something, at once."""
        if self.bar is not None:
            self.bar.console.print(text, highlight=False, markup=False)
        else:
            self.file.line(self._line(text))
        self._keep(text)

    def _line(self, text: str) -> str:
        return f"{time.strftime('%Y-%m-%d %H:%M:%S')} {self.title}: {text}"

    def _keep(self, text: str) -> None:
        if self.log is not None:
            self.log.handle(logging.makeLogRecord({"msg": self._line(text)}))

    def update(self, done: int) -> None:
        """Report how much of the total is done."""
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], completed=min(done, self.total))
        elif self.enabled:
            self._update_lines(done)

    def _update_lines(self, done: int) -> None:
        now = time.monotonic()
        if self.first_done is None:
            self.started, self.first_done = now, done
        if now - self.last_line < SECONDS_BETWEEN_LINES:
            return
        self.last_line = now
        rate = (done - self.first_done) / max(now - self.started, 1e-9)
        left = f", {_clock((self.total - done) / rate)} left" if rate > 0 and done < self.total else ""
        share = f"{done:,} of {self.total:,} {self.unit} ({100 * done / self.total:.1f} %)"
        self.message(f"{share}, {rate:,.0f} per second{left}")

    def _make_bar(self) -> Progress:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(self.unit))
        console = Console(file=cast(TextIO, self.file))
        bar = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console)
        bar.add_task(self.title, total=self.total)
        return bar


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
