"""What a scale costs before anything of it has run: runs, env steps and core hours.

The throughput behind the core hours is measured, not guessed: benchmarks/throughput.csv, which benchmarks/throughput.py
writes, has env steps per second of one core for each kind of learner, evaluations included, on one map at the paper's
settings, and how many gradient steps per episode QMIX took meanwhile: runs with more or fewer are counted so. Other
maps, batch sizes and processors differ too, so the hours are an order of magnitude and not a promise.
Sampling demonstrations and drawing are small beside training and left out.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dm2.settings.base import SettingsError
from dm2.settings.matrix import Matrix
from dm2.settings.run import RunSettings

SECONDS_PER_HOUR = 3600
DISTRIBUTION_MATCHING = "dm2_ippo_demo"
"""Part of the benchmark that stands for every run with discriminators."""


@dataclass(frozen=True)
class Throughput:
    """How fast each kind of learner is.

    Args:
        env_steps_per_second: of one core, by part of the benchmark: ippo, qmix, rmappo, dm2_ippo_demo.
        map_name: map that it was measured on.
        update_share: share of that time that gradient steps take, by part, in [0, 1]; where it is not known, 0.
        gradient_steps_per_episode: of QMIX when it was measured.
    """

    env_steps_per_second: Mapping[str, float]
    map_name: str
    update_share: Mapping[str, float] = field(default_factory=dict)
    gradient_steps_per_episode: float = 1.0

    @classmethod
    def load(cls, path: Path) -> Throughput:
        """Read benchmarks/throughput.csv.

        Raises:
            SettingsError: the file is missing or has no measurement on one thread.
        """
        rows: list[dict[str, str]] = []
        if path.is_file():
            with open(path, encoding="utf-8", newline="") as file:
                alone = [row for row in csv.DictReader(file) if row.get("runs", "1") == "1"]
            rows = [row for row in alone if row.get("threads") == "1"]
        if not rows:
            raise SettingsError(f"{path}: found no throughput on one thread; benchmarks/throughput.py --csv writes it")
        speeds = {row["part"]: float(row["env_steps_per_second"]) for row in rows}
        shares = {row["part"]: float(share) for row in rows if (share := row.get("update_share"))}
        steps = [float(found) for row in rows if (found := row.get("gradient_steps_per_episode"))]
        return cls(speeds, rows[0]["map_name"], shares, *steps[:1])

    def core_hours(self, settings: RunSettings) -> float | None:
        """What one run takes; None where its kind is not measured."""
        part = part_of(settings)
        if part not in self.env_steps_per_second:
            return None
        measured = settings.env_steps / self.env_steps_per_second[part] / SECONDS_PER_HOUR
        if settings.qmix is None:
            return measured
        rate = settings.qmix.gradient_steps / settings.qmix.n_battles / self.gradient_steps_per_episode
        return measured * (1 + self.update_share.get(part, 0.0) * (rate - 1))


@dataclass(frozen=True)
class Cost:
    """What the runs of one kind of learner cost.

    Args:
        part: kind of learner, as in the benchmark.
        runs: number of runs.
        env_steps: of all of them.
        core_hours: for all of them; None where the benchmark does not measure this kind.
    """

    part: str
    runs: int
    env_steps: int
    core_hours: float | None


def costs(settings: Iterable[RunSettings], throughput: Throughput) -> list[Cost]:
    """The cost of runs by kind of learner, in the order in which the kinds first appear."""
    parts: dict[str, list[RunSettings]] = {}
    for run in settings:
        parts.setdefault(part_of(run), []).append(run)
    return [_cost(part, runs, throughput) for part, runs in parts.items()]


def part_of(settings: RunSettings) -> str:
    """The part of the benchmark that measures runs like this one."""
    return settings.algorithm if settings.reward == "env" else DISTRIBUTION_MATCHING


def _cost(part: str, runs: Sequence[RunSettings], throughput: Throughput) -> Cost:
    hours = [hours for run in runs if (hours := throughput.core_hours(run)) is not None]
    return Cost(part, len(runs), sum(run.env_steps for run in runs), sum(hours) if hours else None)


def plan_in_words(matrix: Matrix, throughput: Throughput) -> str:
    """The cost of a scale as text: a line with the totals, a line per kind of learner; and what no figure shows."""
    found = costs(map(matrix.settings, matrix.runs), throughput)
    hours = sum(cost.core_hours or 0 for cost in found)
    missing = [cost.part for cost in found if cost.core_hours is None]
    but = f" (without {', '.join(missing)}, whose throughput is not measured)" if missing else ""
    total = f"{sum(cost.runs for cost in found):,} runs, {sum(cost.env_steps for cost in found):,} env steps"
    lines = [f"Scale {matrix.scale.scale}, from nothing: {total}, about {_round(hours)} core hours{but}."]
    lines += [_line(cost) for cost in found]
    lines.append(f"  env steps/s: of one core, measured on {throughput.map_name}, benchmarks/throughput.csv")
    hidden = [f"{condition} on {', '.join(maps)}" for condition, maps in matrix.in_no_figure.items()]
    return "\n".join([*lines, f"  in no figure: {'; '.join(hidden)}"] if hidden else lines)


def _line(cost: Cost) -> str:
    line = f"  {cost.part:14}{cost.runs:>6,} runs {cost.env_steps:>15,} env steps"
    if cost.core_hours is None:
        return line
    speed = cost.env_steps / cost.core_hours / SECONDS_PER_HOUR
    return f"{line} {_round(cost.core_hours):>8} core hours at {speed:,.0f} env steps/s"


def _round(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.1f}" if hours >= 0.1 else f"{hours:.1g}"
