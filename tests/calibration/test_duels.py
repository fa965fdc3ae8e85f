"""The simulator's duels come out as their numbers say."""

from __future__ import annotations

import pandas as pd
import pytest

from dm2.calibration.duels import measure

TOLERANCES = {
    "s": 2 / 16,
    "1/s": 0.02,
    "map units": 1 / 64 + 1e-9,
    "map units/s": 0.002,
}  # two loops, a step of the search


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return measure()


def test_duels_agree_with_the_closed_forms(table: pd.DataFrame) -> None:
    for row in table.itertuples():
        assert abs(row.simulator - row.closed_form) <= TOLERANCES[row.unit], row
