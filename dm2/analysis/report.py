"""One page that holds everything a scale has shown: figures, tables and verdicts in a single HTML file.

The page needs no network and no other file, and says in its head which engine and scale made it. It is made from the
committed tables and figures alone, so the same files give the same bytes. `report.html.j2` is the page.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from dm2.analysis.curve_figures import format_steps
from dm2.analysis.judgement import interval_text, not_judged, shown
from dm2.analysis.tables import DEMONSTRATIONS, ResultsError, cut_short, engine_name, read_table
from dm2.core.files import atomic_write

SUMMARY = ["scale", "backend", "map_name", "condition", "n_seeds", "env_steps", "final_mean", "final_sd", "auc_mean"]
SUMMARY += ["auc_sd", "final_iqm", "final_iqm_low", "final_iqm_high", "steps_to_50pct", "evaluations", "env_steps_cut"]
CLAIMS = ["claim", "sentence", "part", "statistic", "rule", "expert", "estimate", "low", "high", "verdict", "reason"]
CLAIMS += ["paper", "paper_low", "paper_high", "paper_at_our_length", "paper_verdict"]


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
    verdicts, parts = shown(claims)
    page = _template().render(
        scale=summary["scale"].iloc[0],
        engine=engine_name(summary["backend"].iloc[0]),
        figures=[{"name": png.stem, "png": _base64(png)} for png in figures],
        verdicts=verdicts[["claim", "sentence", "verdict", "paper_verdict"]].values.tolist(),
        not_judged=not_judged(claims),
        cut_short=cut_short(summary),
        of_one_seed=[f"{row.condition} on {row.map_name}" for row in summary.itertuples() if row.n_seeds == 1],
        summary=[_summary_cells(row) for row in summary.itertuples()],
        demonstrations=[_demonstration_cells(row) for row in demonstrations.itertuples()],
        comparisons=[_comparison_cells(row) for row in parts.itertuples()],
    )
    with atomic_write(path, "w") as file:
        file.write(page)


def _template() -> Template:
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    return environment.get_template("report.html.j2")


def _base64(png: Path) -> str:
    if not png.is_file():
        raise ResultsError(f"{png}: not found, expected a figure; `make figures` draws it from the tables")
    return base64.b64encode(png.read_bytes()).decode()


def _summary_cells(row: Any) -> list[str]:
    return [
        row.map_name,
        row.condition,
        str(row.n_seeds),
        format_steps(row.env_steps),
        _plus_minus(row.final_mean, row.final_sd),
        _with_interval(row.final_iqm, row.final_iqm_low, row.final_iqm_high),
        _plus_minus(row.auc_mean, row.auc_sd),
        "never" if pd.isna(row.steps_to_50pct) else format_steps(row.steps_to_50pct),
    ]


def _demonstration_cells(row: Any) -> list[str]:
    return [
        row.map_name,
        row.condition,
        row.expert,
        row.expert_seeds,
        f"{row.checkpoint_percent} %",
        f"{row.epsilon:.0%}",
        str(row.episodes),
        f"{row.sampled_win_rate:.2f}",
        f"{row.greedy_win_rate:.2f}",
        f"{row.return_mean:.1f}",
    ]


def _comparison_cells(row: Any) -> list[str]:
    return [
        row.claim,
        row.part,
        row.statistic,
        row.rule,
        interval_text(row.estimate, row.low, row.high),
        row.verdict,
        row.reason,
        row.expert,
        interval_text(row.paper, row.paper_low, row.paper_high),
        row.paper_verdict,
    ]


def _with_interval(estimate: Any, low: Any, high: Any) -> str:
    return f"{estimate:.2f}" if pd.isna(low) else f"{estimate:.2f} [{low:.2f}, {high:.2f}]"


def _plus_minus(mean: Any, sd: Any) -> str:
    return f"{mean:.2f}" if pd.isna(sd) else f"{mean:.2f} ± {sd:.2f}"
