"""Figures of win rates, from tables alone: description -> the numbers to draw -> PDF, PNG and the CSV that was drawn.

A figure is data: panels, each a map and the conditions shown on it. Drawing has two steps, `drawn_rows` (everything
that will be on paper, as one table) and `draw` (that table on axes), so that the CSV beside a figure is what it shows.
The same CSV gives the same bytes.

How to read every figure: solid line and band are the mean and sd over our seeds; the dashed line is the win rate of
the experts that the condition of that colour learns from, playing greedily as in evaluations; thin lines with hollow
markers are the paper's StarCraft II curves, dotted where they were hard to digitise. Where our training is much shorter
than the paper's, the paper's curves get axes of their own beside ours, since on a common time axis one of the two would
shrink to nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath
from matplotlib.ticker import FuncFormatter, MaxNLocator

from dm2.analysis.plotting import figure_settings
from dm2.analysis.statistics import Floats, mean_and_sd
from dm2.analysis.tables import (
    PAPER_FIGURES,
    ResultsError,
    engine_name,
    is_cut,
    paper_curve,
    seed_curves,
    was_run,
    write_table,
)
from dm2.core.files import atomic_path
from dm2.settings.matrix import Matrix

OURS, PAPER, DEMONSTRATIONS = "ours", "paper", "demonstrations"
DRAWN = ["panel", "map_name", "condition", "series", "env_steps", "win_rate", "sd", "n_seeds", "env_steps_cut"]
DRAWN += ["expert", "paper_condition", "paper_figure", "quality"]
"""Columns of the table that a figure draws, after scale and backend."""
PAPER_LABEL = "paper (StarCraft II)"
# Okabe and Ito's colour-blind safe set; markers tell the lines apart in greyscale.
LOOKS = {
    "ippo": ("#000000", "o"),
    "qmix": ("#E69F00", "s"),
    "rmappo": ("#7F7F7F", "<"),
    "dm2_qmix_demo": ("#D55E00", "D"),
    "dm2_sil": ("#009E73", "v"),
    "ippo_bc_pretrain": ("#56B4E9", "p"),
    "open_loop": ("#B8860B", "X"),
    # fewer episodes are lighter; dm2_ippo_demo, with 1,000, is blue
    "dm2_ippo_demo_64_demonstrated_episodes": ("#A1D99B", "v"),
    "dm2_ippo_demo_125_demonstrated_episodes": ("#74C476", "s"),
    "dm2_ippo_demo_250_demonstrated_episodes": ("#41AB5D", "D"),
    "dm2_ippo_demo_500_demonstrated_episodes": ("#006D2C", "p"),
    "dm2_ippo_demo_2000_demonstrated_episodes": ("#00331A", "h"),
}
OTHER_LOOKS = (
    ("#CC79A7", "h"),
    ("#8C510A", ">"),
    ("#882255", "^"),
    ("#44AA99", "s"),
    ("#999933", "D"),
    ("#CC3311", "X"),
)
SHADES = {"dm2_ippo_demo": "YlGnBu", "gail_only_ippo_demo": "RdPu", "dm2_state_action_demo": "YlOrBr"}
"""Sequential colour maps of families with one condition per checkpoint of the expert: early is light, late is dark."""
SHADE_MARKERS = ("^", "o", "s", "D", "v", "p", "<", "h", ">")
COLUMN_INCHES, PANEL_INCHES, LINE_INCHES = 3.5, 1.45, 0.12
NOTE_POINTS = 6
CROWDED = 8
"""Conditions in a panel from which on it takes the whole width, and the paper's curves get axes of their own."""
OVERLAY_SHARE = 0.5
"""Share of the paper's training length from which on our curves and the paper's fit on one time axis."""

STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # editable text
    "savefig.dpi": 300,
}


@dataclass(frozen=True)
class DrawnCondition:
    """How one condition looks, the same in every figure.

    Args:
        name: condition, as in the tables.
        label: text of the legend.
        colour: colour of its lines.
        marker: marker of its lines.
        paper_condition: its name in the paper's tables; None where the paper has no such condition.
    """

    name: str
    label: str
    colour: str
    marker: str
    paper_condition: str | None = None


@dataclass(frozen=True)
class Panel:
    """One pair of axes of a figure: some conditions on one map."""

    title: str
    map_name: str
    conditions: tuple[DrawnCondition, ...]


@dataclass(frozen=True)
class FigureDescription:
    """A figure as data.

    Args:
        title: first line above the axes.
        panels: what each pair of axes shows.
        paper_figure: figure of the paper whose curves are preferred where a condition is in several.
        left_out: maps of which nothing was run, named under the figure.
    """

    title: str
    panels: tuple[Panel, ...]
    paper_figure: str = PAPER_FIGURES[0]
    left_out: tuple[str, ...] = ()

    def conditions(self) -> tuple[DrawnCondition, ...]:
        """The conditions of all panels, each once, in order of appearance."""
        return tuple(dict.fromkeys(condition for panel in self.panels for condition in panel.conditions))


def of_what_was_run(
    description: FigureDescription, curves: pd.DataFrame, needs: Collection[str] = (), baseline: str | None = None
) -> FigureDescription | None:
    """The figure without the maps of which nothing was run; None where that is all of them.

    Args:
        description: the figure.
        curves: `results/<scale>/learning_curves.csv`.
        needs: conditions one of which must have been run for a map to count; any of the panel's unless given.
        baseline: condition without which a map does not count.
    """
    panels = [
        panel
        for panel in description.panels
        if any(was_run(curves, panel.map_name, name) for name in needs or [one.name for one in panel.conditions])
        and (baseline is None or was_run(curves, panel.map_name, baseline))
    ]
    left_out = tuple(panel.title for panel in description.panels if panel not in panels)
    return replace(description, panels=tuple(panels), left_out=left_out) if panels else None


def describe(matrix: Matrix, figure: str) -> FigureDescription:
    """A figure of config/experiments.yaml as it looks at one scale: a panel per map that runs any of its conditions.

    Raises:
        SettingsError: there is no such figure.
    """
    maps = matrix.figure_maps(figure)
    looks = {
        name: DrawnCondition(name, matrix.conditions[name].label, *look, matrix.conditions[name].paper_condition)
        for name, look in looks_of(matrix.conditions).items()
    }
    panels = tuple(
        Panel(name, name, tuple(looks[one] for one in matrix.figure_conditions(figure, name))) for name in maps
    )
    return FigureDescription(
        matrix.figures[figure].title, panels, figure if figure in PAPER_FIGURES else PAPER_FIGURES[0]
    )


def looks_of(declared: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of every declared condition.

    Those of the paper have fixed looks; others get the next free one in the order of their declaration, so that a
    condition added at the end changes no other's look. X_30, which learns from its expert at 30 % of its training, is a
    shade of its family X, light to dark with the percentage; X itself is the shade of 100 %.

    Args:
        declared: names of all conditions of config/experiments.yaml, in its order.
    """
    spare = _spare_looks()
    return {name: LOOKS.get(name) or _shade(name) or next(spare) for name in declared}


def _spare_looks() -> Iterator[tuple[str, str]]:
    """OTHER_LOOKS, then their colours again with each other's markers."""
    for turn in count():
        for i, (colour, _) in enumerate(OTHER_LOOKS):
            yield colour, OTHER_LOOKS[(i + turn) % len(OTHER_LOOKS)][1]


def _shade(name: str) -> tuple[str, str] | None:
    rung = re.fullmatch(r"(.+)_(\d+)", name)
    family, percent = (rung[1], int(rung[2])) if rung else (name, 100)
    if family not in SHADES:
        return None
    colour = mpl.colormaps[SHADES[family]](0.27 + 0.57 * percent / 100)
    return to_hex(colour), SHADE_MARKERS[(100 - percent) // 10 % len(SHADE_MARKERS)]


# --- what is drawn -------------------------------------------------------------------------------------------------


def drawn_rows(
    description: FigureDescription, curves: pd.DataFrame, demonstrations: pd.DataFrame, paper_curves: pd.DataFrame
) -> pd.DataFrame:
    """Everything a figure shows, as one table.

    Args:
        description: the figure.
        curves: `results/<scale>/learning_curves.csv`.
        demonstrations: `results/<scale>/demonstrations.csv`; may be empty.
        paper_curves: `results/paper/paper_curves.csv`.

    Returns:
        Rows by panel, condition and series (ours, demonstrations, paper); a demonstration row has no env_steps.

    Raises:
        ResultsError: none of the figure's conditions was run on any of its maps.
    """
    parts = [
        part
        for panel in description.panels
        for condition in panel.conditions
        for part in (
            _our_rows(panel, condition, curves),
            _demonstration_rows(panel, condition, demonstrations),
            _paper_rows(panel, condition, paper_curves, description.paper_figure),
        )
    ]
    rows = (
        pd.concat([part for part in parts if len(part)], ignore_index=True) if any(map(len, parts)) else pd.DataFrame()
    )
    if rows.empty or not (rows["series"] == OURS).any():
        raise nothing_run(description)
    rows.insert(0, "backend", curves["backend"].iloc[0])
    rows.insert(0, "scale", curves["scale"].iloc[0])
    return rows


def nothing_run(description: FigureDescription) -> ResultsError:
    """The error of a figure none of whose conditions was run on any of its maps."""
    wanted = ", ".join(f"{c.name} on {p.map_name}" for p in description.panels for c in p.conditions)
    return ResultsError(f"figure {description.title!r}: found none of its runs in the learning curves: {wanted}")


def _rows(panel: Panel, condition: DrawnCondition, series: str, **columns: object) -> pd.DataFrame:
    names = {"panel": panel.title, "map_name": panel.map_name, "condition": condition.name, "series": series}
    return pd.DataFrame(names | columns).reindex(columns=DRAWN)


def _our_rows(panel: Panel, condition: DrawnCondition, curves: pd.DataFrame) -> pd.DataFrame:
    if not was_run(curves, panel.map_name, condition.name):
        return pd.DataFrame()  # named under the figure as not run
    runs = seed_curves(curves, panel.map_name, condition.name)
    mean, sd = mean_and_sd(runs.values)
    return _rows(
        panel,
        condition,
        OURS,
        env_steps=runs.env_steps,
        win_rate=mean,
        sd=sd,
        n_seeds=len(runs.seeds),
        env_steps_cut=runs.env_steps_cut,
    )


def _demonstration_rows(panel: Panel, condition: DrawnCondition, demonstrations: pd.DataFrame) -> pd.DataFrame:
    here = demonstrations["map_name"] == panel.map_name
    chosen = demonstrations[here & (demonstrations["condition"] == condition.name)]
    experts = [f"{row.expert} {_seeds_in_words(str(row.expert_seeds))}" for row in chosen.itertuples()]
    return _rows(
        panel,
        condition,
        DEMONSTRATIONS,
        env_steps=np.nan,
        win_rate=chosen["greedy_win_rate"].to_numpy(),
        expert=experts,
    )


def _seeds_in_words(seeds: str) -> str:
    each = seeds.split()
    return f"seed {seeds}" if len(each) == 1 else f"{len(each)} seeds, one per agent"


def _paper_rows(panel: Panel, condition: DrawnCondition, paper: pd.DataFrame, paper_figure: str) -> pd.DataFrame:
    curve = paper_curve(paper, panel.map_name, condition.paper_condition, paper_figure)
    return _rows(
        panel,
        condition,
        PAPER,
        env_steps=curve["env_steps"].to_numpy(),
        win_rate=curve["win_rate"].to_numpy(),
        sd=curve["sd"].to_numpy(),
        n_seeds=5,
        paper_condition=condition.paper_condition,
        paper_figure=curve["figure"].to_numpy(),
        quality=curve["quality"].to_numpy(),
    )


# --- drawing -------------------------------------------------------------------------------------------------------


def draw(description: FigureDescription, rows: pd.DataFrame) -> Figure:
    """Draw the table of `drawn_rows`.

    Args:
        description: the figure; its panels and looks.
        rows: what to draw.

    Returns:
        The figure, one column wide. Nothing is saved.
    """
    crowded = max(len(panel.conditions) for panel in description.panels) > CROWDED
    with figure_settings(STYLE):
        if paper_needs_own_axes(rows, crowded):
            return _draw_beside(description, rows, n_columns=1 if crowded else 2)
        return _draw_over(description, rows, n_columns=1 if crowded else min(2, len(description.panels)))


def paper_needs_own_axes(rows: pd.DataFrame, crowded: bool) -> bool:
    """Whether the paper's curves have no room among ours, or train so much longer that a time axis cannot show both."""
    longest = rows.groupby("series")["env_steps"].max()
    return PAPER in longest and (crowded or longest[OURS] < OVERLAY_SHARE * longest[PAPER])


def _draw_beside(description: FigureDescription, rows: pd.DataFrame, n_columns: int) -> Figure:
    """Ours left and the paper's right of it or, in one column, below."""
    figure, axes = empty_axes(2 * len(description.panels) // n_columns, n_columns)
    axes = axes.reshape(-1, 2)
    last_with_paper = max(i for i, panel in enumerate(description.panels) if len(_series(rows, panel, PAPER)))
    for i, (panel, (left, right)) in enumerate(zip(description.panels, axes, strict=True)):
        _draw_ours(left, panel, rows)
        is_lowest = i == len(axes) - 1 and (n_columns == 2 or i > last_with_paper)
        dress(left, panel.title, time_label=is_lowest, rate_label=True)
        if len(_series(rows, panel, PAPER)):
            _draw_paper(right, panel, rows)
            dress(right, f"{panel.title}, {PAPER_LABEL}", time_label=i == last_with_paper, rate_label=n_columns == 1)
        else:
            right.set_axis_off()
            right.text(0.5, 0.5, "not in the paper's figures", ha="center", va="center", color="0.4")
    return _finish(figure, description, rows)


def _draw_over(description: FigureDescription, rows: pd.DataFrame, n_columns: int) -> Figure:
    n_rows = -(-len(description.panels) // n_columns)
    figure, axes = empty_axes(n_rows, n_columns)
    for i, (panel, ax) in enumerate(zip(description.panels, axes.flat, strict=False)):
        _draw_paper(ax, panel, rows)
        _draw_ours(ax, panel, rows)
        is_lowest = i + n_columns >= len(description.panels)
        dress(ax, panel.title, time_label=is_lowest, rate_label=i % n_columns == 0)
    for ax in axes.flat[len(description.panels) :]:
        ax.set_axis_off()
    return _finish(figure, description, rows)


def empty_axes(n_rows: int, n_columns: int) -> tuple[Figure, np.ndarray]:
    """A figure one column wide with its axes, [n_rows, n_columns]."""
    figure = Figure(figsize=(COLUMN_INCHES, PANEL_INCHES * n_rows))
    return figure, figure.subplots(n_rows, n_columns, squeeze=False)


def _series(rows: pd.DataFrame, panel: Panel, series: str, condition: DrawnCondition | None = None) -> pd.DataFrame:
    chosen = rows[(rows["panel"] == panel.title) & (rows["series"] == series)]
    return chosen if condition is None else chosen[chosen["condition"] == condition.name]


def _draw_ours(ax: Axes, panel: Panel, rows: pd.DataFrame) -> None:
    for order, condition in enumerate(panel.conditions):
        curve = _series(rows, panel, OURS, condition)
        steps, mean, sd = (curve[column].to_numpy(float) for column in ("env_steps", "win_rate", "sd"))
        every = marker_places(len(steps), order, len(panel.conditions))
        draw_curve(ax, condition, steps, mean, np.clip(mean - sd, 0, 1), np.clip(mean + sd, 0, 1), every)
        for win_rate in _series(rows, panel, DEMONSTRATIONS, condition)["win_rate"]:
            dashes = (4 * order, (4, 3))  # shifted, so that equal win rates show both colours
            ax.axhline(win_rate, color=condition.colour, **(_DEMONSTRATION_LINE | {"linestyle": dashes}))
            at_edge: dict[str, Any] = {
                "transform": ax.get_yaxis_transform(),
                "clip_on": False,
                "color": condition.colour,
            }
            ax.plot([1], [win_rate], marker=condition.marker, markersize=2.4, **at_edge)


def draw_curve(
    ax: Axes, condition: DrawnCondition, steps: Floats, centre: Floats, low: Floats, high: Floats, markers: list[int]
) -> None:
    """One of our curves and its band.

    Args:
        ax: axes to draw on.
        condition: its colour and marker.
        steps: env steps, [points].
        centre: win rate, [points].
        low: lower edge of the band, [points].
        high: upper edge of the band, [points].
        markers: points that carry a marker.
    """
    ax.fill_between(steps, low, high, color=condition.colour, alpha=0.15, linewidth=0, zorder=2)
    ax.plot(steps, centre, color=condition.colour, marker=condition.marker, markevery=markers, **OUR_LINE)


def _draw_paper(ax: Axes, panel: Panel, rows: pd.DataFrame) -> None:
    for order, condition in enumerate(panel.conditions):
        curve = _series(rows, panel, PAPER, condition)
        every = marker_places(len(curve), order, len(panel.conditions))
        style = ":" if (curve["quality"] == "low").any() else "-"
        look = {"color": condition.colour, "marker": condition.marker, "linestyle": style, "markevery": every}
        ax.plot(curve["env_steps"], curve["win_rate"], **(look | _PAPER_LINE))


OUR_LINE: dict[str, Any] = {
    "linewidth": 1.2,
    "markersize": 3.2,
    "markeredgecolor": "white",
    "markeredgewidth": 0.4,
    "zorder": 4,
}
_PAPER_LINE: dict[str, Any] = {
    "linewidth": 0.6,
    "markersize": 2.6,
    "markerfacecolor": "white",
    "markeredgewidth": 0.6,
    "zorder": 3,
}
_DEMONSTRATION_LINE: dict[str, Any] = {"linestyle": (0, (4, 3)), "linewidth": 0.8, "zorder": 3}


def marker_places(points: int, order: int, n_conditions: int) -> list[int]:
    """About five points per line, shifted from condition to condition so that no marker covers that of a close line."""
    spacing = max(points / 5, 1)
    start = spacing * (order + 0.5) / n_conditions
    return sorted({min(int(start + i * spacing), points - 1) for i in range(5)} & set(range(points)))


def dress(ax: Axes, title: str, time_label: bool, rate_label: bool, rate: str = "win rate") -> None:
    """Title, limits, ticks and labels of axes with win rates, or another rate in [0, 1], against env steps."""
    ax.set_title(title, loc="left", pad=3)
    ax.set_ylim(-0.03, 1.03)
    ax.set_yticks([0, 0.5, 1])
    ax.set_xlim(left=0)
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda steps, _: format_steps(steps)))
    ax.grid(axis="y", color="0.9", linewidth=0.5)
    ax.set_axisbelow(True)
    if time_label:
        ax.set_xlabel("env steps")
    if rate_label:
        ax.set_ylabel(rate)
    else:
        ax.tick_params(labelleft=False)


def format_steps(steps: float) -> str:
    """Env steps as 0, 250k or 1.5M."""
    if steps >= 1e6:
        return f"{steps / 1e6:.3g}M"
    return f"{steps / 1e3:.3g}k" if steps >= 1e3 else f"{steps:.3g}"


def _finish(figure: Figure, description: FigureDescription, rows: pd.DataFrame) -> Figure:
    handles = _legend_handles(description, rows)
    return add_strips(figure, f"{description.title}\n{subtitle(rows)}", handles, curve_notes(description, rows))


def add_strips(figure: Figure, head: str, handles: Sequence[Line2D], notes: Sequence[str]) -> Figure:
    """Add head (two lines), legend and notes in strips of their own, above and below the panels."""
    lines = [line for note in notes for line in _wrapped(note, 72 * 0.98 * figure.get_figwidth())]
    above, foot = 0.30, LINE_INCHES * len(lines)
    n_columns = legend_columns([str(handle.get_label()) for handle in handles])
    below = foot + LINE_INCHES * 1.15 * -(-len(handles) // n_columns) + 0.05
    height = figure.get_figheight() + above + below
    figure.set_figheight(height)
    panels = (0, below / height, 1, 1 - (above + below) / height)
    figure.set_layout_engine(ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, rect=panels))
    figure.text(0.01, 1 - 0.04 / height, head, va="top")
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, foot / height)}
    figure.legend(handles=handles, ncols=n_columns, columnspacing=1, handlelength=2, **place)
    figure.text(0.01, 0.02 / height, "\n".join(lines), va="bottom", fontsize=NOTE_POINTS, color="0.3")
    return figure


def _wrapped(note: str, width: float) -> list[str]:
    """The note in lines of at most `width` points."""
    lines: list[str] = []
    for word in note.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and _text_width(longer, NOTE_POINTS) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _text_width(text: str, size: float) -> float:
    """Points; hinted letters, as in PNG files, are up to 3 % wider than their outlines."""
    return float(1.03 * TextPath((0, 0), text, size=size).get_extents().width)


def legend_columns(labels: Sequence[str]) -> int:
    """Two where both columns of labels fit beside each other, else one."""
    widths = [_text_width(label, STYLE["legend.fontsize"]) for label in labels]
    half = -(-len(widths) // 2)
    handles = 2 * 3.8 * STYLE["legend.fontsize"]  # length of the line, its gap to the text, gaps between columns
    return 2 if max(widths[:half]) + max(widths[half:], default=0) + handles <= 72 * COLUMN_INCHES else 1


def subtitle(rows: pd.DataFrame, drawn: str = "mean and sd") -> str:
    """What made our curves: engine, scale, what is `drawn` and over how many seeds, for the head of a figure."""
    engine = engine_name(str(rows["backend"].iloc[0]))
    count = number_range(rows.loc[rows["series"] == OURS, "n_seeds"].astype(int))
    over = "1 seed" if count == "1" else f"{drawn} over {count} seeds"
    return f"{engine}, scale {rows['scale'].iloc[0]}, {over}"


def number_range(numbers: pd.Series) -> str:
    """Whole numbers in words: 5, or 2 to 5."""
    return str(numbers.min()) if numbers.min() == numbers.max() else f"{numbers.min()} to {numbers.max()}"


def curve_notes(description: FigureDescription, rows: pd.DataFrame) -> list[str]:
    """What a reader must know beside the curves: experts, conditions without runs, seeds cut to their common part."""
    ours = rows[rows["series"] == OURS]
    notes = [*not_run(description, ours), *experts_of(rows)]
    for (title, name), curve in ours.groupby(["panel", "condition"], sort=False):
        cut = curve["env_steps_cut"].iloc[0]
        if is_cut(cut, curve["env_steps"].iloc[-1], len(curve)):
            notes.append(f"{name} on {title}: seeds of unequal length, {format_steps(cut)} env steps left out")
    return notes


def experts_of(rows: pd.DataFrame) -> list[str]:
    """A note per panel on whose demonstrations its conditions learn from; what they win holds for these experts."""
    notes = []
    for title, drawn in rows[rows["series"] == DEMONSTRATIONS].groupby("panel", sort=False):
        notes.append(f"experts on {title}: {', '.join(dict.fromkeys(drawn['expert']))}")
    return notes


def not_run(description: FigureDescription, ours: pd.DataFrame) -> list[str]:
    """Notes that name the maps and the conditions of the panels that our rows lack; none where they lack none."""
    drawn = set(zip(ours["panel"], ours["condition"], strict=True))
    notes = [f"not run: {', '.join(description.left_out)}"] if description.left_out else []
    for panel in description.panels:
        absent = [one.name for one in panel.conditions if (panel.title, one.name) not in drawn]
        notes += [f"not run on {panel.title}: {', '.join(absent)}"] if absent else []
    return notes


def condition_handles(description: FigureDescription, rows: pd.DataFrame) -> list[Line2D]:
    """Legend entries of the conditions that are drawn."""
    shown = set(rows["condition"])
    return [
        Line2D([], [], color=c.colour, marker=c.marker, label=c.label, **OUR_LINE)
        for c in description.conditions()
        if c.name in shown
    ]


def _legend_handles(description: FigureDescription, rows: pd.DataFrame) -> list[Line2D]:
    handles = condition_handles(description, rows)
    if (rows["series"] == DEMONSTRATIONS).any():
        handles.append(Line2D([], [], color="0.4", label="win rate of its experts", **_DEMONSTRATION_LINE))
    if (rows["quality"] == "high").any():
        handles.append(Line2D([], [], color="0.4", marker="o", label=PAPER_LABEL, **_PAPER_LINE))
    if (rows["quality"] == "low").any():
        label = f"{PAPER_LABEL}, ±0.03"
        handles.append(Line2D([], [], color="0.4", marker="o", linestyle=":", label=label, **_PAPER_LINE))
    return handles


# --- files ---------------------------------------------------------------------------------------------------------


def make_figure(
    description: FigureDescription,
    curves: pd.DataFrame,
    demonstrations: pd.DataFrame,
    paper_curves: pd.DataFrame,
    stem: Path,
) -> list[Path]:
    """Draw a figure and write `stem`.pdf, .png and .csv (what was drawn).

    Returns:
        The three paths.
    """
    rows = drawn_rows(description, curves, demonstrations, paper_curves)
    write_table(rows, stem.with_suffix(".csv"))
    return [stem.with_suffix(".csv"), *save(draw(description, rows), stem)]


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write `stem`.pdf and `stem`.png without dates or versions, so that equal figures are equal files."""
    metadata = {".pdf": {"CreationDate": None, "Producer": None, "Creator": None}, ".png": {"Software": None}}
    with figure_settings(STYLE):
        for suffix, entries in metadata.items():
            with atomic_path(stem.with_suffix(suffix)) as part:
                figure.savefig(part, format=suffix[1:], metadata=entries)
    return [stem.with_suffix(suffix) for suffix in metadata]
