"""Win rates, battle lengths and losses in the simulator beside published ones of StarCraft II.

The published numbers are results/starcraft2/*.csv, the paper's results/paper/*.csv. Random and heuristic teams are
played here; trained teams are read from learning curves.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dm2.analysis.csv_files import read_csv
from dm2.analysis.plotting import figure_settings
from dm2.analysis.tables import in_paper, paper_curve, summary_table
from dm2.backends.make_env import env_spec
from dm2.play.evaluation import evaluate
from dm2.play.scripted import scripted_policy
from dm2.settings.maps import map_data
from dm2.settings.run import SCRIPTED_POLICIES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FINAL_EVALUATIONS = 10  # of a run, as in the published numbers
PUBLISHED_UNTIL = 2_500_000
"""Env steps up to which published numbers count: most are of 2 million; after 10 they tell something else."""
COMPARED_UNTIL = 2_050_000
"""Env steps up to which a run's evaluations stand beside them."""
_PUBLISHED_AS = {
    "uniformly random (epsilon 1.0 to 0.8)": "random",
    "attack-nearest heuristic (smac heuristic_ai)": "heuristic",
    "mappo": "rmappo",
}
WITHOUT_DEMONSTRATIONS = ("ippo", "ippo_1024_episodes", "qmix", "rmappo")
"""Conditions by which the simulator may be judged. What demonstrations do is what results ask."""
_PAPER_CONDITION = {"ippo_1024_episodes": "ippo"}  # where the paper has another name for it, or one setting of its own
QUANTITIES = ["return_mean", "episode_length_mean", "dead_allies_mean", "dead_enemies_mean"]
"""What the tables tell beside the win rate, under the names of metrics.csv."""
_OURS = ["map_name", "team", "simulator", *QUANTITIES, "n"]
_BATTLES_AT_ONCE = 64  # what an evaluation keeps of the largest maps fits into memory


def published(path: Path) -> pd.DataFrame:
    """Win rates in [0, 1] by map and team: the median of what is published until `PUBLISHED_UNTIL`, and its range.

    Returns:
        Columns map_name, team, published, published_low, published_high, published_numbers.
    """
    table = read_csv(path).query("not env_steps > @PUBLISHED_UNTIL")  # scripted teams have none
    table["team"] = table.algorithm.replace(_PUBLISHED_AS)
    rates = (table.win_rate_percent / 100).groupby([table["map"], table.team])
    columns = ["map_name", "team", "published", "published_low", "published_high", "published_numbers"]
    return rates.agg(["median", "min", "max", "count"]).reset_index().set_axis(columns, axis=1)


def scripted(battles: int, seed: int) -> pd.DataFrame:
    """How the scripted teams fare on every map: map_name, team, simulator (win rate), QUANTITIES, n (battles)."""
    rows = []
    for map_name in map_data().maps:
        for team in SCRIPTED_POLICIES:
            policy = scripted_policy(team, env_spec("simulator", map_name))
            seeds = range(seed, seed + max(battles // _BATTLES_AT_ONCE, 1))
            n = min(battles, _BATTLES_AT_ONCE)
            played = pd.DataFrame([evaluate(policy, "simulator", map_name, each, n) for each in seeds])
            rows.append((map_name, team, *played[["win_rate", *QUANTITIES]].mean(), n * len(played)))
    return pd.DataFrame(rows, columns=_OURS)


def without_demonstrations(curves: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The rows of WITHOUT_DEMONSTRATIONS of several scales' `learning_curves`, as one table."""
    table = pd.concat(curves, ignore_index=True)
    return table[table.condition.isin(WITHOUT_DEMONSTRATIONS)].reset_index(drop=True)


def trained(curves: pd.DataFrame, paper_curves: pd.DataFrame) -> pd.DataFrame:
    """How trained teams fare after 2 million env steps: of a run the mean of its last evaluations until then, the
    median of several seeds.

    Args:
        curves: as `dm2.analysis.tables.learning_curves` gives them.
        paper_curves: `results/paper/paper_curves.csv`.

    Returns:
        Columns map_name, team (the condition), simulator (win rate), QUANTITIES, n (runs), env_steps (of the longest
        run) and paper (the paper's win rate after so many env steps; NaN where its figures do not show it).
    """
    key = ["map_name", "condition", "seed"]
    early = curves[curves.env_steps <= COMPARED_UNTIL].sort_values("env_steps")
    runs = early.groupby(key).tail(FINAL_EVALUATIONS).groupby(key)
    ends = runs[["win_rate", *QUANTITIES]].mean().assign(env_steps=runs.env_steps.max())
    conditions = ends.groupby(level=["map_name", "condition"])
    table = conditions.median().assign(n=conditions.size(), env_steps=conditions.env_steps.max()).reset_index()
    table = table.rename(columns={"condition": "team", "win_rate": "simulator"})[[*_OURS, "env_steps"]]
    shown = [paper_curve(paper_curves, str(row.map_name), _in_paper(row.team)) for row in table.itertuples()]
    table["paper"] = [
        np.interp(steps, curve.env_steps, curve.win_rate) if len(curve) else np.nan
        for steps, curve in zip(table.env_steps, shown, strict=True)
    ]
    return table


def _in_paper(condition: object) -> str:
    """The paper's name of a condition."""
    return _PAPER_CONDITION.get(str(condition), str(condition))


def learning_speed(
    curves: pd.DataFrame, paper_curves: pd.DataFrame, paper_ends: pd.DataFrame, paper_demonstrations: pd.DataFrame
) -> pd.DataFrame:
    """How fast conditions learn that the paper shows on the same map, and how they end.

    Args:
        curves: as `dm2.analysis.tables.learning_curves` gives them.
        paper_curves: `results/paper/paper_curves.csv`.
        paper_ends: `results/paper/paper_final.csv`.
        paper_demonstrations: `results/paper/demo_win_rates.csv`.

    Returns:
        One row per map and condition: map_name, condition, seeds, env_steps (of the shortest run), final (mean win rate
        of the last 5 %), half_after (first env step at which the mean over seeds reaches 0.5); the same of the paper's
        runs, final_paper and half_after_paper; final_paper_then, at our env_steps; times_faster, the ratio of the
        paper's half_after to ours; and half_after_paper_expert, of the one run whose checkpoints the paper sampled
        demonstrations from: the first of them, one a million env steps, that wins half. What was not reached or is
        not known is NaN.
    """
    rows = []
    for run in summary_table(curves).to_dict("records"):
        map_name, condition = run["map_name"], _in_paper(run["condition"])
        shown, ends = paper_curve(paper_curves, map_name, condition), in_paper(paper_ends, map_name, condition)
        if len(shown):
            then = np.interp(run["env_steps"], shown.env_steps, shown.win_rate)
            half = ends.steps_to_50pct.iloc[0]
            own = ("map_name", "condition", "n_seeds", "env_steps", "final_mean", "steps_to_50pct")
            theirs = (ends.final_win_rate.iloc[0], then, half, half / run["steps_to_50pct"])
            expert = _half_after(paper_demonstrations, map_name, condition)
            rows.append((*(run[name] for name in own), *theirs, expert))
    columns = ["map_name", "condition", "seeds", "env_steps", "final", "half_after"]
    columns += ["final_paper", "final_paper_then", "half_after_paper", "times_faster", "half_after_paper_expert"]
    return pd.DataFrame(rows, columns=columns)


def _half_after(paper_demonstrations: pd.DataFrame, map_name: str, condition: str) -> float:
    """Env steps of the first checkpoint of the paper's expert that wins half of its battles."""
    listed = paper_demonstrations.query(
        "dict == 'demo_qual' and map == @map_name and demo_source == @condition and win_rate >= 0.5"
    )
    return 1e6 * listed.demo_checkpoint.str.removesuffix("m").astype(float).min()


def beside_published(ours: Sequence[pd.DataFrame], path: Path) -> pd.DataFrame:
    """Our win rates, the published ones beside them where there are any."""
    table = pd.concat(ours, ignore_index=True).merge(published(path), on=["map_name", "team"], how="left")
    return table.astype({"published_numbers": "Int64", "env_steps": "Int64"})


def lengths_and_losses(curves: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Lengths and losses of trained teams at equal win rate, of the evaluations on the maps with logs and runs.

    Returns:
        One row per map and range of win rates: map_name, win_rates, then length, dead_allies and dead_enemies of
        StarCraft II's tests (medians) and the simulator's (with the suffix _simulator), and how many there are of each.
    """
    rows = []
    for real in read_csv(path).query("map in @curves.map_name").itertuples():
        rate = curves.win_rate[curves.map_name == real.map]
        low, high = (float(str(bound).lstrip("=>")) for bound in (real.win_rate_from, real.win_rate_to))
        within = rate[(rate > low) & (rate <= high)] if high > 0 else rate[rate == 0]
        ours = curves.loc[within.index]
        theirs = (real.tests, real.length_median, real.dead_allies_median, real.dead_enemies_median)
        medians = ours[["episode_length_mean", "dead_allies_mean", "dead_enemies_mean"]].median()
        rows.append((real.map, f"{real.win_rate_from} to {real.win_rate_to}", *theirs, len(ours), *medians))
    quantities = ["tests", "length", "dead_allies", "dead_enemies"]
    columns = ["map_name", "win_rates", *quantities, *(f"{name}_simulator" for name in quantities)]
    return pd.DataFrame(rows, columns=columns)


@figure_settings()
def scatter(table: pd.DataFrame, origin: str) -> Figure:
    """Published win rates (filled: median, bar over the range; hollow: the paper's) against ours, a colour per team.

    Args:
        table: as `beside_published` gives it.
        origin: engine and scale of our numbers, the figure's title.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 6.2), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for number, (team, rows) in enumerate(table.groupby("team")):
        known, colour = rows[rows.published.notna()], f"C{number}"
        spread = np.abs(known[["published_low", "published_high"]].to_numpy() - known.published.to_numpy()[:, None]).T
        axes.errorbar(known.published, known.simulator, xerr=spread, fmt="o", color=colour)
        axes.plot(rows.paper, rows.simulator, "o", color=colour, fillstyle="none")
        shown = rows[["published", "paper"]].notna().any(axis=1).sum()
        if shown:
            axes.plot([], [], "o", color=colour, label=f"{team} (maps: {shown})")
        points = rows.melt(["map_name", "simulator"], ["published", "paper"], value_name="real")
        for name, ours, real in points[["map_name", "simulator", "real"]].to_numpy():
            if abs(ours - real) > 0.05:
                axes.annotate(name, (real, ours), (4, 4), textcoords="offset points", fontsize=7)
    axes.plot([], [], "o", color="0.4", fillstyle="none", label="the paper's, after as many env steps")
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="win rate in StarCraft II, published")
    axes.set(ylabel="win rate in the built-in simulator, not StarCraft II", title=origin)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure
