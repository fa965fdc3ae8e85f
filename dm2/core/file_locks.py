"""Locks of single files between processes, which end with the process that holds them, in whatever way it ends.

Snakemake deletes a job's outputs before it starts it, however new they are. Of two Snakemakes in one directory, the
second could thus delete what the first has just made and is about to read. Its own lock against that outlives a kill.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from dm2.core.files import StorageError


def hold(lock: Path, made: Iterable[str], read: Iterable[str]) -> IO[bytes]:
    """Lock files that this process makes against all others, and those that it reads against who would make them.

    Args:
        lock: file whose bytes are locked in the place of the files, one by the digest of each name.
        made: names of files.
        read: names of files; those that are made too count as such.

    Returns:
        What holds the locks, to be kept open.

    Raises:
        StorageError: another process makes one of the files, or reads one that this one would make, or `lock` cannot be
            locked.
    """
    made = set(made)
    kinds = dict.fromkeys(read, fcntl.LOCK_SH) | dict.fromkeys(made, fcntl.LOCK_EX)
    with contextlib.ExitStack() as stack:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(open(lock, "a+b"))
        except OSError as error:
            raise StorageError(f"{lock}: cannot be written ({error.strerror}); expected a writable folder") from error
        for name in sorted(kinds):
            try:
                fcntl.lockf(file, kinds[name] | fcntl.LOCK_NB, 1, _byte_of(name))
            except (BlockingIOError, PermissionError) as error:
                other = "makes or reads" if name in made else "makes"
                raise StorageError(
                    f"{name}: another process {other} it; wait for it, or stop it, and start again"
                ) from error
            except OSError as error:
                raise StorageError(
                    f"{lock}: cannot be locked ({error.strerror}); expected a file system with locks"
                ) from error
        stack.pop_all()
    return file


def _byte_of(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:7])
