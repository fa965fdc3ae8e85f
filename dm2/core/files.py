"""Files that are either whole or absent: atomic writes, JSON, CSV, copies and hashes.

An error names the file, what was found and expected, and the way out.
"""

import contextlib
import csv
import errno
import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO

from dm2.core.errors import UserError

MAX_RECORD_BYTES = 64 * 2**20
_CHUNK_BYTES = 2**20
PART_SUFFIX = ".part"


class StorageError(UserError):
    """A file cannot be read, written or trusted; the message names it, what was found and expected, and the way out."""


# --- writing -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Lend a temporary path beside `path`; once the block has written it, it takes the place of `path` in one step.

    Whatever happens in between (an exception, Ctrl-C, a kill, a full disk), `path` stays as it was. File and folder are
    flushed to the disk before the block's end returns. A symbolic link stays one: what it leads to is written. A device
    or a pipe stays too, and gets the bytes when all of them are there.

    Args:
        path: the file to write; its folder is made where it is missing.

    Raises:
        StorageError: the file cannot be written.
    """
    path = Path(path)
    try:
        with _sent_to(path) if _is_special(path) else _put_in_place(path) as part:
            yield part
    except OSError as error:
        raise StorageError(_cannot_write(path, error)) from error


def _is_special(path: Path) -> bool:
    """Whether it is a device, a pipe or a socket: what is neither a file, nor a folder, nor absent."""
    return path.exists() and not path.is_file() and not path.is_dir()


@contextlib.contextmanager
def _put_in_place(path: Path) -> Iterator[Path]:
    path = Path(os.path.realpath(path))
    if path.is_symlink():  # of a circle
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}{PART_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        _flush_to_disk(part)
        os.replace(part, path)
        _flush_to_disk(path.parent)
    finally:
        with contextlib.suppress(OSError):  # gone already, or in a folder that cannot be written
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def _sent_to(special: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dm2-") as folder:
        part = Path(folder, special.name)
        yield part
        with open(part, "rb") as file, open(special, "wb", buffering=0) as out:
            shutil.copyfileobj(file, out, _CHUNK_BYTES)


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
    """Open `path` for writing so that it changes as a whole or not at all; see `atomic_path`.

    Args:
        path: the file to write.
        mode: `"wb"` for bytes, `"w"` for UTF-8 text with line ends as given.

    Raises:
        StorageError: the file cannot be written.
        ValueError: another mode.
    """
    if mode not in ("wb", "w"):
        raise ValueError(f"atomic_write: found mode {mode!r}, expected 'wb' or 'w'")
    text = {"encoding": "utf-8", "newline": ""} if mode == "w" else {}
    with atomic_path(path) as part, open(part, mode, **text) as file:  # type: ignore[call-overload]
        yield file


def write_json(path: str | os.PathLike[str], record: Mapping[str, Any]) -> None:
    """Write a record as indented JSON, atomically; ValueError on NaN and infinities, which JSON lacks."""
    text = json.dumps(record, indent=2, allow_nan=False)
    with atomic_write(path, "w") as file:
        file.write(text + "\n")


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a record that `write_json` wrote.

    Raises:
        StorageError: no such file, too long, or no JSON object.
    """
    path = Path(path)
    with open_to_read(path) as file:
        content = file.read(MAX_RECORD_BYTES + 1)
    if len(content) > MAX_RECORD_BYTES:
        raise StorageError(damaged(path, f"it is longer than the {MAX_RECORD_BYTES} bytes that a record may take"))
    return parse_record(path, content)


def write_csv(path: str | os.PathLike[str], columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as CSV, atomically; floats get the shortest digits that read back to the same float, None is empty.

    Args:
        path: the file to write.
        columns: the header, in order.
        rows: one mapping per line; a column that a row lacks is left empty.

    Raises:
        StorageError: the file cannot be written.
        ValueError: a row has a key that is not a column.
    """
    with atomic_write(path, "w") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def copy_file(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Copy a file's bytes atomically.

    Raises:
        StorageError: the source cannot be read, or the target not be written.
    """
    with open_to_read(Path(source)) as original, atomic_write(target) as copy:
        while chunk := original.read(_CHUNK_BYTES):
            copy.write(chunk)


def sha256_of_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes, 64 hexadecimal digits.

    Raises:
        StorageError: the file cannot be read.
    """
    with open_to_read(Path(path)) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_to_read(path: Path) -> BinaryIO:
    """Open a file.

    Raises:
        StorageError: it cannot be read.
    """
    try:
        return open(path, "rb")
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror}); expected a readable file") from error


def _cannot_write(path: Path, error: OSError) -> str:
    return (
        f"{path}: cannot be written ({error.strerror}); nothing was changed. Expected a folder with write"
        " permission and free space: mend that and start the same command again"
    )


def parse_record(path: Path, text: str | bytes) -> dict[str, Any]:
    """The JSON object that a file holds.

    Raises:
        StorageError: the text is something else.
    """
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StorageError(damaged(path, f"it holds no JSON ({error})")) from error
    if not isinstance(record, dict):
        raise StorageError(damaged(path, f"it holds a {type(record).__name__}, expected an object"))
    return record


def check_record(path: str | os.PathLike[str], record: Mapping[str, Any], **types: type) -> None:
    """Refuse a record in which a key is missing or its value of another type.

    Raises:
        StorageError: so it is; the message names file and key.
    """
    for key, expected in types.items():
        if not isinstance(record.get(key), expected):
            found = f"a {type(record[key]).__name__}" if key in record else "nothing"
            raise StorageError(damaged(Path(path), f"its {key} is {found}, expected a {expected.__name__}"))


def damaged(path: Path, found: str) -> str:
    """The message of an error about a file that says something else than it should."""
    return f"{path}: damaged, or no file of dm2: {found}; restore it from a copy, or delete it and make it again"
