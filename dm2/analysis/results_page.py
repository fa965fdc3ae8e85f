"""docs/results.md: which claims of the paper hold at a scale, with a figure and the numbers behind each.

No number of the page, nor of the verdicts on the front page, is typed: all come from the tables of the scale, so that
both are made again when they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from dm2.analysis.curve_figures import format_steps, number_range
from dm2.analysis.judgement import POOLED, WHOLE, decided_on, deciding, interval_text, not_judged, shown
from dm2.analysis.markdown import markdown_table
from dm2.analysis.records import effort, hardware, read_records
from dm2.analysis.report import CLAIMS, SUMMARY
from dm2.analysis.tables import (
    ACCURACY,
    CURVES,
    DEMONSTRATIONS,
    ResultsError,
    engine_name,
    read_table,
    seed_curves,
    with_accuracy,
)
from dm2.analysis.verdicts import NOT_RUN
from dm2.settings.matrix import Matrix
from dm2.settings.run import RunSettings

SHOWN_IN = {
    **dict.fromkeys(("C1", "C2", "C9", "C10", "C11"), "core"),
    "C3": "gail_only",
    "C4": "all_demos",
    **dict.fromkeys(("C5", "C6"), "demo_ablation"),
    "C7": "bc_pretrain",
    "C8": "state_action",
    "S2": "open_loop",
}
"""Figure behind each claim; S1 and S3 have tables alone."""

MARKS = ("<!-- verdicts: made by dm2 write-results-page -->", "<!-- end of verdicts -->")
"""What the verdicts of a front page stand between."""

BEYOND = """\
## What the simulator cannot say

The battles are a simulator's, made to SMAC's interface and compared with logs of the real game (`docs/simulator.md`). A
claim that holds here holds for these learners on these battles; that it holds in StarCraft II is the paper's to say.
Where trainings are shorter than the paper's, a policy "at 50 %" has seen fewer battles than the paper's at 50 %.
"""


def results_page(results: Path, figures: str) -> str:
    """The page of a scale, as Markdown.

    Args:
        results: `results/<scale>`, with claims.csv, learning_curves.csv, demonstrations.csv, records.jsonl and recorded
            battles, if any.
        figures: where the figures of the scale lie, as the page's links have it.

    Raises:
        ResultsError: a table is missing.
    """
    claims = read_table(results / "claims.csv", ["scale", "backend", *CLAIMS])
    demonstrations = read_table(results / "demonstrations.csv", DEMONSTRATIONS, may_be_empty=True)
    records = read_records(results / "records.jsonl")
    scale, engine = claims["scale"].iloc[0], engine_name(claims["backend"].iloc[0])
    whole, parts = shown(claims)
    sections = [
        "# What reproduces\n",
        f"Ours: {engine}, scale {scale}; no StarCraft II result. The paper's numbers were read off its figures and\n"
        "judged by the same rules (`dm2/analysis/verdicts.py`). Intervals are 95 %. AUC is the win rate averaged over\n"
        "training (area under its curve), final that of the last 5 % of it. All seeds of DM² on a map learn from one\n"
        "expert, the best of its seeds; the env steps that trained it are not counted.\n\n"
        f"`dm2 write-results-page {scale}` makes this page from the tables in `results/{scale}` (with `--front-page\n"
        f"README.md` the verdicts there too), and `dm2 draw-figures {scale}` its figures.\n",
        _verdicts(whole, parts),
        not_judged(claims) + "\n",
        *(_claim(row, parts[parts["claim"] == row.claim], figures) for row in whole.itertuples()),
        _experts(demonstrations),
        _matching(read_table(results / "learning_curves.csv", CURVES), figures),
        _battles(results),
        BEYOND,
        _cost(records),
    ]
    return "\n".join(section for section in sections if section.strip()).rstrip("\n") + "\n"


def front_page(page: str, results: Path, figures: str, matrix: Matrix, papers: Matrix) -> str:
    """The page with the verdicts of a scale between its marks, in place of those that were there.

    Args:
        page: Markdown with the two lines of `MARKS`.
        results: `results/<scale>`, with claims.csv and summary.csv.
        figures: where the figures of the scale lie, as the page's links have it.
        matrix: what the scale is to run.
        papers: scale paper, to tell how the settings differ.

    Raises:
        ResultsError: a table is missing, or one of the marks.
    """
    start, end = MARKS
    before, started, rest = page.partition(start)
    _, ended, after = rest.partition(end)
    if not (started and ended):
        raise ResultsError(f"front page: found no line {end if started else start!r}, expected both: {start} and {end}")
    claims = read_table(results / "claims.csv", ["scale", "backend", *CLAIMS])
    summary = read_table(results / "summary.csv", SUMMARY)
    lines = [
        f'<img src="{figures}/core.png" width="560" alt="Win rate against env steps, ours and the paper\'s curves">',
        "",
        _label(summary, matrix, papers),
        "What the paper claims, judged by one rule (head of `dm2/analysis/verdicts.py`) from its own numbers and ours:",
        "",
        f"| claim | | the paper's numbers (StarCraft II) | ours ({engine_name(claims['backend'].iloc[0])}; AUC "
        "is the win rate averaged over training; 95 % intervals) |",
        "|---|---|---|---|",
    ]
    parts = shown(claims)[1]
    of_the_paper = claims[(claims["part"] == WHOLE) & (claims["paper_verdict"] != "")]
    for claim in of_the_paper.itertuples():
        ours = _ours(claim, parts[parts["claim"] == claim.claim])
        lines.append(f"| {claim.claim} | {claim.sentence} | {claim.paper_verdict} | {ours} |")
    return "\n".join([before + start, *lines, end + after])


def _label(summary: pd.DataFrame, matrix: Matrix, papers: Matrix) -> str:
    """What the figure shows: the engine, how far the scale is, whose settings, seeds and lengths."""
    trained = set(zip(summary["map_name"], summary["condition"], strict=True))
    planned = {(run.map_name, run.condition) for run in matrix.learners}
    steps: dict[str, tuple[int, int]] = {}
    papers_own = True
    for run in matrix.learners:
        if (run.map_name, run.condition) in trained:
            ours, theirs = matrix.settings(run), papers.settings(run)
            steps[run.map_name] = max(steps.get(run.map_name, (0, 0)), (ours.env_steps, theirs.env_steps))
            papers_own &= all(getattr(ours, block) == getattr(theirs, block) for block in RunSettings.blocks())
    lengths = ", ".join(f"{name} {format_steps(own)} of {format_steps(all_)}" for name, (own, all_) in steps.items())
    return (
        f"*Scale {matrix.scale.scale} on {engine_name(summary['backend'].iloc[0])}, {len(trained & planned)} of its "
        f"{len(planned)} pairs of condition and map trained so far: {number_range(summary['n_seeds'])} seeds,\n"
        f"{'' if papers_own else 'not '}the paper's settings; env steps, ours of the paper's: {lengths}.*"
    )


def _ours(claim: Any, behind: pd.DataFrame) -> str:
    """Our verdict with the numbers and the maps that it rests on."""
    if behind.empty:
        return str(claim.verdict)
    rows = deciding(behind)
    run, unrun = rows[rows["verdict"] != NOT_RUN], rows[rows["verdict"] == NOT_RUN]
    told = "; ".join(f"{row.statistic} {_number(row)}".rstrip() for row in run.itertuples())
    reasons = dict.fromkeys([*filter(None, run["reason"]), *map(_missing, unrun.itertuples())])
    return f"**{claim.verdict}** on {decided_on(behind)}: {told}" + (f" ({'; '.join(reasons)})" if reasons else "")


def _missing(row: Any) -> str:
    return f"{NOT_RUN}: {row.statistic} on {row.part.removeprefix(POOLED)}"


def _papers_number(row: Any) -> str:
    found = interval_text(row.paper, row.paper_low, row.paper_high)
    as_long = row.paper_at_our_length
    return found + (f" ({as_long:+.2f} over as many env steps as ours)" if found and pd.notna(as_long) else "")


def _number(row: Any) -> str:
    return interval_text(row.estimate, row.low, row.high)


def _verdicts(whole: pd.DataFrame, parts: pd.DataFrame) -> str:
    if whole.empty:
        return ""
    rows = []
    for claim in whole.itertuples():
        behind = parts[parts["claim"] == claim.claim]
        decisive = deciding(behind).query("verdict != @NOT_RUN")
        rows.append(
            {
                "claim": claim.claim,
                "in words": claim.sentence,
                "verdict": f"**{claim.verdict}**",
                "on": decided_on(behind),
                "ours": "; ".join(filter(None, map(_number, decisive.itertuples()))),
                "the paper's": "; ".join(filter(None, map(_papers_number, decisive.itertuples()))),
                "by the same rule": claim.paper_verdict,
                "seeds": decisive["n_seeds"].min(),
            }
        )
    return markdown_table(pd.DataFrame(rows).astype({"seeds": "Int64"}))


def _claim(claim: Any, parts: pd.DataFrame, figures: str) -> str:
    lines = [f"## {claim.claim}: {claim.sentence}", ""]
    if figure := SHOWN_IN.get(claim.claim):
        lines += [f"![{claim.sentence}]({figures}/{figure}.png)", ""]
    lines += [f"- {_sentence(row)}" for row in parts.itertuples()]
    return "\n".join([*lines, ""])


def _sentence(row: Any) -> str:
    """What one row says: the statistic, ours and the paper's, what it rests on, and the verdict."""
    if row.verdict == NOT_RUN:
        return f"{row.part}: {row.statistic} is {row.reason or NOT_RUN}."
    ours = interval_text(row.estimate, row.low, row.high) or "not known"
    told = [f"{row.part}: {row.statistic} is {ours}"]
    if pd.notna(row.paper):
        told.append(f"in the paper {_papers_number(row)}")
    if pd.notna(row.n_seeds):
        told.append(f"at least {int(row.n_seeds)} seed{'s' if row.n_seeds > 1 else ''} a side" + _length(row))
    if row.expert:
        told.append(f"demonstrations of {row.expert}")
    why = f" ({row.reason})" if row.reason else ""
    return f"{'; '.join(told)}. By the rule '{row.rule}': {row.verdict}{why}."


def _length(row: Any) -> str:
    return f" of {format_steps(row.env_steps)} env steps" if pd.notna(row.env_steps) else ""


def _experts(demonstrations: pd.DataFrame) -> str:
    if demonstrations.empty:
        return ""
    columns = ["map_name", "condition", "expert", "expert_seeds", "checkpoint_percent", "episodes", "greedy_win_rate"]
    columns += ["sampled_win_rate"]
    return f"## Who demonstrated\n\n{markdown_table(demonstrations[columns])}"


def _matching(curves: pd.DataFrame, figures: str) -> str:
    """How far the discriminators' accuracy falls, condition by condition."""
    judged = with_accuracy(curves).dropna(subset=ACCURACY)
    if judged.empty:
        return ""
    title = "How well discriminators tell the team from its experts"
    rows = []
    for map_name, condition in judged[["map_name", "condition"]].drop_duplicates().itertuples(index=False):
        runs = seed_curves(judged, map_name, condition, column=ACCURACY)
        accuracy = runs.values.mean(axis=0)
        told = {
            "highest": accuracy.max(),
            "at_env_steps": runs.env_steps[accuracy.argmax()],
            "at_the_end": accuracy[-1],
        }
        rows.append({"map_name": map_name, "condition": condition, "seeds": len(runs.seeds)} | told)
    return (
        f"## {title}\n\n![{title}]({figures}/matching.png)\n\nMean accuracy over seeds, experts' and own rows counted "
        "alike; 0.5 is chance, and what is left when a team's\nobservations are distributed as its experts'.\n\n"
        + markdown_table(pd.DataFrame(rows))
    )


def _battles(results: Path) -> str:
    """Links to the recorded battles, a line per map."""
    by_map: dict[str, list[str]] = {}
    for recording in sorted(results.glob("recordings/*/*.json")):
        map_name, condition = recording.parent.name, recording.stem
        link = f"../results/{results.name}/recordings/{map_name}/{recording.name}"
        by_map.setdefault(map_name, []).append(f"[{condition}]({link})")
    if not by_map:
        return ""
    lines = [f"- {map_name}: {', '.join(links)}" for map_name, links in by_map.items()]
    how = "One greedy battle of a final policy each; `dm2 watch FILE.json --output battle.html` makes a page to watch."
    return "\n".join(["## Battles to watch", "", how, "", *lines, ""])


def _cost(records: list[dict[str, Any]]) -> str:
    table = effort(records)
    return (
        f"## What it cost\n\n{table['core_hours'].sum():.1f} core hours on {hardware(records)}; one run, one thread,\n"
        "beside other work: an idle core takes fewer (`benchmarks/README.md`). The record of each run (settings,\n"
        "versions, hashes) is a line of `records.jsonl` beside the tables.\n\n"
        + markdown_table(table, {"core_hours": ".1f"})
    )
