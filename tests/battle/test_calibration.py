"""The simulator against logs of the real game, on the three maps on which its assumptions were settled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dm2.battle.calibration import MAPS, compare, play, random_windows, real_passive, real_random, walk

LOGS = Path(__file__).parents[2] / "results" / "starcraft2"
TOLERANCES = {  # relative; deaths are compared absolutely
    ("random", "length"): 0.08,
    ("random", "raw_reward"): 0.12,
    ("passive", "length"): 0.03,
}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return compare(LOGS, battles=2000, seed=1)


def test_logs_say_what_they_say() -> None:
    assert real_random(LOGS).loc["3m"].round(2).tolist() == [26.70, 28.44, 2.96]
    assert real_passive(LOGS).round(2).to_dict() == {"2s3z": 43.08, "3m": 21.80, "8m": 23.97}


def test_random_and_passive_teams_fare_as_in_the_real_game(table: pd.DataFrame) -> None:
    for row in table.itertuples():
        if row.quantity == "dead_allies":
            assert abs(row.difference) < 0.1, row
        else:
            assert abs(row.relative_difference) < TOLERANCES[row.team, row.quantity], row


def test_passive_teams_never_hurt_anybody() -> None:
    for map_name in MAPS:
        assert play(map_name, 200, 2, passive=True)["raw_reward"] == 0


def test_table_has_a_line_per_comparison(table: pd.DataFrame) -> None:
    assert len(table) == 12
    assert table[["map_name", "team", "quantity"]].drop_duplicates().shape == (12, 3)


def test_random_play_lasts_about_as_long_as_in_the_first_windows_of_the_logs() -> None:
    table = random_windows(LOGS, battles=200, seed=1).set_index("map_name")
    assert table.runs.sum() == 209
    assert (table.loc["5m_vs_6m", "runs"], round(table.loc["5m_vs_6m", "starcraft2"], 2)) == (8, 26.82)
    apart = table.relative_difference.drop("2s_vs_1sc").abs()  # where the logs' nets learn to keep away at once
    assert apart.max() < 0.25
    assert apart.median() < 0.12


def test_the_units_of_2s3z_walk_as_in_the_real_game() -> None:
    table = walk(LOGS)
    real, ours = table[["x_starcraft2", "y_starcraft2"]].to_numpy(), table[["x_simulator", "y_simulator"]].to_numpy()
    assert abs(ours - real).max() < 0.1
    assert abs(ours - real)[table.side == "enemy"].max() < 0.01
    in_nobodys_way = table.side.eq("enemy") & table.unit.eq("Zealot") & table.y_starcraft2.eq(0)
    assert in_nobodys_way.sum() == 2
    np.testing.assert_array_equal(ours[in_nobodys_way], real[in_nobodys_way])  # in formation, not towards one point
    way = np.hypot(*ours.T)
    assert way[9] < 0.95 * way[8]  # the Stalker between a Zealot and its comrade loses, the one beside it does not
