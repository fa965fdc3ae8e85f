"""The files of one training, by name, and the lock that lets one process at a time work on them."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from dm2.core.files import PART_SUFFIX, StorageError, check_record, read_json, sha256_of_file


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

    def best_policy_so_far(self, env_steps: int) -> Path:
        """A policy whose evaluation, after so many env steps, was the best until then, while the run is unfinished."""
        return self.checkpoints / f"best-{env_steps:012d}.safetensors"

    def policy_so_far(self, percent: int) -> Path:
        """The policy at a percentage of the env steps, while the run is unfinished."""
        return self.checkpoints / "policies" / f"{percent:03d}.safetensors"

    def check_metrics(self) -> None:
        """Compare the metrics with the checksum in the record.

        Raises:
            StorageError: they are not as the run wrote them, or one of the two cannot be read.
        """
        content = read_json(self.record)
        check_record(self.record, content, sha256=dict)
        if content["sha256"].get("metrics") != sha256_of_file(self.metrics):
            raise StorageError(
                f"{self.metrics}: not as the run wrote it, by the checksum in {self.record.name} beside it;"
                " restore it from a copy, or delete it and train again"
            )

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
                # The fallback of file systems without flock would outlive a killed process.
                stack.enter_context(FileLock(lock, blocking=False, fallback_to_soft=False))
                lock.write_text(_holder(), encoding="utf-8")
            except Timeout as error:
                raise StorageError(_in_use(self.path, lock)) from error
            except OSError as error:
                raise StorageError(
                    f"{lock}: cannot be locked ({error.strerror}); expected a writable folder on a file system with"
                    " flock: mend that, or put the results elsewhere"
                ) from error
            self._sweep()
            yield
            lock.write_text("")

    def _sweep(self) -> None:
        for folder in (self.path, self.path / "policies", self.checkpoints, self.checkpoints / "policies"):
            for part in folder.glob(f".*{PART_SUFFIX}"):
                if not part.name.startswith(f".{self.settings.name}."):  # written by others, without the lock
                    part.unlink(missing_ok=True)


def _holder() -> str:
    return f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}\n"


def _in_use(directory: Path, lock: Path) -> str:
    holder = lock.read_text(encoding="utf-8", errors="replace")[:200].strip() or "a process that did not give its name"
    return f"{directory}: in use by {holder}; expected no other process: wait for it, or stop it, and start again"
