"""The simulator against logs of the real game."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dm2.analysis.csv_files import read_csv
from dm2.battle.env import BattleEnv
from dm2.battle.rules_of_smac import STOP
from dm2.calibration import logs
from dm2.calibration.logs import (
    ASSUMPTIONS,
    NOT_COMPARED,
    SETTLED_ON,
    annealed_over,
    beside_logs,
    logged,
    near_random_team,
    nearness,
    play_first,
    play_near_random,
    score,
    steady_team,
    walk,
    walkers,
)

LOGS = Path(__file__).parents[2] / "results" / "starcraft2"


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return beside_logs(LOGS, None, battles=512, seed=1)


def test_logs_say_what_they_say() -> None:
    known = logged(LOGS).set_index(["map_name", "team", "quantity"]).sort_index()
    assert known.starcraft2.xs(("3m", "first")).round(2).to_dict() == {
        "dead_allies": 2.96,
        "dead_enemies": 0.0,
        "length": 26.70,
        "raw_reward": 28.44,
    }
    assert known.xs("stops", level="team").starcraft2.round(2).tolist() == [43.08, 21.80, 23.97]
    window = known.loc[("5m_vs_6m", "window", "length")]
    assert (window.n, round(window.starcraft2, 2), round(window.standard_error, 2)) == (8, 26.82, 0.29)
    assert known.loc[("3m", "first", "dead_enemies")].standard_error == 1 / 26  # none of 26
    assert known.loc[("3s5z", "first", "raw_reward")].starcraft2 == 344
    assert annealed_over(LOGS)["6h_vs_8z"] == 2 * annealed_over(LOGS)["3m"] == 100_000


def test_random_and_stopping_teams_fare_as_in_the_real_game(table: pd.DataFrame) -> None:
    compared = table[table.role != "not compared"]
    for row in compared.itertuples():
        bound = {"length": 0.15, "raw_reward": 0.15, "dead_allies": 0.1, "dead_enemies": 0.05}[row.quantity]
        if row.team == "stops":
            bound = 0.03
        chance = 3 * row.simulator_error
        if row.quantity.startswith("dead"):
            assert abs(row.difference) < bound + chance, row
        else:
            assert abs(row.relative_difference) < bound + chance / row.starcraft2, row


def test_random_play_is_as_near_as_the_certificate_says(table: pd.DataFrame) -> None:
    # with nets that learn it is nearer still, but takes minutes
    rms = nearness(table.replace({"team": {"window": "learning"}})).set_index(["quantity", "role"]).root_mean_square
    assert rms["length", "all"] < 0.1
    assert rms["raw_reward", "all"] < 0.1
    assert rms["dead_allies", "all"] < 0.05


def test_every_log_has_a_row_that_says_what_it_was_for(table: pd.DataFrame) -> None:
    assert len(table) == len(logged(LOGS))
    assert not table.duplicated(["map_name", "team", "quantity"]).any()
    roles = table.groupby("role").map_name.unique().map(sorted)
    assert (roles["settled on"], roles["not compared"]) == (sorted(SETTLED_ON), sorted(NOT_COMPARED))
    assert len(roles["test"]) == 9
    spread = np.hypot(table.standard_error, table.simulator_error)
    assert (table.deviation.abs() <= table.difference.abs() / spread.where(spread > 0, 1e-9) + 1e-9).all()


def test_nearness_counts_every_map_once_and_what_is_not_compared_never() -> None:
    columns = ["map_name", "role", "team", "quantity", "difference", "relative_difference"]
    rows = [
        ("3m", "settled on", "first", "length", 9.0, 0.9),
        ("3m", "settled on", "learning", "length", 1.0, 0.03),
        ("3m", "settled on", "window", "length", 9.0, 0.9),
        ("3s5z", "test", "first", "length", 1.0, -0.04),
        ("2s_vs_1sc", "not compared", "learning", "length", 9.0, 0.9),
        ("3m", "settled on", "stops", "length", 9.0, 0.9),
    ]
    near = nearness(pd.DataFrame(rows, columns=columns)).set_index(["quantity", "role"])
    assert near.loc[("length", "all")].tolist() == [2, pytest.approx(np.sqrt((0.03**2 + 0.04**2) / 2)), -0.04, "3s5z"]
    assert near.loc[("length", "settled on"), "maps"] == near.loc[("length", "test"), "maps"] == 1


def test_the_committed_certificate_is_that_of_the_committed_table() -> None:
    results = LOGS.parent / "calibration"
    near = nearness(read_csv(results / "calibration.csv"))
    pd.testing.assert_frame_equal(near, read_csv(results / "nearness.csv"))
    rms = near.set_index(["quantity", "role"]).root_mean_square
    assert rms["length", "all"] < 0.07 and rms["raw_reward", "all"] < 0.07


def test_stopping_teams_never_hurt_anybody() -> None:
    for map_name in SETTLED_ON:
        assert (play_first(map_name, 200, 2, steady_team(STOP)).raw_reward == 0).all()


def test_near_random_teams_are_random_but_for_a_tenth() -> None:
    env = BattleEnv("3m", 1280, 3)
    env.reset()
    team = near_random_team(env, 3, 50_000)
    actions = np.stack([team(env) for _ in range(40)])  # of a battle that stands still
    counts = np.stack([(actions == k).sum(axis=(0, 2)) for k in range(env.spec.n_actions)], axis=1)
    assert (np.take_along_axis(env.avail_actions, actions[0][..., None], 2)).all()
    offered = env.avail_actions[0, 0].sum()
    favourite = counts.reshape(128, 10, -1).sum(axis=1).max(axis=1) / (40 * 3 * 10)
    assert favourite.min() < 1 / offered + 0.05  # with the first net nearly all is random
    assert favourite.max() < 1 / offered + 0.2
    assert favourite.mean() > 1 / offered + 0.02


def test_the_same_seed_plays_the_same_near_random_battles() -> None:
    one, other = (play_near_random("3m", 100, seed) for seed in (4, 4))
    pd.testing.assert_frame_equal(one, other)
    assert len(one) == 128  # as many for every net
    assert (one.length != play_near_random("3m", 100, 5).length).any()


def test_nets_that_learn_play_until_the_window_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_WINDOW", 1200)
    one, other = (logs.play_learning("3m", seed) for seed in (1, 1))
    pd.testing.assert_frame_equal(one, other)
    assert one.length.sum() >= 1200 > one.length.iloc[:-1].sum()
    assert list(one) == logs.QUANTITIES
    monkeypatch.setattr(logs.QMIX, "gradient_step", lambda *_: {})
    frozen = logs.play_learning("3m", 1)  # until the first gradient step, after 32 battles, alike
    pd.testing.assert_frame_equal(one.iloc[:32], frozen.iloc[:32])
    assert not one.equals(frozen)


def test_nets_that_learn_stand_beside_the_windows_of_every_map(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_WINDOW", 1)
    table = logs.learning_beside_logs(LOGS, 2, 1)
    windows = logged(LOGS).query("team == 'window'")
    assert sorted(zip(table.map_name, table.quantity, strict=True)) == sorted(
        zip(windows.map_name, windows.quantity, strict=True)
    )
    assert set(table.team) == {"learning"} and set(table.role) == {"settled on", "test", "not compared"}
    assert (table.simulator[table.quantity == "length"] > 1).all()


def test_walkers_are_set_beside_the_direction_most_like_them() -> None:
    found = walkers(LOGS, 32, 1).set_index(["map_name", "quantity"])
    assert found.n.to_dict()["3m", "length"] == 7
    assert (found.deviation >= 0).all()
    assert found.loc[("8m", "length")].simulator <= 120


def test_score_tells_a_worse_simulator() -> None:
    near, far = (score(LOGS, 64, 1, **changes) for changes in ({}, {"search_interval_loops": 32}))
    assert near["score"] < far["score"]
    assert set(near) == {"score", "first", "window", "stops", "walks"}
    assert ASSUMPTIONS["as it is"] == {}


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
