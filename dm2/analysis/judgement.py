"""The claims judged from the tables of a scale: claims.csv and claims.md.

Claims are listed in `dm2.analysis.claims`; how numbers become verdicts is told at the head of `dm2.analysis.verdicts`.
Beside each row stands what the same rule says of the paper's own numbers, and the expert whose demonstrations our runs
learn from: all seeds of a condition share them, so that a verdict is about DM² with that expert. No verdict is typed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from dm2.analysis.claims import CLAIMS, Claim, Comparison, Contrast, Effects, Ladder
from dm2.analysis.evidence import (
    Tables,
    condition_run,
    experts,
    ladder_run,
    our_pair,
    our_rungs,
    paper_pair,
    paper_rungs,
)
from dm2.analysis.few_seeds import MIN_SEEDS
from dm2.analysis.markdown import markdown_table
from dm2.analysis.tables import engine_name
from dm2.analysis.verdicts import (
    NOT_REPRODUCED,
    NOT_RUN,
    REPRODUCED,
    UNDECIDED,
    Pair,
    Verdict,
    judge_effects,
    judge_ladder,
    judge_pairs,
    verdict_of_parts,
)
from dm2.core.randomness import stream

HOLDS = {REPRODUCED: "holds", NOT_REPRODUCED: "does not hold"}
"""The verdicts on what the paper does not say."""
WHOLE = "claim"
POOLED = "pooled: "


@dataclass(frozen=True)
class Judgement:
    """One row of claims.csv: a part of a claim on one map, pooled over maps, or the claim as a whole."""

    claim: str
    sentence: str
    part: str
    statistic: str = ""
    rule: str = ""
    expert: str = ""
    n_seeds: int | None = None
    env_steps: int | None = None
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    verdict: str = NOT_RUN
    reason: str = ""
    paper: float | None = None
    paper_low: float | None = None
    paper_high: float | None = None
    paper_at_our_length: float | None = None
    paper_verdict: str = ""

    def with_ours(self, verdict: Verdict) -> Judgement:
        """The row with our verdict and its numbers."""
        reason = "; ".join(filter(None, [self.reason, verdict.reason]))
        found = replace(self, estimate=verdict.estimate, low=verdict.low, high=verdict.high)
        return replace(found, verdict=verdict.verdict, reason=reason)

    def with_papers(self, verdict: Verdict) -> Judgement:
        """The row with the same rule's verdict on the paper's numbers."""
        found = replace(self, paper=verdict.estimate, paper_low=verdict.low, paper_high=verdict.high)
        return replace(found, paper_verdict=verdict.verdict)


def judge(tables: Tables, claims: Iterable[Claim] = CLAIMS) -> pd.DataFrame:
    """Judge every claim.

    Returns:
        claims.csv: for each claim a row per part and map, the pooled row of a part last, and then the claim as a whole
        (`part` is "claim"). `estimate`, `low` and `high` are ours, those with `paper` the paper's over all its
        training, `paper_at_our_length` over as many env steps as ours; limits are missing where no interval is shown.
        What a scale does not run has the verdict "not run".
    """
    frame = pd.DataFrame([row for claim in claims for row in _judge_claim(claim, tables)])
    frame.insert(0, "backend", tables.curves["backend"].iloc[0])
    frame.insert(0, "scale", tables.curves["scale"].iloc[0])
    numbers = dict.fromkeys(
        ["estimate", "low", "high", "paper", "paper_low", "paper_high", "paper_at_our_length"], "float64"
    )
    return frame.astype({"n_seeds": "Int64", "env_steps": "Int64"} | dict.fromkeys(numbers, "float64"))


def _judge_claim(claim: Claim, tables: Tables) -> list[Judgement]:
    blank = Judgement(claim.name, claim.sentence, part="")
    parts = [_judge_part(blank, part, tables) for part in claim.parts]
    whole = replace(
        blank,
        part=WHOLE,
        verdict=_verdict_of_claim([rows[-1].verdict for rows in parts]),
        paper_verdict=_verdict_of_claim([rows[-1].paper_verdict for rows in parts]) if claim.of_the_paper else "",
    )
    rows = [*(row for part in parts for row in part), whole]
    return rows if claim.of_the_paper else [replace(row, verdict=HOLDS.get(row.verdict, row.verdict)) for row in rows]


def _judge_part(blank: Judgement, part: Comparison | Effects | Ladder, tables: Tables) -> list[Judgement]:
    if isinstance(part, Ladder):
        return _judge_ladder(blank, part, tables)
    return [_judge_effects(blank, part, tables)] if isinstance(part, Effects) else _judge_maps(blank, part, tables)


def _verdict_of_claim(verdicts: Sequence[str]) -> str:
    """What the deciding rows of a claim's parts come to."""
    if set(verdicts) == {NOT_RUN}:
        return NOT_RUN
    return verdict_of_parts([UNDECIDED if verdict in (NOT_RUN, "") else verdict for verdict in verdicts])


# --- comparisons ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Judged:
    """A contrast, its row, and the pairs that it was judged by."""

    contrast: Contrast
    row: Judgement
    ours: Pair | None
    papers: Pair | None


def _judge_maps(blank: Judgement, comparison: Comparison, tables: Tables) -> list[Judgement]:
    judged = [_judge_contrast(blank, contrast, comparison, tables) for contrast in comparison.contrasts]
    rows = [one.row for one in judged]
    return rows if len(rows) == 1 else [*rows, _pooled(blank, comparison, judged)]


def _judge_contrast(blank: Judgement, contrast: Contrast, comparison: Comparison, tables: Tables) -> _Judged:
    row, ours = _row_and_pair(blank, contrast, comparison, tables)
    row = replace(row, statistic=_in_words(contrast, comparison, tables))
    papers = paper_pair(contrast, comparison.measure, comparison.paper_figure, tables)
    if ours:
        as_long = paper_pair(contrast, comparison.measure, comparison.paper_figure, tables, row.env_steps)
        row = replace(row, paper_at_our_length=as_long.difference if as_long else None)
        row = row.with_ours(judge_pairs(comparison.rule, [ours], _stream(row, "ours")))
    if papers:
        row = row.with_papers(judge_pairs(comparison.rule, [papers], _stream(row, "paper")))
    return _Judged(contrast, row, ours, papers)


def _row_and_pair(
    blank: Judgement, contrast: Contrast, part: Comparison | Effects, tables: Tables
) -> tuple[Judgement, Pair | None]:
    """The row of a contrast, not judged yet, and what was run of it."""
    names = _conditions(contrast, tables)
    row = replace(blank, part=contrast.map_name, rule=part.rule)
    if missing := [name for name, was_run in names if not was_run]:
        return replace(row, reason=f"{NOT_RUN}: {', '.join(missing)}"), None
    pair, env_steps = our_pair(contrast, part.measure, tables)
    expert = experts([name for name, _ in names], contrast.map_name, tables)
    return replace(row, env_steps=env_steps, n_seeds=pair.n_seeds, expert=expert), pair


def _conditions(contrast: Contrast, tables: Tables) -> list[tuple[str, bool]]:
    return [condition_run(side, contrast.map_name, tables.curves) for side in contrast.sides]


def _in_words(contrast: Contrast, comparison: Comparison, tables: Tables) -> str:
    first, *second = [name for name, _ in _conditions(contrast, tables)]
    level = "win rate of its demonstrators" if contrast.second is None else str(contrast.second)
    return f"{comparison.measure}({first}) - " + (f"{comparison.measure}({second[0]})" if second else level)


def _pooled(blank: Judgement, comparison: Comparison, judged: Sequence[_Judged]) -> Judgement:
    """The row that decides: over the maps that were run, the paper's over those of them that it shows.

    Maps whose seeds are not all there yet count once they are; until then they are named, like those not run. Where
    nothing was run it has the paper's reading alone, over all that it shows.
    """
    rule, begun = comparison.rule, [one for one in judged if one.ours]
    run = [one for one in begun if one.ours and one.ours.n_seeds >= MIN_SEEDS] or begun
    telling = [one for one in run if one.ours and one.ours.somebody_learned(rule)]
    silent = [one.row.part for one in run if one not in telling]
    there = {one.row.part for one in begun}
    counted = {one.row.part for one in run}
    few = [one.row.statistic if one.row.part in counted else one.row.part for one in begun if one not in run]
    unrun = [
        one.row.reason.removeprefix(f"{NOT_RUN}: ") if one.row.part in there else one.row.part
        for one in judged
        if not one.ours
    ]
    left_out = {
        "not run": unrun if run else [],
        f"fewer than {MIN_SEEDS} seeds so far": few,
        "nobody learned": silent if telling else [],
    }
    of = run or judged
    row = replace(
        blank,
        part=POOLED + ", ".join(_unique(one.row.part for one in telling or of)),
        statistic=" and ".join(_unique(one.row.statistic for one in of)),
        rule=rule,
        expert="; ".join(_unique(f"{one.row.part}: {one.row.expert}" for one in telling if one.row.expert)),
        reason="; ".join(f"{why}: {', '.join(_unique(maps))}" for why, maps in left_out.items() if maps),
    )
    papers = [one.papers for one in of if one.papers]
    if papers:
        row = row.with_papers(judge_pairs(rule, papers, _stream(row, "paper")))
    if not run:
        return row
    as_long = [one.row.paper_at_our_length for one in run if one.papers and one.row.paper_at_our_length is not None]
    row = replace(
        row,
        paper_at_our_length=float(np.mean(as_long)) if as_long else None,
        n_seeds=min(one.ours.n_seeds for one in telling or run if one.ours),
        env_steps=max(one.row.env_steps or 0 for one in telling or run),
    )
    return row.with_ours(judge_pairs(rule, [one.ours for one in run if one.ours], _stream(row, "ours")))


def _judge_effects(blank: Judgement, effects: Effects, tables: Tables) -> Judgement:
    judged = [_row_and_pair(blank, contrast, effects, tables) for contrast in effects.contrasts]
    rows, ours = [row for row, _ in judged], [pair for _, pair in judged]
    papers = [paper_pair(one, effects.measure, effects.paper_figure, tables) for one in effects.contrasts]
    row = replace(rows[0], statistic=effects.words, reason="; ".join(_unique(row.reason for row in rows if row.reason)))
    row = replace(row, expert=" and ".join(_unique(row.expert for row in rows if row.expert)))
    if ours[0] and ours[1]:
        row = replace(row, n_seeds=min(ours[0].n_seeds, ours[1].n_seeds))
        row = row.with_ours(judge_effects(effects.rule, ours[0], ours[1], _stream(row, "ours")))
    if papers[0] and papers[1]:
        row = row.with_papers(judge_effects(effects.rule, papers[0], papers[1], _stream(row, "paper")))
    return row


# --- ladders of demonstrations -------------------------------------------------------------------------------------


def _judge_ladder(blank: Judgement, ladder: Ladder, tables: Tables) -> list[Judgement]:
    what = {"win_rate": "win rate of its demonstrators", "episodes": "number of episodes demonstrated"}[ladder.against]
    words = f"rank correlation of final(dm2_ippo_demo_*) with the {what}"
    row = replace(blank, statistic=words, rule="above")
    rows = [_judge_rungs(replace(row, part=map_name), ladder, [map_name], tables) for map_name in ladder.maps]
    return [*rows, _judge_rungs(replace(row, part=POOLED + ", ".join(ladder.maps)), ladder, ladder.maps, tables)]


def _judge_rungs(row: Judgement, ladder: Ladder, maps: Sequence[str], tables: Tables) -> Judgement:
    papers = [rungs for map_name in maps if (rungs := paper_rungs(ladder, map_name, tables))]
    if papers:
        row = row.with_papers(judge_ladder(papers, _stream(row, "paper")))
    ours = {map_name: found for map_name in maps if (found := our_rungs(ladder, map_name, tables))}
    if not ours:
        return replace(row, reason="not run: a ladder of demonstrations")
    silent = [f"{map_name}: {rungs.silent}" for map_name, (rungs, _) in ours.items() if rungs.silent]
    silent += [f"{map_name}: not run" for map_name in maps if map_name not in ours]
    row = replace(
        row,
        env_steps=max(env_steps for _, env_steps in ours.values()),
        n_seeds=min(rungs.n_seeds for rungs, _ in ours.values()),
        expert="; ".join(_unique(_expert_on(map_name, maps, ladder, tables) for map_name in ours)),
        reason="; ".join(silent) if len(silent) < len(maps) else "",
    )
    return row.with_ours(judge_ladder([rungs for rungs, _ in ours.values()], _stream(row, "ours")))


def _expert_on(map_name: str, maps: Sequence[str], ladder: Ladder, tables: Tables) -> str:
    found = experts(ladder_run(ladder, map_name, tables), map_name, tables)
    return f"{map_name}: {found}" if len(maps) > 1 else found


def _stream(row: Judgement, whose: str) -> np.random.Generator:
    return stream(0, "claims", row.claim, row.statistic, row.part, whose)


def _unique(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))


# --- for reading ---------------------------------------------------------------------------------------------------


def shown(judged: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The claims that a scale runs something of, and behind them the rows that were run and those that decide."""
    whole = judged[(judged["part"] == WHOLE) & (judged["verdict"] != NOT_RUN)]
    parts = judged[(judged["part"] != WHOLE) & judged["claim"].isin(whole["claim"])]
    decides = [index for _, behind in parts.groupby("claim") for index in deciding(behind).index]
    return whole, parts[(parts["verdict"] != NOT_RUN) | parts.index.isin(decides)]


def deciding(parts: pd.DataFrame) -> pd.DataFrame:
    """The rows that one claim's verdict follows from: the pooled ones, or all of them where none is pooled."""
    pooled = parts[parts["part"].str.startswith(POOLED)]
    return pooled if len(pooled) else parts


def decided_on(parts: pd.DataFrame) -> str:
    """The maps that one claim's verdict rests on, as far as they were run."""
    run = deciding(parts).query("verdict != @NOT_RUN")
    names = ", ".join(run["part"].str.removeprefix(POOLED))
    return ", ".join(_unique(names.split(", ")))


def not_judged(judged: pd.DataFrame) -> str:
    """A sentence that names the claims of which a scale runs nothing; empty where there is none."""
    names = judged.loc[(judged["part"] == WHOLE) & (judged["verdict"] == NOT_RUN), "claim"]
    return f"Not judged at this scale: {', '.join(names)}." if len(names) else ""


def interval_text(estimate: Any, low: Any, high: Any) -> str:
    """An estimate with its interval, as far as they are known."""
    if pd.isna(estimate):
        return ""
    return f"{estimate:+.2f} (no interval)" if pd.isna(low) else f"{estimate:+.2f} [{low:+.2f}, {high:+.2f}]"


def to_markdown(judged: pd.DataFrame) -> str:
    """The verdicts as two Markdown tables: one line per claim, then one line per part with its numbers."""
    scale, backend = judged[["scale", "backend"]].iloc[0]
    whole, parts = shown(judged)
    lines = [
        f"# The paper's claims at scale {scale}",
        "",
        f"Ours: {engine_name(backend)}, scale {scale}. The paper's: StarCraft II, read off its figures, judged by the "
        "same rules. Verdicts are computed by the rules at the head of `dm2/analysis/verdicts.py`; intervals are those "
        "of their tests, at 95 %. A pooled row decides. A verdict holds for the expert named. S1 to S3 are statements "
        "that the paper does not test.",
        "",
    ]
    if sentence := not_judged(judged):
        lines += [sentence, ""]
    if len(whole):
        lines += [
            markdown_table(whole[["claim", "sentence", "verdict", "paper_verdict"]]),
            markdown_table(_parts(parts)),
        ]
    return "\n".join(lines).rstrip("\n") + "\n"


def _parts(parts: pd.DataFrame) -> pd.DataFrame:
    table = parts.rename(columns={"part": "map", "n_seeds": "seeds"})
    table["ours"] = [interval_text(row.estimate, row.low, row.high) for row in parts.itertuples()]
    table["paper"] = [interval_text(row.paper, row.paper_low, row.paper_high) for row in parts.itertuples()]
    table["verdict"] += [f" ({reason})" if reason else "" for reason in parts["reason"]]
    columns = ["claim", "map", "statistic", "rule", "ours", "seeds", "env_steps", "verdict", "paper", "paper_verdict"]
    return table[[*columns, "expert"]]
