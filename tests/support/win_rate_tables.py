"""Small tables of trained and published teams."""

from pathlib import Path

import pandas as pd

from dm2.calibration.win_rates import QUANTITIES

STARCRAFT2 = Path(__file__).parents[2] / "results" / "starcraft2"


def curves(seeds: int = 3) -> pd.DataFrame:
    """Runs of QMIX on 3m with 12 evaluations each, the first two of which are lost."""
    rows = [
        ("3m", "qmix", seed, 1000 * k, 0.0 if k < 2 else 0.1 * seed, 5.0 + seed, 20.0 + k, 2.0, 1.0)
        for seed in range(1, seeds + 1)
        for k in range(12)
    ]
    return pd.DataFrame(rows, columns=["map_name", "condition", "seed", "env_steps", "win_rate", *QUANTITIES])


def paper_curves(condition: str) -> pd.DataFrame:
    """As if the paper's condition won as many twenty-thousandths as there were env steps."""
    columns = ["figure", "map", "condition", "env_steps", "win_rate"]
    return pd.DataFrame([("core", "3m", condition, steps, steps / 20_000) for steps in (0, 20_000)], columns=columns)
