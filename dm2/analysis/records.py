"""What each run of a scale was: records.jsonl, the run.json of all runs, one per line; and what they cost."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from dm2.analysis.tables import ResultsError
from dm2.core.files import atomic_write, check_record, read_json

SECONDS_PER_HOUR = 3600


def records_of(run_directories: Iterable[Path]) -> list[dict[str, Any]]:
    """The records of finished runs, in the order given.

    Raises:
        StorageError: a record is missing or damaged.
    """
    return [read_json(folder / "run.json") for folder in run_directories]


def write_records(records: Iterable[dict[str, Any]], path: Path) -> None:
    """Write records, a line each."""
    with atomic_write(path, "w") as file:
        file.writelines(f"{json.dumps(record, ensure_ascii=False)}\n" for record in records)


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records that `write_records` wrote.

    Raises:
        ResultsError: the file is missing or holds something else.
    """
    try:
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path}: not readable as records ({error}); aggregate the runs again") from None
    for record in records:
        check_record(path, record, settings=dict, cpu=str, env_steps=int, wall_seconds=float, backend=str)
    return records


def effort(records: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """What was computed: a row per map and condition.

    Returns:
        map_name, condition, runs, env_steps (of all of them), core_hours (of a run's wall time times its threads).
    """
    rows = pd.DataFrame(
        [
            {
                "map_name": record["settings"]["map_name"],
                "condition": record["settings"]["condition"],
                "env_steps": record["env_steps"],
                "core_hours": record["wall_seconds"] * record["threads"] / SECONDS_PER_HOUR,
            }
            for record in records
        ]
    )
    return (
        rows.groupby(["map_name", "condition"])
        .agg(
            runs=("env_steps", "size"),
            env_steps=("env_steps", "sum"),
            core_hours=("core_hours", "sum"),
        )
        .reset_index()
    )


def hardware(records: Iterable[dict[str, Any]]) -> str:
    """The processors that the runs had, and who multiplied."""
    found = dict.fromkeys(f"{record['cpu']}, matrix products by {record['products']}" for record in records)
    return "; ".join(found)
