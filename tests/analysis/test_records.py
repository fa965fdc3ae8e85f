"""dm2.analysis.records: records of runs, whole, and what they add up to."""

import json
from pathlib import Path

import pytest

from dm2.analysis.records import effort, hardware, read_records, records_of, write_records
from dm2.analysis.tables import ResultsError
from dm2.core.files import StorageError


def record(condition: str, wall_seconds: float) -> dict[str, object]:
    return {
        "settings": {"map_name": "3m", "condition": condition},
        "backend": "simulator 7",
        "cpu": "AMD EPYC",
        "products": "torch",
        "env_steps": 1_000,
        "wall_seconds": wall_seconds,
        "threads": 1,
    }


RECORDS = [record("ippo", 3600.0), record("ippo", 1800.0), record("qmix", 900.0)]


def test_records_read_back_whole_and_in_order(tmp_path: Path) -> None:
    for n, content in enumerate(RECORDS):
        (tmp_path / str(n)).mkdir()
        (tmp_path / str(n) / "run.json").write_text(json.dumps(content))
    write_records(records_of([tmp_path / "2", tmp_path / "0"]), tmp_path / "records.jsonl")
    assert read_records(tmp_path / "records.jsonl") == [RECORDS[2], RECORDS[0]]


def test_a_run_without_its_record_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"run\.json"):
        records_of([tmp_path])


@pytest.mark.parametrize("content", ["{", '{"settings": 1}'])
def test_what_is_no_record_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "records.jsonl").write_text(content)
    with pytest.raises((ResultsError, StorageError), match=r"records\.jsonl"):
        read_records(tmp_path / "records.jsonl")


def test_effort_adds_up_per_condition() -> None:
    table = effort(RECORDS)
    assert list(table.itertuples(index=False, name=None)) == [
        ("3m", "ippo", 2, 2000, 1.5),
        ("3m", "qmix", 1, 1000, 0.25),
    ]
    assert hardware(RECORDS) == "AMD EPYC, matrix products by torch"
