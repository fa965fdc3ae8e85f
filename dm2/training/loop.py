"""The training loop of every algorithm: collect, learn, and let others look on.

    begin: go on from the last checkpoint; without one pretrain, if the learner does
    while env_steps < settings.env_steps:
        every few minutes, and when asked to stop: write a checkpoint
        play episodes_per_update battles with the learner's policy
        learn from them
    write the last checkpoint

Whoever looks on is an `Observer`, called before the first update and after each: one keeps policies
(`dm2.training.kept_policies`), one evaluates (`dm2.training.evaluations`), one writes files for TensorBoard
(`dm2.training.event_files`).

The loop holds no random state: what an episode draws depends on the seed and the episode's number, what an evaluation
draws on the seed and the env step. A run that was killed and resumed thus ends with the numbers of one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dm2.core.errors import UserError
from dm2.core.interface import BatchedEnv
from dm2.core.randomness import stream
from dm2.core.run_directory import RunDirectory
from dm2.core.tensor_files import save_tensors
from dm2.learners.interface import JudgedLearner, Learner, PretrainedLearner
from dm2.play.rollout import collect
from dm2.settings.run import RunSettings
from dm2.training.progress import ProgressReport
from dm2.training.provenance import peak_memory_bytes
from dm2.training.resume import Identity, Logbook, load_checkpoint, save_checkpoint
from dm2.training.stop_signals import EXIT_INTERRUPTED, StopSignals, TrainingInterrupted


class TrainingDiverged(UserError):
    """A loss or a parameter is not finite; the message names it, the last good checkpoint is kept."""


@dataclass
class Training:
    """One run in progress.

    Attributes:
        settings: everything that the run's numbers depend on.
        run: where its files are.
        identity: what may go on from its checkpoints.
        learner: who learns.
        env: the battles it learns from.
        threads: CPU threads for the battles; the numbers are the same for any.
        report: told how far the run is.
        logbook: how far it is.
        lap_started: when the logbook's clock was brought up to date; a clock that is set back or forward does not touch
            it.
    """

    settings: RunSettings
    run: RunDirectory
    identity: Identity
    learner: Learner
    env: BatchedEnv
    threads: int
    report: ProgressReport
    logbook: Logbook = field(default_factory=Logbook)
    lap_started: float = field(default_factory=time.monotonic)

    @property
    def finished(self) -> bool:
        """True once all env steps are played."""
        return self.logbook.env_steps >= self.settings.env_steps

    def lap(self) -> None:
        """Bring the logbook's clock and peak memory up to date."""
        now = time.monotonic()
        self.logbook.wall_seconds += now - self.lap_started
        self.lap_started = now
        self.logbook.peak_memory_bytes = max(self.logbook.peak_memory_bytes, peak_memory_bytes())

    def save_policy(self, path: Path, percent: int) -> None:
        """Write the learner's policy at a percentage of the training."""
        metadata = {"percent": percent, "env_steps": self.logbook.env_steps, "settings": self.identity["settings"]}
        tensors = self.learner.policy_state()
        if percent == 100 and isinstance(self.learner, JudgedLearner):
            tensors |= self.learner.judges_state()
        save_tensors(path, tensors, kind="policy", metadata=metadata)

    def diverged(self, name: str, value: float) -> TrainingDiverged:
        """The error that a number is not finite."""
        return TrainingDiverged(
            f"{self.run.path}: {name} is {value} after {self.logbook.env_steps:,} env steps, expected a finite number;"
            f" the last good checkpoint is kept in {self.run.checkpoints}. A smaller learning_rate or max_gradient_norm"
            " may help: change the settings and start over with --fresh"
        )


Observer = Callable[[Training], None]
"""Looks at a training before its first update and after each; what it changes is its own or the logbook's."""


def begin(training: Training) -> None:
    """Go on from the last checkpoint; without one begin, which a learner that pretrains does with that."""
    found = load_checkpoint(training.run, training.identity, training.report.message)
    if found is not None:
        tensors, training.logbook = found
        training.learner.load_state(tensors)
        training.logbook.resumes += 1
        training.report.message(f"resumed at {training.logbook.env_steps:,} env steps")
    elif isinstance(training.learner, PretrainedLearner):
        metrics = training.learner.pretrain()
        training.logbook.count_losses(metrics)
        told = ", ".join(f"{name} {value:.3f}" for name, value in metrics.items())
        training.report.message(f"pretrained: {told}")


def train_to_the_end(
    training: Training,
    observers: Sequence[Observer],
    stop: StopSignals,
    checkpoint_seconds: float,
    alive: Callable[[], None],
) -> None:
    """The loop.

    Args:
        training: begun, see `begin`.
        observers: told in this order.
        stop: asked before each update.
        checkpoint_seconds: wall time between checkpoints.
        alive: called before each update, see `dm2.training.watchdog`.

    Raises:
        TrainingInterrupted: asked to stop; there is a checkpoint.
        TrainingDiverged: a loss or parameter is not finite.
    """
    learner, book = training.learner, training.logbook
    last_checkpoint = time.monotonic()
    while True:
        alive()
        for observe in observers:
            observe(training)
        if training.finished:
            checkpoint(training)
            return
        if stop.received is not None or time.monotonic() - last_checkpoint >= checkpoint_seconds:
            checkpoint(training)
            last_checkpoint = time.monotonic()
            if stop.received is not None:
                raise TrainingInterrupted(EXIT_INTERRUPTED)
        episodes = collect(
            training.env,
            learner.policy(),
            np.arange(book.episodes, book.episodes + learner.episodes_per_update),
            stream(training.settings.seed, "policy", book.episodes),
            keep_state=learner.keeps_state,
            act_at_end=learner.acts_at_end,
        )
        losses = learner.learn(episodes)
        check_finite(training, losses)
        book.count_losses(losses)
        book.env_steps += episodes.rows
        book.episodes += episodes.n_episodes
        training.report.update(book.env_steps)


def checkpoint(training: Training) -> None:
    """Write what the run can go on from.

    Raises:
        TrainingDiverged: a number in the learner's state is not finite; nothing is written.
    """
    training.lap()
    state = training.learner.state()
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise training.diverged(name, math.nan)
    save_checkpoint(training.run, state, training.logbook, training.identity)


def check_finite(training: Training, losses: Mapping[str, float]) -> None:
    """Refuse losses that are no numbers.

    Raises:
        TrainingDiverged: so one is.
    """
    for name, value in losses.items():
        if not math.isfinite(value):
            raise training.diverged(name, value)
