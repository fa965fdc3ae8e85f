"""CSV files as tables, with declared types."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

TEXT = frozenset(
    {
        *("scale", "backend", "map_name", "map", "condition", "archive", "algorithm", "team"),
        *("seeds", "expert", "expert_seeds"),
        *("panel", "series", "figure", "paper_condition", "paper_figure", "quality"),
        *("claim", "sentence", "part", "statistic", "rule", "verdict", "reason", "paper_verdict"),
        *("demo_source", "demo_checkpoint", "used", "dict", "note", "source_repo", "side", "unit", "layout", "trust"),
        *("spread", "spread_kind", "sc2_version", "implementation", "source", "confidence", "repos"),
        *("quantity", "how", "win_rates", "win_rate_from", "win_rate_to", "role", "variant", "largest_on"),
    }
)
"""Columns of all our tables that hold text, as it stands: a condition may be called null, 007, 1e5 or true."""


def read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV; the columns of `TEXT` are text, an empty field of theirs is the empty text, others hold numbers.

    Raises:
        OSError: the file cannot be read.
        ValueError, OverflowError: it is no table.
    """
    columns = pd.read_csv(path, nrows=0).columns
    empty = {name: [""] for name in columns if name not in TEXT}
    return pd.read_csv(path, dtype=dict.fromkeys(TEXT, str), keep_default_na=False, na_values=empty)
