"""Errors that a user can mend."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from dm2.core.output import Output, speak_any_encoding


class UserError(Exception):
    """Its message says what was found, what was expected and how to mend it; shown without a traceback."""


@contextmanager
def report_errors() -> Iterator[None]:
    """Show an error that a user can mend as its message alone, and leave with exit code 1."""
    speak_any_encoding()
    try:
        yield
    except UserError as error:
        _leave(str(error))
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        _leave(
            f"out of memory ({error}); files are as they were. Give the job more memory, or make the run smaller,"
            " and start the same command again: a training goes on from its last checkpoint"
        )


def _is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out: torch says so in the text of a RuntimeError."""
    return isinstance(error, MemoryError) or "allocate memory" in str(error)


def _leave(message: str) -> NoReturn:
    Output(sys.stderr).line(f"error: {message}")
    sys.exit(1)
