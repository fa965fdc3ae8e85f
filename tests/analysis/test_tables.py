import os
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.written_runs import SOURCE, write_archive, write_run

from dm2.analysis.csv_files import TEXT, read_csv
from dm2.analysis.curve_figures import DRAWN, DrawnCondition, FigureDescription, Panel, drawn_rows
from dm2.analysis.tables import (
    CURVES,
    DEMONSTRATIONS,
    EVALUATION,
    PAPER_CURVES,
    ResultsError,
    cut_short,
    demonstration_table,
    learning_curves,
    read_run,
    read_table,
    seed_curves,
    summary_table,
    write_table,
)
from dm2.core.files import StorageError, sha256_of_file, write_json
from dm2.play.experts import ExpertChoice, choose_expert
from dm2.settings.base import SettingsError


def record_checksum(run: Path) -> None:
    write_json(run / "run.json", {"sha256": {"metrics": sha256_of_file(run / "metrics.csv")}})


def test_a_table_other_than_the_one_its_run_wrote_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    record_checksum(run)
    whole = (run / "metrics.csv").read_bytes()
    assert len(read_run(run)) == 3
    for index in range(0, len(whole), 7):
        (run / "metrics.csv").write_bytes(whole[:index] + bytes([whole[index] ^ (1 << index % 8)]) + whole[index + 1 :])
        with pytest.raises(StorageError, match=r"metrics.csv: not as the run wrote it"):
            read_run(run)
        (run / "metrics.csv").write_bytes(whole[:index])
        with pytest.raises(StorageError, match=r"metrics.csv: not as the run wrote it"):
            read_run(run)


@given(st.binary(max_size=60) | st.text(st.sampled_from('0123456789.,-e"\n naif'), max_size=60).map(str.encode))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=int(os.environ.get("DM2_FUZZ_EXAMPLES", "100")),
    deadline=None,
)
def test_no_bytes_pass_as_metrics(tmp_path: Path, content: bytes) -> None:
    run = tmp_path / "3m" / "ippo" / "seed-1"
    if not run.exists():
        write_run(tmp_path)
    header = (",".join(EVALUATION) + "\n").encode()
    for damaged in (content, header + content):  # seven more columns would have to fit by chance
        (run / "metrics.csv").write_bytes(damaged)
        with pytest.raises(ResultsError, match=r"metrics.csv: "):
            read_run(run)


@given(st.from_regex(r"[A-Za-z0-9_]{1,8}", fullmatch=True), st.integers(0, 2**63 - 1))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
def test_any_name_and_seed_are_read_as_written(tmp_path: Path, name: str, seed: int) -> None:
    write_table(pd.DataFrame({"condition": [name], "seed": [seed], "seeds": [str(seed)]}), tmp_path / "t.csv")
    row = read_table(tmp_path / "t.csv", ["condition", "seed", "seeds"]).iloc[0]
    assert (row["condition"], int(row["seed"]), row["seeds"]) == (name, seed, str(seed))


def test_read_run_puts_the_identity_first_and_leaves_the_clock_out(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path))
    assert list(run)[:6] == ["scale", "backend", "map_name", "condition", "seed", "env_steps"]
    assert list(run)[-1] == "policy_loss"
    assert run["win_rate"].tolist() == [0, 0.105, 0.21]
    assert (run["scale"] == "quick").all() and (run["backend"] == "simulator 1").all()


@pytest.mark.parametrize("name", ["null", "NA", "nan", "None", "007", "1e5", "1_0", "true", "inf", "0x10", "n_a"])
def test_a_name_stays_what_it_is_in_every_table(tmp_path: Path, name: str) -> None:
    curves = learning_curves([write_run(tmp_path, name, scale=name)])
    write_table(curves, tmp_path / "learning_curves.csv")
    curves = read_table(tmp_path / "learning_curves.csv", CURVES)
    assert (set(curves["condition"]), set(curves["scale"])) == ({name}, {name})
    write_table(summary_table(curves), tmp_path / "summary.csv")
    summary = read_table(tmp_path / "summary.csv", ["condition", "seeds"])
    assert (summary["condition"].tolist(), summary["seeds"].tolist()) == ([name], ["1"])
    description = FigureDescription("", (Panel("3m", "3m", (DrawnCondition(name, "", "k", "o"),)),))
    nothing = pd.DataFrame(columns=DEMONSTRATIONS), pd.DataFrame(columns=PAPER_CURVES)
    write_table(drawn_rows(description, curves, *nothing), tmp_path / "core.csv")
    assert set(read_table(tmp_path / "core.csv", DRAWN)["condition"]) == {name}


def test_every_text_in_a_committed_table_is_declared() -> None:
    root = Path(__file__).parents[2]
    tables = {path: read_csv(path) for path in [*root.glob("results/*/*.csv"), *root.glob("figures/*/*.csv")]}
    found = {name for table in tables.values() if len(table) for name in table.select_dtypes(exclude="number")}
    assert "condition" in found
    assert found - TEXT == set(), "name these columns in dm2.analysis.csv_files.TEXT"


def test_a_run_without_metrics_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    directory = write_run(tmp_path)
    (directory / "metrics.csv").unlink()
    with pytest.raises(ResultsError, match=r"3m/ippo/seed-1/metrics\.csv: not found"):
        learning_curves([directory])


def test_a_folder_without_settings_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"settings\.yaml: not found"):
        read_run(tmp_path)


def test_a_run_cut_short_is_an_error_that_says_how_far_it_came(tmp_path: Path) -> None:
    directory = write_run(tmp_path, env_steps=300)
    with pytest.raises(ResultsError, match=r"metrics\.csv: the last evaluation is at 210 env steps.* asks for 300"):
        read_run(directory)


def test_a_metrics_file_cut_within_a_line_is_refused(tmp_path: Path) -> None:
    directory = write_run(tmp_path)
    text = (directory / "metrics.csv").read_text()
    (directory / "metrics.csv").write_text(text[: text.index("\n") + 8])
    with pytest.raises(ResultsError, match=r"metrics\.csv: "):
        read_run(directory)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": (0, 210, 205)}, "env_steps goes from 210 to 205"),
        ({"win_rate": [0, 1.5, 1]}, "win_rate is 1.5 at 105 env steps"),
        ({"win_rate": [0, float("nan"), 1]}, "win_rate is nan at 105 env steps"),
    ],
)
def test_impossible_numbers_are_refused(tmp_path: Path, changes: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(ResultsError, match=message):
        read_run(write_run(tmp_path, **changes))


def test_metrics_of_another_run_are_refused(tmp_path: Path) -> None:
    directory, other = write_run(tmp_path / "a", seed=1), write_run(tmp_path / "b", seed=2)
    (directory / "metrics.csv").write_bytes((other / "metrics.csv").read_bytes())
    with pytest.raises(ResultsError, match=r"seed is 2, settings\.yaml beside it says 1"):
        read_run(directory)


def test_settings_with_an_unknown_key_are_refused(tmp_path: Path) -> None:
    directory = write_run(tmp_path)
    path = directory / "settings.yaml"
    path.write_text(path.read_text() + "clip_eps: 1\n")
    with pytest.raises(SettingsError, match="unknown key 'clip_eps'"):
        read_run(directory)


def test_learning_curves_are_sorted_whatever_the_order_of_the_runs(tmp_path: Path) -> None:
    runs = [write_run(tmp_path, seed=seed) for seed in (3, 1)] + [write_run(tmp_path, "dm2_ippo_demo", 2)]
    curves = learning_curves(runs)
    assert curves.equals(learning_curves(reversed(runs)))
    assert curves[["condition", "seed"]].drop_duplicates().to_numpy().tolist() == [
        ["dm2_ippo_demo", 2],
        ["ippo", 1],
        ["ippo", 3],
    ]


def test_the_same_run_twice_is_refused(tmp_path: Path) -> None:
    directory = write_run(tmp_path)
    with pytest.raises(ResultsError, match="3m/ippo/seed-1 more than once"):
        learning_curves([directory, directory])


def test_scales_and_engines_do_not_mix(tmp_path: Path) -> None:
    quick = write_run(tmp_path, seed=1)
    with pytest.raises(ResultsError, match="scale laptop, quick"):
        learning_curves([quick, write_run(tmp_path, seed=2, scale="laptop")])
    with pytest.raises(ResultsError, match="backend simulator 1, simulator 2"):
        learning_curves([quick, write_run(tmp_path, seed=3, backend="simulator 2")])


def test_nothing_to_aggregate_is_an_error() -> None:
    with pytest.raises(ResultsError, match="no run to aggregate"):
        learning_curves([])


def test_seeds_of_unequal_length_share_their_common_part_and_say_what_was_cut(tmp_path: Path) -> None:
    write_run(tmp_path, seed=1, steps=(0, 100, 200, 300, 400))
    write_run(tmp_path, seed=2, steps=(0, 100, 200))
    runs = seed_curves(learning_curves(tmp_path.glob("3m/*/*")), "3m", "ippo")
    assert runs.seeds == (1, 2)
    assert runs.env_steps.tolist() == [0, 100, 200]
    assert runs.env_steps_cut == 200
    assert runs.values.ravel() == pytest.approx([0, 0.1, 0.2] * 2)


def test_seeds_of_unequal_length_are_reported_but_not_a_last_evaluation_a_little_later(tmp_path: Path) -> None:
    for condition, longer in (("ippo", (0, 100, 200, 301)), ("qmix", (0, 110, 220))):
        write_run(tmp_path, condition, seed=1, steps=longer)
        write_run(tmp_path, condition, seed=2, steps=(0, 100, 200))
    (note,) = cut_short(summary_table(learning_curves(tmp_path.glob("3m/ippo/*"))))
    assert note.startswith("ippo on 3m: seeds of unequal length, compared over the 200 env steps that they share")
    assert note.endswith("the longest goes on for 101")
    assert cut_short(summary_table(learning_curves(tmp_path.glob("3m/qmix/*")))) == []


def test_seed_curves_of_a_condition_that_was_not_run(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="found no win_rate of condition 'qmix' on '3m'"):
        seed_curves(learning_curves([write_run(tmp_path)]), "3m", "qmix")


def test_summary_by_hand(tmp_path: Path) -> None:
    write_run(tmp_path, seed=1, steps=(0, 100, 200), win_rate=[0, 0.4, 0.8])
    write_run(tmp_path, seed=2, steps=(0, 100, 200), win_rate=[0, 0.6, 1.0])
    row = summary_table(learning_curves(tmp_path.glob("3m/*/*"))).iloc[0]
    assert (row["n_seeds"], row["seeds"], row["env_steps"], row["env_steps_cut"]) == (2, "1 2", 200, 0)
    assert row["final_mean"] == pytest.approx(0.9)
    assert row["final_sd"] == pytest.approx(0.02**0.5)
    assert row["auc_mean"] == pytest.approx((0.4 + 0.55) / 2)
    assert (row["final_iqm_low"], row["final_iqm_high"]) == pytest.approx((0.8, 1.0))
    assert row["steps_to_50pct"] == 100


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    row = summary_table(learning_curves([write_run(tmp_path)])).iloc[0]
    assert (row["n_seeds"], row["final_iqm"]) == (1, 0.21)
    assert row[["final_iqm_low", "final_iqm_high", "auc_iqm_low", "auc_iqm_high", "final_sd"]].isna().all()


def test_tables_are_the_same_bytes_each_time_and_read_back(tmp_path: Path) -> None:
    for name in ("first", "second"):
        curves = learning_curves([write_run(tmp_path / name, seed=seed) for seed in (1, 2)])
        write_table(curves, tmp_path / f"{name}.csv")
        write_table(summary_table(curves), tmp_path / f"{name}_summary.csv")
    assert (tmp_path / "first.csv").read_bytes() == (tmp_path / "second.csv").read_bytes()
    assert (tmp_path / "first_summary.csv").read_bytes() == (tmp_path / "second_summary.csv").read_bytes()
    assert read_table(tmp_path / "first.csv", ["win_rate"])["win_rate"].tolist() == curves["win_rate"].tolist()


def test_read_table_names_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    with pytest.raises(ResultsError, match=r"t\.csv: not found"):
        read_table(path, ["a"])
    path.write_text("")
    with pytest.raises(ResultsError, match="not readable as a table"):
        read_table(path, ["a"])
    path.write_text("a,b\n")
    with pytest.raises(ResultsError, match="missing c"):
        read_table(path, ["a", "c"])
    with pytest.raises(ResultsError, match="found no rows"):
        read_table(path, ["a"])


def test_the_expert_is_the_run_that_the_tables_show_to_win_most_in_the_end(tmp_path: Path) -> None:
    steps = tuple(range(0, 2_050, 50))
    ends = {3: [0.9] * 38 + [0.2, 0.5, 0.6], 1: [0.0] * 38 + [0.1, 0.7, 0.9], 2: [0.5] * 41}
    runs = [write_run(tmp_path, seed=seed, steps=steps, win_rate=ends[seed]) for seed in ends]
    for run in runs:
        record_checksum(run)
    choice = choose_expert(runs)
    assert (choice.scale, choice.map_name, choice.condition, choice.seed) == ("quick", "3m", "ippo", 1)
    finals = {one.seed: one.final_win_rate for one in choice.candidates}
    assert list(finals) == [1, 2, 3]
    for run, seed in zip(runs, ends, strict=True):
        assert finals[seed] == summary_table(learning_curves([run])).iloc[0]["final_mean"]
    choice.to_yaml(tmp_path / "ippo.yaml")
    assert ExpertChoice.from_yaml(tmp_path / "ippo.yaml") == choice


def test_demonstration_table_has_one_row_per_condition_that_learns_from_demonstrations(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "runs", name, seed) for name in ("ippo", "dm2_ippo_demo") for seed in (1, 2)]
    write_archive(tmp_path)
    table = demonstration_table(runs)
    assert list(table) == DEMONSTRATIONS and len(table) == 1
    row = table.iloc[0]
    assert (row["map_name"], row["condition"], row["expert"], row["checkpoint_percent"]) == (
        *("3m", "dm2_ippo_demo", "ippo", 50),
    )
    assert row["expert_seeds"] == "7"
    assert (row["sampled_win_rate"], row["sampled_episodes"]) == (0.5, 2)
    assert (row["greedy_win_rate"], row["greedy_episodes"]) == (0.75, 80)
    assert (row["return_mean"], row["episodes"]) == (7.25, 2)


def test_a_table_without_demonstrations_reads_back_empty_where_that_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "demonstrations.csv"
    write_table(demonstration_table([write_run(tmp_path / "runs")]), path)
    assert read_table(path, DEMONSTRATIONS, may_be_empty=True).empty
    with pytest.raises(ResultsError, match="no rows"):
        read_table(path, DEMONSTRATIONS)


def test_a_missing_archive_is_an_error_that_names_it(tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs", "dm2_ippo_demo")
    with pytest.raises(ResultsError, match=r"demonstrations/3m/ippo_050.*\.npz: not found"):
        demonstration_table([run])


def test_an_archive_of_another_map_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs", "dm2_ippo_demo")
    write_archive(tmp_path, map_name="8m")
    with pytest.raises(ResultsError, match="found demonstrations of 8m, expected 3m"):
        demonstration_table([run])


def test_seeds_that_learn_from_different_demonstrations_are_refused(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "runs", "dm2_ippo_demo", seed, episodes=seed) for seed in (1, 2)]
    for episodes in (1, 2):
        write_archive(tmp_path, source=SOURCE.model_copy(update={"episodes": episodes}))
    with pytest.raises(ResultsError, match="seeds of dm2_ippo_demo on 3m that learn from different demonstrations"):
        demonstration_table(runs)
