"""One training run, from its settings to what it publishes.

open the run's folder, for this process alone
stop here if it is finished
build the learner and its battles
train, see `dm2.training.loop`
evaluate the best policy and the last one on ten times as many episodes: the absolute metric
publish policies, metrics and, last, the record
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dm2.backends.make_env import env_spec, make_env
from dm2.core.files import copy_file, read_json, sha256_of_file, write_json
from dm2.core.interface import EnvSpec
from dm2.core.run_directory import RunDirectory
from dm2.learners.interface import build_learner
from dm2.nets.products import library
from dm2.settings.algorithms import run_digest
from dm2.settings.run import RunSettings
from dm2.training.evaluations import absolute_metric, best_row, evaluate_if_due, write_metrics
from dm2.training.kept_policies import keep_due_policies
from dm2.training.loop import Observer, Training, begin, train_to_the_end
from dm2.training.memory import keep_freed_memory
from dm2.training.progress import ProgressReport
from dm2.training.provenance import provenance
from dm2.training.resume import Identity, check_identity, forget_checkpoints
from dm2.training.stop_signals import StopSignals, TrainingInterrupted
from dm2.training.watchdog import STALL_MINUTES, watchdog

if TYPE_CHECKING:
    from dm2.play.demonstrations import Demonstrations

NETWORK_THREADS = 1
"""CPU threads of the networks: float sums, and so results, would depend on their number."""


def train(
    settings: RunSettings,
    run_directory: str | Path,
    *,
    demonstrations: Demonstrations | None = None,
    threads: int = 1,
    fresh: bool = False,
    progress: bool = True,
    checkpoint_minutes: float = 5.0,
    stall_minutes: float = STALL_MINUTES,
    observers: Sequence[Observer] = (),
) -> None:
    """Train one run to its end, from its last checkpoint if it has one; a finished run is left as it is.

    Args:
        settings: everything that the run's numbers depend on.
        run_directory: where its files are; see `RunDirectory`.
        demonstrations: where the settings name their source.
        threads: CPU threads for the battles; the numbers are the same for any.
        fresh: forget an earlier start, or an earlier result, of the run.
        progress: show a bar on a terminal, or lines in a log.
        checkpoint_minutes: wall time between checkpoints.
        stall_minutes: wall time after which an update, with the evaluation and checkpoint before it, is taken to have
            stalled: the process ends, see `dm2.training.watchdog`.
        observers: others that look on; they are told after the policies are kept and the evaluations made.

    Raises:
        TrainingInterrupted: SIGTERM, SIGINT or SIGHUP came; the same command goes on.
        TrainingDiverged: a loss or parameter is not finite.
        StorageError: another process is on this run, another configuration started it, or a file cannot be used.
    """
    torch.set_num_threads(NETWORK_THREADS)
    keep_freed_memory()
    run, spec = RunDirectory(Path(run_directory)), env_spec(settings.backend, settings.map_name)
    identity, products = run_identity(settings, spec, demonstrations), library()
    title = f"{settings.map_name} {settings.condition} seed {settings.seed}"
    with (
        run.locked(),
        ProgressReport(title, settings.env_steps, "env steps", enabled=progress, log=run.log) as report,
    ):
        if fresh:
            run.record.unlink(missing_ok=True)
            forget_checkpoints(run)
        if is_finished(run, settings, identity):
            report.message(f"{run.path} is finished: nothing to do (--fresh trains it again)")
            return
        if products.remark is not None:
            report.message(products.remark)
        learner = build_learner(spec, settings, demonstrations)
        env = make_env(
            settings.backend,
            settings.map_name,
            learner.episodes_per_update,
            settings.seed,
            n_threads=threads,
            regeneration_pays=settings.quirks.regeneration_pays,
        )
        identity["products"] = str(products)
        training = Training(settings, run, identity, learner, env, threads, report)
        observers = (keep_due_policies, evaluate_if_due, *observers)
        with StopSignals() as stop:
            try:
                with stop.at_once():
                    begin(training)
                with watchdog(run.log, stall_minutes * 60.0) as alive:
                    train_to_the_end(training, observers, stop, checkpoint_minutes * 60.0, alive)
                with stop.at_once():
                    absolute = absolute_metric(training)
            except TrainingInterrupted:
                report.message(f"{stop.received}: stopped at {training.logbook.env_steps:,} env steps, resumable")
                raise
        publish(training, absolute)
        forget_checkpoints(run)  # they have served their time
        report.message(f"finished: {run.path}")


def run_identity(settings: RunSettings, spec: EnvSpec, demonstrations: Demonstrations | None) -> dict[str, Any]:
    """All that a run's numbers depend on but for rounding.

    A run is only continued under the same, and by the same `dm2.nets.products`; a finished one is the same whichever it
    was.
    """
    return {
        "settings": settings.model_dump(mode="json"),
        "backend": spec.backend,
        "demonstrations": None if demonstrations is None else demonstrations.fingerprint,
        "code": run_digest("dm2.training.run", settings),
    }


def is_finished(run: RunDirectory, settings: RunSettings, identity: Identity) -> bool:
    """True if everything was published by this very configuration.

    Raises:
        StorageError: another configuration published it; nothing of it is overwritten.
    """
    if not run.record.exists():  # written last
        return False
    check_identity(run.record, read_json(run.record), identity)
    published = [run.metrics, run.best_policy, *map(run.policy, settings.policy_percents)]
    return all(path.exists() for path in published)


def publish(training: Training, absolute: Mapping[str, Any]) -> None:
    """Write the declared outputs, the record last."""
    run = training.run
    for percent in training.settings.policy_percents:
        copy_file(run.policy_so_far(percent), run.policy(percent))
    copy_file(run.best_policy_so_far(best_row(training.logbook.rows)["env_steps"]), run.best_policy)
    write_metrics(run.metrics, training.logbook.rows)
    write_json(run.record, {**record(training), "absolute_metric": absolute})


def record(training: Training) -> dict[str, Any]:
    """The contents of run.json."""
    book, run = training.logbook, training.run
    policies = {f"{p:03d}": sha256_of_file(run.policy(p)) for p in training.settings.policy_percents}
    return {
        **training.identity,
        "env_steps": book.env_steps,
        "episodes": book.episodes,
        "wall_seconds": round(book.wall_seconds, 3),
        "env_steps_per_second": round(book.env_steps / book.wall_seconds, 1),
        "peak_memory_bytes": book.peak_memory_bytes,
        "resumes": book.resumes,
        "sha256": {
            "metrics": sha256_of_file(run.metrics),
            "policies": policies,
            "best_policy": sha256_of_file(run.best_policy),
        },
        **provenance(training.threads),
    }
