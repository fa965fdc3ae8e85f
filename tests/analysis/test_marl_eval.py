import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from dm2.analysis.marl_eval import (
    absolute_metrics,
    environment_name,
    evaluation_intervals,
    intervals_differ,
    left_out,
    marl_eval_layout,
)
from dm2.analysis.tables import ResultsError
from dm2.cli import app
from dm2.core.files import StorageError

QUICK = Path(__file__).parents[2] / "results" / "quick" / "learning_curves.csv"

# marl-eval's README: one number or one per episode for each metric; every level below the environment has a free name.
METRIC = {"type": "array", "items": {"type": "number"}, "minItems": 1}
METRICS = {"required": ["win_rate", "return"], "additionalProperties": METRIC}
RUN: dict[str, Any] = {
    "type": "object",
    "required": ["step_1", "absolute_metrics"],
    "properties": {"absolute_metrics": METRICS},
    "patternProperties": {
        r"^step_\d+$": {
            "required": ["step_count", "win_rate", "return"],
            "properties": {"step_count": {"type": "integer"}},
            "additionalProperties": METRIC,
        }
    },
    "additionalProperties": False,
}
SCHEMA: dict[str, Any] = RUN
for _ in ("run", "algorithm", "task", "environment"):
    SCHEMA = {"type": "object", "minProperties": 1, "additionalProperties": SCHEMA}


def run(map_name: str, condition: str, seed: int, steps: list[int], win_rate: list[float]) -> pd.DataFrame:
    one = pd.DataFrame({"env_steps": steps, "win_rate": win_rate, "return_mean": np.array(win_rate) * 20})
    return one.assign(map_name=map_name, condition=condition, seed=seed, scale="quick", backend="simulator 1")


def curves() -> pd.DataFrame:
    return pd.concat(
        [
            run("3m", "ippo", 1, [0, 100, 200], [0.0, 0.5, 1.0]),
            run("3m", "qmix", 1, [0, 100, 200], [0.0, 0.1, 0.2]),
            run("MMM2", "ippo", 1, [0, 100, 200, 300, 400], [0.0, 0.1, 0.2, 0.3, 0.4]),
        ]
    )


def test_the_committed_curves_fit_the_documented_layout() -> None:
    layout = marl_eval_layout(pd.read_csv(QUICK))
    jsonschema.Draft202012Validator(SCHEMA).validate(layout)
    json.dumps(layout, allow_nan=False)


def test_every_run_has_as_many_steps_and_ends_with_the_absolute_metrics() -> None:
    (tasks,) = marl_eval_layout(pd.read_csv(QUICK)).values()
    keys = {tuple(run) for algorithms in tasks.values() for runs in algorithms.values() for run in runs.values()}
    assert keys == {(*(f"step_{i}" for i in range(1, 16)), "absolute_metrics")}
    assert set(tasks) == {"3m", "3s_vs_3z"}
    assert {tuple(algorithms) for algorithms in tasks.values()} == {("dm2_ippo_demo", "ippo")}  # run on both maps


def test_marl_eval_reads_from_it_what_the_curves_hold() -> None:
    """The numbers are those of marl-eval 0.0.4: data_process_pipeline, create_matrices_for_rliable."""
    table = pd.concat(
        [
            run("3m", "ippo", 1, [0, 100, 200], [0.0, 0.5, 1.0]),
            run("3m", "ippo", 2, [0, 110, 220], [0.2, 0.1, 0.6]),
            run("8m", "ippo", 1, [0, 100, 200, 300, 400], [0.0, 0.1, 0.2, 0.3, 0.4]),
            run("8m", "ippo", 2, [0, 100, 200, 300, 400], [0.0, 0.3, 0.3, 0.8, 0.7]),
        ]
    )
    (tasks,) = marl_eval_layout(table).values()
    runs = [[tasks[task]["ippo"][seed] for task in ("3m", "8m")] for seed in ("seed_1", "seed_2")]
    ends = [[one["absolute_metrics"]["win_rate"][0] for one in seeds] for seeds in runs]
    curves_of = [[[one[f"step_{i}"]["win_rate"][0] for i in (1, 2)] for one in seeds] for seeds in runs]
    assert np.array(ends) == pytest.approx(np.array([[1.0, 0.4], [0.509091, 0.7]]), abs=1e-6)
    assert np.mean(curves_of) == pytest.approx(0.351136, abs=1e-6)


def test_maps_share_conditions_and_the_number_of_steps() -> None:
    ((name, tasks),) = marl_eval_layout(curves()).items()
    assert name == "smac_built_in_simulator_1"
    assert {task: list(algorithms) for task, algorithms in tasks.items()} == {"3m": ["ippo"], "mmm2": ["ippo"]}
    found = tasks["mmm2"]["ippo"]["seed_1"]
    assert [found[f"step_{i}"]["step_count"] for i in (1, 2, 3)] == [0, 200, 400]
    assert [found[f"step_{i}"]["win_rate"] for i in (1, 2, 3)] == [[0.0], [0.2], [0.4]]
    assert found["absolute_metrics"] == {"win_rate": [0.4], "return": [8.0]}


def test_what_is_left_out_is_named() -> None:
    table = curves()
    assert left_out(table, marl_eval_layout(table)) == ["3m/qmix/seed-1"]
    assert left_out(table, marl_eval_layout(table, ["3m"])) == []


def test_conditions_with_fewer_seeds_are_left_out() -> None:
    table = pd.concat([curves(), run("3m", "qmix", 2, [0, 100, 200], [0.0, 0.1, 0.2])])
    (tasks,) = marl_eval_layout(table, ["3m"]).values()
    assert {algorithm: list(runs) for algorithm, runs in tasks["3m"].items()} == {"qmix": ["seed_1", "seed_2"]}
    assert left_out(table, marl_eval_layout(table, ["3m"])) == ["3m/ippo/seed-1"]


def test_maps_without_a_common_run_are_refused() -> None:
    table = pd.concat([curves(), run("8m", "rmappo", 1, [0, 100], [0.0, 0.1])])
    with pytest.raises(ResultsError, match="no run that all of 3m, 8m, MMM2 share; export fewer maps"):
        marl_eval_layout(table)
    with pytest.raises(ResultsError, match="no run on '5m' in the learning curves, expected one of 3m, MMM2, 8m"):
        marl_eval_layout(table, ["5m"])


def write_records(folder: Path, table: pd.DataFrame) -> None:
    for row in table[["map_name", "condition", "seed"]].drop_duplicates().itertuples(index=False):
        best = {"env_steps": 100, "win_rate": 0.75, "return_mean": 15.0, "n_episodes": 320}
        path = folder / row.map_name / row.condition / f"seed-{row.seed}"
        path.mkdir(parents=True)
        (path / "run.json").write_text(json.dumps({"absolute_metric": {"best": best, "last": {"win_rate": 0.5}}}))


def test_absolute_metrics_are_those_of_the_best_policies_where_the_records_are_given(tmp_path: Path) -> None:
    write_records(tmp_path, curves())
    (tasks,) = marl_eval_layout(curves(), absolute=absolute_metrics(curves(), tmp_path)).values()
    assert tasks["3m"]["ippo"]["seed_1"]["absolute_metrics"] == {"win_rate": [0.75], "return": [15.0]}


def test_a_record_without_absolute_metric_is_refused_by_name(tmp_path: Path) -> None:
    write_records(tmp_path, curves())
    path = tmp_path / "3m" / "qmix" / "seed-1" / "run.json"
    path.write_text("{}")
    with pytest.raises(ResultsError, match=r"qmix/seed-1/run\.json: found no absolute_metric; train the run again"):
        absolute_metrics(curves(), tmp_path)
    path.unlink()
    with pytest.raises(StorageError, match=r"qmix/seed-1/run\.json"):
        absolute_metrics(curves(), tmp_path)


@pytest.mark.parametrize(("backend", "name"), [("simulator 1", "smac_built_in_simulator_1"), ("X-Y", "smac_x_y")])
def test_names_are_those_that_marl_eval_looks_up(backend: str, name: str) -> None:
    assert environment_name(backend) == name


def test_the_command_writes_the_layout_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    table = curves()
    for column in ("episodes", "return_sd", "episode_length_mean", "dead_allies_mean", "dead_enemies_mean"):
        table[column] = 0
    table.to_csv(tmp_path / "curves.csv", index=False)
    arguments = ["--curves", str(tmp_path / "curves.csv"), "--output", str(tmp_path / "marl_eval.json")]
    done = CliRunner().invoke(app, ["export-curves", *arguments])
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "marl_eval.json").read_text()) == marl_eval_layout(table)
    assert "left out, not run on all of these maps with all seeds: 3m/qmix/seed-1" in done.output


@pytest.mark.parametrize(("maps", "warned"), [([], True), (["--map", "MMM2"], False)])
def test_the_command_warns_of_unlike_time_axes(tmp_path: Path, maps: list[str], warned: bool) -> None:
    table = curves()
    for column in ("episodes", "return_sd", "episode_length_mean", "dead_allies_mean", "dead_enemies_mean"):
        table[column] = 0
    table.to_csv(tmp_path / "curves.csv", index=False)
    arguments = ["--curves", str(tmp_path / "curves.csv"), "--output", str(tmp_path / "marl_eval.json"), *maps]
    done = CliRunner().invoke(app, ["export-curves", *arguments])
    assert done.exit_code == 0, done.output
    assert ("found evaluations every 100 on 3m, 200 on mmm2 env steps" in done.output) is warned


def test_late_evaluations_are_no_other_interval() -> None:
    table = pd.concat(
        [run("3m", "ippo", 1, [0, 1001, 2003], [0.0, 0.5, 1.0]), run("8m", "ippo", 1, [0, 1012, 2020], [0, 0, 0])]
    )
    assert not intervals_differ(evaluation_intervals(marl_eval_layout(table)))
    assert intervals_differ({"3m": 10_000, "8m": 24_000}) and not intervals_differ({})
