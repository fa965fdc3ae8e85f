"""The observer that evaluates: rows of metrics.csv and the best policy so far; and the absolute metric in the end."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dm2.core.files import write_csv
from dm2.core.randomness import stream
from dm2.play.evaluation import Evaluation, evaluate
from dm2.play.policy_files import read_policy
from dm2.play.rollout import Policy
from dm2.training.loop import Training
from dm2.training.resume import Row

FIRST_COLUMNS = (
    *("backend", "map_name", "condition", "seed", "env_steps", "episodes", "win_rate", "return_mean", "return_sd"),
    *("episode_length_mean", "dead_allies_mean", "dead_enemies_mean"),
)
WALL_CLOCK_COLUMNS = ("env_steps_per_second", "wall_seconds")

ABSOLUTE_FACTOR = 10
"""Episodes of the absolute metric, in those of an evaluation (Gorsane et al. 2022)."""


def evaluate_if_due(training: Training) -> None:
    """Add a row to the metrics at every multiple of the interval, and at the end; keep the policy if it is the best."""
    book = training.logbook
    unseen_end = training.finished and (not book.rows or book.rows[-1]["env_steps"] < book.env_steps)
    if book.env_steps < book.next_evaluation and not unseen_end:
        return
    interval = training.settings.evaluation_interval
    book.next_evaluation = (book.env_steps // interval + 1) * interval
    row = evaluation_row(training)
    if row["win_rate"] > max((one["win_rate"] for one in book.rows), default=-1.0):
        percent = min(100, 100 * book.env_steps // training.settings.env_steps)  # the last update goes past the end
        training.save_policy(training.run.best_policy_so_far(book.env_steps), percent)
    book.rows.append(row)
    write_metrics(training.run.metrics_so_far, book.rows)
    training.report.message(
        f"{book.env_steps:,} env steps: win rate {row['win_rate']:.2f}, return {row['return_mean']:.2f}"
    )


def evaluation_row(training: Training) -> Row:
    """Evaluate the greedy policy; the losses are means since the row before."""
    settings, book = training.settings, training.logbook
    generator = stream(settings.seed, "evaluation", book.env_steps)
    evaluation = _evaluate(training, training.learner.greedy_policy(), generator, settings.evaluation_episodes)
    steps_before, seconds_before = (
        (book.rows[-1]["env_steps"], book.rows[-1]["wall_seconds"]) if book.rows else (0, 0.0)
    )
    training.lap()
    seconds = book.wall_seconds - seconds_before
    return {
        "backend": training.env.spec.backend,
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


def _evaluate(training: Training, policy: Policy, generator: np.random.Generator, episodes: int) -> Evaluation:
    """How well a policy plays; the generator draws the seed."""
    return evaluate(
        policy,
        training.settings.backend,
        training.settings.map_name,
        int(generator.integers(2**62)),
        episodes,
        n_threads=training.threads,
        regeneration_pays=training.settings.quirks.regeneration_pays,
    )


def best_row(rows: list[Row]) -> Row:
    """The evaluation with the highest win rate, the first of equal ones."""
    return max(rows, key=lambda row: row["win_rate"])


def absolute_metric(training: Training) -> dict[str, Any]:
    """Evaluate the best policy and the last one on `ABSOLUTE_FACTOR` times the episodes of an evaluation.

    Source: Gorsane et al. 2022, "Towards a standardised performance evaluation protocol for cooperative MARL". The best
    policy is that of the `best_row`; being chosen by its evaluation, it is then measured on other battles. Both play
    the same ones.

    Returns:
        Under "best" and "last" the env steps after which the policy was taken, and its `Evaluation`.
    """
    best, last = best_row(training.logbook.rows), training.logbook.rows[-1]
    of_best = of_last = _absolute(training, last, training.learner.greedy_policy())
    if best is not last:
        policy = read_policy(training.run.best_policy_so_far(best["env_steps"]), greedy=True).policy
        of_best = _absolute(training, best, policy)
    training.report.message(
        f"absolute metric, {of_last['n_episodes']} episodes per policy: win rate {of_best['win_rate']:.3f} of the"
        f" best, {of_last['win_rate']:.3f} of the last"
    )
    return {"best": of_best, "last": of_last}


def _absolute(training: Training, row: Row, policy: Policy) -> dict[str, Any]:
    episodes = ABSOLUTE_FACTOR * training.settings.evaluation_episodes
    evaluation = _evaluate(training, policy, stream(training.settings.seed, "absolute metric"), episodes)
    return {"env_steps": row["env_steps"], **asdict(evaluation)}


def evaluation_columns(evaluation: Evaluation) -> dict[str, float]:
    """An evaluation under the names of metrics.csv."""
    columns = asdict(evaluation)
    return {name: columns[name] for name in FIRST_COLUMNS if name in columns}


def write_metrics(path: Path, rows: list[Row]) -> None:
    """Write metrics.csv: who and when, how well, the learner's own metrics, the clock."""
    losses = dict.fromkeys(name for row in rows for name in row if name not in (*FIRST_COLUMNS, *WALL_CLOCK_COLUMNS))
    write_csv(path, [*FIRST_COLUMNS, *losses, *WALL_CLOCK_COLUMNS], rows)
