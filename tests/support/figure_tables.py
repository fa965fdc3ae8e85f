"""Small tables to draw figures from."""

from pathlib import Path

import numpy as np
import pandas as pd

from dm2.analysis.curve_figures import DrawnCondition, FigureDescription, Panel
from dm2.analysis.tables import read_table

REPOSITORY = Path(__file__).parents[2]
IPPO = DrawnCondition("ippo", "IPPO", "#000000", "o", "ippo")


DM2 = DrawnCondition("dm2_ippo_demo", "DM²", "#0072B2", "^", "dm2_ippo_demo_10m")


def learning_curves(map_name: str = "3s_vs_3z", end: int = 300_000) -> pd.DataFrame:
    """Two seeds of two conditions; the win rate rises in a line, to 1 and 0.5 with ippo, to 0.8 and 0.4 with dm2."""
    steps = np.linspace(0, end, 11).astype(int)
    runs = [
        pd.DataFrame({"condition": condition, "seed": seed, "env_steps": steps, "win_rate": top / seed * steps / end})
        for condition, top in (("ippo", 1.0), ("dm2_ippo_demo", 0.8))
        for seed in (1, 2)
    ]
    return pd.concat(runs, ignore_index=True).assign(scale="quick", backend="simulator 1", map_name=map_name)


def demonstrations(map_name: str = "3s_vs_3z") -> pd.DataFrame:
    row = {"map_name": map_name, "condition": "dm2_ippo_demo", "expert": "ippo", "expert_seeds": 7}
    row |= {"sampled_win_rate": 0.4, "greedy_win_rate": 0.7}
    return pd.DataFrame([row])


def paper() -> pd.DataFrame:
    return read_table(REPOSITORY / "results/paper/paper_curves.csv", ["figure", "map", "condition", "env_steps"])


def description(*map_names: str) -> FigureDescription:
    return FigureDescription("Core", tuple(Panel(name, name, (IPPO, DM2)) for name in map_names or ("3s_vs_3z",)))
