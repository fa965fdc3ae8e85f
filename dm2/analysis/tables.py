"""From run directories to the tables of a scale: learning_curves.csv, summary.csv, demonstrations.csv.

Everything drawn or judged later comes from these tables alone. A run that is missing, unfinished or inconsistent is an
error that names its file; nothing is left out in silence. The tables hold no wall-clock numbers, so the same runs give
the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dm2.analysis.csv_files import read_csv
from dm2.analysis.statistics import (
    Floats,
    area_under_curve,
    interquartile_mean,
    mean_and_sd,
    steps_to_threshold,
    stratified_bootstrap,
)
from dm2.core.errors import UserError
from dm2.core.files import atomic_write, check_record
from dm2.core.randomness import stream
from dm2.core.run_directory import RunDirectory
from dm2.play.curves import common_grid, final_value, on_grid
from dm2.play.demonstrations import read_metadata
from dm2.settings.demonstrations import DemonstrationSettings
from dm2.settings.run import RunSettings

IDENTITY = ["scale", "backend", "map_name", "condition", "seed"]
EVALUATION = [
    "env_steps",
    "episodes",
    "win_rate",
    "return_mean",
    "return_sd",
    "episode_length_mean",
    "dead_allies_mean",
    "dead_enemies_mean",
]
CURVES = IDENTITY + EVALUATION
PAPER_ENDS = ["figure", "map", "condition", "final_win_rate", "steps_to_50pct"]
PAPER_DEMONSTRATIONS = ["map", "demo_source", "demo_checkpoint", "win_rate", "dict"]
PAPER_CURVES = ["figure", "map", "condition", "env_steps", "win_rate", "sd", "quality"]
PAPER_FIGURES = ("core", "gail_only", "bc_pretrain", "demo_ablation", "state_action", "all_demos")
"""The paper's figures in the order in which a condition's curve is looked for; the last is of low quality."""
ACCURACY = "discriminator_accuracy"
WALL_CLOCK = ["env_steps_per_second", "wall_seconds"]
DEMONSTRATIONS = ["map_name", "condition", "archive", "expert", "expert_seeds", "checkpoint_percent", "epsilon"]
DEMONSTRATIONS += ["episodes", "sampled_win_rate", "sampled_episodes", "greedy_win_rate", "greedy_episodes"]
DEMONSTRATIONS += ["return_mean"]


class ResultsError(UserError):
    """A table or run that cannot be used; the message names the file and says how to mend it."""


def read_table(path: Path, columns: Sequence[str], may_be_empty: bool = False) -> pd.DataFrame:
    """Read a CSV that must have `columns` and, unless it `may_be_empty`, at least one row.

    Raises:
        ResultsError: the file is missing, empty, cut short or lacks a column.
    """
    if not path.is_file():
        raise ResultsError(f"{path}: not found, expected a table with the columns {', '.join(columns)}; make it first")
    try:
        frame = read_csv(path)
    except (OSError, ValueError, OverflowError) as error:  # no table at all, cut in its middle, or no text
        raise ResultsError(f"{path}: not readable as a table ({error}); make it again") from None
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise ResultsError(f"{path}: found the columns {', '.join(frame.columns)}; missing {', '.join(missing)}")
    if frame.empty and not may_be_empty:
        raise ResultsError(f"{path}: found no rows, expected at least one; make it again")
    return frame


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a CSV, six significant digits, the same bytes for the same numbers on every platform."""
    with atomic_write(path, "w") as file:
        frame.to_csv(file, index=False, float_format="%.6g", lineterminator="\n")


def read_run(run_directory: Path) -> pd.DataFrame:
    """The evaluations of one finished run with its identity in front.

    Args:
        run_directory: holds `settings.yaml` and `metrics.csv`.

    Returns:
        One row per evaluation: `IDENTITY`, `EVALUATION`, then the learner's own columns (losses and the like).

    Raises:
        ResultsError: a file is missing, the run ended early, or its numbers are impossible.
        StorageError: the metrics are not as the run wrote them, where its record stands beside them.
    """
    settings = _settings(run_directory)
    run = RunDirectory(run_directory)
    path = run.metrics
    if path.exists() and run.record.exists():
        run.check_metrics()
    metrics = read_table(path, EVALUATION)
    _check_metrics(metrics, path, settings.env_steps)
    for column in IDENTITY:
        expected = getattr(settings, column)
        if column in metrics and column != "backend" and not (metrics[column] == expected).all():
            found = ", ".join(map(str, metrics[column].unique()))
            raise ResultsError(f"{path}: {column} is {found}, settings.yaml beside it says {expected}; train it again")
        if column not in metrics:
            metrics[column] = expected
    own = [column for column in metrics if column not in {*IDENTITY, *EVALUATION, *WALL_CLOCK}]
    return metrics[IDENTITY + EVALUATION + own]


def _settings(run_directory: Path) -> RunSettings:
    path = run_directory / "settings.yaml"
    if not path.is_file():
        raise ResultsError(f"{path}: not found, so {run_directory} is no run; the workflow's settings rule makes it")
    return RunSettings.from_yaml(path)


def _check_metrics(metrics: pd.DataFrame, path: Path, env_steps: int) -> None:
    for column in EVALUATION:
        numbers = pd.to_numeric(metrics[column], errors="coerce")
        if not np.isfinite(numbers).all():
            row = int(np.argmin(np.isfinite(numbers)))
            found, at = metrics[column].iloc[row], metrics["env_steps"].iloc[row]
            raise ResultsError(f"{path}: {column} is {found} at {at} env steps, expected a number; train it again")
    steps = metrics["env_steps"].to_numpy()
    if not (np.diff(steps) > 0).all():
        at = int(np.argmin(np.diff(steps) > 0))
        raise ResultsError(f"{path}: env_steps goes from {steps[at]} to {steps[at + 1]}; train it again")
    if steps[-1] < env_steps:
        raise ResultsError(
            f"{path}: the last evaluation is at {steps[-1]} env steps, but settings.yaml asks for {env_steps}; "
            "the run was cut short, train it again to finish it"
        )
    win_rate = metrics["win_rate"]
    impossible = ~win_rate.between(0, 1)
    if impossible.any():
        found, at = win_rate[impossible].iloc[0], metrics.loc[impossible, "env_steps"].iloc[0]
        raise ResultsError(f"{path}: win_rate is {found} at {at} env steps, expected one in [0, 1]")


def learning_curves(run_directories: Iterable[Path]) -> pd.DataFrame:
    """All evaluations of a scale's runs, sorted by map, condition, seed and env step.

    Raises:
        ResultsError: no run, a run that `read_run` refuses, the same run twice, or runs of different scales or engines.
    """
    runs = [read_run(Path(directory)) for directory in run_directories]
    if not runs:
        raise ResultsError("found no run to aggregate, expected at least one run directory")
    curves = in_one_table(runs)
    twice = curves.duplicated([*IDENTITY, "env_steps"])
    if twice.any():
        row = curves[twice].iloc[0]
        raise ResultsError(f"found {row.map_name}/{row.condition}/seed-{row.seed} more than once, expected it once")
    return curves


def in_one_table(curves: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Learning curves one under the other, sorted by map, condition, seed and env step.

    Raises:
        ResultsError: they are of different scales or engines.
    """
    table = pd.concat(curves, ignore_index=True)
    for column in ("scale", "backend"):
        if table[column].nunique() > 1:
            found = ", ".join(sorted(table[column].unique()))
            raise ResultsError(f"found runs of {column} {found}, expected one {column} per table; aggregate them apart")
    return table.sort_values([*IDENTITY, "env_steps"], ignore_index=True)


@dataclass(frozen=True)
class SeedCurves:
    """What evaluations of one condition on one map measured, all seeds on one grid.

    Args:
        seeds: seed of each run, [seeds].
        env_steps: common grid, [points].
        values: win rates, or another column of the learning curves, [seeds, points].
        env_steps_cut: env steps by which the longest run exceeds the common part.
    """

    seeds: tuple[int, ...]
    env_steps: NDArray[np.int64]
    values: Floats
    env_steps_cut: int


def seed_curves(
    curves: pd.DataFrame, map_name: str, condition: str, until: int | None = None, column: str = "win_rate"
) -> SeedCurves:
    """The seeds of one condition on one map over their common part.

    Args:
        curves: table of `learning_curves`.
        map_name: map.
        condition: condition.
        until: leave out what lies beyond this env step.
        column: what was measured; evaluations before the first update have none of what an update tells.

    Raises:
        ResultsError: the table has no run of this condition on this map, or no such numbers of it.
    """
    chosen = curves[(curves["map_name"] == map_name) & (curves["condition"] == condition)]
    chosen = chosen[chosen[column].notna()] if column in chosen else chosen.iloc[:0]
    if chosen.empty:
        raise ResultsError(f"found no {column} of condition {condition!r} on {map_name!r} in the learning curves")
    seeds = sorted(int(seed) for seed in chosen["seed"].unique())
    runs = [chosen[chosen["seed"] == seed] for seed in seeds]
    steps = [run["env_steps"].to_numpy() for run in runs]
    grid = common_grid(steps, until)
    values = [on_grid(at, run[column].to_numpy(float), grid) for at, run in zip(steps, runs, strict=True)]
    return SeedCurves(tuple(seeds), grid, np.stack(values), int(max(at[-1] for at in steps) - grid[-1]))


def with_accuracy(curves: pd.DataFrame) -> pd.DataFrame:
    """The learning curves with `ACCURACY`: the mean of what discriminators tell right of experts' and of own rows.

    0.5 is chance, and what is left when the two distributions match. Missing where a run has no discriminators.
    """
    told = curves.reindex(columns=[f"{ACCURACY}_expert", f"{ACCURACY}_own"])
    return curves.assign(**{ACCURACY: told.mean(axis=1, skipna=False)})


def comparable_curves(curves: pd.DataFrame, map_name: str, conditions: Sequence[str]) -> dict[str, SeedCurves]:
    """Several conditions on one map, each over the part of training that all their runs share.

    Raises:
        ResultsError: the table lacks one of them.
    """
    ends = [int(seed_curves(curves, map_name, condition).env_steps[-1]) for condition in conditions]
    until = min(ends, default=None)
    return {condition: seed_curves(curves, map_name, condition, until) for condition in conditions}


def was_run(curves: pd.DataFrame, map_name: str, condition: str) -> bool:
    """Whether the learning curves have a run of this condition on this map."""
    return bool(((curves["map_name"] == map_name) & (curves["condition"] == condition)).any())


def paper_curve(paper_curves: pd.DataFrame, map_name: str, condition: str | None, prefer: str = "core") -> pd.DataFrame:
    """One curve of the paper; empty where its figures do not show the condition on the map.

    Args:
        paper_curves: `results/paper/paper_curves.csv`.
        map_name: map.
        condition: the paper's name of the condition.
        prefer: figure of the paper to take it from where it is in several; then the order is that of `PAPER_FIGURES`.

    Returns:
        Rows of `paper_curves` with increasing, unique env_steps.
    """
    shown = in_paper(paper_curves, map_name, condition, prefer)
    return shown.drop_duplicates("env_steps").sort_values("env_steps", ignore_index=True)


def in_paper(table: pd.DataFrame, map_name: str, condition: str | None, prefer: str = "core") -> pd.DataFrame:
    """The rows of a table of the paper's figures about a condition on a map, of one figure; see `paper_curve`."""
    chosen = table[(table["map"] == map_name) & (table["condition"] == condition)]
    order = [prefer, *PAPER_FIGURES]
    figure = min(chosen["figure"].unique(), key=order.index, default=None)
    return chosen[chosen["figure"] == figure]


def engine_name(backend: str) -> str:
    """The engine as figures and tables call it."""
    return backend.replace("simulator", "built-in simulator")


def summary_table(curves: pd.DataFrame) -> pd.DataFrame:
    """One row per map and condition: how it ends, how fast it learns, and over how many seeds.

    Args:
        curves: table of `learning_curves`.

    Returns:
        `final` is the mean win rate of the last 5 % of training and `auc` the mean win rate over training, both over
        the seeds' common part: mean, sd, and the interquartile mean with its 95 % bootstrap interval over seeds; sd and
        interval are empty where there is one seed.
        `steps_to_50pct` is the first env step at which the mean over seeds reaches 0.5, empty when it never does.
    """
    pairs = curves[["map_name", "condition"]].drop_duplicates().itertuples(index=False)
    rows = [_summary_row(curves, map_name, condition) for map_name, condition in pairs]
    frame = pd.DataFrame(rows)
    frame.insert(0, "backend", curves["backend"].iloc[0])
    frame.insert(0, "scale", curves["scale"].iloc[0])
    return frame.sort_values(["map_name", "condition"], ignore_index=True)


def _summary_row(curves: pd.DataFrame, map_name: str, condition: str) -> dict[str, object]:
    runs = seed_curves(curves, map_name, condition)
    row: dict[str, object] = {
        "map_name": map_name,
        "condition": condition,
        "n_seeds": len(runs.seeds),
        "seeds": " ".join(map(str, runs.seeds)),
        "evaluations": len(runs.env_steps),
        "env_steps": int(runs.env_steps[-1]),
        "env_steps_cut": runs.env_steps_cut,
    }
    for name, reduce in (("final", final_value), ("auc", area_under_curve)):
        values = reduce(runs.env_steps, runs.values)
        mean, sd = mean_and_sd(values)
        generator = stream(0, "summary", map_name, condition, name)
        interval = stratified_bootstrap([values], interquartile_mean, generator)
        low, high = (interval.low, interval.high) if len(values) > 1 else (np.nan, np.nan)
        row |= {f"{name}_mean": float(mean), f"{name}_sd": float(sd), f"{name}_iqm": float(interval.estimate)}
        row |= {f"{name}_iqm_low": float(low), f"{name}_iqm_high": float(high)}
    row["steps_to_50pct"] = steps_to_threshold(runs.env_steps, runs.values.mean(axis=0))
    return row


def is_cut(env_steps_cut: Any, env_steps: Any, evaluations: Any) -> Any:
    """Whether runs were of unequal length: they differ by more than where the last evaluation fell.

    Args:
        env_steps_cut: env steps by which the longest run exceeds the common part; a number or a column.
        env_steps: end of the common part.
        evaluations: points of the common grid.
    """
    return env_steps_cut > env_steps / np.maximum(evaluations - 1, 1)


def cut_short(summary: pd.DataFrame) -> list[str]:
    """A sentence for each condition whose seeds have unequal lengths, so that only their common part counts.

    Args:
        summary: what `summary_table` returned.
    """
    cut = summary[is_cut(summary["env_steps_cut"], summary["env_steps"], summary["evaluations"])]
    return [
        f"{row.condition} on {row.map_name}: seeds of unequal length, compared over the {row.env_steps} env steps that "
        f"they share; the longest goes on for {row.env_steps_cut}"
        for row in cut.itertuples()
    ]


def demonstration_table(run_directories: Iterable[Path]) -> pd.DataFrame:
    """What each condition's demonstrations are worth: one row per map and condition that learns from demonstrations.

    Args:
        run_directories: `results/<scale>/runs/<map>/<condition>/seed-<seed>`; the archives lie in
            `results/<scale>/demonstrations/<map>`, named after their source in the run's `settings.yaml`.

    Returns:
        `DEMONSTRATIONS`, sorted by map and condition; no rows where no run learns from demonstrations. `sampled` is the
        play that the archive holds, `greedy` that of the same policies when they take their best actions.

    Raises:
        ResultsError: an archive is missing, or seeds of one condition learn from different ones.
    """
    rows = [row for directory in run_directories if (row := _demonstration_row(Path(directory)))]
    return one_archive_each(pd.DataFrame(rows, columns=DEMONSTRATIONS).drop_duplicates())


def one_archive_each(demonstrations: pd.DataFrame) -> pd.DataFrame:
    """Rows of demonstrations.csv sorted by map and condition.

    Raises:
        ResultsError: a condition on a map has two of them.
    """
    twice = demonstrations.duplicated(["map_name", "condition"])
    if twice.any():
        map_name, condition = demonstrations.loc[twice, ["map_name", "condition"]].iloc[0]
        raise ResultsError(
            f"found seeds of {condition} on {map_name} that learn from different demonstrations, "
            "expected one archive per map and condition"
        )
    return demonstrations.sort_values(["map_name", "condition"], ignore_index=True)


def _demonstration_row(run_directory: Path) -> dict[str, object] | None:
    settings = _settings(run_directory)
    source = settings.demonstrations
    if source is None:
        return None
    archive = DemonstrationSettings(scale=settings.scale, map_name=settings.map_name, source=source).name
    path = run_directory.parents[3] / "demonstrations" / settings.map_name / f"{archive}.npz"
    if not path.is_file():
        raise ResultsError(f"{path}: not found, expected the demonstrations of {run_directory}; sample them first")
    metadata = read_metadata(path)
    check_record(path, metadata, map_name=str, episodes=int, sampling_seeds=list, return_mean=float)
    win_rates = {"sampled_win_rate": float, "sampled_episodes": int, "greedy_win_rate": float, "greedy_episodes": int}
    check_record(path, metadata, **win_rates)
    if metadata["map_name"] != settings.map_name:
        raise ResultsError(
            f"{path}: found demonstrations of {metadata['map_name']}, expected {settings.map_name}; sample them again"
        )
    return {
        "map_name": settings.map_name,
        "condition": settings.condition,
        "archive": archive,
        "expert": source.expert,
        "expert_seeds": " ".join(map(str, metadata["sampling_seeds"])),
        "checkpoint_percent": source.checkpoint_percent,
        "epsilon": source.epsilon,
        "episodes": metadata["episodes"],
        **{name: metadata[name] for name in win_rates},
        "return_mean": metadata["return_mean"],
    }
