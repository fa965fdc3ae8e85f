"""dm2.analysis.merging: runs of several machines in one scale's tables."""

import json
from pathlib import Path

import pandas as pd
import pytest
from support.written_runs import write_archive, write_run

from dm2.analysis.merging import RunTables
from dm2.analysis.tables import ResultsError
from dm2.core.errors import UserError
from dm2.core.files import sha256_of_file
from dm2.scripts import add_runs

REPOSITORY = Path(__file__).parents[2]
TABLES = ("learning_curves.csv", "demonstrations.csv", "summary.csv", "claims.csv", "claims.md")


def finished(folder: Path, condition: str, seed: int, **changes: object) -> Path:
    run = write_run(folder / "runs", condition, seed, **changes)
    settings = {"map_name": "3m", "condition": condition, "seed": seed}
    known = {"backend": "simulator 1", "cpu": "AMD EPYC", "env_steps": 210, "wall_seconds": 9.0, "of": folder.name}
    checksums = {"metrics": sha256_of_file(run / "metrics.csv")}
    (run / "run.json").write_text(json.dumps({"settings": settings, "sha256": checksums, **known}))
    return run


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder of results that has the paper's tables."""
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "paper").symlink_to(REPOSITORY / "results" / "paper")
    return folder


def test_runs_added_in_parts_give_the_tables_of_all_at_once(tmp_path: Path, results: Path) -> None:
    write_archive(tmp_path)
    runs = [finished(tmp_path, name, seed) for name in ("dm2_ippo_demo", "ippo") for seed in (1, 2, 3)]
    add_runs.main("quick", runs, results)
    at_once = [(results / "quick" / name).read_bytes() for name in TABLES]
    whole = RunTables.read(results / "quick")
    for name in TABLES:
        (results / "quick" / name).unlink()
    for part in (runs[4:], runs[:1], runs[1:4]):
        add_runs.main("quick", part, results)
    assert [(results / "quick" / name).read_bytes() for name in TABLES] == at_once
    parts = RunTables.read(results / "quick")
    assert len(parts.records) == 6 and all(record in whole.records for record in parts.records)
    assert parts.curves.groupby("condition")["seed"].nunique().to_dict() == {"dm2_ippo_demo": 3, "ippo": 3}


def test_a_run_that_is_there_already_is_replaced(tmp_path: Path, results: Path) -> None:
    add_runs.main("quick", [finished(tmp_path / "here", "ippo", seed) for seed in (1, 2)], results)
    again = finished(tmp_path / "there", "ippo", 2, win_rate=[0, 0.5, 1])
    add_runs.main("quick", [again], results)
    tables = RunTables.read(results / "quick")
    assert tables.curves.groupby("seed")["win_rate"].max().to_dict() == {1: 0.21, 2: 1}
    assert [record["of"] for record in tables.records] == ["here", "there"]
    assert pd.read_csv(results / "quick" / "summary.csv").loc[0, "seeds"] == "1 2"


def test_seeds_of_one_condition_must_learn_from_the_same_demonstrations(tmp_path: Path, results: Path) -> None:
    write_archive(tmp_path)
    add_runs.main("quick", [finished(tmp_path, "dm2_ippo_demo", seed) for seed in (1, 2)], results)
    before = (results / "quick" / "learning_curves.csv").read_bytes()
    elsewhere = tmp_path / "elsewhere"
    write_archive(elsewhere, sampling_seeds=[8])
    others = [finished(elsewhere, "dm2_ippo_demo", seed) for seed in (1, 2)]
    with pytest.raises(ResultsError, match="seeds of dm2_ippo_demo on 3m that learn from different demonstrations"):
        add_runs.main("quick", others[:1], results)
    assert (results / "quick" / "learning_curves.csv").read_bytes() == before
    add_runs.main("quick", others, results)  # all of them anew: nothing is mixed
    assert RunTables.read(results / "quick").demonstrations["expert_seeds"].tolist() == ["8"]


def test_runs_of_another_scale_or_unfinished_ones_are_refused(tmp_path: Path, results: Path) -> None:
    run = finished(tmp_path, "ippo", 1)
    with pytest.raises(ResultsError, match="found runs of scale quick, expected runs of laptop"):
        add_runs.main("laptop", [run], results)
    (run / "run.json").unlink()
    with pytest.raises(UserError, match=r"run\.json"):
        add_runs.main("quick", [run], results)
    assert not (results / "quick").exists()
