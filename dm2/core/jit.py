"""The compiler of all kernels: numba, with machine code on disk that is never older than its sources.

Numba's own cache knows a function by its own file: what it takes from other modules, functions and constants alike, may
change without its noticing. Here the machine code of a module's functions lies in a folder named by a digest of that
module and of all that it imports from this package, with the versions of the compilers. One file holds one function
for one signature and one processor; it is replaced as a whole, so that any number of processes may compile at once.

Where: in `NUMBA_CACHE_DIR`, where that is set; else within the package, else in the user's cache folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import pickle
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core.caching import FunctionCache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps
from numba.extending import is_jitted

from dm2.core.files import StorageError, atomic_write
from dm2.core.imports import PACKAGE, imported, source

FOLDERS_KEPT = 4
"""Folders of a module that stay, the ones last written to: other branches, other versions of Python."""
DIGEST_CHARACTERS = 16
BYTES_OF_A_KERNEL = 4 * 2**20
"""More than the largest one takes."""
ADVICE = "so every process compiles anew; name a folder with room in NUMBA_CACHE_DIR"
_CHECK_BYTES = hashlib.sha256().digest_size

_log = logging.getLogger(__name__)
_warned: list[str] = []


def njit(*, cache: bool = False, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`numba.njit`, whose `cache` knows every source file that the function depends on.

    Args:
        cache: whether the machine code is kept on disk, for later processes.
        options: of `numba.njit`.
    """

    def compiled(function: Callable[..., Any]) -> Any:
        dispatcher = numba.njit(**options)(function)
        if cache and is_jitted(dispatcher):  # NUMBA_DISABLE_JIT leaves functions as they are
            dispatcher._cache = _MachineCode(function)  # type: ignore[attr-defined]
        return dispatcher

    return compiled


@cache
def sources_digest(module: str) -> str:
    """Digest of a module of this package, of all that its import runs, and of what compiles it.

    Imports within functions do not count: a kernel cannot read from them what is not in its closure, which numba knows.

    Raises:
        ModuleNotFoundError: the package has no such module.
    """
    compilers = sys.implementation.cache_tag, numba.__version__, llvmlite.__version__, np.__version__
    digest = hashlib.sha256(repr(compilers).encode())
    for name in sorted(imported([module], deferred=False)):
        digest.update(f"{name}\n{hashlib.sha256(source(name).read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:DIGEST_CHARACTERS]


def places() -> list[Path]:
    """Folders for machine code, in the order in which they are tried."""
    named = numba.config.CACHE_DIR  # type: ignore[attr-defined]
    if named:
        return [Path(named) / PACKAGE.name]
    within = PACKAGE / "__pycache__" / "machine_code"
    try:
        home = Path.home()
    except RuntimeError:  # there is none
        return [within]
    return [within, Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / PACKAGE.name]


def writable_place() -> Path | None:
    """The first of `places` that takes another kernel now; None if none does."""
    for place in places():
        try:
            place.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=place) as file:
                file.write(bytes(BYTES_OF_A_KERNEL))
        except OSError:
            continue
        return place
    return None


class _MachineCode(FunctionCache):
    """What numba asks for the machine code of one function; its key is numba's: signature, processor, closure."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._name = repr(function)
        self._py_func = function
        self._within = Path(function.__module__, sources_digest(function.__module__))
        self._cache_path = str(places()[0] / self._within)
        self.enable()

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        target_context.refresh()
        if not self._enabled:
            return None
        key = self._index_key(sig, target_context.codegen())
        for place in places():
            state = _read(place / self._file(key), key)
            if state is not None:
                return CompileResult._rebuild(target_context, *state)
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        if not self._enabled or data.library.has_dynamic_globals:
            return
        key = self._index_key(sig, data.codegen)
        content = dumps((key, data._reduce()))
        reasons = []
        for place in places():
            try:
                _write(place / self._file(key), content)
            except StorageError as error:
                reasons.append(f"{place}: {getattr(error.__cause__, 'strerror', error)}")
            else:
                return
        _warn("; ".join(reasons))

    def flush(self) -> None:
        """Nothing: what is compiled again replaces what is there."""

    def _file(self, key: object) -> Path:
        name = self._py_func.__qualname__.replace("<locals>.", "")
        return self._within / f"{name}-{hashlib.sha256(repr(key).encode()).hexdigest()[:DIGEST_CHARACTERS]}.nbc"


def _read(path: Path, key: object) -> tuple[Any, ...] | None:
    """The state of a compiled function; None where there is none, or a damaged one."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    check, content = data[:_CHECK_BYTES], data[_CHECK_BYTES:]
    if check != hashlib.sha256(content).digest():
        return None
    found, state = pickle.loads(content)
    return state if found == key else None


def _write(path: Path, content: bytes) -> None:
    is_new = not path.parent.is_dir()
    with atomic_write(path) as file:
        file.write(hashlib.sha256(content).digest() + content)
    if is_new:
        _remove_old(path.parent.parent)


def _remove_old(folder: Path) -> None:
    """Leave the folders last written to."""
    with contextlib.suppress(OSError):  # another process removes them too
        by_age = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)
        for old in by_age[:-FOLDERS_KEPT]:
            shutil.rmtree(old, ignore_errors=True)


def _warn(reason: str) -> None:
    """Once in a process."""
    if not _warned:
        _warned.append(reason)
        _log.warning("warning: machine code is not kept on disk (%s), %s", reason, ADVICE)
