"""What a person reads of a program at work; that it is lost is no reason to stop."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO


class Output(io.TextIOBase):
    """A text stream that never fails.

    Once its reader is gone, its terminal closed or its disk full, it is silent. A standard stream then leads to the
    null device for all who write to it: Python's own flush at exit would otherwise fail, and change the exit code.
    """

    def __init__(self, stream: TextIO | None) -> None:
        """Write to `stream`; to nothing where there is none, as `sys.stderr` after `2>&-`."""
        self.stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of the stream."""
        return getattr(self.stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        try:
            return self.stream is not None and self.stream.isatty()
        except ValueError:  # it was closed
            return False

    def fileno(self) -> int:
        if self.stream is None:
            raise io.UnsupportedOperation("fileno")
        return self.stream.fileno()

    def write(self, text: str) -> int:
        try:
            if self.stream is not None:
                self.stream.write(text)
        except (OSError, ValueError):
            self._lose()
        return len(text)

    def flush(self) -> None:
        try:
            if self.stream is not None:
                self.stream.flush()
        except (OSError, ValueError):
            self._lose()

    def line(self, text: str) -> None:
        """Write a line, at once."""
        self.write(f"{text}\n")
        self.flush()

    def _lose(self) -> None:
        stream, self.stream = self.stream, None
        is_standard = stream is sys.__stdout__ or stream is sys.__stderr__
        if stream is not None and is_standard and not stream.closed:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)


def speak_any_encoding() -> None:
    """Let the standard streams show a character that their encoding lacks as its number instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
