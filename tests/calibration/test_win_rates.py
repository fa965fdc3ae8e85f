"""dm2.calibration.win_rates: trained, scripted and published numbers side by side."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from support.win_rate_tables import STARCRAFT2, curves, paper_curves

from dm2.analysis.tables import PAPER_DEMONSTRATIONS, PAPER_ENDS
from dm2.calibration.win_rates import (
    QUANTITIES,
    beside_published,
    learning_speed,
    lengths_and_losses,
    published,
    scatter,
    trained,
    without_demonstrations,
)


def test_published_numbers_are_shares_with_their_range() -> None:
    table = published(STARCRAFT2 / "published_win_rates.csv").set_index(["map_name", "team"])
    assert table.loc[("5m_vs_6m", "heuristic"), "published"] == 0.0
    row = table.loc[("5m_vs_6m", "qmix")]  # 60, 69.4 and 76 % after 2 million env steps; not those after 10
    assert (row.published_low, row.published, row.published_high) == pytest.approx((0.6, 0.694, 0.76))
    assert row.published_numbers == 3


def test_a_trained_team_counts_by_its_last_ten_evaluations_and_the_median_of_its_seeds() -> None:
    row = trained(curves(), paper_curves("qmix")).iloc[0]
    assert (row.map_name, row.team, row.n) == ("3m", "qmix", 3)
    assert row.simulator == pytest.approx(0.2)
    assert row[QUANTITIES].tolist() == pytest.approx([7.0, 26.5, 2.0, 1.0])  # lengths of the last ten: 22 to 31


def test_a_trained_team_stands_beside_the_papers_after_as_many_env_steps() -> None:
    row = trained(curves(), paper_curves("qmix")).iloc[0]
    assert (row.env_steps, row.paper) == (11_000, pytest.approx(0.55))
    assert np.isnan(trained(curves(), paper_curves("ippo")).iloc[0].paper)


def test_a_trained_team_stands_beside_published_ones_after_two_million_env_steps() -> None:
    longer = curves().assign(win_rate=1.0, env_steps=lambda table: table.env_steps + 3_000_000)
    both = pd.concat([curves(), longer], ignore_index=True)
    assert trained(both, paper_curves("qmix")).equals(trained(curves(), paper_curves("qmix")))


def test_scales_are_one_table_without_who_had_demonstrations() -> None:
    here, there = run("qmix", [0.0, 0.5]), pd.concat([run("dm2_ippo_demo", [1.0]), run("ippo", [0.2])])
    table = without_demonstrations([here, there.assign(scale="other")])
    assert table[["scale", "condition"]].to_records(index=False).tolist() == [("toy", "qmix")] * 2 + [("other", "ippo")]


def run(condition: str, rates: list[float]) -> pd.DataFrame:
    """One run on 3m with an evaluation per 1,000 env steps."""
    rows = [("toy", "simulator 9", "3m", condition, 1, 1000 * k, rate) for k, rate in enumerate(rates)]
    return pd.DataFrame(rows, columns=["scale", "backend", "map_name", "condition", "seed", "env_steps", "win_rate"])


def paper_ends(condition: str) -> pd.DataFrame:
    """How `paper_curves` ends."""
    return pd.DataFrame([("core", "3m", condition, 0.95, 10_000)], columns=PAPER_ENDS)


def paper_demonstrations() -> pd.DataFrame:
    """As if the paper's IPPO expert won half after 4 million env steps, in the list that its figures are made from."""
    rows = [("ippo", f"{k}m", win_rate, "demo_qual") for k, win_rate in ((1, 0.1), (4, 0.5), (5, 0.9))]
    rows += [("ippo", "1m", 0.9, "demo_win_rate"), ("qmix", np.nan, 0.9, "demo_win_rate")]
    return pd.DataFrame([("3m", *row) for row in rows], columns=PAPER_DEMONSTRATIONS)


def test_learning_speed_is_the_ratio_of_env_steps_to_half_of_the_battles() -> None:
    # one row: the paper shows no dm2_sil on 3m
    mine = pd.concat([run("qmix", [0.0, 0.3, 0.6, 0.8]), run("dm2_sil", [0.0, 1.0])], ignore_index=True)
    row = learning_speed(mine, paper_curves("qmix"), paper_ends("qmix"), paper_demonstrations()).squeeze()
    assert (row.map_name, row.condition, row.seeds, row.env_steps) == ("3m", "qmix", 1, 3000)
    assert (row.half_after, row.half_after_paper, row.times_faster) == (2000, 10_000, 5)
    assert (row.final, row.final_paper, row.final_paper_then) == pytest.approx((0.8, 0.95, 0.15))
    assert np.isnan(row.half_after_paper_expert)


def test_learning_speed_of_a_team_that_never_wins_half_is_unknown() -> None:
    mine = run("ippo_1024_episodes", [0.0, 0.1])
    row = learning_speed(mine, paper_curves("ippo"), paper_ends("ippo"), paper_demonstrations()).squeeze()
    assert np.isnan(row.half_after) and np.isnan(row.times_faster)
    assert (row.half_after_paper, row.half_after_paper_expert) == (10_000, 4_000_000)


def test_what_is_not_published_stays_empty() -> None:
    ours = pd.DataFrame(
        [("3m", "heuristic", 0.5, 8), ("3m", "random", 0.0, 8)], columns=["map_name", "team", "simulator", "n"]
    )
    learned = trained(curves(), paper_curves("qmix"))
    table = beside_published([ours, learned], STARCRAFT2 / "published_win_rates.csv")
    assert table.published.isna().tolist() == [True, False, True]
    assert table.published_numbers.tolist() == [pd.NA, 1, pd.NA]
    figure = scatter(table, "built-in simulator 0, scale none")
    assert figure.axes[0].get_title() == "built-in simulator 0, scale none"
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[:2] == ["qmix (maps: 1)", "random (maps: 1)"]


def test_lengths_are_compared_at_equal_win_rate() -> None:
    table = lengths_and_losses(curves(), STARCRAFT2 / "real_battles_length_by_win_rate.csv")
    row = table[(table.map_name == "3m") & (table.win_rates == "=0 to =0")].iloc[0]
    assert (row.tests, row.length, row.tests_simulator, row.length_simulator) == (36, 51.88, 6, 20.5)
    assert (table.tests_simulator[table.map_name != "3m"] == 0).all()
    assert table.tests_simulator.sum() == 6 + 20  # the ranges above 0.25 up to 0.5 are empty on 3m
    assert np.isnan(table.length_simulator[table.map_name == "8m"]).all()
