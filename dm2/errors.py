"""Errors that a user can mend."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Its message says what was found, what was expected and how to mend it; shown without a traceback."""


@contextmanager
def report_errors() -> Iterator[None]:
    """Show an error that a user can mend as its message alone, and leave with exit code 1."""
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
