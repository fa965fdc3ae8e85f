from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from support.figure_tables import DM2, IPPO, demonstrations, description, learning_curves, paper

from dm2.analysis.curve_figures import (
    LOOKS,
    STYLE,
    DrawnCondition,
    FigureDescription,
    Panel,
    add_strips,
    curve_notes,
    describe,
    draw,
    drawn_rows,
    empty_axes,
    format_steps,
    legend_columns,
    looks_of,
    make_figure,
    of_what_was_run,
    paper_needs_own_axes,
    subtitle,
)
from dm2.analysis.plotting import figure_settings
from dm2.analysis.tables import ResultsError
from dm2.settings.matrix import Matrix

REPOSITORY = Path(__file__).parents[2]


def rows_of(description: FigureDescription, curves: pd.DataFrame) -> pd.DataFrame:
    return drawn_rows(description, curves, demonstrations(), paper())


def lines_of(figure: Figure, colour: str) -> list[list[tuple[float, float]]]:
    lines = [line for ax in figure.axes for line in ax.get_lines() if to_hex(line.get_color()) == colour.lower()]
    return [list(zip(*(np.asarray(xy, float) for xy in line.get_data()), strict=True)) for line in lines]


def test_drawn_rows_hold_mean_and_sample_sd_over_seeds() -> None:
    rows = rows_of(description(), learning_curves())
    last = rows[(rows["condition"] == "ippo") & (rows["series"] == "ours")].iloc[-1]
    assert (last["env_steps"], last["win_rate"], last["n_seeds"]) == (300_000, 0.75, 2)
    assert last["sd"] == pytest.approx(0.5**0.5 / 2)


def test_the_papers_counterpart_is_taken_from_the_figures_own_source() -> None:
    rows = rows_of(description(), learning_curves())
    chosen = rows[(rows["condition"] == "dm2_ippo_demo") & (rows["series"] == "paper")]
    assert set(chosen["paper_figure"]) == {"core"} and set(chosen["quality"]) == {"high"}
    # results/paper/paper_curves.csv: core,3s_vs_3z,dm2_ippo_demo_10m,1000000,0.446
    assert chosen.loc[chosen["env_steps"] == 1_000_000, "win_rate"].tolist() == [0.446]


def test_a_condition_only_in_the_low_quality_figure_comes_from_there_and_is_dotted() -> None:
    one = FigureDescription("Core", (Panel("5m_vs_6m", "5m_vs_6m", (IPPO, DM2)),))
    rows = rows_of(one, learning_curves("5m_vs_6m"))
    sources = rows[rows["series"] == "paper"].groupby("condition")["paper_figure"].unique()
    assert sources["dm2_ippo_demo"].tolist() == ["all_demos"] and sources["ippo"].tolist() == ["gail_only"]
    styles = {to_hex(line.get_color()): line.get_linestyle() for line in draw(one, rows).axes[1].get_lines()}
    assert styles == {"#000000": "-", "#0072b2": ":"}


def test_a_curve_that_the_paper_lists_twice_is_drawn_once() -> None:
    one = FigureDescription("", (Panel("3s_vs_4z", "3s_vs_4z", (IPPO,)),), paper_figure="state_action")
    rows = rows_of(one, learning_curves("3s_vs_4z"))
    assert rows.loc[rows["series"] == "paper", "env_steps"].is_unique


def test_nothing_drawn_when_no_run_is_there() -> None:
    with pytest.raises(ResultsError, match=r"'Core': found none of its runs.*ippo on 8m_vs_9m"):
        rows_of(description("8m_vs_9m"), learning_curves())


def test_maps_of_which_nothing_was_run_are_left_out_and_named() -> None:
    wanted = description("8m_vs_9m", "3s_vs_3z")
    found = of_what_was_run(wanted, learning_curves())
    assert found is not None and [panel.title for panel in found.panels] == ["3s_vs_3z"]
    assert curve_notes(found, rows_of(found, learning_curves()))[0] == "not run: 8m_vs_9m"
    assert of_what_was_run(description("8m_vs_9m"), learning_curves()) is None
    assert of_what_was_run(wanted, learning_curves(), needs=["open_loop"]) is None
    assert of_what_was_run(wanted, learning_curves(), baseline="rmappo") is None


def test_short_training_gets_the_papers_curves_on_their_own_axes_beside_it() -> None:
    rows = rows_of(description(), learning_curves())
    ours, theirs = draw(description(), rows).axes
    assert ours.get_xlim()[1] < 400_000 and theirs.get_xlim()[1] > 10_000_000
    assert theirs.get_title(loc="left") == "3s_vs_3z, paper (StarCraft II)"


def test_many_conditions_take_the_whole_width_and_the_papers_curves_go_below() -> None:
    names = ["ippo", *(f"dm2_ippo_demo_{percent}" for percent in range(10, 100, 10))]
    looks = looks_of(names)
    ladder = tuple(DrawnCondition(name, name, *looks[name], name) for name in names)
    panels = tuple(Panel(name, name, ladder) for name in ("5m_vs_6m", "3s_vs_4z"))
    long = [learning_curves(panel.map_name, end=10_000_000) for panel in panels]
    crowded = FigureDescription("All", panels)
    axes = draw(crowded, rows_of(crowded, pd.concat(long))).axes
    titles = [ax.get_title(loc="left") for ax in axes]
    assert titles == [f"{name}{what}" for name in ("5m_vs_6m", "3s_vs_4z") for what in ("", ", paper (StarCraft II)")]
    assert {ax.get_subplotspec().get_geometry()[:2] for ax in axes} == {(4, 1)}
    assert [ax.get_xlabel() for ax in axes] == ["", "", "", "env steps"]


def test_long_training_shares_its_axes_with_the_paper() -> None:
    rows = rows_of(description(), learning_curves(end=6_000_000))
    assert not paper_needs_own_axes(rows, crowded=False)
    (ax,) = draw(description(), rows).axes
    longest = [max(x for x, _ in line) for line in lines_of(ax.figure, "#000000")]
    assert longest == [10_000_000, 6_000_000]


def test_a_map_without_curves_in_the_paper_says_so() -> None:
    both = description("3s_vs_3z", "3m")
    curves = pd.concat([learning_curves(), learning_curves("3m")])
    axes = draw(both, rows_of(both, curves)).axes
    assert [text.get_text() for text in axes[3].texts] == ["not in the paper's figures"]


def test_the_line_on_paper_is_the_table() -> None:
    rows = rows_of(description(), learning_curves())
    ours = draw(description(), rows).axes[0]
    curve = next(line for line in ours.get_lines() if len(line.get_xdata()) == 11)
    expected = rows[(rows["condition"] == "ippo") & (rows["series"] == "ours")]
    assert np.array_equal(curve.get_xydata(), expected[["env_steps", "win_rate"]].to_numpy(float))


def test_the_band_is_one_sd_each_side_within_zero_and_one() -> None:
    rows = rows_of(description(), learning_curves())
    band = draw(description(), rows).axes[0].collections[0].get_paths()[0].vertices
    at_end = band[band[:, 0] == 300_000][:, 1]
    assert (at_end.min(), at_end.max()) == pytest.approx((0.75 - 0.5**0.5 / 2, 1.0))


def test_demonstrations_are_a_dashed_line_in_the_colour_of_their_condition() -> None:
    ours = draw(description(), rows_of(description(), learning_curves())).axes[0]
    dashed = [line for line in ours.get_lines() if line.is_dashed()]
    assert [(to_hex(line.get_color()), *np.unique(line.get_ydata())) for line in dashed] == [("#0072b2", 0.7)]


def test_head_names_engine_scale_and_seeds() -> None:
    rows = rows_of(description(), learning_curves())
    assert subtitle(rows) == "built-in simulator 1, scale quick, mean and sd over 2 seeds"
    one = rows_of(description(), learning_curves().query("seed == 1"))
    assert subtitle(one) == "built-in simulator 1, scale quick, 1 seed"


def test_what_is_missing_or_cut_is_reported_under_the_figure() -> None:
    curves = learning_curves()
    curves = curves[(curves["condition"] == "ippo") & ((curves["seed"] == 1) | (curves["env_steps"] <= 150_000))]
    notes = curve_notes(description(), rows_of(description(), curves))
    assert notes == [
        "not run on 3s_vs_3z: dm2_ippo_demo",
        "experts on 3s_vs_3z: ippo seed 7",
        "ippo on 3s_vs_3z: seeds of unequal length, 150k env steps left out",
    ]


def test_nothing_is_reported_when_last_evaluations_differ_by_a_few_steps() -> None:
    curves = learning_curves()
    curves.loc[(curves["seed"] == 1) & (curves["env_steps"] == 300_000), "env_steps"] += 4_000
    assert curve_notes(description(), rows_of(description(), curves)) == ["experts on 3s_vs_3z: ippo seed 7"]


def test_each_expert_of_a_panel_is_named_once() -> None:
    conditions = ("ippo", "dm2_ippo_demo")
    table = pd.concat([demonstrations().assign(condition=name) for name in conditions])
    teams = table.assign(expert_seeds=["7", "1 2 3"])
    rows = [drawn_rows(description(), learning_curves(), one, paper()) for one in (table, teams)]
    assert [curve_notes(description(), one) for one in rows] == [
        ["experts on 3s_vs_3z: ippo seed 7"],
        ["experts on 3s_vs_3z: ippo seed 7, ippo 3 seeds, one per agent"],
    ]


def test_files_are_the_same_bytes_for_the_same_tables(tmp_path: Path) -> None:
    for name in ("first", "second"):
        files = make_figure(description(), learning_curves(), demonstrations(), paper(), tmp_path / name / "core")
    assert [path.name for path in files] == ["core.csv", "core.pdf", "core.png"]
    for path in files:
        assert path.read_bytes() == (tmp_path / "first" / path.name).read_bytes()


def test_png_is_one_column_wide_at_300_dots_and_not_blank(tmp_path: Path) -> None:
    make_figure(description(), learning_curves(), demonstrations(), paper(), tmp_path / "core")
    pixels = matplotlib.image.imread(tmp_path / "core.png")
    assert pixels.shape[1] == 1050
    assert len(np.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0)) > 100


def test_drawing_from_the_csv_beside_a_figure_gives_the_figure(tmp_path: Path) -> None:
    make_figure(description(), learning_curves(), demonstrations(), paper(), tmp_path / "core")
    from_csv = draw(description(), pd.read_csv(tmp_path / "core.csv"))
    from_tables = draw(description(), rows_of(description(), learning_curves()))
    for one, other in zip(from_csv.axes, from_tables.axes, strict=True):
        for line, twin in zip(one.get_lines(), other.get_lines(), strict=True):
            assert np.asarray(line.get_xydata(), float) == pytest.approx(np.asarray(twin.get_xydata(), float), rel=1e-5)


def test_a_condition_looks_the_same_whatever_else_is_declared() -> None:
    few, many = looks_of(["ippo", "new", "qmix"]), looks_of(["rmappo", "ippo", "new", "qmix", "newer"])
    assert {name: many[name] for name in few} == few


def test_all_conditions_of_the_paper_look_different() -> None:
    names = ["ippo", "qmix", "rmappo", "dm2_ippo_demo", "dm2_qmix_demo", "dm2_sil", "ippo_bc_pretrain", "another"]
    names += [f"{family}_{p}" for family in ("dm2_ippo_demo", "gail_only_ippo_demo") for p in range(10, 100, 10)]
    assert len({colour for colour, _ in looks_of(names).values()}) == len(names)


def test_the_ladder_of_demonstrations_darkens_with_the_percentage() -> None:
    looks = looks_of([*(f"dm2_ippo_demo_{percent}" for percent in range(10, 100, 10)), "dm2_ippo_demo"])
    lightness = [np.dot(to_rgb(colour), [0.2126, 0.7152, 0.0722]) for colour, _ in looks.values()]
    assert lightness == sorted(lightness, reverse=True)


def test_all_declared_conditions_look_different() -> None:
    looks = looks_of(Matrix.load(REPOSITORY / "config").conditions)
    assert len(set(looks.values())) == len(looks)


@pytest.mark.parametrize("scale", ["quick", "paper"])
def test_every_figure_of_the_configuration_can_be_described(scale: str) -> None:
    matrix = Matrix.load(REPOSITORY / "config", {"scale": scale})
    for name in matrix.figures:
        figure = describe(matrix, name)
        assert [panel.map_name for panel in figure.panels] == list(matrix.figure_maps(name))
        assert {c.name for c in figure.conditions()} <= set(matrix.conditions)


def test_the_legend_has_two_columns_only_where_its_labels_fit() -> None:
    assert legend_columns(["IPPO", "DM², IPPO demonstrations", "QMIX", "win rate of its demonstrations"]) == 2
    assert legend_columns(["IPPO", "DM², IPPO demonstrations at 10 %", "QMIX", "win rate of its demonstrations"]) == 1


def test_legend_and_notes_lie_within_the_figure() -> None:
    labels = ["IPPO", "DM², IPPO demonstrations at 70 %", "DM², IPPO demonstrations", "paper (StarCraft II), ±0.03"]
    note = "not run on 5m_vs_6m: " + ", ".join(f"dm2_ippo_demo_{percent}" for percent in range(10, 100, 10))
    with figure_settings(STYLE):
        figure, _ = empty_axes(1, 2)
        add_strips(figure, "Title\nsubtitle", [Line2D([], [], label=label) for label in labels], [note])
        figure.set_dpi(300)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        drawn = [*figure.texts, *figure.legends[0].get_texts()]
        ends = [text.get_window_extent(canvas.get_renderer()).x1 for text in drawn]
    assert max(ends) <= figure.bbox.x1
    assert figure.texts[-1].get_text().replace("\n", " ") == note


@pytest.mark.parametrize(("steps", "text"), [(0, "0"), (250_000, "250k"), (1_500_000, "1.5M"), (140_945, "141k")])
def test_env_steps_are_short(steps: int, text: str) -> None:
    assert format_steps(steps) == text


def test_a_look_that_is_named_comes_before_the_shade_of_its_family(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOOKS, "dm2_ippo_demo", ("#FF0000", "^"))
    assert looks_of(["dm2_ippo_demo", "dm2_ippo_demo_50"])["dm2_ippo_demo"] == ("#FF0000", "^")
