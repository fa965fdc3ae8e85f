"""The training loop of every algorithm: collect, learn, evaluate, keep policies, resume.

    pretrain, if the learner does
    while env_steps < settings.env_steps:
        play episodes_per_update battles with the learner's policy
        learn from them
        at each multiple of evaluation_interval: evaluate the greedy policy, one row of metrics.csv
        at each of policy_percents: keep the policy
        every few minutes, and when asked to stop: write a checkpoint
    evaluate the best policy and the last one on ten times as many episodes: the absolute metric

The loop holds no random state: what an episode draws depends on the seed and the episode's number, what an evaluation
draws on the seed and the env step. A run that was killed and resumed thus ends with the numbers of one that was not.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dm2.backends.make_env import env_spec, make_env
from dm2.core.errors import UserError
from dm2.core.files import copy_file, read_json, sha256_of_file, write_csv, write_json
from dm2.core.interface import BatchedEnv, EnvSpec
from dm2.core.randomness import stream
from dm2.core.run_directory import RunDirectory
from dm2.core.tensor_files import save_tensors
from dm2.nets.products import library
from dm2.play.evaluation import Evaluation, evaluate
from dm2.play.policy_files import read_policy
from dm2.play.rollout import Policy, collect
from dm2.settings.algorithms import run_digest
from dm2.settings.run import RunSettings
from dm2.training.memory import keep_freed_memory
from dm2.training.progress import ProgressReport
from dm2.training.provenance import peak_memory_bytes, provenance
from dm2.training.resume import (
    Identity,
    Logbook,
    Row,
    check_identity,
    forget_checkpoints,
    load_checkpoint,
    save_checkpoint,
)
from dm2.training.watchdog import STALL_MINUTES, watchdog

if TYPE_CHECKING:
    from dm2.play.demonstrations import Demonstrations
from dm2.learners.interface import JudgedLearner, Learner, PretrainedLearner, build_learner

EXIT_INTERRUPTED = 75
"""Exit code after SIGTERM, SIGINT or SIGHUP: all is kept, the same command goes on (EX_TEMPFAIL of sysexits.h)."""

NETWORK_THREADS = 1
"""CPU threads of the networks: float sums, and so results, would depend on their number."""

FIRST_COLUMNS = (
    *("backend", "map_name", "condition", "seed", "env_steps", "episodes", "win_rate", "return_mean", "return_sd"),
    *("episode_length_mean", "dead_allies_mean", "dead_enemies_mean"),
)
WALL_CLOCK_COLUMNS = ("env_steps_per_second", "wall_seconds")

ABSOLUTE_FACTOR = 10
"""Episodes of the absolute metric, in those of an evaluation (Gorsane et al. 2022)."""


class TrainingInterrupted(SystemExit):
    """The run was asked to stop and did, resumable; leaves the process with `EXIT_INTERRUPTED` unless caught."""


class TrainingDiverged(UserError):
    """A loss or a parameter is not finite; the message names it, the last good checkpoint is kept."""


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
    on_evaluation: Callable[[Sequence[Row]], None] = lambda rows: None,
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
        on_evaluation: told all evaluations so far, after each and when a stopped run goes on.

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
        training = Training(settings, run, learner, env, identity, report, threads, on_evaluation)
        with StopSignals() as stop:
            try:
                with stop.at_once():
                    training.resume()
                with watchdog(run.log, stall_minutes * 60.0) as alive:
                    train_to_the_end(training, stop, checkpoint_minutes * 60.0, alive)
                with stop.at_once():
                    absolute = training.absolute_metric()
            except TrainingInterrupted:
                report.message(f"{stop.received}: stopped at {training.logbook.env_steps:,} env steps, resumable")
                raise
        training.publish(absolute)
        training.close()


def train_to_the_end(
    training: Training, stop: StopSignals, checkpoint_seconds: float, alive: Callable[[], None]
) -> None:
    """The loop; tells before each update that it is alive.

    Args:
        training: resumed.
        stop: asked before each update.
        checkpoint_seconds: wall time between checkpoints.
        alive: see `dm2.training.watchdog`.

    Raises:
        TrainingInterrupted: asked to stop; there is a checkpoint.
        TrainingDiverged: a loss or parameter is not finite.
    """
    last_checkpoint = time.monotonic()
    while True:
        alive()
        training.keep_due_policies()
        training.evaluate_if_due()
        if training.finished:
            training.checkpoint()
            return
        checkpoint_due = time.monotonic() - last_checkpoint >= checkpoint_seconds
        if checkpoint_due or stop.received is not None:
            training.checkpoint()
        if stop.received is not None:
            raise TrainingInterrupted(EXIT_INTERRUPTED)
        if checkpoint_due:
            last_checkpoint = time.monotonic()
        training.update()
        training.report.update(training.logbook.env_steps)


class Training:
    """One run in progress: the learner, the battles it learns from and the logbook."""

    def __init__(
        self,
        settings: RunSettings,
        run: RunDirectory,
        learner: Learner,
        env: BatchedEnv,
        identity: Identity,
        report: ProgressReport,
        threads: int,
        on_evaluation: Callable[[Sequence[Row]], None],
    ) -> None:
        self.settings = settings
        self.run = run
        self.learner = learner
        self.env = env
        self.identity = identity
        self.report = report
        self.threads = threads
        self.on_evaluation = on_evaluation
        self.logbook = Logbook()
        self.lap_started = time.monotonic()  # a clock that is set back or forward does not touch it

    def resume(self) -> None:
        """Go on from the last checkpoint; without one begin, which a learner that pretrains does with that."""
        found = load_checkpoint(self.run, self.identity, self.report.message)
        if found is not None:
            tensors, self.logbook = found
            self.learner.load_state(tensors)
            self.logbook.resumes += 1
            self.on_evaluation(self.logbook.rows)
            self.report.message(f"resumed at {self.logbook.env_steps:,} env steps")
        elif isinstance(self.learner, PretrainedLearner):
            metrics = self.learner.pretrain()
            self.logbook.count_losses(metrics)
            told = ", ".join(f"{name} {value:.3f}" for name, value in metrics.items())
            self.report.message(f"pretrained: {told}")

    @property
    def finished(self) -> bool:
        """True once all env steps are played."""
        return self.logbook.env_steps >= self.settings.env_steps

    def update(self) -> None:
        """Play one batch of episodes and learn from it.

        Raises:
            TrainingDiverged: a metric is not finite.
        """
        learner, book = self.learner, self.logbook
        episodes = collect(
            self.env,
            learner.policy(),
            np.arange(book.episodes, book.episodes + learner.episodes_per_update),
            stream(self.settings.seed, "policy", book.episodes),
            keep_state=learner.keeps_state,
            act_at_end=learner.acts_at_end,
        )
        losses = learner.learn(episodes)
        for name, value in losses.items():
            if not math.isfinite(value):
                raise TrainingDiverged(self._diverged(name, value))
        book.count_losses(losses)
        book.env_steps += episodes.rows
        book.episodes += episodes.n_episodes

    def evaluate_if_due(self) -> None:
        """Add a row to the metrics at every multiple of the interval, and at the end."""
        book = self.logbook
        unseen_end = self.finished and (not book.rows or book.rows[-1]["env_steps"] < book.env_steps)
        if book.env_steps < book.next_evaluation and not unseen_end:
            return
        interval = self.settings.evaluation_interval
        book.next_evaluation = (book.env_steps // interval + 1) * interval
        row = self.evaluation_row()
        if row["win_rate"] > max((one["win_rate"] for one in book.rows), default=-1.0):
            self._save_policy(self.run.best_policy_so_far, 100 * book.env_steps // self.settings.env_steps)
        book.rows.append(row)
        write_metrics(self.run.metrics_so_far, book.rows)
        self.on_evaluation(book.rows)
        self.report.message(
            f"{book.env_steps:,} env steps: win rate {row['win_rate']:.2f}, return {row['return_mean']:.2f}"
        )

    def evaluation_row(self) -> Row:
        """Evaluate the greedy policy; the losses are means since the row before."""
        settings, book = self.settings, self.logbook
        generator = stream(settings.seed, "evaluation", book.env_steps)
        evaluation = self._evaluate(self.learner.greedy_policy(), generator, settings.evaluation_episodes)
        steps_before, seconds_before = (
            (book.rows[-1]["env_steps"], book.rows[-1]["wall_seconds"]) if book.rows else (0, 0.0)
        )
        self.lap()
        seconds = book.wall_seconds - seconds_before
        return {
            "backend": self.env.spec.backend,
            "map_name": settings.map_name,
            "condition": settings.condition,
            "seed": settings.seed,
            "env_steps": book.env_steps,
            "episodes": book.episodes,
            **evaluation_columns(evaluation),
            **book.take_mean_losses(),
            "env_steps_per_second": round((book.env_steps - steps_before) / max(seconds, 1e-9), 1),
            "wall_seconds": round(book.wall_seconds, 3),
        }

    def _evaluate(self, policy: Policy, generator: np.random.Generator, episodes: int) -> Evaluation:
        """How well a policy plays; the generator draws the seed."""
        return evaluate(
            policy,
            self.settings.backend,
            self.settings.map_name,
            int(generator.integers(2**62)),
            episodes,
            n_threads=self.threads,
            regeneration_pays=self.settings.quirks.regeneration_pays,
        )

    def keep_due_policies(self) -> None:
        """Keep the policy under each percent of the training that has been reached."""
        book, settings = self.logbook, self.settings
        for percent in settings.policy_percents:
            if percent not in book.policies_kept and 100 * book.env_steps >= percent * settings.env_steps:
                self._save_policy(self.run.policy_so_far(percent), percent)
                book.policies_kept.append(percent)

    def _save_policy(self, path: Path, percent: int) -> None:
        metadata = {"percent": percent, "env_steps": self.logbook.env_steps, "settings": self.identity["settings"]}
        tensors = self.learner.policy_state()
        if percent == 100 and isinstance(self.learner, JudgedLearner):
            tensors |= self.learner.judges_state()
        save_tensors(path, tensors, kind="policy", metadata=metadata)

    def checkpoint(self) -> None:
        """Write what the run can go on from.

        Raises:
            TrainingDiverged: a number in the learner's state is not finite; nothing is written.
        """
        self.lap()
        state = self.learner.state()
        for name, tensor in state.items():
            if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                raise TrainingDiverged(self._diverged(name, math.nan))
        save_checkpoint(self.run, state, self.logbook, self.identity)

    def absolute_metric(self) -> dict[str, Any]:
        """Evaluate the best policy and the last one on `ABSOLUTE_FACTOR` times the episodes of an evaluation.

        Source: Gorsane et al. 2022, "Towards a standardised performance evaluation protocol for cooperative MARL". The
        best policy is that of the evaluation with the highest win rate, the first of equal ones; being chosen by its
        evaluation, it is then measured on other battles. Both play the same ones.

        Returns:
            Under "best" and "last" the env steps after which the policy was taken, and its `Evaluation`.
        """
        rows = self.logbook.rows
        best, last = max(rows, key=lambda row: row["win_rate"]), rows[-1]
        of_best = of_last = self._absolute(last, self.learner.greedy_policy())
        if best is not last:
            path = self.run.best_policy_so_far
            of_best = self._absolute(best, read_policy(path, greedy=True).policy)
        self.report.message(
            f"absolute metric, {of_last['n_episodes']} episodes per policy: win rate {of_best['win_rate']:.3f} of the"
            f" best, {of_last['win_rate']:.3f} of the last"
        )
        return {"best": of_best, "last": of_last}

    def _absolute(self, row: Row, policy: Policy) -> dict[str, Any]:
        episodes = ABSOLUTE_FACTOR * self.settings.evaluation_episodes
        evaluation = self._evaluate(policy, stream(self.settings.seed, "absolute metric"), episodes)
        return {"env_steps": row["env_steps"], **asdict(evaluation)}

    def publish(self, absolute: Mapping[str, Any]) -> None:
        """Write the declared outputs, the record last."""
        for percent in self.settings.policy_percents:
            copy_file(self.run.policy_so_far(percent), self.run.policy(percent))
        copy_file(self.run.best_policy_so_far, self.run.best_policy)
        write_metrics(self.run.metrics, self.logbook.rows)
        write_json(self.run.record, {**self.record(), "absolute_metric": absolute})

    def close(self) -> None:
        """Delete the checkpoints, which have served their time."""
        forget_checkpoints(self.run)
        self.report.message(f"finished: {self.run.path}")

    def record(self) -> dict[str, Any]:
        """The contents of run.json."""
        book = self.logbook
        policies = {f"{p:03d}": sha256_of_file(self.run.policy(p)) for p in self.settings.policy_percents}
        return {
            **self.identity,
            "env_steps": book.env_steps,
            "episodes": book.episodes,
            "wall_seconds": round(book.wall_seconds, 3),
            "env_steps_per_second": round(book.env_steps / book.wall_seconds, 1),
            "peak_memory_bytes": book.peak_memory_bytes,
            "resumes": book.resumes,
            "sha256": {
                "metrics": sha256_of_file(self.run.metrics),
                "policies": policies,
                "best_policy": sha256_of_file(self.run.best_policy),
            },
            **provenance(self.threads),
        }

    def lap(self) -> None:
        """Bring the logbook's clock and peak memory up to date."""
        now = time.monotonic()
        self.logbook.wall_seconds += now - self.lap_started
        self.lap_started = now
        self.logbook.peak_memory_bytes = max(self.logbook.peak_memory_bytes, peak_memory_bytes())

    def _diverged(self, name: str, value: float) -> str:
        return (
            f"{self.run.path}: {name} is {value} after {self.logbook.env_steps:,} env steps, expected a finite number;"
            f" the last good checkpoint is kept in {self.run.checkpoints}. A smaller learning_rate or max_gradient_norm"
            " may help: change the settings and start over with --fresh"
        )


class StopSignals:
    """While open, SIGTERM, SIGINT and SIGHUP are noted instead of ending the process; a second one ends it.

    A closed terminal sends SIGHUP, often twice, so that one never counts as the second; where it is ignored, as under
    `nohup`, it stays so.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._ends_at_once = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        """Take the signals over; in a thread other than the main one Python lets nobody do so."""
        if threading.current_thread() is threading.main_thread():
            ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            for number in (signal.SIGTERM, signal.SIGINT, *([] if ignored else [signal.SIGHUP])):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        """Give the signals back."""
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Around work that leaves nothing behind and is done again as a whole: a signal ends it then and there.

        Raises:
            TrainingInterrupted: so it did, or one had come before.
        """
        self._ends_at_once = True
        try:
            if self.received is not None:
                raise TrainingInterrupted(EXIT_INTERRUPTED)
            yield
        finally:
            self._ends_at_once = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            if number == signal.SIGHUP:
                return
            raise KeyboardInterrupt
        self.received = signal.Signals(number).name
        if self._ends_at_once:
            raise TrainingInterrupted(EXIT_INTERRUPTED)


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
    return run.metrics.exists() and all(run.policy(percent).exists() for percent in settings.policy_percents)


def evaluation_columns(evaluation: Evaluation) -> dict[str, float]:
    """An evaluation under the names of metrics.csv."""
    columns = asdict(evaluation)
    return {name: columns[name] for name in FIRST_COLUMNS if name in columns}


def write_metrics(path: Path, rows: list[Row]) -> None:
    """Write metrics.csv: who and when, how well, the learner's own metrics, the clock."""
    losses = dict.fromkeys(name for row in rows for name in row if name not in (*FIRST_COLUMNS, *WALL_CLOCK_COLUMNS))
    write_csv(path, [*FIRST_COLUMNS, *losses, *WALL_CLOCK_COLUMNS], rows)
