"""Figures of intervals over seeds, from the learning curves alone, in the manner of Agarwal et al. 2021.

"Deep Reinforcement Learning at the Edge of the Statistical Precipice" asks for three things beside mean and sd: the
interquartile mean of the runs, a 95 % interval from a bootstrap that resamples runs within condition and map, and the
probability that a run of one method beats a run of another. Each is a figure here, and they share their shape:
`*_rows` gives everything that will be on paper as one table, `draw_*` puts that table on axes.

    interquartile mean   win rate against env steps, one panel per map
    matching             accuracy of the discriminators, the experts' and the team's rows counted alike
    area                 interquartile mean of the area under the curve (the mean win rate over training)
    improvement          probability that a run's area is above that of a run of the baseline, ties counted half

The last two compare conditions over the part of training that all of a map's runs share, and have one more panel in
which all maps are pooled, for the conditions that were run on every map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dm2.analysis.curve_figures import (
    OUR_LINE,
    OURS,
    STYLE,
    DrawnCondition,
    FigureDescription,
    Panel,
    add_strips,
    condition_handles,
    draw_curve,
    dress,
    empty_axes,
    format_steps,
    marker_places,
    not_run,
    nothing_run,
    save,
    subtitle,
)
from dm2.analysis.few_seeds import MIN_SEEDS
from dm2.analysis.plotting import figure_settings
from dm2.analysis.statistics import (
    Floats,
    Statistic,
    area_under_curve,
    interquartile_mean,
    probability_of_improvement,
    stratified_bootstrap,
)
from dm2.analysis.tables import (
    ACCURACY,
    SeedCurves,
    comparable_curves,
    is_cut,
    seed_curves,
    was_run,
    with_accuracy,
    write_table,
)
from dm2.core.randomness import stream

DRAWN = ["panel", "condition", "series", "env_steps", "estimate", "low", "high", "n_seeds", "evaluations"]
DRAWN += ["env_steps_cut"]
"""Columns of the tables that are drawn, after scale and backend."""
POOLED = "all maps"
NO_IMPROVEMENT = 0.5
CHANCE = 0.5
INTERVAL_COLUMNS = 3


@dataclass(frozen=True)
class IntervalFigure:
    """One sort of figure.

    Args:
        rows: what is drawn, from the description and the learning curves.
        draw: those rows on axes.
    """

    rows: Callable[[FigureDescription, pd.DataFrame], pd.DataFrame]
    draw: Callable[[FigureDescription, pd.DataFrame], Figure]


def make_interval_figure(
    shows: str, description: FigureDescription, curves: pd.DataFrame, stem: Path, baseline: str | None = None
) -> list[Path]:
    """Draw a figure and write `stem`.pdf, .png and .csv (what was drawn).

    Args:
        shows: interquartile_mean, matching, area or improvement.
        description: the figure.
        curves: `results/<scale>/learning_curves.csv`.
        stem: files to write, without suffix.
        baseline: condition that improvement compares with.

    Returns:
        The three paths.

    Raises:
        ResultsError: none of the figure's conditions was run on any of its maps.
    """
    kinds = {
        "interquartile_mean": IntervalFigure(interquartile_mean_rows, draw_interquartile_mean),
        "matching": IntervalFigure(matching_rows, draw_matching),
        "area": IntervalFigure(area_rows, draw_area),
        "improvement": IntervalFigure(partial(improvement_rows, baseline=baseline), draw_improvement),
    }
    rows = kinds[shows].rows(description, curves)
    write_table(rows, stem.with_suffix(".csv"))
    with figure_settings(STYLE):
        return [stem.with_suffix(".csv"), *save(kinds[shows].draw(description, rows), stem)]


# --- what is drawn -------------------------------------------------------------------------------------------------


def interquartile_mean_rows(description: FigureDescription, curves: pd.DataFrame) -> pd.DataFrame:
    """Interquartile mean over seeds with its interval, at every env step of every condition and map."""
    return _curve_rows("interquartile_mean", description, curves, "win_rate")


def matching_rows(description: FigureDescription, curves: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of the discriminators, interquartile mean over seeds with its interval; see `with_accuracy`.

    Raises:
        ResultsError: a condition of the figure has no discriminators, or none was run on any of its maps.
    """
    return _curve_rows("matching", description, with_accuracy(curves), ACCURACY)


def _curve_rows(shows: str, description: FigureDescription, curves: pd.DataFrame, column: str) -> pd.DataFrame:
    parts = []
    for panel in description.panels:
        for condition in _run_on(curves, panel):
            runs = seed_curves(curves, panel.map_name, condition.name, column=column)
            parts.append(_row(shows, panel, condition, [runs], [runs.values], interquartile_mean))
    return _table(description, curves, parts)


def area_rows(description: FigureDescription, curves: pd.DataFrame) -> pd.DataFrame:
    """Interquartile mean over seeds of the area under the curve, per map and pooled, with its interval."""
    runs = {p.map_name: comparable_curves(curves, p.map_name, _names(_run_on(curves, p))) for p in description.panels}
    parts = [
        _row("area", panel, condition, found, [_areas(one) for one in found], interquartile_mean)
        for panel, condition, found in _with_pooled(description, runs)
    ]
    return _table(description, curves, parts)


def improvement_rows(description: FigureDescription, curves: pd.DataFrame, baseline: str | None) -> pd.DataFrame:
    """Probability that a run's area is above that of a run of `baseline`, per map and pooled, with its interval.

    Raises:
        ResultsError: the baseline was not run on a map.
    """
    runs = {
        p.map_name: comparable_curves(curves, p.map_name, [str(baseline), *_names(_run_on(curves, p))])
        for p in description.panels
    }
    parts = []
    for panel, condition, found in _with_pooled(description, runs):
        maps = [panel.map_name] if panel.map_name in runs else list(runs)
        strata = [_areas(one) for one in [*found, *(runs[name][str(baseline)] for name in maps)]]
        parts.append(_row("improvement", panel, condition, found, strata, probability_of_improvement(len(maps))))
    return _table(description, curves, parts)


def pooled_panel(description: FigureDescription) -> Panel | None:
    """The panel of all maps together: the conditions that every map has; None where there are not several maps."""
    shared = [one for one in description.conditions() if all(one in panel.conditions for panel in description.panels)]
    return Panel(POOLED, POOLED, tuple(shared)) if shared and len(description.panels) > 1 else None


def _with_pooled(
    description: FigureDescription, runs: Mapping[str, Mapping[str, SeedCurves]]
) -> Iterator[tuple[Panel, DrawnCondition, list[SeedCurves]]]:
    """Every panel, condition and its runs on each of the panel's maps, the pooled panel last."""
    pooled = pooled_panel(description)
    for panel in description.panels if pooled is None else (*description.panels, pooled):
        maps = list(runs) if panel is pooled else [panel.map_name]
        for condition in panel.conditions:
            if all(condition.name in runs[name] for name in maps):
                yield panel, condition, [runs[name][condition.name] for name in maps]


def _run_on(curves: pd.DataFrame, panel: Panel) -> list[DrawnCondition]:
    return [condition for condition in panel.conditions if was_run(curves, panel.map_name, condition.name)]


def _names(conditions: Sequence[DrawnCondition]) -> list[str]:
    return [condition.name for condition in conditions]


def _areas(runs: SeedCurves) -> Floats:
    return area_under_curve(runs.env_steps, runs.values)


def _row(
    shows: str,
    panel: Panel,
    condition: DrawnCondition,
    runs: Sequence[SeedCurves],
    strata: Sequence[Floats],
    statistic: Statistic,
) -> pd.DataFrame:
    """The rows of one condition in one panel: one per env step of a curve, or one at the end of training."""
    interval = stratified_bootstrap(strata, statistic, stream(0, "figure", shows, panel.title, condition.name))
    columns = {
        "panel": panel.title,
        "condition": condition.name,
        "series": OURS,
        "env_steps": runs[0].env_steps if interval.estimate.ndim else max(int(one.env_steps[-1]) for one in runs),
        "estimate": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "n_seeds": min(len(one.seeds) for one in runs),
        "evaluations": max(len(one.env_steps) for one in runs),
        "env_steps_cut": max(one.env_steps_cut for one in runs),
    }
    return pd.DataFrame(columns, columns=DRAWN, index=range(interval.estimate.size))


def _table(description: FigureDescription, curves: pd.DataFrame, parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    if not parts:
        raise nothing_run(description)
    rows = pd.concat(parts, ignore_index=True)
    rows.insert(0, "backend", curves["backend"].iloc[0])
    rows.insert(0, "scale", curves["scale"].iloc[0])
    return rows


# --- drawing -------------------------------------------------------------------------------------------------------


def draw_interquartile_mean(description: FigureDescription, rows: pd.DataFrame) -> Figure:
    """Curves of the interquartile mean, one panel per map."""
    return _finish(_draw_curves(description, rows, "win rate"), description, rows)


def draw_matching(description: FigureDescription, rows: pd.DataFrame) -> Figure:
    """Curves of the discriminators' accuracy, one panel per map; a line at chance."""
    figure = _draw_curves(description, rows, "accuracy")
    for ax in figure.axes:
        ax.axhline(CHANCE, color="0.4", linewidth=0.8, zorder=1)
    return _finish(figure, description, rows)


def _draw_curves(description: FigureDescription, rows: pd.DataFrame, rate: str) -> Figure:
    figure, axes = _axes(len(description.panels), 2)
    for i, (panel, ax) in enumerate(zip(description.panels, axes, strict=False)):
        for order, condition in enumerate(panel.conditions):
            curve = _rows_of(rows, panel, condition)
            steps, estimate, low, high = curve[["env_steps", "estimate", "low", "high"]].to_numpy(float).T
            markers = marker_places(len(curve), order, len(panel.conditions))
            draw_curve(ax, condition, steps, estimate, low, high, markers)
        dress(ax, panel.title, time_label=i + 2 >= len(description.panels), rate_label=i % 2 == 0, rate=rate)
    return figure


def draw_area(description: FigureDescription, rows: pd.DataFrame) -> Figure:
    """One point with its interval per condition, one panel per map and one for all."""
    figure = _draw_intervals(description, rows, "mean win rate")
    return _finish(figure, description, rows)


def draw_improvement(description: FigureDescription, rows: pd.DataFrame) -> Figure:
    """One point with its interval per condition, one panel per map and one for all; a line where neither is better."""
    figure = _draw_intervals(description, rows, "probability")
    for ax in figure.axes:
        ax.axvline(NO_IMPROVEMENT, color="0.4", linewidth=0.8, zorder=1)
    return _finish(figure, description, rows)


def _draw_intervals(description: FigureDescription, rows: pd.DataFrame, label: str) -> Figure:
    pooled = pooled_panel(description)
    something_pooled = pooled is not None and (rows["panel"] == pooled.title).any()
    panels = (*description.panels, pooled) if pooled and something_pooled else description.panels
    figure, axes = _axes(len(panels), INTERVAL_COLUMNS)
    for i, (panel, ax) in enumerate(zip(panels, axes, strict=False)):
        for order, condition in enumerate(description.conditions()):
            for estimate, low, high in _rows_of(rows, panel, condition)[["estimate", "low", "high"]].to_numpy():
                ax.plot([low, high], [order, order], color=condition.colour, linewidth=1.6, zorder=3)
                ax.plot([estimate], [order], color=condition.colour, marker=condition.marker, **_POINT)
        _dress_intervals(
            ax, panel.title, len(description.conditions()), label if i + INTERVAL_COLUMNS >= len(panels) else ""
        )
    return figure


_POINT = OUR_LINE | {"markersize": 3.8, "linestyle": "none"}


def _axes(n_panels: int, most_columns: int) -> tuple[Figure, list[Axes]]:
    """A figure with rows of panels; what is left over in the last row is blank."""
    n_columns = min(most_columns, n_panels)
    figure, axes = empty_axes(-(-n_panels // n_columns), n_columns)
    for ax in axes.flat[n_panels:]:
        ax.remove()
    return figure, list(axes.flat[:n_panels])


def _dress_intervals(ax: Axes, title: str, n_conditions: int, label: str) -> None:
    ax.set_title(title, loc="left", pad=3)
    ax.set_xlim(-0.06, 1.06)
    ax.spines["left"].set_visible(False)
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    ax.set_ylim(n_conditions - 0.5, -0.5)  # the first of the legend on top
    ax.set_yticks([])
    ax.grid(axis="x", color="0.9", linewidth=0.5)
    ax.set_axisbelow(True)
    ax.set_xlabel(label)


def _rows_of(rows: pd.DataFrame, panel: Panel, condition: DrawnCondition) -> pd.DataFrame:
    return rows[(rows["panel"] == panel.title) & (rows["condition"] == condition.name)]


def _finish(figure: Figure, description: FigureDescription, rows: pd.DataFrame) -> Figure:
    head = f"{description.title}\n{subtitle(rows, '95 % intervals')}"
    return add_strips(figure, head, condition_handles(description, rows), interval_notes(description, rows))


def interval_notes(description: FigureDescription, rows: pd.DataFrame) -> list[str]:
    """What a reader must know beside the figure: conditions without runs, few seeds, runs cut to what they share."""
    notes = not_run(description, rows)
    if rows["n_seeds"].min() < MIN_SEEDS:
        notes.append(f"fewer than {MIN_SEEDS} seeds: too few for the intervals to hold what they promise")
    for (title, name), part in rows.groupby(["panel", "condition"], sort=False):
        cut, last = part["env_steps_cut"].iloc[0], part["env_steps"].iloc[-1]
        if title != POOLED and is_cut(cut, last, part["evaluations"].iloc[0]):
            notes.append(f"{name} on {title}: runs of unequal length, {format_steps(cut)} env steps left out")
    return notes
