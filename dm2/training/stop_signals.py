"""How a run is asked to stop: what a signal does while it trains."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

EXIT_INTERRUPTED = 75
"""Exit code after SIGTERM, SIGINT or SIGHUP: all is kept, the same command goes on (EX_TEMPFAIL of sysexits.h)."""


class TrainingInterrupted(SystemExit):
    """The run was asked to stop and did, resumable; leaves the process with `EXIT_INTERRUPTED` unless caught."""


class StopSignals:
    """While open, SIGTERM, SIGINT and SIGHUP are noted instead of ending the process; a second one ends it.

    A closed terminal sends SIGHUP, often twice, so that one never counts as the second; where it is ignored, as under
    `nohup`, it stays so.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._ends_at_once = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        """Take the signals over; in a thread other than the main one Python lets nobody do so."""
        if threading.current_thread() is threading.main_thread():
            ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            for number in (signal.SIGTERM, signal.SIGINT, *([] if ignored else [signal.SIGHUP])):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        """Give the signals back."""
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Around work that leaves nothing behind and is done again as a whole: a signal ends it then and there.

        Raises:
            TrainingInterrupted: so it did, or one had come before.
        """
        self._ends_at_once = True
        try:
            if self.received is not None:
                raise TrainingInterrupted(EXIT_INTERRUPTED)
            yield
        finally:
            self._ends_at_once = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            if number == signal.SIGHUP:
                return
            raise KeyboardInterrupt
        self.received = signal.Signals(number).name
        if self._ends_at_once:
            raise TrainingInterrupted(EXIT_INTERRUPTED)
