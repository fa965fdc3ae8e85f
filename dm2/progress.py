"""Progress of long work: a bar on a terminal, a line now and then in a log file."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 30.0


class ProgressReport:
    """Tells a person how far a piece of work is.

    On a terminal a bar moves and messages stand above it. Anywhere else, such as a log file, each message is a line
    with the time, and progress is one line at most every `SECONDS_BETWEEN_LINES`, so that a log stays short. What
    scrolls by on a terminal can be kept in a log too.
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
            log: a file that gets the lines too while `file` is a terminal.
        """
        self.title = title
        self.total = total
        self.unit = unit
        self.enabled = enabled
        self.log = log
        self.file = file if file is not None else sys.stderr
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
        """Leave the bar where it is."""
        if self.bar is not None:
            self.bar.stop()

    def message(self, text: str) -> None:
        """Say something, at once."""
        if self.bar is not None:
            self.bar.console.print(text, highlight=False, markup=False)
            if self.log is not None:
                with open(self.log, "a", encoding="utf-8") as log:
                    log.write(self._line(text))
        else:
            self.file.write(self._line(text))
            self.file.flush()

    def _line(self, text: str) -> str:
        return f"{time.strftime('%Y-%m-%d %H:%M:%S')} {self.title}: {text}\n"

    def update(self, done: int) -> None:
        """Report how much of the total is done."""
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], completed=min(done, self.total))
        elif self.enabled:
            self._update_log(done)

    def _update_log(self, done: int) -> None:
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
        console = Console(file=self.file)
        bar = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console)
        bar.add_task(self.title, total=self.total)
        return bar


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
