"""Small tables for claims to be judged by."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from dm2.analysis.evidence import Tables
from dm2.analysis.tables import PAPER_CURVES, PAPER_DEMONSTRATIONS, read_table

REPOSITORY = Path(__file__).parents[2]


def runs(map_name: str, condition: str, heights: list[float], end: int = 1000) -> pd.DataFrame:
    """One run per height, flat from beginning to end, so that AUC and final are the height."""
    steps = np.linspace(0, end, 21).astype(int)
    one = [pd.DataFrame({"seed": seed, "env_steps": steps, "win_rate": at}) for seed, at in enumerate(heights)]
    return pd.concat(one).assign(scale="quick", backend="simulator 1", map_name=map_name, condition=condition)


def tables(*curves: pd.DataFrame, demonstrations: Mapping[tuple[str, str], float] | None = None) -> Tables:
    rows = [(*key, win_rate, 640, "ippo", 50, "7", 1000) for key, win_rate in (demonstrations or {}).items()]
    paper = REPOSITORY / "results" / "paper"
    columns = [
        "map_name",
        "condition",
        "greedy_win_rate",
        "greedy_episodes",
        "expert",
        "checkpoint_percent",
        "expert_seeds",
        "episodes",
    ]
    return Tables(
        pd.concat(curves, ignore_index=True),
        pd.DataFrame(rows, columns=columns),
        read_table(paper / "paper_curves.csv", PAPER_CURVES),
        read_table(paper / "demo_win_rates.csv", PAPER_DEMONSTRATIONS),
    )


def flat(height: float) -> list[float]:
    """Five runs about a height."""
    return [height + by for by in (-0.02, -0.01, 0.0, 0.01, 0.02)]
