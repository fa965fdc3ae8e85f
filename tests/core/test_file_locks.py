"""dm2.core.file_locks between two processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dm2.core.file_locks import hold
from dm2.core.files import StorageError

HOLDER = """
import sys, time
from pathlib import Path
from dm2.core.file_locks import hold
held = hold(Path(sys.argv[1]), ["archive", "settings"], ["policy"])
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen]:
    """A process that makes archive and settings and reads policy."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "locks")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize(
    ("made", "read", "message"),
    [
        (["archive"], [], "archive: another process makes or reads it; wait for it, or stop it"),
        (["policy"], [], "policy: another process makes or reads it; wait for it, or stop it"),
        (["metrics"], ["archive"], "archive: another process makes it; wait for it, or stop it"),
    ],
)
def test_files_of_another_process_are_not_touched(
    holder: subprocess.Popen, tmp_path: Path, made: list[str], read: list[str], message: str
) -> None:
    with pytest.raises(StorageError, match=message):
        hold(tmp_path / "locks", made, read)


def test_others_are_free_and_all_are_after_a_kill(holder: subprocess.Popen, tmp_path: Path) -> None:
    hold(tmp_path / "locks", ["metrics"], ["policy"]).close()
    holder.kill()
    holder.wait()
    hold(tmp_path / "locks", ["archive", "policy"], ["settings"]).close()


def test_a_lock_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file/locks: cannot be written"):
        hold(tmp_path / "file" / "locks", [], [])
