"""What the workflow plans, and what it refuses, before anything runs."""

import re
import shutil
from pathlib import Path

import pytest
import yaml
from support.snakemake_run import REPOSITORY, snakemake

from dm2.core.file_locks import hold
from dm2.settings.matrix import Matrix


def planned(output: str) -> dict[str, int]:
    """Jobs by rule, from the table that a dry run prints."""
    table = output[output.rindex("Job stats:") :]
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", table, flags=re.MULTILINE)}


def test_paper_scale_plans_the_matrix_with_shared_experts(tmp_path: Path) -> None:
    done = snakemake(tmp_path, "--dry-run", "--quiet", "rules", "--config", "scale=paper")
    assert done.returncode == 0, done.stdout
    jobs = planned(done.stdout)
    assert jobs["train_without_demonstrations"] == 5 * (5 * 5 + 8 + 1 + 1)
    assert jobs["train_from_demonstrations"] == 5 * (18 + 7 + 16 + 3 * 2 + 2 * 5 + 4 + 3)
    # the ladders of checkpoints and of episodes, the other maps, the demonstration ablations, 1,024 episodes per update
    assert jobs["sample_demonstrations"] == 2 * 11 + 2 * 5 + 3 * 2 + 2 * 3 + 2
    assert jobs["choose_expert"] == 2 * 5 + 1  # IPPO and QMIX on every map, IPPO with 1,024 episodes per update
    assert jobs["draw_figure"] == 17
    assert jobs["write_settings_of_run"] == jobs["train_without_demonstrations"] + jobs["train_from_demonstrations"]


def test_laptop_scale_is_the_papers_settings_but_for_the_length_of_training() -> None:
    matrix = Matrix.load(REPOSITORY / "config", {"scale": "laptop"})
    paper = Matrix.load(REPOSITORY / "config", {"scale": "paper"})
    assert len(matrix.runs) == 5 * (18 + 15 + 7)
    for run in matrix.runs:
        changed = {"scale", "env_steps"}
        assert matrix.settings(run).model_dump(exclude=changed) == paper.settings(run).model_dump(exclude=changed)


@pytest.mark.parametrize("scale", ["paper", "laptop", "smoke"])
def test_planning_says_what_a_scale_costs(tmp_path: Path, scale: str) -> None:
    done = snakemake(tmp_path, "--dry-run", "--quiet", "rules", "--config", f"scale={scale}")
    jobs = planned(done.stdout)
    runs = jobs["train_without_demonstrations"] + jobs["train_from_demonstrations"]
    matrix = Matrix.load(REPOSITORY / "config", {"scale": scale})
    env_steps = sum(matrix.settings(run).env_steps for run in matrix.runs)
    said = re.search(r"^Scale (\w+), from nothing: (\S+) runs, (\S+) env steps, about (\S+) core", done.stdout, re.M)
    assert said is not None, done.stdout
    assert said.groups()[:3] == (scale, f"{runs:,}", f"{env_steps:,}")
    assert float(said[4].replace(",", "")) > 0


def test_a_configuration_file_with_a_key_twice_stops_the_planning(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("scale: smoke\nseeds: [1]\nseeds: [2]\n")
    done = snakemake(tmp_path, "--dry-run", "--configfile", str(tmp_path / "own.yaml"))
    assert done.returncode != 0
    assert "own.yaml: not readable as YAML: line 3: found 'seeds' again, first in line 2; remove one" in done.stdout


def test_a_brace_in_the_path_of_the_repository_stops_the_planning(tmp_path: Path) -> None:
    clone = tmp_path / "{x}"
    for part in ("workflow", "config"):
        shutil.copytree(REPOSITORY / part, clone / part)
    done = snakemake(tmp_path, "--dry-run", "--snakefile", str(clone / "workflow" / "Snakefile"))
    assert done.returncode != 0
    assert f"{clone}: found a brace in the path of the repository" in done.stdout
    assert "WildcardError" not in done.stdout


def test_an_environment_that_snakemake_is_to_build_stops_the_planning(tmp_path: Path) -> None:
    done = snakemake(tmp_path, "--dry-run", "--software-deployment-method", "conda")
    assert done.returncode != 0
    assert "--software-deployment-method conda: found it, expected an environment that is there" in done.stdout


def test_candidates_for_an_expert_that_nobody_compares_are_trained_once(tmp_path: Path) -> None:
    """Scale smoke has three seeds of experts and two of learners."""
    runs = "runs={3m: [dm2_ippo_demo]}"
    done = snakemake(tmp_path, "--dry-run", "--quiet", "rules", "--config", "scale=smoke", runs)
    jobs = planned(done.stdout)
    expected = {"train_without_demonstrations": 3, "train_from_demonstrations": 2, "sample_demonstrations": 1}
    assert expected.items() <= jobs.items()


def test_runs_that_no_figure_shows_have_tables_and_a_report_without_figures(tmp_path: Path) -> None:
    """The stage itself is run in tests/scripts/test_cli.py."""
    runs = "runs={3m: [dm2_heuristic_demo]}"
    done = snakemake(tmp_path, "--dry-run", "--printshellcmds", "--config", "scale=smoke", runs)
    assert done.returncode == 0, done.stdout
    assert "draw_figure" not in planned(done.stdout)
    (command,) = re.findall(r"python -m dm2\.scripts\.write_report (.*?) >", done.stdout)
    assert command.split() == ["--results", "results/smoke", "--output", "results/smoke/report.html"]


def test_what_another_snakemake_is_about_to_read_is_not_made_again(tmp_path: Path) -> None:
    runs = ("--config", "scale=smoke", "runs={3m: [dm2_heuristic_demo]}")
    archive = Matrix.load(REPOSITORY / "config", {"scale": "smoke", "runs": {"3m": ["dm2_heuristic_demo"]}})
    (name,) = (f"results/smoke/demonstrations/3m/{name}.npz" for _, name in archive.demonstrations)
    with hold(tmp_path / ".snakemake" / "dm2.locks", [], [name]):
        done = snakemake(tmp_path, name, *runs)
        assert done.returncode == 1
        assert f"{name}: another process makes or reads it; wait for it, or stop it" in done.stdout
        assert not (tmp_path / "results").exists()
        assert snakemake(tmp_path, "--dry-run", name, *runs).returncode == 0


def test_an_expert_that_nobody_trains_is_sampled_without_a_run(tmp_path: Path) -> None:
    runs = "runs={3m: [dm2_heuristic_demo]}"
    archive = "results/smoke/demonstrations/3m/heuristic_100_episodes-32_seed-112358.npz"
    done = snakemake(tmp_path, archive, "--config", "scale=smoke", runs)
    assert done.returncode == 0, done.stdout
    assert planned(done.stdout) == {"write_settings_of_demonstrations": 1, "sample_demonstrations": 1, "total": 2}
    assert (tmp_path / archive).is_file()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("scale=smok", "unknown scale 'smok'; did you mean 'smoke'?"),
        ("runs={3mm: [ippo]}", "unknown map '3mm'; did you mean '3m'?"),
        ("runs={3m: [ipo]}", "unknown condition 'ipo'; did you mean 'ippo'?"),
        ("seedz=[1]", "unknown key 'seedz'; did you mean 'seeds'?"),
    ],
)
def test_what_does_not_exist_stops_the_planning(tmp_path: Path, config: str, message: str) -> None:
    done = snakemake(tmp_path, "--dry-run", "--config", config)
    assert done.returncode != 0
    assert message in done.stdout
    assert "Traceback" not in done.stdout
    assert not (tmp_path / "results").exists()


def test_a_file_of_a_run_that_the_scale_lacks_is_no_target(tmp_path: Path) -> None:
    done = snakemake(tmp_path, "--dry-run", "results/quick/runs/3m/ippoo/seed-112358/metrics.csv")
    assert done.returncode != 0
    assert "MissingRuleException" in done.stdout


CLUSTERS = REPOSITORY / "workflow" / "profiles"


def resources(output: str) -> dict[str, list[tuple[int, int]]]:
    """Memory in MB and minutes that each rule's jobs ask for, from a dry run."""
    found: dict[str, list[tuple[int, int]]] = {}
    pattern = r"rule (\w+):$.*?mem_mb=(\d+),.*?runtime=(\d+)\b"
    for rule, memory, minutes in re.findall(pattern, output, re.MULTILINE | re.DOTALL):
        found.setdefault(rule, []).append((int(memory), int(minutes)))
    return found


def test_every_retry_asks_the_cluster_for_more(tmp_path: Path) -> None:
    asked = []
    for attempt in (1, 2, 3):
        plan = ("--dry-run", "--profile", str(CLUSTERS / "slurm"), "--attempt", str(attempt))
        done = snakemake(tmp_path, *plan, "--config", "scale=paper", "seeds=[112358]", "runs={3m: [dm2_ippo_demo]}")
        assert done.returncode == 0, done.stdout
        asked.append(resources(done.stdout))
    first, *later = asked
    local = {"all", "write_settings_of_run", "write_settings_of_demonstrations"}
    assert first.keys() - local == {rule for rule in planned(done.stdout) if rule != "total"} - local
    for rule in first.keys() - local:
        for attempt, again in enumerate(later, start=2):
            assert again[rule] == [(attempt * memory, attempt * minutes) for memory, minutes in first[rule]], rule
    for rule in ("train_without_demonstrations", "train_from_demonstrations"):
        assert {minutes for _, minutes in first[rule]} == {30 + 10_050_000 // 12_000}


def test_cluster_profiles_try_again_and_group_the_short_jobs() -> None:
    slurm, generic = (
        yaml.safe_load((CLUSTERS / name / "config.yaml").read_text()) for name in ("slurm", "cluster-generic")
    )
    shared = {key: value for key, value in slurm.items() if "slurm" not in key and key != "executor"}
    assert shared == {
        key: value for key, value in generic.items() if "cluster-generic" not in key and key != "executor"
    }
    assert shared["retries"] == 3 and shared["rerun-incomplete"] is True
    assert set(shared["groups"].values()) == {"tables"}
    for wanted in ("threads", "mem_mb", "runtime"):
        assert wanted in generic["cluster-generic-submit-cmd"]


def test_dm2_is_trained_from_the_experts_in_the_repository_alone(tmp_path: Path) -> None:
    """What docs/reproduction.md says of scale laptop: no expert is trained for it."""
    experts = Path("results", "laptop", "experts")
    shutil.copytree(REPOSITORY / experts, tmp_path / experts, copy_function=shutil.copyfile)
    metrics = "results/laptop/runs/3s_vs_3z/dm2_ippo_demo/seed-112358/metrics.csv"
    done = snakemake(tmp_path, "--dry-run", "--quiet", "rules", "--config", "scale=laptop", "--", metrics)
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout, flags=re.MULTILINE))
    settings = {"write_settings_of_demonstrations": "1", "write_settings_of_run": "1"}
    assert jobs == {"sample_demonstrations": "1", "train_from_demonstrations": "1", "total": "4"} | settings
