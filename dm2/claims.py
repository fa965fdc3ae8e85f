"""The paper's claims, each judged by a rule from the tables of a scale. No verdict is typed.

Every claim is one or more comparisons. A comparison takes a number per run (the mean win rate over training, its last
half, or the win rate at the end), the difference of two conditions' means, and the 95 % bootstrap interval of that
difference with runs resampled within condition and map; its rule turns the interval into a verdict:

    above      reproduced if wholly above 0; not reproduced if wholly below 0 or within 0.02 of it
    not above  the opposite of `above`
    not below  reproduced if wholly above -0.02; not reproduced if wholly below -0.02
    within     reproduced if within 0.1 of 0; not reproduced if wholly outside

Anything else is undecided. So is a comparison whose runs are missing, or that has fewer than four seeds on a side: with
three a side, chance alone puts all of one above all of the other in 2 of 20 orders, more often than a 95 % interval may
err, and the bootstrap of so few runs is too narrow to notice. A comparison over several maps is judged on each and
pooled, every map with the same weight. A claim has the verdict that all its parts share; it is partial when some are
reproduced and others are not or not yet.

C1 to C11 are the paper's. S1 to S3 are statements that the paper does not test; the same rules say whether they hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dm2.markdown import markdown_table
from dm2.randomness import stream
from dm2.results import ResultsError, comparable_curves, engine_name, paper_curve, seed_curves
from dm2.statistics import (
    MIN_SEEDS,
    Floats,
    Interval,
    Statistic,
    area_under_curve,
    difference,
    final_value,
    mean_of,
    rank_correlation,
    stratified_bootstrap,
)

Rule = Literal["above", "not above", "not below", "within"]
Measure = Literal["AUC", "AUC of the last half", "final"]

REPRODUCED, NOT_REPRODUCED, UNDECIDED, PARTIAL = (
    "reproduced",
    "not reproduced",
    "undecided at this scale",
    "partial",
)
HOLDS = {REPRODUCED: "holds", NOT_REPRODUCED: "does not hold"}
"""The verdicts on what the paper does not say."""
WHOLE = "claim"
NEGLIGIBLE = 0.02
"""Difference in win rate that counts as none."""
SIMILAR = 0.1
"""Difference in win rate within which two conditions count as alike."""
MIN_RUNGS = 5
"""Fewest demonstration sets whose rank order says anything about better and worse ones."""
ALL_MAPS = ("5m_vs_6m", "3s_vs_4z", "3s_vs_3z", "3s_vs_5z", "8m_vs_9m")


@dataclass(frozen=True)
class Side:
    """One side of a comparison.

    Args:
        conditions: our conditions; the first one that was run is taken.
        paper: its names in results/paper/paper_curves.csv; the first one that the paper shows on the map is taken. None
            where the paper has no such condition.
    """

    conditions: tuple[str, ...]
    paper: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """The difference of two sides, map by map and pooled.

    Args:
        first: what is claimed to be above, or not.
        second: what it is compared with: a condition, a win rate, or None for the win rate of the demonstrations that
            `first` learns from.
        maps: maps of the claim.
        measure: the number taken from each run.
        rule: how the interval of the difference becomes a verdict.
        paper_figure: figure of the paper that shows it.
    """

    first: Side
    second: Side | float | None
    maps: tuple[str, ...]
    measure: Measure = "AUC"
    rule: Rule = "above"
    paper_figure: str = "core"

    @property
    def sides(self) -> tuple[Side, ...]:
        """The conditions compared: two, or one with a win rate."""
        return (self.first, self.second) if isinstance(self.second, Side) else (self.first,)


@dataclass(frozen=True)
class Ladder:
    """Rank correlation between how a condition ends and a number of its demonstrations, over a ladder of sets.

    Args:
        rungs: conditions that differ in their demonstrations.
        maps: maps of the claim.
        against: column of the table of demonstrations: how good they are, or how many.
        paper_figure: figure of the paper that shows it.
    """

    rungs: tuple[Side, ...]
    maps: tuple[str, ...]
    against: Literal["greedy_win_rate", "episodes"] = "greedy_win_rate"
    paper_figure: str = "all_demos"


@dataclass(frozen=True)
class Claim:
    """A sentence, of the paper or about it, and what it says about numbers."""

    name: str
    sentence: str
    parts: tuple[Comparison | Ladder, ...]
    of_the_paper: bool = True


def _same(name: str) -> Side:
    return Side((name,), (name,))


def _rung(percent: int) -> Side:
    ours = f"dm2_ippo_demo_{percent}" if percent < 100 else "dm2_ippo_demo"
    return Side((ours,), (f"dm2_ippo_demo_{percent // 10}m",))


IPPO = _same("ippo")
DM2_FULL = _rung(100)
DM2_HALF = Side(("dm2_ippo_demo_50", *DM2_FULL.conditions), ("dm2_ippo_demo_5m", *DM2_FULL.paper))
RUNGS = tuple(_rung(percent) for percent in range(10, 101, 10))
JOINT = {how: _same(f"ablation_{how}_joint") for how in ("concurrent", "nonconcurrent")}
INDEPENDENT = {how: _same(f"ablation_{how}_independent") for how in ("concurrent", "nonconcurrent")}
TWO_MAPS = ("5m_vs_6m", "3s_vs_4z")
WON = 0.5
"""Win rate at the end from which a map counts as won."""
FLIPPED_QUIRKS = (
    "absorbing_zeros_off",
    "first_action_leak_on",
    "regeneration_pays_off",
    "one_sided_huber_on",
    "frozen_critic_head_on",
)
STUDIED_ON = {"regeneration_pays_off": "3s_vs_4z"}
"""Maps of the quirks that change nothing on 5m_vs_6m, where nobody has shields."""
FEWER_EPISODES = (64, 125, 250, 500)

CLAIMS = (
    Claim(
        "C1",
        "DM² with IPPO demonstrations learns faster than IPPO",
        (Comparison(DM2_HALF, IPPO, (*TWO_MAPS, "3s_vs_3z"), paper_figure="gail_only"),),
    ),
    Claim(
        "C2",
        "DM² surpasses its demonstrators",
        (Comparison(DM2_HALF, None, TWO_MAPS, "final", paper_figure="gail_only"),),
    ),
    Claim(
        "C3",
        "both rewards are needed: GAIL alone fails",
        (
            Comparison(
                DM2_HALF,
                Side(("gail_only_ippo_demo_50",), ("gail_only_ippo_demo_5m",)),
                TWO_MAPS,
                paper_figure="gail_only",
            ),
        ),
    ),
    Claim("C4", "better demonstrations make DM² better", (Ladder(RUNGS, TWO_MAPS),)),
    Claim(
        "C5",
        "experts trained together matter",
        tuple(Comparison(JOINT[how], INDEPENDENT[how], ("5m_vs_6m",), paper_figure="demo_ablation") for how in JOINT),
    ),
    Claim(
        "C6",
        "concurrent sampling matters less",
        (
            Comparison(
                JOINT["concurrent"],
                JOINT["nonconcurrent"],
                ("5m_vs_6m",),
                rule="within",
                paper_figure="demo_ablation",
            ),
        ),
    ),
    Claim(
        "C7",
        "behavioural-cloning pre-training does not replace DM²",
        (
            Comparison(
                DM2_HALF,
                _same("ippo_bc_pretrain"),
                TWO_MAPS,
                "AUC of the last half",
                paper_figure="bc_pretrain",
            ),
        ),
    ),
    Claim(
        "C8",
        "state-only discriminators do at least as well as state-action ones",
        tuple(
            Comparison(
                _rung(percent),
                Side((f"dm2_state_action_demo_{percent}",), (f"dm2_state_action_demo_{percent // 10}m",)),
                maps,
                rule="not below",
                paper_figure="state_action",
            )
            for percent, maps in ((50, TWO_MAPS), (60, ("3s_vs_4z",)), (70, ("5m_vs_6m",)))
        ),
    ),
    Claim("C9", "QMIX demonstrations work too", (Comparison(_same("dm2_qmix_demo"), IPPO, ALL_MAPS),)),
    Claim(
        "C10",
        "centralised baselines learn faster than decentralised ones",
        tuple(Comparison(_same(name), IPPO, ALL_MAPS) for name in ("qmix", "rmappo")),
    ),
    Claim(
        "C11",
        "the gain is not universal: DM² does not beat IPPO on 8m_vs_9m, self-imitation is slower on 3s_vs_3z",
        (
            Comparison(DM2_FULL, IPPO, ("8m_vs_9m",), rule="not above"),
            Comparison(_same("dm2_sil"), IPPO, ("8m_vs_9m",), rule="not above"),
            Comparison(IPPO, _same("dm2_sil"), ("3s_vs_3z",)),
        ),
    ),
    Claim(
        "S1",
        "DM²'s gain over IPPO hangs on no single quirk of the original code",
        tuple(
            Comparison(
                Side((f"dm2_ippo_demo_{quirk}",)), Side((f"ippo_{quirk}",)), (STUDIED_ON.get(quirk, "5m_vs_6m"),)
            )
            for quirk in FLIPPED_QUIRKS
        ),
        of_the_paper=False,
    ),
    Claim(
        "S2",
        "no map can be won open-loop, by time step and agent id alone",
        (Comparison(Side(("open_loop",)), WON, ALL_MAPS, "final", rule="not above"),),
        of_the_paper=False,
    ),
    Claim(
        "S3",
        "more episodes of demonstrations make DM² better",
        (
            Ladder(
                (*(Side((f"dm2_ippo_demo_{n}_demonstrated_episodes",)) for n in FEWER_EPISODES), DM2_FULL),
                TWO_MAPS,
                "episodes",
            ),
        ),
        of_the_paper=False,
    ),
)
"""The claims of the paper that its figures let one check, in the order of its text, and what it leaves open."""


@dataclass(frozen=True)
class Tables:
    """What claims are judged from.

    Args:
        curves: `results/<scale>/learning_curves.csv`.
        demonstrations: `results/<scale>/demonstrations.csv`.
        paper_curves: `results/paper/paper_curves.csv`.
        paper_demonstrations: `results/paper/demo_win_rates.csv`.
    """

    curves: pd.DataFrame
    demonstrations: pd.DataFrame
    paper_curves: pd.DataFrame
    paper_demonstrations: pd.DataFrame


@dataclass(frozen=True)
class Judgement:
    """One row of claims.csv: a part of a claim on one map, pooled over maps, or the claim as a whole."""

    claim: str
    sentence: str
    part: str
    statistic: str = ""
    rule: str = ""
    n_seeds: int | None = None
    env_steps: int | None = None
    paper: float | None = None
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    verdict: str = UNDECIDED
    reason: str = ""


@dataclass(frozen=True)
class Evidence:
    """One number per run, on one map, for each side of a comparison.

    Args:
        strata: [runs] for each side; one side alone where it is compared with demonstrations, already subtracted.
        env_steps: training length that both sides share.
        paper: the same difference in the paper's curves; None where it has none.
    """

    strata: tuple[Floats, ...]
    env_steps: int
    paper: float | None


def judge(tables: Tables, claims: Iterable[Claim] = CLAIMS) -> pd.DataFrame:
    """Judge every claim.

    Returns:
        claims.csv: for each claim a row per part and, last, the claim as a whole (`part` is "claim"). `estimate`, `low`
        and `high` are ours; `paper` is the same statistic of the paper's digitised curves over the paper's training.
    """
    frame = pd.DataFrame([row for claim in claims for row in _judge_claim(claim, tables)])
    frame.insert(0, "backend", tables.curves["backend"].iloc[0])
    frame.insert(0, "scale", tables.curves["scale"].iloc[0])
    numbers = dict.fromkeys(["paper", "estimate", "low", "high"], "float64")
    return frame.astype({"n_seeds": "Int64", "env_steps": "Int64"} | numbers)


def _judge_claim(claim: Claim, tables: Tables) -> list[Judgement]:
    rows: list[Judgement] = []
    for part in claim.parts:
        blank = Judgement(claim.name, claim.sentence, part="")
        rows += _judge_ladder(blank, part, tables) if isinstance(part, Ladder) else _judge_maps(blank, part, tables)
    verdict = verdict_of_parts([row.verdict for row in rows])
    rows.append(Judgement(claim.name, claim.sentence, WHOLE, verdict=verdict))
    return rows if claim.of_the_paper else [replace(row, verdict=HOLDS.get(row.verdict, row.verdict)) for row in rows]


def verdict_of_parts(verdicts: Sequence[str]) -> str:
    """The verdict that all parts share; partial if only some are reproduced; else undecided."""
    if len(set(verdicts)) == 1:
        return verdicts[0]
    return PARTIAL if REPRODUCED in verdicts else UNDECIDED


def verdict_of_interval(rule: Rule, interval: Interval) -> str:
    """Turn an interval into a verdict by the rule's thresholds (see the head of this module)."""
    above, below = interval.wholly_above(0), interval.wholly_below(0)
    negligible = interval.inside(NEGLIGIBLE)
    if rule == "above":
        return _decide(above, below or negligible)
    if rule == "not above":
        return _decide(below or (negligible and not above), above)
    if rule == "not below":
        return _decide(interval.wholly_above(-NEGLIGIBLE), interval.wholly_below(-NEGLIGIBLE))
    return _decide(interval.inside(SIMILAR), interval.wholly_above(SIMILAR) or interval.wholly_below(-SIMILAR))


def _decide(reproduced: bool, refuted: bool) -> str:
    return REPRODUCED if reproduced else NOT_REPRODUCED if refuted else UNDECIDED


def _conclude(row: Judgement, rule: Rule, strata: Sequence[Floats], statistic: Statistic) -> Judgement:
    """Fill in estimate, interval and verdict of a part whose runs are there."""
    interval = stratified_bootstrap(strata, statistic, stream(0, "claims", row.claim, row.statistic, row.part))
    n_seeds = min(len(stratum) for stratum in strata)
    enough = n_seeds >= MIN_SEEDS
    return replace(
        row,
        n_seeds=n_seeds,
        estimate=float(interval.estimate),
        low=float(interval.low),
        high=float(interval.high),
        verdict=verdict_of_interval(rule, interval) if enough else UNDECIDED,
        reason=row.reason if enough else f"seeds per condition: {n_seeds}, at least {MIN_SEEDS} needed",
    )


# --- comparisons ---------------------------------------------------------------------------------------------------


def _judge_maps(blank: Judgement, comparison: Comparison, tables: Tables) -> Iterator[Judgement]:
    found: dict[str, Evidence] = {}
    words: dict[str, None] = {}
    for map_name in comparison.maps:
        names = [_condition_run(side, map_name, tables.curves) for side in comparison.sides]
        row = replace(blank, part=map_name, statistic=_in_words(comparison, names), rule=comparison.rule)
        paper = _paper_difference(comparison, map_name, tables)
        if missing := [name for name, was_run in names if not was_run]:
            yield replace(row, paper=paper, reason=f"not run: {', '.join(missing)}")
            continue
        found[map_name] = _evidence(comparison, map_name, [name for name, _ in names], paper, tables)
        words[row.statistic] = None
        yield _pooled(row, comparison.rule, [found[map_name]])
    if len(found) > 1:
        row = replace(row, part=f"pooled: {', '.join(found)}", statistic=" and ".join(words))
        yield _pooled(row, comparison.rule, list(found.values()))


def _condition_run(side: Side, map_name: str, curves: pd.DataFrame) -> tuple[str, bool]:
    """The side's condition on a map, and whether it was run there."""
    run = set(curves.loc[curves["map_name"] == map_name, "condition"])
    return next(((name, True) for name in side.conditions if name in run), (side.conditions[0], False))


def _in_words(comparison: Comparison, names: Sequence[tuple[str, bool]]) -> str:
    first, *second = [name for name, _ in names]
    level = "win rate of its demonstrations" if comparison.second is None else str(comparison.second)
    other = f"{comparison.measure}({second[0]})" if second else level
    return f"{comparison.measure}({first}) - {other}"


def _evidence(
    comparison: Comparison, map_name: str, names: Sequence[str], paper: float | None, tables: Tables
) -> Evidence:
    runs = list(comparable_curves(tables.curves, map_name, names).values())
    strata = [_measured(one.env_steps, one.win_rate, comparison.measure) for one in runs]
    if comparison.second is None:
        strata = [strata[0] - _demonstrations(tables, map_name, names[0], "greedy_win_rate")]
    elif not isinstance(comparison.second, Side):
        strata = [strata[0] - comparison.second]
    return Evidence(tuple(strata), int(runs[0].env_steps[-1]), paper)


def _measured(env_steps: NDArray[np.integer], win_rate: Floats, measure: Measure) -> Floats:
    if measure == "final":
        return final_value(env_steps, win_rate)
    return area_under_curve(env_steps, win_rate, begin=0.5 if measure == "AUC of the last half" else 0.0)


def _demonstrations(tables: Tables, map_name: str, condition: str, column: str) -> float:
    table = tables.demonstrations
    chosen = table.loc[(table["map_name"] == map_name) & (table["condition"] == condition), column]
    if chosen.empty:
        raise ResultsError(f"found no demonstrations of {condition} on {map_name} in the table, expected one row")
    return float(chosen.iloc[0])


def _pooled(row: Judgement, rule: Rule, maps: Sequence[Evidence]) -> Judgement:
    n_sides = len(maps[0].strata)
    strata = [evidence.strata[side] for side in range(n_sides) for evidence in maps]  # first sides, then second ones
    paper = [evidence.paper for evidence in maps if evidence.paper is not None]
    row = replace(
        row,
        env_steps=max(evidence.env_steps for evidence in maps),
        paper=sum(paper) / len(paper) if len(paper) == len(maps) else None,
    )
    return _conclude(row, rule, strata, difference(mean_of, len(maps)) if n_sides == 2 else mean_of)


# --- the ladder of demonstrations ----------------------------------------------------------------------------------


def _judge_ladder(blank: Judgement, ladder: Ladder, tables: Tables) -> Iterator[Judgement]:
    what = {"greedy_win_rate": "win rate of its demonstrations", "episodes": "number of episodes demonstrated"}[
        ladder.against
    ]
    words = f"rank correlation of final(dm2_ippo_demo_*) with the {what}"
    for map_name in ladder.maps:
        paper = _paper_correlation(ladder, map_name, tables)
        row = replace(blank, part=map_name, statistic=words, rule="above", paper=paper)
        names = [_condition_run(side, map_name, tables.curves) for side in ladder.rungs]
        rungs = [name for name, was_run in names if was_run]
        row = replace(row, reason=f"{len(rungs)} sets of demonstrations")
        if len(rungs) < MIN_RUNGS:
            yield replace(row, reason=f"{row.reason}, at least {MIN_RUNGS} needed")
            continue
        runs = [seed_curves(tables.curves, map_name, name) for name in rungs]
        numbers = np.array([_demonstrations(tables, map_name, name, ladder.against) for name in rungs])
        finals = [final_value(one.env_steps, one.win_rate) for one in runs]
        row = replace(row, env_steps=max(int(one.env_steps[-1]) for one in runs))
        yield _conclude(row, "above", finals, correlation_with(numbers))


def correlation_with(numbers: Floats) -> Statistic:
    """Rank correlation of the strata's means with one number per stratum. A `Statistic`.

    Args:
        numbers: one per stratum, [strata].
    """

    def statistic(strata: Sequence[Floats]) -> Floats:
        means = np.stack([stratum.mean(axis=1) for stratum in strata], axis=-1)  # [resamples, strata]
        return rank_correlation(means, np.broadcast_to(numbers, means.shape))

    return statistic


# --- the paper's numbers -------------------------------------------------------------------------------------------


def _paper_difference(comparison: Comparison, map_name: str, tables: Tables) -> float | None:
    if not all(side.paper for side in comparison.sides):
        return None
    curves = [_paper_side(side, map_name, comparison.paper_figure, tables) for side in comparison.sides]
    if any(curve.empty for curve in curves):
        return None
    values = [_paper_measure(curve, comparison.measure) for curve in curves]
    if isinstance(comparison.second, Side):
        return values[0] - values[1]
    level = comparison.second
    if level is None:
        level = _paper_demonstrations(tables, map_name, curves[0], "demo_win_rate")
    return None if level is None else values[0] - level


def _paper_side(side: Side, map_name: str, paper_figure: str, tables: Tables) -> pd.DataFrame:
    curves = [paper_curve(tables.paper_curves, map_name, name, paper_figure) for name in side.paper]
    return next((curve for curve in curves if len(curve)), curves[0])


def _paper_measure(curve: pd.DataFrame, measure: Measure) -> float:
    return float(_measured(curve["env_steps"].to_numpy(), curve["win_rate"].to_numpy(float), measure))


def _paper_demonstrations(tables: Tables, map_name: str, curve: pd.DataFrame, listed_in: str) -> float | None:
    checkpoint = str(curve["condition"].iloc[0]).rsplit("_", 1)[1]  # dm2_ippo_demo_5m -> 5m
    table = tables.paper_demonstrations
    source = (table["demo_source"] == "ippo") & (table["demo_checkpoint"] == checkpoint)
    listed = (table["used"] == "yes") & (table["dict"] == listed_in)
    chosen = table.loc[(table["map"] == map_name) & source & listed, "win_rate"]
    return None if chosen.empty else float(chosen.iloc[0])


def _paper_correlation(ladder: Ladder, map_name: str, tables: Tables) -> float | None:
    if not all(side.paper for side in ladder.rungs):
        return None
    curves = [_paper_side(side, map_name, ladder.paper_figure, tables) for side in ladder.rungs]
    if any(curve.empty for curve in curves):
        return None
    win_rates = [_paper_demonstrations(tables, map_name, curve, "demo_qual") for curve in curves]
    finals = np.array([_paper_measure(curve, "final") for curve in curves])
    return None if None in win_rates else float(rank_correlation(finals, np.array(win_rates, float)))


# --- for reading ---------------------------------------------------------------------------------------------------


def to_markdown(judged: pd.DataFrame) -> str:
    """The verdicts as two Markdown tables: one line per claim, then one line per part with its numbers."""
    scale, backend = judged[["scale", "backend"]].iloc[0]
    whole, parts = judged[judged["part"] == WHOLE], judged[judged["part"] != WHOLE]
    shown = parts.rename(columns={"part": "map", "n_seeds": "seeds"})
    shown["ours"] = [_interval_text(row) for row in parts.itertuples()]
    shown["verdict"] += [f" ({reason})" if reason else "" for reason in parts["reason"]]
    columns = ["claim", "map", "statistic", "rule", "paper", "ours", "seeds", "env_steps", "verdict"]
    lines = [
        f"# The paper's claims at scale {scale}",
        "",
        f"Ours: {engine_name(backend)}, scale {scale}. The paper's: StarCraft II, read off its figures. The verdicts "
        "are computed by the rules at the head of `dm2/claims.py`; intervals are 95 % bootstrap intervals over seeds. "
        "S1 to S3 are statements that the paper does not test.",
        "",
        markdown_table(whole[["claim", "sentence", "verdict"]]),
        markdown_table(shown[columns], {"paper": "+.2f"}),
    ]
    return "\n".join(lines)


def _interval_text(row: Any) -> str:
    return "" if pd.isna(row.estimate) else f"{row.estimate:+.2f} [{row.low:+.2f}, {row.high:+.2f}]"
