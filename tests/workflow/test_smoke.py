"""The whole workflow at scale smoke: every stage, every figure, no stage twice."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from support.snakemake_run import REPOSITORY, snakemake

from dm2.play.experts import ExpertChoice
from dm2.settings.matrix import Matrix
from dm2.settings.run import RunSettings

CORE = ["dm2_ippo_demo", "dm2_qmix_demo", "dm2_sil", "ippo", "qmix", "rmappo"]
MATRIX = Matrix.load(REPOSITORY / "config", {"scale": "smoke"})
SMOKE = ("--config", "scale=smoke")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("smoke")
    done = snakemake(directory, *SMOKE)
    assert done.returncode == 0, done.stdout[-5000:]
    return directory


def test_figures_and_their_tables_exist(finished: Path) -> None:
    figures = finished / "figures" / "smoke"
    for figure in MATRIX.figures:
        assert (figures / f"{figure}.pdf").read_bytes().startswith(b"%PDF")
        assert (figures / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
        drawn = pd.read_csv(figures / f"{figure}.csv")
        ours = drawn.loc[drawn["series"] == "ours", "condition"].unique()
        assert sorted(ours) == sorted(MATRIX.figure_conditions(figure, "3m"))
    drawn = pd.read_csv(figures / "core.csv")
    assert sorted(drawn.loc[drawn["series"] == "ours", "condition"].unique()) == CORE
    assert set(drawn.loc[drawn["series"] == "demonstrations", "condition"]) == {"dm2_ippo_demo", "dm2_qmix_demo"}


def test_curves_hold_every_run_to_its_end(finished: Path) -> None:
    curves = pd.read_csv(finished / "results" / "smoke" / "learning_curves.csv")
    runs = curves.groupby(["condition", "seed"])["env_steps"].agg(["min", "max", "size"])
    assert sorted(runs.index) == sorted((run.condition, run.seed) for run in MATRIX.learners)
    assert (runs["max"] >= 1_200).all()
    assert curves["win_rate"].between(0, 1).all()
    assert set(curves["scale"]) == {"smoke"}
    assert curves["backend"].str.contains("simulator").all()


def test_the_two_seeds_differ(finished: Path) -> None:
    curves = pd.read_csv(finished / "results" / "smoke" / "learning_curves.csv")
    returns = [tuple(run["return_mean"]) for _, run in curves[curves["condition"] == "ippo"].groupby("seed")]
    assert returns[0] != returns[1]


def test_each_run_directory_is_complete_and_says_what_made_it(finished: Path) -> None:
    for condition in MATRIX.scale.conditions("3m"):
        run = finished / "results" / "smoke" / "runs" / "3m" / condition / "seed-112358"
        settings = RunSettings.from_yaml(run / "settings.yaml")
        assert (settings.condition, settings.seed, settings.env_steps) == (condition, 112358, 1_200)
        assert len(list((run / "policies").glob("*.safetensors"))) == 10
        absolute = json.loads((run / "run.json").read_text())["absolute_metric"]
        assert absolute["best"]["n_episodes"] == absolute["last"]["n_episodes"] == 80
        assert "env steps" in (run / "log.txt").read_text()


def test_demonstrations_are_sampled_once_and_measured(finished: Path) -> None:
    archives = list((finished / "results" / "smoke" / "demonstrations" / "3m").glob("*.npz"))
    assert sorted(path.stem for path in archives) == sorted(name for _, name in MATRIX.demonstrations)
    table = pd.read_csv(finished / "results" / "smoke" / "demonstrations.csv")
    assert sorted(table["condition"]) == sorted(MATRIX.conditions_with_demonstrations)
    assert table[["sampled_win_rate", "greedy_win_rate"]].stack().between(0, 1).all()
    assert (table["greedy_episodes"] % 80 == 0).all()
    n_played = table["sampled_episodes"] / table["episodes"]
    assert ((n_played == 3) == table["archive"].str.contains("nonconcurrent")).all() and n_played.isin([1, 3]).all()


def test_the_expert_is_the_best_candidate_and_every_table_names_it(finished: Path) -> None:
    results = finished / "results" / "smoke"
    table = pd.read_csv(results / "demonstrations.csv", dtype={"expert_seeds": str})
    for (map_name, expert), runs in MATRIX.choices.items():
        choice = ExpertChoice.from_yaml(results / "experts" / map_name / f"{expert}.yaml")
        assert [one.seed for one in choice.candidates] == sorted(run.seed for run in runs)
        assert choice.candidates[[one.seed for one in choice.candidates].index(choice.seed)].final_win_rate == max(
            one.final_win_rate for one in choice.candidates
        )
        of_it = table[(table["expert"] == expert) & ~table["archive"].str.contains("seed-")]
        assert len(of_it) and (of_it["expert_seeds"] == str(choice.seed)).all()
    independent = table[table["archive"].str.contains("independent")]
    assert set(independent["expert_seeds"]) == {"112358 1285842 78590"}


def test_demonstrations_are_learned_from_anew_with_the_kept_experts_alone(finished: Path, tmp_path: Path) -> None:
    kept = finished / "results" / "smoke" / "experts"
    shutil.copytree(kept, tmp_path / kept.relative_to(finished), copy_function=shutil.copyfile)
    wanted = ["--config", "scale=smoke", "seeds=[112358]", "runs={3m: [dm2_ippo_demo]}"]
    metrics = "results/smoke/runs/3m/dm2_ippo_demo/seed-112358/metrics.csv"
    done = snakemake(tmp_path, "--forcerun", "train_from_demonstrations", *wanted, "--", metrics)
    assert done.returncode == 0, done.stdout[-5000:]
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout, flags=re.MULTILINE))
    assert "train_without_demonstrations" not in jobs and jobs["train_from_demonstrations"] == "1"
    before, after = (pd.read_csv(folder / metrics) for folder in (finished, tmp_path))
    clock = ["env_steps_per_second", "wall_seconds"]
    pd.testing.assert_frame_equal(before.drop(columns=clock), after.drop(columns=clock))


def test_the_report_shows_a_battle_of_every_final_policy(finished: Path) -> None:
    folder = finished / "results" / "smoke" / "battles"
    pages = {f"{run.map_name}/{run.condition}/seed-{run.seed}.html" for run in MATRIX.learners}
    assert {str(page.relative_to(folder)) for page in folder.rglob("*.html")} == pages
    for run in MATRIX.learners:
        page = (folder / run.map_name / run.condition / f"seed-{run.seed}.html").read_text()
        assert f"{run.condition}, seed {run.seed}, 100 %" in page
        settings = MATRIX.settings(run)
        assert ('"values":' in page) == (settings.algorithm == "ippo")
        assert ('"logits":' in page) == (settings.discriminator is not None)
    done = snakemake(finished, "--report", "report.html", *SMOKE)
    assert done.returncode == 0, done.stdout[-5000:]
    report = (finished / "report.html").read_text()
    captions = [path.read_text() for path in sorted((REPOSITORY / "workflow" / "report").glob("*.rst"))]
    phrases = [max(re.findall("[A-Za-z ,]+", caption), key=len).strip() for caption in captions]
    assert len(phrases) == 7 and [phrase for phrase in phrases if phrase not in report] == []
    assert all(
        f'"seed": "{run.seed}"' in report and f'"condition": "{run.condition}"' in report for run in MATRIX.learners
    )


def test_nothing_is_left_to_do(finished: Path) -> None:
    done = snakemake(finished, "--dry-run", *SMOKE)
    assert "Nothing to be done" in done.stdout, done.stdout


def test_redrawing_trains_nothing(finished: Path) -> None:
    done = snakemake(finished, "--dry-run", "--quiet", "rules", "--forcerun", "draw_figure", *SMOKE)
    assert "draw_figure" in done.stdout
    assert "train" not in done.stdout


def test_another_learning_rate_of_qmix_leaves_ippo_alone(finished: Path) -> None:
    change = "defaults={qmix: {learning_rate: 0.001}}"
    done = snakemake(finished, "--dry-run", "--config", "scale=smoke", change)
    conditions = set(re.findall(r"\bcondition=(\w+)", done.stdout))
    assert {"qmix", "dm2_qmix_demo"} <= conditions
    assert "ippo" not in conditions
