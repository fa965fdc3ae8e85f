"""Runs put into tables that are there already: those of another machine, or the seeds that were still missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dm2.analysis.records import read_records, records_of, write_records
from dm2.analysis.tables import (
    CURVES,
    DEMONSTRATIONS,
    demonstration_table,
    in_one_table,
    learning_curves,
    one_archive_each,
    read_table,
    write_table,
)

CONDITION = ["map_name", "condition"]
RUN = [*CONDITION, "seed"]
TAUGHT_BY = ["archive", "expert_seeds", "episodes"]
"""What tells one set of demonstrations from another; win rates in a table are rounded."""


@dataclass(frozen=True)
class RunTables:
    """What is known of runs of one scale; all other tables follow from it.

    Args:
        curves: learning_curves.csv.
        demonstrations: demonstrations.csv.
        records: records.jsonl, a record each.
    """

    curves: pd.DataFrame
    demonstrations: pd.DataFrame
    records: list[dict[str, Any]]

    @classmethod
    def of_runs(cls, run_directories: Sequence[Path]) -> RunTables:
        """Those of finished runs.

        Raises:
            ResultsError, StorageError: a run is unfinished, damaged or of another scale than the rest.
        """
        return cls(learning_curves(run_directories), demonstration_table(run_directories), records_of(run_directories))

    @classmethod
    def read(cls, folder: Path) -> RunTables:
        """Those of a scale.

        Raises:
            ResultsError: one is missing or damaged.
        """
        return cls(
            read_table(folder / "learning_curves.csv", CURVES),
            read_table(folder / "demonstrations.csv", DEMONSTRATIONS, may_be_empty=True),
            read_records(folder / "records.jsonl"),
        )

    def write(self, folder: Path) -> None:
        """Make them the scale's."""
        write_table(self.curves, folder / "learning_curves.csv")
        write_table(self.demonstrations, folder / "demonstrations.csv")
        write_records(self.records, folder / "records.jsonl")

    def with_runs(self, added: RunTables) -> RunTables:
        """These and other runs; a run that both have is the added one.

        Raises:
            ResultsError: they are of different scales or engines, or learn a condition from different demonstrations.
        """
        kept = _without(self.curves, added.curves, RUN)
        taught = self.demonstrations.merge(kept[CONDITION].drop_duplicates())
        again = taught[[*CONDITION, *TAUGHT_BY]].merge(added.demonstrations[[*CONDITION, *TAUGHT_BY]])
        taught = pd.concat([_without(taught, again, CONDITION), added.demonstrations], ignore_index=True)
        replaced = [_run_of(record) for record in added.records]
        return RunTables(
            curves=in_one_table([kept, added.curves]),
            demonstrations=one_archive_each(taught),
            records=[record for record in self.records if _run_of(record) not in replaced] + added.records,
        )


def _without(table: pd.DataFrame, other: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """The rows of a table whose key no row of the other has."""
    return table[~pd.MultiIndex.from_frame(table[key]).isin(pd.MultiIndex.from_frame(other[key]))]


def _run_of(record: dict[str, Any]) -> list[Any]:
    return [record["settings"][name] for name in RUN]
