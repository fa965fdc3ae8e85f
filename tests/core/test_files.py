"""Tests of dm2.core.files, with the faults it is there for: kills, full disks, damaged and hostile files."""

import csv
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.limited_files import LimitedFileSize

from dm2.core.files import (
    StorageError,
    atomic_path,
    atomic_write,
    check_record,
    copy_file,
    read_json,
    sha256_of_file,
    write_csv,
    write_json,
)
from dm2.core.run_directory import RunDirectory
from dm2.core.tensor_files import load_tensors, save_tensors

TENSORS = {
    "weight": torch.arange(12, dtype=torch.float32).reshape(3, 4) / 7,
    "count": torch.tensor(3),
    "alive": torch.tensor([True, False]),
    "none": torch.zeros(0, 5),
}


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def policy_file(folder: Path) -> Path:
    path = folder / "policy.safetensors"
    save_tensors(path, TENSORS, kind="policy", metadata={"map_name": "3m", "win_rate": 0.1 + 0.2})
    return path


# --- atomic writes -------------------------------------------------------------------------------------------------


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    target = tmp_path / "metrics.csv"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_write(target, "w") as file:
        file.write("half of the new")
        raise KeyboardInterrupt
    assert target.read_text() == "old"
    assert files_in(tmp_path) == {"metrics.csv"}


def test_the_old_file_stands_until_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "new folder" / "run.json"
    with atomic_write(target) as file:
        file.write(b"{}")
        assert not target.exists()
    assert target.read_bytes() == b"{}"
    assert files_in(target.parent) == {"run.json"}


@pytest.mark.parametrize("target", ["plain", "missing", "folder/missing"])
def test_a_symbolic_link_stays_one_and_what_it_leads_to_is_written(tmp_path: Path, target: str) -> None:
    (tmp_path / "plain").write_text("old")
    (tmp_path / "first").symlink_to(tmp_path / target)
    (tmp_path / "link").symlink_to("first")
    write_json(tmp_path / "link", {"a": 1})
    assert (tmp_path / "link").is_symlink() and (tmp_path / "first").is_symlink()
    assert read_json(tmp_path / target) == {"a": 1} and not (tmp_path / target).is_symlink()
    assert not list(tmp_path.rglob("*.part"))


def test_links_that_lead_in_a_circle_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(StorageError, match=r"/a: cannot be written \(Too many levels of symbolic links\)"):
        write_json(tmp_path / "a", {})
    assert (tmp_path / "a").is_symlink() and (tmp_path / "b").is_symlink()


def test_a_pipe_gets_the_bytes_and_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    read: list[bytes] = []
    for name in ("pipe", "link"):
        reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
        reader.start()
        write_csv(tmp_path / name, ["x"], [{"x": 0.5}])
        reader.join()
    assert read == [b"x\n0.5\n"] * 2
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "link").is_symlink()
    assert files_in(tmp_path) == {"pipe", "link"}


def test_a_device_gets_the_bytes_and_stays() -> None:
    reader, terminal = pty.openpty()
    name = os.ttyname(terminal)
    with atomic_write(name, "w") as file:
        file.write("DM²")
    assert os.read(reader, 10) == "DM²".encode()
    assert Path(name).is_char_device()
    os.close(reader)
    os.close(terminal)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1"])
def test_standard_output_as_a_file_is_written(tmp_path: Path, name: str) -> None:
    program = f"from dm2.core.files import write_json; write_json({name!r}, {{}})"
    shown = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    assert shown.stdout == b"{}\n"
    with open(tmp_path / "out", "wb") as out:
        subprocess.run([sys.executable, "-c", program], stdout=out, check=True)
    assert (tmp_path / "out").read_bytes() == b"{}\n"


def test_text_keeps_its_line_ends_and_modes_are_checked(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "text", "w") as file:
        file.write("DM²\r\n")
    assert (tmp_path / "text").read_bytes() == "DM²\r\n".encode()
    with pytest.raises(ValueError, match="found mode 'a'"), atomic_write(tmp_path / "text", "a"):
        pass


def test_a_lent_path_that_was_never_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"), atomic_path(tmp_path / "policy"):
        pass
    assert files_in(tmp_path) == set()


WRITE_FOREVER = """
import sys
from dm2.core.files import atomic_write
version = 0
while True:
    version += 1
    with atomic_write(sys.argv[1], "w") as file:
        for _ in range(200):
            file.write(f"{version}\\n" * 50)
    print(version, flush=True)
"""


@pytest.mark.parametrize("seconds", [0.003, 0.02, 0.05, 0.11])
def test_a_kill_at_any_moment_leaves_a_whole_file(tmp_path: Path, seconds: float) -> None:
    target = tmp_path / "numbers"
    writer = subprocess.Popen([sys.executable, "-c", WRITE_FOREVER, str(target)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.readline()
    time.sleep(seconds)
    writer.kill()
    writer.wait()
    lines = target.read_text().splitlines()
    assert len(lines) == 10_000
    assert len(set(lines)) == 1


WRITERS: dict[str, Callable[[Path], None]] = {
    "csv": lambda path: write_csv(path, ["env_steps"], [{"env_steps": n} for n in range(5000)]),
    "json": lambda path: write_json(path, {"text": "x" * 20_000}),
    "tensors": lambda path: save_tensors(path, {"w": torch.zeros(5000)}, kind="policy"),
    "copy": lambda path: copy_file(sys.executable, path),
}


@pytest.mark.parametrize("what", WRITERS)
def test_a_full_disk_is_an_error_that_keeps_the_old_file(tmp_path: Path, what: str) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    with LimitedFileSize(4096), pytest.raises(StorageError, match=r"file: cannot be written .* free space"):
        WRITERS[what](target)
    assert target.read_bytes() == b"old"
    assert files_in(tmp_path) == {"file"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_no_space_is_named_in_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dm2.core.files.PART_SUFFIX", ".part")
    with pytest.raises(StorageError, match="No space left on device"), atomic_path(tmp_path / "file") as part:
        part.symlink_to("/dev/full")
        part.write_bytes(b"x" * 10_000)
    assert files_in(tmp_path) == set()


@pytest.mark.parametrize("what", WRITERS)
def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path, what: str) -> None:
    (tmp_path / "results").write_text("a file where a folder should be")
    with pytest.raises(StorageError, match=r"results/file: cannot be written .* write permission"):
        WRITERS[what](tmp_path / "results" / "file")


# --- tables and records --------------------------------------------------------------------------------------------


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
def test_csv_floats_read_back_equal(tmp_path: Path, numbers: list[float]) -> None:
    write_csv(tmp_path / "t.csv", ["x", "y"], [{"x": x} for x in numbers])
    with open(tmp_path / "t.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["x"]) for row in rows] == numbers
    assert all(row["y"] == "" for row in rows)


def test_csv_refuses_a_key_that_is_no_column(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="loss"):
        write_csv(tmp_path / "t.csv", ["x"], [{"x": 1, "loss": 2}])
    assert files_in(tmp_path) == set()


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_json(tmp_path / "run.json", {"loss": float("nan")})
    assert files_in(tmp_path) == set()


def test_json_reads_back(tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", {"seed": 1, "rate": 0.1, "name": "DM²"})
    assert read_json(tmp_path / "run.json") == {"seed": 1, "rate": 0.1, "name": "DM²"}


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"[" * 100_000, b"\xff\xfe\x00", b'{"a": 1}x'])
def test_damaged_json_is_refused(tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(StorageError, match=r"run.json: damaged"):
        read_json(tmp_path / "run.json")
    monkeypatch.setattr("dm2.core.files.MAX_RECORD_BYTES", 3)
    (tmp_path / "run.json").write_bytes(b"{  }")
    with pytest.raises(StorageError, match="longer than the 3 bytes"):
        read_json(tmp_path / "run.json")


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    assert sha256_of_file(tmp_path / "abc") == digest
    copy_file(tmp_path / "abc", tmp_path / "copy")
    assert sha256_of_file(tmp_path / "copy") == digest
    with pytest.raises(StorageError, match="gone: cannot be read"):
        sha256_of_file(tmp_path / "gone")


def test_a_record_must_have_its_keys_and_types() -> None:
    check_record("run.json", {"percent": 5, "settings": {}}, percent=int, settings=dict)
    with pytest.raises(StorageError, match=r"run.json: damaged.*its percent is a str, expected a int"):
        check_record("run.json", {"percent": "5"}, percent=int)
    with pytest.raises(StorageError, match="its settings is nothing, expected a dict"):
        check_record("run.json", {}, settings=dict)


JSON_BYTES = st.one_of(
    st.binary(max_size=100),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    ).map(lambda record: json.dumps(record).encode()),
)


@given(JSON_BYTES)
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=int(os.environ.get("DM2_FUZZ_EXAMPLES", "100")),
    deadline=None,
)
def test_any_bytes_are_a_record_or_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.json").write_bytes(content)
    try:
        assert read_json(tmp_path / "run.json") == json.loads(content) or b"NaN" in content
    except StorageError as error:
        assert f"{tmp_path}/run.json: damaged" in str(error)


# --- tensor files --------------------------------------------------------------------------------------------------


def test_tensors_read_back_equal_with_their_record(tmp_path: Path) -> None:
    shapes = {name: tensor.shape for name, tensor in TENSORS.items()}
    tensors, record = load_tensors(policy_file(tmp_path), kind="policy", shapes=shapes)
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)
    assert record == {"map_name": "3m", "win_rate": 0.1 + 0.2}


def test_views_of_one_tensor_are_stored_apart(tmp_path: Path) -> None:
    whole = torch.arange(6.0).reshape(2, 3)
    save_tensors(tmp_path / "f", {"first": whole[0], "across": whole.T}, kind="policy")
    tensors, _ = load_tensors(tmp_path / "f", kind="policy")
    assert tensors["first"].tolist() == [0, 1, 2]
    assert tensors["across"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_one_tensor_under_two_names_is_stored_twice(tmp_path: Path) -> None:
    weight = torch.arange(3.0)
    save_tensors(tmp_path / "f", {"a": weight, "b": weight}, kind="policy")
    assert load_tensors(tmp_path / "f", kind="policy")[0]["b"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.uint8, torch.int32, torch.uint64]
)
def test_every_type_reads_back(tmp_path: Path, dtype: torch.dtype) -> None:
    save_tensors(tmp_path / "f", {"odd": torch.ones(3, dtype=torch.bool), "x": torch.ones(2).to(dtype)}, kind="policy")
    x = load_tensors(tmp_path / "f", kind="policy")[0]["x"]
    assert x.dtype == dtype
    assert x.tolist() == [1, 1]


def test_a_type_that_the_format_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found a tensor of type complex64"):
        save_tensors(tmp_path / "f", {"x": torch.zeros(2, dtype=torch.complex64)}, kind="policy")
    assert files_in(tmp_path) == set()


def test_the_file_is_readable_by_others_like_any_other_file(tmp_path: Path) -> None:
    mask = os.umask(0o022)
    try:
        assert policy_file(tmp_path).stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(mask)


def test_another_kind_or_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StorageError, match=r"policy.safetensors: found kind 'policy', expected 'resume'"):
        load_tensors(policy_file(tmp_path), kind="resume")
    monkeypatch.setattr("dm2.core.tensor_files.FORMAT_VERSION", 2)
    with pytest.raises(StorageError, match="found version '1', expected '2'"):
        load_tensors(tmp_path / "policy.safetensors", kind="policy")


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"weight": [3, 5]}, r"tensor 'weight' is \[3, 4\], expected \[3, 5\]"),
        ({"weight": [3, 4], "bias": [4]}, "tensor 'bias' is nothing, expected"),
        ({}, r"tensor 'weight' is \[3, 4\], expected nothing"),
    ],
)
def test_other_shapes_are_refused(tmp_path: Path, shapes: dict, message: str) -> None:
    save_tensors(tmp_path / "f", {"weight": torch.zeros(3, 4)}, kind="policy")
    with pytest.raises(StorageError, match=message):
        load_tensors(tmp_path / "f", kind="policy", shapes=shapes)


def test_missing_file_and_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"gone: cannot be read \(No such file or directory\)"):
        load_tensors(tmp_path / "gone", kind="policy")
    with pytest.raises(StorageError, match="cannot be read"):
        load_tensors(tmp_path, kind="policy")


def test_every_cut_is_found(tmp_path: Path) -> None:
    path = policy_file(tmp_path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(StorageError, match="damaged"):
            load_tensors(path, kind="policy")


def test_every_flipped_bit_is_found_or_harmless(tmp_path: Path) -> None:
    path = policy_file(tmp_path)
    whole = path.read_bytes()
    harmless = []
    for index in range(len(whole)):
        path.write_bytes(whole[:index] + bytes([whole[index] ^ (1 << index % 8)]) + whole[index + 1 :])
        try:
            tensors, record = load_tensors(path, kind="policy")
        except StorageError:
            continue
        harmless.append(whole[index : index + 1])
        assert record == {"map_name": "3m", "win_rate": 0.1 + 0.2}
        assert all(torch.equal(tensors[name], tensor) for name, tensor in TENSORS.items())
    assert set(harmless) <= {b" "}  # the header's padding


def test_a_huge_claimed_header_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes((2**60).to_bytes(8, "little") + b"{}")
    with pytest.raises(StorageError, match=r"its header claims 1152921504606846976 bytes, at most 2"):
        load_tensors(tmp_path / "f", kind="policy")


def header_and_data(header: object, data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    ("name", "claim"),
    [
        ("weight", {"shape": [9, 2**50]}),
        ("weight", {"shape": [9, 2**50], "data_offsets": [0, 36 * 2**50]}),
        ("weight", {"shape": [2**40, 2**40]}),
        ("weight", {"data_offsets": [0, 2**63]}),
        ("none", {"shape": [0, 3_037_000_500, 3_037_000_500]}),
    ],
)
def test_a_huge_claimed_tensor_is_refused_before_memory_is_taken(tmp_path: Path, name: str, claim: dict) -> None:
    whole = policy_file(tmp_path).read_bytes()
    size = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + size])
    (tmp_path / "f").write_bytes(header_and_data(header, whole[8 + size :]))
    load_tensors(tmp_path / "f", kind="policy")
    header[name].update(claim)
    (tmp_path / "f").write_bytes(header_and_data(header, whole[8 + size :]))
    with pytest.raises(StorageError, match="damaged"):
        load_tensors(tmp_path / "f", kind="policy")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
TENSOR_CLAIM = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "I64", "BOOL", "F8_E4M3", "BF16", "F4", "F128", ""]),
        "shape": st.lists(st.integers(-1, 2**64), max_size=3),
        "data_offsets": st.lists(st.integers(-1, 2**64) | st.sampled_from([0, 4, 8]), max_size=3),
    }
)
HOSTILE = st.one_of(
    st.binary(max_size=200),
    st.builds(header_and_data, JSON, st.binary(max_size=16)),
    st.builds(
        header_and_data,
        st.fixed_dictionaries(
            {
                "__metadata__": st.fixed_dictionaries(
                    {
                        "format": st.just("dm2"),
                        "version": st.just("1"),
                        "kind": st.just("policy"),
                        "sha256": st.text(max_size=3),
                        "metadata": st.sampled_from(["{}", "[]", "[" * 100_000, "{"]),
                    }
                ),
                "../../etc/name": TENSOR_CLAIM,
            }
        ),
        st.binary(max_size=16),
    ),
)


@given(HOSTILE)
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=int(os.environ.get("DM2_FUZZ_EXAMPLES", "200")),
    deadline=None,
)
def test_no_bytes_get_past_the_reader_or_crash_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(StorageError, match="f: "):
        load_tensors(tmp_path / "f", kind="policy")
    assert files_in(tmp_path) == {"f"}


# --- run directories -----------------------------------------------------------------------------------------------

HOLD = """
import sys, time
from dm2.core.run_directory import RunDirectory
with RunDirectory(sys.argv[1]).locked():
    print("held", flush=True)
    time.sleep(60)
"""


def holder_of(directory: Path) -> subprocess.Popen:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(directory)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def test_paths_say_what_the_file_is() -> None:
    run = RunDirectory("results/quick/runs/3m/ippo/seed-1")  # type: ignore[arg-type]
    assert str(run.policy(10)) == "results/quick/runs/3m/ippo/seed-1/policies/010.safetensors"
    assert run.policy_so_far(100).relative_to(run.checkpoints) == Path("policies/100.safetensors")


def test_two_processes_on_one_run_directory(tmp_path: Path) -> None:
    process = holder_of(tmp_path)
    try:
        with pytest.raises(StorageError, match=f"in use by process {process.pid} on .* since "), _locked(tmp_path):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        with _locked(tmp_path):  # a dead process holds nothing
            assert f"process {os.getpid()} " in (tmp_path / "checkpoints" / "lock").read_text()
    finally:
        process.kill()
        process.wait()


def test_the_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="in the middle"), _locked(tmp_path):
        raise RuntimeError("in the middle")
    with _locked(tmp_path):
        pass


def test_leftovers_of_a_killed_process_are_swept_but_nothing_else(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.checkpoints.mkdir()
    ours = [tmp_path / ".metrics.csv.7.ab.part", run.checkpoints / ".resume.7.ab.part"]
    others = [tmp_path / ".settings.yaml.7.ab.part", tmp_path / "notes.part", tmp_path / "metrics.csv"]
    for path in ours + others:
        path.write_text("")
    with run.locked():
        assert not any(path.exists() for path in ours)
        assert all(path.exists() for path in others)


def test_a_directory_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file where a folder should be")
    with pytest.raises(StorageError, match="checkpoints/lock: cannot be locked"), _locked(tmp_path):
        pass


def _locked(directory: Path):
    return RunDirectory(directory).locked()
