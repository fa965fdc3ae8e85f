from collections.abc import Callable
from pathlib import Path

import pytest

from dm2.core.errors import UserError
from dm2.core.files import StorageError, sha256_of_file, write_csv, write_json
from dm2.core.run_directory import RunDirectory
from dm2.play.experts import choose_expert
from dm2.scripts import choose_expert as choosing
from dm2.scripts import keep_expert
from dm2.settings.run import RunSettings


def write_run(folder: Path, seed: int, end: float = 0.5, condition: str = "ippo") -> Path:
    """A finished run that wins nothing but in its last evaluation."""
    run = RunDirectory(folder / condition / f"seed-{seed}")
    run.path.mkdir(parents=True)
    identity = {"scale": "quick", "map_name": "3m", "condition": condition, "seed": seed, "algorithm": "ippo"}
    lengths = {"env_steps": 200, "evaluation_interval": 100, "evaluation_episodes": 8, "ippo": {}}
    RunSettings.from_mapping(identity | lengths, "test").to_yaml(run.settings)
    rows = [{"condition": condition, "env_steps": at, "win_rate": end * (at > 200)} for at in (0, 105, 210)]
    write_csv(run.metrics, ["condition", "env_steps", "win_rate"], rows)
    write_json(run.record, {"sha256": {"metrics": sha256_of_file(run.metrics)}})
    return run.path


def test_the_run_that_wins_most_in_the_end_is_the_expert(tmp_path: Path) -> None:
    """That its final win rate is that of the tables is tested in tests/analysis/test_tables.py."""
    runs = [write_run(tmp_path, seed, end) for seed, end in ((30, 0.25), (5, 0.75), (4, 0.5))]
    choosing.main(runs, tmp_path / "ippo.yaml")
    assert (tmp_path / "ippo.yaml").read_text() == choose_expert(runs).yaml_text()
    choice = choose_expert(runs)
    assert (choice.scale, choice.map_name, choice.condition, choice.seed) == ("quick", "3m", "ippo", 5)
    assert [(one.seed, one.final_win_rate) for one in choice.candidates] == [(4, 0.5), (5, 0.75), (30, 0.25)]


def test_the_policy_kept_is_that_of_the_expert(tmp_path: Path) -> None:
    runs = [write_run(tmp_path, seed, end) for seed, end in ((3, 0.1), (5, 0.5), (4, 0.2))]
    for run in runs:
        policy = RunDirectory(run).policy(50)
        policy.parent.mkdir()
        policy.write_text(run.name)
    keep_expert.main(runs, 50, tmp_path / "kept" / "050.safetensors")
    assert (tmp_path / "kept" / "050.safetensors").read_text() == "seed-5"


def test_of_equal_candidates_the_lower_seed_is_the_expert(tmp_path: Path) -> None:
    assert choose_expert([write_run(tmp_path, seed) for seed in (30, 4, 5)]).seed == 4


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        (
            lambda folder: [write_run(folder, 1, condition=name) for name in ("qmix", "ippo")],
            r"found runs of ippo on 3m \(quick\), qmix on 3m \(quick\), expected one condition on one map",
        ),
        (lambda folder: [], "found runs of nothing, expected one condition on one map"),
        (lambda folder: [write_run(folder, 1)] * 2, "found runs of the seeds 1, 1, expected each once"),
    ],
)
def test_candidates_are_runs_of_one_condition(
    tmp_path: Path, candidates: Callable[[Path], list[Path]], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        choose_expert(candidates(tmp_path))


def test_a_candidate_whose_metrics_were_changed_is_refused(tmp_path: Path) -> None:
    run = RunDirectory(write_run(tmp_path, 1))
    run.metrics.write_text(run.metrics.read_text().replace("0.5", "0.9"))
    with pytest.raises(StorageError, match=r"metrics\.csv: not as the run wrote it"):
        choose_expert([run.path])
    run.record.unlink()
    with pytest.raises(StorageError, match=r"run\.json: cannot be read"):
        choose_expert([run.path])
