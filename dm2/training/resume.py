"""What an unfinished run goes on from: the resume checkpoint, and what it may be continued by.

A checkpoint holds the learner's whole state and the logbook of the run. It is written beside its predecessor, never
over it, so that neither a kill in the middle of a write nor a damaged file loses the run. It also says which settings,
code and data made it; another configuration does not go on from it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from dm2.core.files import StorageError, check_record, read_json
from dm2.core.run_directory import RunDirectory
from dm2.core.tensor_files import load_tensors, save_tensors
from dm2.nets.products import VARIABLE

if TYPE_CHECKING:
    from torch import Tensor

KIND = "resume"
CHECKPOINTS_KEPT = 2
_NAME = re.compile(r"resume-(\d{12})\.safetensors")

Row = dict[str, Any]
Identity = Mapping[str, Any]


@dataclass
class Logbook:
    """The state of the training loop itself.

    Attributes:
        env_steps: played so far.
        episodes: played so far; also the number of the next one.
        next_evaluation: env steps from which on the next evaluation is due.
        rows: one per evaluation so far, the rows of metrics.csv.
        loss_sums: per metric of the learner, summed since the last evaluation.
        loss_counts: per metric, the number of updates in its sum.
        policies_kept: percents of the training whose policies are on the disk.
        wall_seconds: spent so far, in all processes that worked on the run; waiting between them not counted.
        resumes: how often the run was taken up again.
        peak_memory_bytes: the most that any of its processes took.
    """

    env_steps: int = 0
    episodes: int = 0
    next_evaluation: int = 0
    rows: list[Row] = field(default_factory=list)
    loss_sums: dict[str, float] = field(default_factory=dict)
    loss_counts: dict[str, int] = field(default_factory=dict)
    policies_kept: list[int] = field(default_factory=list)
    wall_seconds: float = 0.0
    resumes: int = 0
    peak_memory_bytes: int = 0

    def count_losses(self, losses: Mapping[str, float]) -> None:
        """Add one update's metrics to the sums."""
        for name, value in losses.items():
            self.loss_sums[name] = self.loss_sums.get(name, 0.0) + value
            self.loss_counts[name] = self.loss_counts.get(name, 0) + 1

    def take_mean_losses(self) -> dict[str, float]:
        """The means since the last call, which start anew."""
        means = {name: total / self.loss_counts[name] for name, total in self.loss_sums.items()}
        self.loss_sums, self.loss_counts = {}, {}
        return means


def checkpoint_path(run: RunDirectory, env_steps: int) -> Path:
    """Where the checkpoint at an env step is."""
    return run.checkpoints / f"resume-{env_steps:012d}.safetensors"


def checkpoints(run: RunDirectory) -> list[Path]:
    """The run's resume checkpoints, newest first."""
    found = run.checkpoints.iterdir() if run.checkpoints.is_dir() else []
    return sorted((path for path in found if _NAME.fullmatch(path.name)), reverse=True)


def save_checkpoint(
    run: RunDirectory, learner_state: Mapping[str, Tensor], logbook: Logbook, identity: Identity
) -> None:
    """Write a checkpoint, then delete all but the newest `CHECKPOINTS_KEPT`.

    Raises:
        StorageError: it cannot be written; the older ones stay.
    """
    path = checkpoint_path(run, logbook.env_steps)
    save_tensors(path, learner_state, kind=KIND, metadata={"identity": identity, "logbook": asdict(logbook)})
    for old in checkpoints(run)[CHECKPOINTS_KEPT:]:
        old.unlink()


def load_checkpoint(
    run: RunDirectory, identity: Identity, warn: Callable[[str], None]
) -> tuple[dict[str, Tensor], Logbook] | None:
    """Read the newest checkpoint that is whole.

    Args:
        run: the run.
        identity: what the checkpoint must have been made by.
        warn: told of a damaged checkpoint; it is set aside under another name and its predecessor is taken.

    Returns:
        The learner's state and the logbook, or None if the run has no checkpoint.

    Raises:
        StorageError: every checkpoint is damaged, or the run was started by another configuration.
    """
    found = checkpoints(run)
    problems = []
    for path in found:
        try:
            tensors, found_identity, logbook = _read_checkpoint(path)
        except StorageError as error:
            problems.append((path, str(error)))
            continue
        check_identity(path, found_identity, identity)
        for damaged, problem in problems:
            warn(f"{problem}. Going on from {path.name} instead")
            damaged.replace(damaged.with_suffix(".damaged"))
        return tensors, logbook
    if not found:
        return None
    raise StorageError(
        "; ".join(problem for _, problem in problems)
        + ". No checkpoint of this run is whole: start it over with --fresh"
    )


def _read_checkpoint(path: Path) -> tuple[dict[str, Tensor], Identity, Logbook]:
    """The learner's state, what made the checkpoint, and the logbook.

    Raises:
        StorageError: the file is damaged or no resume checkpoint.
    """
    tensors, record = load_tensors(path, kind=KIND)
    check_record(path, record, identity=dict, logbook=dict)
    try:
        logbook = TypeAdapter(Logbook).validate_python(record["logbook"])
    except ValidationError as error:
        raise StorageError(f"{path}: its logbook cannot be used ({error.errors()[0]['msg']}); delete it") from None
    return tensors, record["identity"], logbook


def forget_checkpoints(run: RunDirectory) -> None:
    """Delete everything an unfinished run goes on from; what was published stays."""
    policies = list(run.policy_so_far(100).parent.glob("*.safetensors"))
    policies += run.checkpoints.glob("best-*.safetensors")
    damaged = list(run.checkpoints.glob("resume-*.damaged"))
    for path in [*checkpoints(run), *damaged, *policies, run.metrics_so_far]:
        path.unlink(missing_ok=True)


def check_identity(path: Path, record: Mapping[str, Any], expected: Identity) -> None:
    """Refuse a record of another configuration.

    Args:
        path: where the record is from, for the error.
        record: holds the identity's keys, and perhaps others.
        expected: the configuration at hand.

    Raises:
        StorageError: they differ; the message names the keys.
    """
    differing = differences({key: record.get(key) for key in expected}, expected)
    if differing:
        by_other_products = any(line.startswith("products: ") for line in differing)
        how = f" (products: the environment variable {VARIABLE})" if by_other_products else ""
        raise StorageError(
            f"{path}: made by another configuration than this one: {'; '.join(differing)}."
            f" Put the old values back{how}, or start the run over with --fresh (the same as deleting its folder)"
        )


def changes_since_start(run: RunDirectory, identity: Identity) -> list[str]:
    """Where the configuration that started or finished a run differs from the one at hand; empty if it may go on.

    Damaged checkpoints tell nothing.
    """
    records: list[Identity] = [read_json(run.record)] if run.record.exists() else []
    for path in checkpoints(run):
        with contextlib.suppress(StorageError):
            records.append(_read_checkpoint(path)[1])
    found = [{key: record.get(key) for key in identity} for record in records]
    return list(dict.fromkeys(line for record in found for line in differences(record, identity)))


def differences(found: Any, expected: Any, name: str = "") -> list[str]:
    """Where two records differ, as `key: found one, expected other`, keys of inner records joined by dots."""
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        keys = sorted(found.keys() | expected.keys())
        pairs = [(found.get(key), expected.get(key), f"{name}.{key}" if name else key) for key in keys]
        return [line for one, other, key in pairs for line in differences(one, other, key)]
    return [] if found == expected else [f"{name}: found {found!r}, expected {expected!r}"]
