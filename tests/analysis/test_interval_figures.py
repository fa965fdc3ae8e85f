from collections.abc import Mapping
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from dm2.analysis.curve_figures import DrawnCondition, FigureDescription, Panel, describe
from dm2.analysis.interval_figures import (
    area_rows,
    draw_area,
    draw_improvement,
    draw_interquartile_mean,
    draw_matching,
    improvement_rows,
    interquartile_mean_rows,
    interval_notes,
    make_interval_figure,
    matching_rows,
    pooled_panel,
)
from dm2.analysis.tables import ResultsError
from dm2.settings.matrix import Matrix

REPOSITORY = Path(__file__).parents[2]
IPPO = DrawnCondition("ippo", "IPPO", "#000000", "o")
QMIX = DrawnCondition("qmix", "QMIX", "#E69F00", "s")
KINDS = ["interquartile_mean", "area", "improvement"]


def curves(heights: Mapping[tuple[str, str], list[float]], end: int = 1000) -> pd.DataFrame:
    """One run per height, flat from beginning to end, so that its win rate at any time and its area are the height."""
    runs = [
        pd.DataFrame({"env_steps": np.linspace(0, end, 11).astype(int), "win_rate": height, "seed": seed}).assign(
            map_name=map_name, condition=condition
        )
        for (map_name, condition), run_heights in heights.items()
        for seed, height in enumerate(run_heights)
    ]
    return pd.concat(runs, ignore_index=True).assign(scale="quick", backend="simulator 1")


HEIGHTS = {
    ("3m", "ippo"): [0.1, 0.2, 0.3, 0.4, 0.9],
    ("3m", "qmix"): [0.2, 0.5, 0.6, 0.7, 0.8],
    ("8m", "ippo"): [0.5] * 5,
    ("8m", "qmix"): [0.4] * 5,
}


def description(*maps: str, conditions: tuple[DrawnCondition, ...] = (IPPO, QMIX)) -> FigureDescription:
    return FigureDescription("Title", tuple(Panel(name, name, conditions) for name in maps or ("3m", "8m")))


def estimates(rows: pd.DataFrame) -> dict[tuple[str, str], float]:
    return {(row.panel, row.condition): row.estimate for row in rows.itertuples()}


def test_matching_counts_what_is_told_right_of_experts_and_of_own_rows_alike() -> None:
    told = {"discriminator_accuracy_expert": [None, 0.9, 0.6], "discriminator_accuracy_own": [None, 0.5, 0.4]}
    runs = [
        pd.DataFrame({"env_steps": [0, 100, 200], "win_rate": 0.0, "seed": seed} | told).assign(
            map_name="3m", condition="ippo", scale="quick", backend="simulator 1"
        )
        for seed in range(5)
    ]
    rows = matching_rows(description("3m", conditions=(IPPO,)), pd.concat(runs, ignore_index=True))
    assert rows["env_steps"].tolist() == [100, 200]  # before the first update discriminators have told nothing
    assert rows["estimate"].to_numpy() == pytest.approx([0.7, 0.5])
    (ax,) = draw_matching(description("3m", conditions=(IPPO,)), rows).axes
    assert ax.get_ylabel() == "accuracy"
    assert [line.get_ydata() for line in ax.lines if len(set(line.get_ydata())) == 1] == [[0.5, 0.5]]


def test_a_condition_without_discriminators_has_no_matching() -> None:
    with pytest.raises(ResultsError, match="found no discriminator_accuracy of condition 'ippo' on '3m'"):
        matching_rows(description("3m"), curves(HEIGHTS))


def test_the_interquartile_mean_leaves_the_lowest_and_highest_of_five_seeds_out() -> None:
    rows = interquartile_mean_rows(description("3m"), curves(HEIGHTS))
    ippo = rows[rows["condition"] == "ippo"]
    assert ippo["env_steps"].tolist() == list(range(0, 1001, 100))
    assert ippo["estimate"].to_numpy() == pytest.approx(0.3)
    assert ((ippo["low"] < 0.3) & (ippo["high"] > 0.3)).all()


def test_areas_are_pooled_over_maps_for_conditions_run_on_all_of_them() -> None:
    found = estimates(area_rows(description(), curves(HEIGHTS)))
    # pooled: of 0.1 0.2 0.3 0.4 0.5 0.5 0.5 0.5 0.5 0.9 the middle six
    expected = {("3m", "ippo"): 0.3, ("3m", "qmix"): 0.6, ("8m", "ippo"): 0.5, ("8m", "qmix"): 0.4}
    assert found == pytest.approx(expected | {("all maps", "ippo"): 2.7 / 6, ("all maps", "qmix"): 2.7 / 6})
    lacking = {key: heights for key, heights in HEIGHTS.items() if key != ("8m", "qmix")}
    assert ("all maps", "qmix") not in estimates(area_rows(description(), curves(lacking)))


def test_improvement_counts_pairs_of_runs_and_weighs_maps_alike() -> None:
    rows = improvement_rows(description(conditions=(QMIX,)), curves(HEIGHTS), "ippo")
    # 0.2 beats 1 of 5 and ties with one, 0.5 to 0.8 beat 4 each: 17.5 of 25 pairs; on 8m none
    assert estimates(rows) == pytest.approx({("3m", "qmix"): 0.7, ("8m", "qmix"): 0.0, ("all maps", "qmix"): 0.35})


def test_runs_of_unequal_length_are_compared_over_their_common_part_and_reported() -> None:
    rising = curves({("3m", "qmix"): [0.0] * 5}, end=2000)
    rising["win_rate"] = rising["env_steps"] / 2000
    both = pd.concat([rising, curves({("3m", "ippo"): [0.1] * 5})])
    rows = area_rows(description("3m"), both)
    assert estimates(rows) == pytest.approx({("3m", "ippo"): 0.1, ("3m", "qmix"): 0.25})
    assert interval_notes(description("3m"), rows) == ["qmix on 3m: runs of unequal length, 1k env steps left out"]


def test_what_was_not_run_and_few_seeds_are_reported() -> None:
    rows = area_rows(description("3m"), curves({("3m", "ippo"): [0.1, 0.2]}))
    assert interval_notes(description("3m"), rows) == [
        "not run on 3m: qmix",
        "fewer than 5 seeds: too few for the intervals to hold what they promise",
    ]


def test_nothing_drawn_when_no_run_is_there() -> None:
    for rows_of in (interquartile_mean_rows, area_rows):
        with pytest.raises(ResultsError, match=r"'Title': found none of its runs.*ippo on 5m_vs_6m"):
            rows_of(description("5m_vs_6m"), curves(HEIGHTS))
    with pytest.raises(ResultsError, match="found no win_rate of condition 'rmappo' on '3m'"):
        improvement_rows(description("3m"), curves(HEIGHTS), "rmappo")


def test_the_points_on_paper_are_the_table() -> None:
    rows = area_rows(description(), curves(HEIGHTS))
    pooled = draw_area(description(), rows).axes[-1]
    assert pooled.get_title(loc="left") == "all maps"
    drawn = {
        to_hex(line.get_color()): line.get_xdata().tolist() for line in pooled.get_lines() if len(line.get_xdata()) == 2
    }
    expected = rows[rows["panel"] == "all maps"].set_index("condition")[["low", "high"]]
    assert drawn == {"#000000": expected.loc["ippo"].tolist(), "#e69f00": expected.loc["qmix"].tolist()}


def test_curves_on_paper_are_the_table_with_the_interval_as_band() -> None:
    rows = interquartile_mean_rows(description("3m"), curves(HEIGHTS))
    (ax,) = draw_interquartile_mean(description("3m"), rows).axes
    ippo = rows[rows["condition"] == "ippo"]
    assert ax.get_lines()[0].get_ydata().tolist() == ippo["estimate"].tolist()
    band = ax.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (ippo["low"].min(), ippo["high"].max())


def test_improvement_marks_where_neither_is_better() -> None:
    one = description(conditions=(QMIX,))
    axes = draw_improvement(one, improvement_rows(one, curves(HEIGHTS), "ippo")).axes
    assert [np.unique(ax.get_lines()[-1].get_xdata()).tolist() for ax in axes] == [[0.5]] * 3


def test_where_no_condition_was_run_on_all_maps_there_is_no_empty_panel_of_all() -> None:
    runs = curves({key: heights for key, heights in HEIGHTS.items() if key != ("8m", "qmix")})
    rows = improvement_rows(description(conditions=(QMIX,)), runs, "ippo")
    assert [ax.get_title(loc="left") for ax in draw_improvement(description(conditions=(QMIX,)), rows).axes] == [
        "3m",
        "8m",
    ]


def test_one_map_alone_is_not_pooled() -> None:
    assert pooled_panel(description("3m")) is None


@pytest.mark.parametrize("shows", KINDS)
def test_files_are_the_same_bytes_for_the_same_table_and_one_column_wide(shows: str, tmp_path: Path) -> None:
    one = description(conditions=(QMIX,)) if shows == "improvement" else description()
    for name in ("first", "second"):
        files = make_interval_figure(shows, one, curves(HEIGHTS), tmp_path / name / shows, baseline="ippo")
    assert [path.suffix for path in files] == [".csv", ".pdf", ".png"]
    for path in files:
        assert path.read_bytes() == (tmp_path / "first" / path.name).read_bytes()
    pixels = matplotlib.image.imread(files[2])
    assert pixels.shape[1] == 1050
    assert len(np.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0)) > 50


def test_the_configured_figures_look_like_the_others_and_compare_what_they_say() -> None:
    matrix = Matrix.load(REPOSITORY / "config", {"scale": "paper"})
    core = {condition.name: condition for condition in describe(matrix, "core").conditions()}
    for name in KINDS:
        shown = describe(matrix, name)
        assert matrix.figures[name].shows == name
        assert len(shown.panels) == 5
        for condition in set(shown.conditions()) & set(core):
            assert condition == core[condition.name]
    assert "ippo" not in {condition.name for condition in describe(matrix, "improvement").conditions()}
