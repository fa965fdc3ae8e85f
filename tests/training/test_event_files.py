"""dm2.training.event_files: what TensorBoard reads of a run is its metrics.csv, each evaluation once."""

from pathlib import Path

import pandas as pd
import pytest
from support.toy_training import ToyLearner, run_toy
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dm2.core.errors import UserError
from dm2.core.files import read_json
from dm2.training.event_files import EventFiles


def read(folder: Path, reader: EventAccumulator | None = None) -> dict[str, list[tuple[int, float]]]:
    reader = reader or EventAccumulator(str(folder))
    reader.Reload()
    return {tag: [(one.step, one.value) for one in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


def curve(run: Path, column: str) -> list[tuple[int, float]]:
    metrics = pd.read_csv(run / "metrics.csv").dropna(subset=column)
    return [
        (step, pytest.approx(value, rel=1e-5))
        for step, value in zip(metrics["env_steps"], metrics[column], strict=True)
    ]


def test_event_files_hold_every_number_of_the_metrics(tmp_path: Path) -> None:
    run_toy(tmp_path, observers=[EventFiles(tmp_path / "tensorboard")])
    found = read(tmp_path / "tensorboard")
    columns = set(pd.read_csv(tmp_path / "metrics.csv").select_dtypes("number").columns)
    assert set(found) == columns - {"seed", "env_steps"}
    assert {tag: curve(tmp_path, tag) for tag in found} == found


def test_a_run_that_goes_on_has_each_evaluation_once(tmp_path: Path) -> None:
    folder = tmp_path / "tensorboard"

    class Stopped(Exception):
        pass

    class StoppingLearner(ToyLearner):
        def learn(self, episodes):
            if self.updates == 12:
                raise Stopped
            return super().learn(episodes)

    with pytest.raises(Stopped):
        run_toy(tmp_path, StoppingLearner(), checkpoint_minutes=0.0, observers=[EventFiles(folder)])
    watching = EventAccumulator(str(folder))  # a TensorBoard that is open all the while
    before = read(folder, watching)["win_rate"]
    run_toy(tmp_path, observers=[EventFiles(folder)])
    assert read_json(tmp_path / "run.json")["resumes"] == 1
    after = read(folder)["win_rate"]
    assert 0 < len(before) < len(after) and after[: len(before)] == before
    assert after == curve(tmp_path, "win_rate")
    assert read(folder, watching)["win_rate"] == after


def test_event_files_change_nothing_that_the_run_is_known_by(tmp_path: Path) -> None:
    run_toy(tmp_path / "with", observers=[EventFiles(tmp_path / "with" / "tensorboard")])
    run_toy(tmp_path / "without")
    first, second = (read_json(tmp_path / one / "run.json") for one in ("with", "without"))
    assert all(first[key] == second[key] for key in ("settings", "code", "backend", "demonstrations", "env_steps"))
    assert first["sha256"]["policies"] == second["sha256"]["policies"]


def test_a_missing_package_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dm2.training.event_files.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"--tensorboard: found no package tensorboard.*pip install") as error:
        EventFiles(tmp_path)
    assert "\n" not in str(error.value)
