"""One page that holds everything a scale has shown: figures, tables and verdicts in a single HTML file.

The page needs no network and no other file, and says in its head which engine and scale made it. It is made from the
committed tables and figures alone, so the same files give the same bytes.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from dm2.analysis.curve_figures import format_steps
from dm2.analysis.judgement import interval_text, not_judged, shown
from dm2.analysis.tables import DEMONSTRATIONS, ResultsError, cut_short, engine_name, read_table
from dm2.core.files import atomic_write

SUMMARY = ["scale", "backend", "map_name", "condition", "n_seeds", "env_steps", "final_mean", "final_sd", "auc_mean"]
SUMMARY += ["auc_sd", "final_iqm", "final_iqm_low", "final_iqm_high", "steps_to_50pct", "evaluations", "env_steps_cut"]
CLAIMS = ["claim", "sentence", "part", "statistic", "rule", "expert", "estimate", "low", "high", "verdict", "reason"]
CLAIMS += ["paper", "paper_low", "paper_high", "paper_verdict"]

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ddd; }
figure { display: inline-block; margin: 0 1rem 1rem 0; vertical-align: top; }
figure img { width: 30rem; max-width: 100%; } figcaption { color: #555; font-size: 13px; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; }
th, td { text-align: left; padding: .2rem .7rem .2rem 0; border-bottom: 1px solid #eee; vertical-align: top; }
td.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.reproduced, .holds { color: #00704f; } .not, .does { color: #b04a00; }
.undecided { color: #666; } .partial { color: #0072b2; }
"""


def write_report(results: Path, figures: Sequence[Path], path: Path) -> None:
    """Write the page of one scale.

    Args:
        results: `results/<scale>`, with summary.csv, demonstrations.csv and claims.csv.
        figures: PNG files to show, in their order; the PDF and CSV of the same name are named beside each.
        path: HTML file to write.

    Raises:
        ResultsError: a table or figure is missing; the message names it.
    """
    summary = read_table(results / "summary.csv", SUMMARY)
    demonstrations = read_table(results / "demonstrations.csv", DEMONSTRATIONS, may_be_empty=True)
    claims = read_table(results / "claims.csv", CLAIMS)
    scale, engine = summary["scale"].iloc[0], engine_name(summary["backend"].iloc[0])
    sections = {
        "Figures": "\n".join(_figure(one) for one in figures),
        "Claims of the paper": _verdicts(claims),
        "Win rates": _summary(summary),
        "Demonstrations": _demonstrations(demonstrations),
        "Every comparison behind the claims": _comparisons(claims),
    }
    body = "\n".join(f"<h2>{escape(title)}</h2>\n{section}" for title, section in sections.items())
    with atomic_write(path, "w") as file:
        file.write(_page(f"DM², scale {scale}", _head(scale, engine), body))


def _page(title: str, head: str, body: str) -> str:
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n<h1>{escape(title)}</h1>\n{head}\n{body}\n</html>\n"
    )


def _head(scale: str, engine: str) -> str:
    text = (
        f"Everything of ours on this page was made by the {engine} at scale {scale}; it is no StarCraft II result. "
        "What is marked as the paper's was read off the figures of Wang et al. (AAAI 2023), who played StarCraft II."
    )
    return f"<p>{escape(text)}</p>"


def _figure(png: Path) -> str:
    if not png.is_file():
        raise ResultsError(f"{png}: not found, expected a figure; `make figures` draws it from the tables")
    data = base64.b64encode(png.read_bytes()).decode()
    caption = f"{png.stem}: for print {png.with_suffix('.pdf').name}, numbers drawn {png.with_suffix('.csv').name}"
    image = f'<img alt="Figure {escape(png.stem)}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>"


def _verdicts(claims: pd.DataFrame) -> str:
    columns = ["claim", "sentence", "verdict", "paper_verdict"]
    rows = [
        [name, sentence, _Verdict(verdict), _Verdict(papers)]
        for name, sentence, verdict, papers in shown(claims)[0][columns].itertuples(index=False)
    ]
    table = _table(["claim", "", "verdict", "the paper's own numbers"], rows) if rows else ""
    return f"{table}\n<p>{escape(not_judged(claims))}</p>"


def _summary(summary: pd.DataFrame) -> str:
    headers = ["map", "condition", "seeds", "env steps", "at the end", "interquartile mean, 95 % interval"]
    headers += ["over training", "first at 50 %"]
    table = _table(headers, map(_summary_cells, summary.itertuples()))
    notes = ["Mean and sd over seeds; the end is the last 5 % of training.", *cut_short(summary)]
    notes += [f"One seed has no interval and no sd: {alone}."] if (alone := _of_one_seed(summary)) else []
    return "\n".join([*(f"<p>{escape(note)}</p>" for note in notes), table])


def _of_one_seed(summary: pd.DataFrame) -> str:
    return ", ".join(f"{row.condition} on {row.map_name}" for row in summary.itertuples() if row.n_seeds == 1)


def _summary_cells(row: Any) -> list[str]:
    return [
        row.map_name,
        row.condition,
        _Number(row.n_seeds),
        _Number(format_steps(row.env_steps)),
        _Number(_plus_minus(row.final_mean, row.final_sd)),
        _Number(_with_interval(row.final_iqm, row.final_iqm_low, row.final_iqm_high)),
        _Number(_plus_minus(row.auc_mean, row.auc_sd)),
        _Number("never" if pd.isna(row.steps_to_50pct) else format_steps(row.steps_to_50pct)),
    ]


def _demonstrations(demonstrations: pd.DataFrame) -> str:
    if demonstrations.empty:
        return "<p>No condition of this scale learns from demonstrations.</p>"
    headers = ["map", "learner", "expert", "its seed", "of its training", "random actions", "episodes"]
    headers += ["win rate, sampled", "greedy", "return"]
    return _table(headers, map(_demonstration_cells, demonstrations.itertuples()))


def _demonstration_cells(row: Any) -> list[str]:
    return [
        row.map_name,
        row.condition,
        row.expert,
        row.expert_seeds,
        _Number(f"{row.checkpoint_percent} %"),
        _Number(f"{row.epsilon:.0%}"),
        _Number(row.episodes),
        _Number(f"{row.sampled_win_rate:.2f}"),
        _Number(f"{row.greedy_win_rate:.2f}"),
        _Number(f"{row.return_mean:.1f}"),
    ]


def _comparisons(claims: pd.DataFrame) -> str:
    parts = shown(claims)[1]
    headers = ["claim", "on", "statistic", "rule", "ours, 95 % interval", "verdict", "", "demonstrations of"]
    headers += ["paper, 95 % interval", "verdict on the paper's"]
    table = _table(headers, map(_comparison_cells, parts.itertuples())) if len(parts) else ""
    return "<p>The rules stand at the head of dm2/analysis/verdicts.py. A pooled row decides.</p>\n" + table


def _comparison_cells(row: Any) -> list[str]:
    return [
        row.claim,
        row.part,
        row.statistic,
        row.rule,
        _Number(interval_text(row.estimate, row.low, row.high)),
        _Verdict(row.verdict),
        row.reason,
        row.expert,
        _Number(interval_text(row.paper, row.paper_low, row.paper_high)),
        _Verdict(row.paper_verdict),
    ]


def _with_interval(estimate: Any, low: Any, high: Any) -> str:
    return f"{estimate:.2f}" if pd.isna(low) else f"{estimate:.2f} [{low:.2f}, {high:.2f}]"


def _plus_minus(mean: Any, sd: Any) -> str:
    return f"{mean:.2f}" if pd.isna(sd) else f"{mean:.2f} ± {sd:.2f}"


class _Number(str):
    """A cell aligned at its right."""


class _Verdict(str):
    """A cell coloured by the verdict it holds."""


def _table(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    head = "".join(f"<th>{escape(header)}</th>" for header in headers)
    lines = ["".join(_cell(value) for value in row) for row in rows]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="wide"><table>\n<tr>{head}</tr>\n{body}\n</table></div>'


def _cell(value: Any) -> str:
    text = escape(str(value))
    if isinstance(value, _Number):
        return f'<td class="number">{text}</td>'
    if isinstance(value, _Verdict) and value:
        return f'<td class="{value.split()[0]}">{text}</td>'  # reproduced or holds, not or does, undecided, partial
    return f"<td>{text}</td>"
