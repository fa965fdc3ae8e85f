"""dm2.analysis.markdown: what a reader sees of a table."""

from __future__ import annotations

import pandas as pd

from dm2.analysis.markdown import markdown_table


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_numbers_are_rounded_and_what_is_not_known_stays_empty() -> None:
    table = pd.DataFrame(
        {
            "map_name": ["3m", "2s3z"],
            "win_rate": [0.125, float("nan")],
            "relative_difference": [-0.0071, 0.0],
            "env_steps": pd.array([2_000_000, None], dtype="Int64"),
        }
    )
    head, _, first, second = markdown_table(table, {"relative_difference": "+.1%"}).splitlines()
    assert cells(head) == ["map name", "win rate", "relative difference", "env steps"]
    assert cells(first) == ["3m", "0.12", "-0.7%", "2,000,000"]
    assert cells(second) == ["2s3z", "", "+0.0%", ""]
