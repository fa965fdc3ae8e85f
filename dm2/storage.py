"""Files that are either whole or absent: atomic writes, tensor files, tables, run directories and their locks.

Tensor files are safetensors, so reading one never runs code. Each carries, in its own header, what it is (`kind`), the
version of its format, a JSON record of the writer's choice, and a digest over record and tensors, so that a cut or a
flipped bit is found at reading and named.
"""

import contextlib
import csv
import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO

from dm2.errors import UserError

if TYPE_CHECKING:  # torch takes seconds to import, and most users of this module write text
    from torch import Tensor

FORMAT_VERSION = 1
MAX_HEADER_BYTES = 64 * 2**20
_CHUNK_BYTES = 2**20
_PART_SUFFIX = ".part"


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
    part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}{_PART_SUFFIX}")
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
    with _open_to_read(path) as file:
        content = file.read(MAX_HEADER_BYTES + 1)
    if len(content) > MAX_HEADER_BYTES:
        raise StorageError(_damaged(path, f"it is longer than the {MAX_HEADER_BYTES} bytes that a record may take"))
    return _parse_record(path, content)


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
    with _open_to_read(Path(source)) as original, atomic_write(target) as copy:
        while chunk := original.read(_CHUNK_BYTES):
            copy.write(chunk)


def sha256_of_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes, 64 hexadecimal digits.

    Raises:
        StorageError: the file cannot be read.
    """
    with _open_to_read(Path(path)) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open_to_read(path: Path) -> BinaryIO:
    try:
        return open(path, "rb")
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror}); expected a readable file") from error


def _cannot_write(path: Path, error: OSError) -> str:
    return (
        f"{path}: cannot be written ({error.strerror}); nothing was changed. Expected a folder with write"
        " permission and free space: mend that and start the same command again"
    )


# --- tensor files --------------------------------------------------------------------------------------------------


def save_tensors(
    path: str | os.PathLike[str],
    tensors: Mapping[str, "Tensor"],
    *,
    kind: str,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write tensors and a record to one safetensors file, atomically.

    Args:
        path: the file to write.
        tensors: by name, any shape, any device; views and shared memory are fine.
        kind: what the file is, such as `"policy"`; `load_tensors` asks for the same word.
        metadata: a record that JSON can hold.

    Raises:
        StorageError: the file cannot be written.
        ValueError: a tensor of a type that the format lacks, such as complex numbers.
    """
    flat = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    record = json.dumps(metadata or {})
    header: dict[str, Any] = {
        "__metadata__": {
            "format": "dm2",
            "version": str(FORMAT_VERSION),
            "kind": kind,
            "metadata": record,
            "sha256": _digest(flat, kind, record),
        }
    }
    end = 0
    for name, tensor in flat.items():
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": _dtype_name(tensor), "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # tensors start at a multiple of 8 bytes
    with atomic_write(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in flat.values():
            file.write(_bytes_of(tensor))


def load_tensors(
    path: str | os.PathLike[str], *, kind: str, shapes: Mapping[str, Sequence[int]] | None = None
) -> tuple[dict[str, "Tensor"], dict[str, Any]]:
    """Read and check a file that `save_tensors` wrote; never runs code, takes no memory before the header holds true.

    Args:
        path: the file.
        kind: the kind that it must be of.
        shapes: if given, the names and shapes that it must hold, no more and no less.

    Returns:
        The tensors on the CPU, in memory of their own, and the record.

    Raises:
        StorageError: no such file, damaged, or of another kind, version or shape.
    """
    import safetensors

    path = Path(path)
    _check_header_size(path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = _checked_header(path, file.metadata() or {}, kind)
            claimed = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
            _check_claims(path, claimed)
            if shapes is not None:
                _check_shapes(path, claimed, shapes)
            tensors = {name: file.get_tensor(name).clone() for name in claimed}
    except (safetensors.SafetensorError, OSError) as error:
        raise StorageError(_damaged(path, str(error))) from error
    if _digest(tensors, kind, header["metadata"]) != header["sha256"]:
        raise StorageError(_damaged(path, "its contents do not match its own checksum"))
    return tensors, _parse_record(path, header["metadata"])


def _dtype_name(tensor: "Tensor") -> str:
    """The safetensors name of a tensor's type: F32, I64, U8, BOOL and so on."""
    name = str(tensor.dtype).removeprefix("torch.")
    letters, bits = name.rstrip("0123456789"), name.lstrip("abcdefghijklmnopqrstuvwxyz")
    known = {"float": "F", "bfloat": "BF", "int": "I", "uint": "U", "bool": "BOOL"}
    if letters not in known:
        raise ValueError(f"save_tensors: found a tensor of type {name}, expected floats, integers or truth values")
    return known[letters] + bits


def _bytes_of(tensor: "Tensor") -> memoryview:
    """A contiguous CPU tensor's memory, without a copy."""
    import torch

    array: Any = tensor.reshape(-1).view(torch.uint8).numpy()
    return memoryview(array)


def _digest(tensors: Mapping[str, "Tensor"], kind: str, record: str) -> str:
    digest = hashlib.sha256(json.dumps([FORMAT_VERSION, kind, record]).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(_bytes_of(tensor))
    return digest.hexdigest()


def _check_header_size(path: Path) -> None:
    with _open_to_read(path) as file:
        size = os.fstat(file.fileno()).st_size
        header_bytes = int.from_bytes(file.read(8), "little")
    if size < 8:
        raise StorageError(_damaged(path, f"it is {size} bytes long, a header alone takes 8"))
    limit = min(size - 8, MAX_HEADER_BYTES)
    if header_bytes > limit:
        raise StorageError(_damaged(path, f"its header claims {header_bytes} bytes, at most {limit} are possible"))


def _checked_header(path: Path, header: Mapping[str, str], kind: str) -> Mapping[str, str]:
    expected = {"format": "dm2", "version": str(FORMAT_VERSION), "kind": kind}
    for key, value in expected.items():
        if header.get(key) != value:
            raise StorageError(
                f"{path}: found {key} {header.get(key)!r}, expected {value!r};"
                f" name a file of that {key}, or make it again"
            )
    missing = {"metadata", "sha256"} - header.keys()
    if missing:
        raise StorageError(_damaged(path, f"its header lacks {', '.join(sorted(missing))}"))
    return header


def _check_claims(path: Path, shapes: Mapping[str, Sequence[int]]) -> None:
    """Refuse what the library lets pass: an empty tensor may claim axes of any length."""
    size = path.stat().st_size
    for name, shape in shapes.items():
        if any(length > size for length in shape):
            raise StorageError(_damaged(path, f"tensor {name!r} claims {list(shape)} in a file of {size} bytes"))


def _check_shapes(path: Path, found: Mapping[str, Sequence[int]], expected: Mapping[str, Sequence[int]]) -> None:
    for name in sorted(found.keys() | expected.keys()):
        have = list(found[name]) if name in found else "nothing"
        want = list(expected[name]) if name in expected else "nothing"
        if have != want:
            raise StorageError(
                f"{path}: tensor {name!r} is {have}, expected {want}; name a file made for this map and these sizes"
            )


def _parse_record(path: Path, text: str | bytes) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StorageError(_damaged(path, f"it holds no JSON ({error})")) from error
    if not isinstance(record, dict):
        raise StorageError(_damaged(path, f"it holds a {type(record).__name__}, expected an object"))
    return record


def check_record(path: str | os.PathLike[str], record: Mapping[str, Any], **types: type) -> None:
    """Refuse a record in which a key is missing or its value of another type.

    Raises:
        StorageError: so it is; the message names file and key.
    """
    for key, expected in types.items():
        if not isinstance(record.get(key), expected):
            found = f"a {type(record[key]).__name__}" if key in record else "nothing"
            raise StorageError(_damaged(Path(path), f"its {key} is {found}, expected a {expected.__name__}"))


def _damaged(path: Path, found: str) -> str:
    return f"{path}: damaged, or no file of dm2: {found}; restore it from a copy, or delete it and make it again"


# --- run directories -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RunDirectory:
    """Where the files of one training run are.

    What a finished run publishes stands at the top; `checkpoints/` holds what an unfinished one needs to go on: no
    workflow declares it as an output, so none deletes it before a retry.
    """

    path: Path

    def __post_init__(self) -> None:
        """Accept a text for the path."""
        object.__setattr__(self, "path", Path(self.path))

    @property
    def settings(self) -> Path:
        """The run's only settings file."""
        return self.path / "settings.yaml"

    @property
    def metrics(self) -> Path:
        """One row per evaluation, of the finished run."""
        return self.path / "metrics.csv"

    @property
    def record(self) -> Path:
        """All settings, versions, hardware, time: written last, so its presence says that the run is complete."""
        return self.path / "run.json"

    @property
    def log(self) -> Path:
        """What a person reads, of all processes that worked on the run: no output either, so no retry deletes it."""
        return self.path / "log.txt"

    @property
    def checkpoints(self) -> Path:
        """The folder of the unfinished run."""
        return self.path / "checkpoints"

    @property
    def metrics_so_far(self) -> Path:
        """The rows of the unfinished run."""
        return self.checkpoints / "metrics.csv"

    def policy(self, percent: int) -> Path:
        """The published policy at a percentage of the training's env steps."""
        return self.path / "policies" / f"{percent:03d}.safetensors"

    @property
    def best_policy(self) -> Path:
        """The published policy of the evaluation with the highest win rate."""
        return self.path / "best_policy.safetensors"

    @property
    def best_policy_so_far(self) -> Path:
        """The same policy while the run is unfinished."""
        return self.checkpoints / "best_policy.safetensors"

    def policy_so_far(self, percent: int) -> Path:
        """The same policy while the run is unfinished."""
        return self.checkpoints / "policies" / f"{percent:03d}.safetensors"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for this process alone; the operating system lets go when the process ends, in any way.

        Temporary files that a killed process left behind are swept out.

        Raises:
            StorageError: another process holds it (named in the message), or the folder cannot be written or locked.
        """
        lock = self.checkpoints / "lock"
        with contextlib.ExitStack() as stack:
            try:
                self.checkpoints.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context(open(lock, "a+", encoding="utf-8"))
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StorageError(_in_use(self.path, lock)) from error
            except OSError as error:
                raise StorageError(
                    f"{lock}: cannot be locked ({error.strerror}); expected a writable folder on a file system with"
                    " flock: mend that, or put the results elsewhere"
                ) from error
            _write_holder(file)
            self._sweep()
            yield
            file.truncate(0)

    def _sweep(self) -> None:
        for folder in (self.path, self.path / "policies", self.checkpoints, self.checkpoints / "policies"):
            for part in folder.glob(f".*{_PART_SUFFIX}"):
                if not part.name.startswith(f".{self.settings.name}."):  # written by others, without the lock
                    part.unlink(missing_ok=True)


def _write_holder(file: IO[str]) -> None:
    file.truncate(0)
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    file.write(f"process {os.getpid()} on {socket.gethostname()} since {since}\n")
    file.flush()


def _in_use(directory: Path, lock: Path) -> str:
    holder = lock.read_text(encoding="utf-8", errors="replace")[:200].strip() or "a process that did not give its name"
    return f"{directory}: in use by {holder}; expected no other process: wait for it, or stop it, and start again"
