"""Tensors in files, read without running code: safetensors that say what they are.

Each carries, in its own header, what it is (`kind`), the version of its format, a JSON record of the writer's choice,
and a digest over record and tensors, so that a cut or a flipped bit is found at reading and named.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dm2.core.files import MAX_RECORD_BYTES, StorageError, atomic_write, damaged, open_to_read, parse_record

if TYPE_CHECKING:  # torch takes seconds to import, which planning would wait for
    from torch import Tensor

FORMAT_VERSION = 1


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
    # Not by the library's own writers: several keys of metadata come in another order in each process, save() takes
    # twice the file's size of memory, save_file() leaves an unnamed file behind when killed and no errno when it fails.
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
        raise StorageError(damaged(path, str(error))) from error
    if _digest(tensors, kind, header["metadata"]) != header["sha256"]:
        raise StorageError(damaged(path, "its contents do not match its own checksum"))
    return tensors, parse_record(path, header["metadata"])


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
    with open_to_read(path) as file:
        size = os.fstat(file.fileno()).st_size
        header_bytes = int.from_bytes(file.read(8), "little")
    if size < 8:
        raise StorageError(damaged(path, f"it is {size} bytes long, a header alone takes 8"))
    limit = min(size - 8, MAX_RECORD_BYTES)
    if header_bytes > limit:
        raise StorageError(damaged(path, f"its header claims {header_bytes} bytes, at most {limit} are possible"))


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
        raise StorageError(damaged(path, f"its header lacks {', '.join(sorted(missing))}"))
    return header


def _check_claims(path: Path, shapes: Mapping[str, Sequence[int]]) -> None:
    """Refuse what the library lets pass: an empty tensor may claim axes of any length."""
    size = path.stat().st_size
    for name, shape in shapes.items():
        if any(length > size for length in shape):
            raise StorageError(damaged(path, f"tensor {name!r} claims {list(shape)} in a file of {size} bytes"))


def _check_shapes(path: Path, found: Mapping[str, Sequence[int]], expected: Mapping[str, Sequence[int]]) -> None:
    for name in sorted(found.keys() | expected.keys()):
        have = list(found[name]) if name in found else "nothing"
        want = list(expected[name]) if name in expected else "nothing"
        if have != want:
            raise StorageError(
                f"{path}: tensor {name!r} is {have}, expected {want}; name a file made for this map and these sizes"
            )
