"""A watchdog timer: a process that makes no progress for too long is ended, with the stack of every thread in its log.

What stalls a training is a deadlock in a library, or a file system or device that no longer answers. Left alone, such a
job keeps its place for days; ended, it is sent again and goes on from its last checkpoint.
"""

from __future__ import annotations

import faulthandler
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

STALL_MINUTES = 60.0
"""Far more than the longest update takes: hundreds of episodes in one game of StarCraft II."""


@contextmanager
def watchdog(log: Path, seconds: float) -> Iterator[Callable[[], None]]:
    """Lend a function that must be called again before so many seconds have passed, as long as the block is open.

    Where it is not, the process ends with exit code 1, whatever its threads do: the timer is one of C and needs no turn
    of Python's.

    Args:
        log: gets the line `Timeout (H:MM:SS)!` and the stacks; a full one may move aside between two calls.
        seconds: wall time.
    """
    with open(log, "a", encoding="utf-8") as file:

        def alive() -> None:
            with suppress(OSError), open(log, "a", encoding="utf-8") as newest:  # the next checkpoint tells a full disk
                os.dup2(newest.fileno(), file.fileno(), inheritable=False)
            faulthandler.dump_traceback_later(seconds, exit=True, file=file)

        alive()
        try:
            yield alive
        finally:
            faulthandler.cancel_dump_traceback_later()
