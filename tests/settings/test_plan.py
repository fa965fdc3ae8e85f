from pathlib import Path

import pytest

from dm2.settings.base import SettingsError
from dm2.settings.files import scale_names
from dm2.settings.matrix import Matrix
from dm2.settings.plan import Cost, Throughput, costs, plan_in_words

REPOSITORY = Path(__file__).parents[2]
MEASURED = Throughput({"ippo": 10.0, "qmix": 20.0, "dm2_ippo_demo": 2.0}, "5m_vs_6m")


def load(scale: str, **overrides: object) -> Matrix:
    return Matrix.load(REPOSITORY / "config", {"scale": scale, **overrides})


def test_costs_are_env_steps_over_throughput_by_kind_of_learner() -> None:
    matrix = load("smoke", runs={"3m": ["dm2_ippo_demo", "dm2_sil", "qmix"]}, defaults={"env_steps": 36_000})
    # two seeds of two conditions with discriminators, two of QMIX, and the candidates for the expert
    assert costs(map(matrix.settings, matrix.runs), MEASURED) == [
        Cost("dm2_ippo_demo", 4, 144_000, 20.0),
        Cost("qmix", 2, 72_000, 1.0),
        Cost("ippo", 3, 108_000, 3.0),
    ]


def test_the_first_line_has_the_totals() -> None:
    matrix = load("smoke", runs={"3m": ["ippo", "qmix"]}, defaults={"env_steps": 360_000})
    first, ippo, *_ = plan_in_words(matrix, MEASURED).splitlines()
    assert first == "Scale smoke, from nothing: 4 runs, 1,440,000 env steps, about 30 core hours."
    assert " ".join(ippo.split()) == "ippo 2 runs 720,000 env steps 20 core hours at 10 env steps/s"


def test_the_last_line_names_what_no_figure_shows() -> None:
    runs = {"3m": ["ippo", "dm2_heuristic_demo"], "8m": ["dm2_heuristic_demo", "ippo"]}
    *_, last = plan_in_words(load("smoke", runs=runs), MEASURED).splitlines()
    assert last == "  in no figure: dm2_heuristic_demo on 3m, 8m"


def test_nothing_is_said_of_figures_that_show_all_runs() -> None:
    assert "figure" not in plan_in_words(load("smoke", runs={"3m": ["ippo"]}), MEASURED)


def test_more_gradient_steps_of_qmix_than_measured_take_longer() -> None:
    layer = {"env_steps": 72_000, "qmix": {"n_battles": 4, "gradient_steps": 9}}
    matrix = load("smoke", runs={"3m": ["qmix", "ippo"]}, defaults=layer)
    measured = Throughput({"ippo": 10.0, "qmix": 20.0}, "5m_vs_6m", {"qmix": 0.5, "ippo": 0.9}, 0.25)
    # of QMIX's hour per run half is one gradient step per four episodes, here nine; IPPO's settings are as measured
    assert [cost.core_hours for cost in costs(map(matrix.settings, matrix.runs), measured)] == [2 * 5.0, 2 * 2.0]


def test_what_was_not_measured_is_named_and_not_counted() -> None:
    matrix = load("smoke", runs={"3m": ["rmappo", "qmix"]}, defaults={"env_steps": 36_000})
    first, *_ = plan_in_words(matrix, MEASURED).splitlines()
    assert first.endswith("about 1.0 core hours (without rmappo, whose throughput is not measured).")


@pytest.mark.parametrize("scale", scale_names(REPOSITORY / "config"))
def test_every_scale_runs_what_is_measured(scale: str) -> None:
    measured = Throughput.load(REPOSITORY / "benchmarks" / "throughput.csv")
    assert "not measured" not in plan_in_words(load(scale), measured)


def test_throughput_is_that_of_one_thread(tmp_path: Path) -> None:
    path = tmp_path / "throughput.csv"
    rows = ["qmix,8m,1,3,0.5,0.125", "qmix,8m,2,5,,", "ippo,8m,1,4,,"]
    path.write_text(
        "\n".join(["part,map_name,threads,env_steps_per_second,update_share,gradient_steps_per_episode", *rows])
    )
    assert Throughput.load(path) == Throughput({"qmix": 3.0, "ippo": 4.0}, "8m", {"qmix": 0.5}, 0.125)


@pytest.mark.parametrize("text", [None, "part,map_name,threads,env_steps_per_second\nippo,8m,2,5\n"])
def test_a_missing_measurement_is_refused_by_name(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "throughput.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SettingsError, match=r"throughput\.csv: found no throughput on one thread"):
        Throughput.load(path)
