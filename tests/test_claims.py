from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dm2.claims import (
    CLAIMS,
    NOT_REPRODUCED,
    PARTIAL,
    REPRODUCED,
    UNDECIDED,
    Claim,
    Comparison,
    Ladder,
    Rule,
    Side,
    Tables,
    correlation_with,
    judge,
    to_markdown,
    verdict_of_interval,
    verdict_of_parts,
)
from dm2.experiments import Matrix
from dm2.results import ResultsError
from dm2.statistics import MIN_SEEDS, Interval

REPOSITORY = Path(__file__).parents[1]
DM2 = Side(("dm2_ippo_demo_50", "dm2_ippo_demo"), ("dm2_ippo_demo_5m", "dm2_ippo_demo_10m"))
IPPO = Side(("ippo",), ("ippo",))


def runs(map_name: str, condition: str, heights: list[float], end: int = 1000) -> pd.DataFrame:
    """One run per height, flat from beginning to end, so that AUC and final are the height."""
    steps = np.linspace(0, end, 21).astype(int)
    one = [pd.DataFrame({"seed": seed, "env_steps": steps, "win_rate": at}) for seed, at in enumerate(heights)]
    return pd.concat(one).assign(scale="quick", backend="simulator 1", map_name=map_name, condition=condition)


def tables(*curves: pd.DataFrame, demonstrations: Mapping[tuple[str, str], float] | None = None) -> Tables:
    rows = [(*key, win_rate) for key, win_rate in (demonstrations or {}).items()]
    paper = REPOSITORY / "results" / "paper"
    return Tables(
        pd.concat(curves, ignore_index=True),
        pd.DataFrame(rows, columns=["map_name", "condition", "greedy_win_rate"]),
        pd.read_csv(paper / "paper_curves.csv"),
        pd.read_csv(paper / "demo_win_rates.csv"),
    )


def verdicts(judged: pd.DataFrame) -> dict[str, str]:
    return dict(zip(judged["part"], judged["verdict"], strict=True))


@pytest.mark.parametrize(
    ("rule", "low", "high", "verdict"),
    [
        ("above", 0.01, 0.3, REPRODUCED),
        ("above", 0.0, 0.3, UNDECIDED),
        ("above", -0.3, -0.01, NOT_REPRODUCED),
        ("above", -0.02, 0.02, NOT_REPRODUCED),
        ("above", -0.02, 0.021, UNDECIDED),
        ("above", 0.005, 0.015, REPRODUCED),
        ("not above", -0.3, -0.01, REPRODUCED),
        ("not above", -0.02, 0.02, REPRODUCED),
        ("not above", 0.005, 0.015, NOT_REPRODUCED),
        ("not above", -0.1, 0.1, UNDECIDED),
        ("not below", -0.019, 0.3, REPRODUCED),
        ("not below", -0.3, -0.021, NOT_REPRODUCED),
        ("not below", -0.02, 0.1, UNDECIDED),
        ("within", -0.1, 0.1, REPRODUCED),
        ("within", 0.11, 0.2, NOT_REPRODUCED),
        ("within", -0.2, -0.11, NOT_REPRODUCED),
        ("within", 0.05, 0.11, UNDECIDED),
    ],
)
def test_each_rule_at_its_thresholds(rule: Rule, low: float, high: float, verdict: str) -> None:
    interval = Interval(np.array((low + high) / 2), np.array(low), np.array(high))
    assert verdict_of_interval(rule, interval) == verdict


@pytest.mark.parametrize(
    ("parts", "verdict"),
    [
        ([REPRODUCED, REPRODUCED], REPRODUCED),
        ([NOT_REPRODUCED], NOT_REPRODUCED),
        ([UNDECIDED, UNDECIDED], UNDECIDED),
        ([REPRODUCED, NOT_REPRODUCED], PARTIAL),
        ([REPRODUCED, UNDECIDED], PARTIAL),
        ([NOT_REPRODUCED, UNDECIDED], UNDECIDED),
    ],
)
def test_a_claim_has_the_verdict_its_parts_share(parts: list[str], verdict: str) -> None:
    assert verdict_of_parts(parts) == verdict


def test_a_comparison_is_judged_per_map_and_pooled() -> None:
    claim = Claim("T", "t", (Comparison(DM2, IPPO, ("5m_vs_6m", "3s_vs_4z")),))
    judged = judge(
        tables(
            runs("5m_vs_6m", "dm2_ippo_demo", [0.6, 0.7, 0.8, 0.9]),
            runs("5m_vs_6m", "ippo", [0.1, 0.2, 0.3, 0.4]),
            runs("3s_vs_4z", "dm2_ippo_demo", [0.1, 0.1, 0.1, 0.1]),
            runs("3s_vs_4z", "ippo", [0.2, 0.2, 0.2, 0.2]),
        ),
        [claim],
    )
    pooled = "pooled: 5m_vs_6m, 3s_vs_4z"
    expected = {"5m_vs_6m": REPRODUCED, "3s_vs_4z": NOT_REPRODUCED, pooled: REPRODUCED, "claim": PARTIAL}
    assert verdicts(judged) == expected
    estimates = judged.set_index("part")["estimate"]
    assert estimates[["5m_vs_6m", "3s_vs_4z", pooled]].tolist() == pytest.approx([0.5, -0.1, 0.2])


def test_missing_runs_leave_a_claim_undecided_and_are_named() -> None:
    claim = Claim("T", "t", (Comparison(DM2, IPPO, ("5m_vs_6m",)),))
    judged = judge(tables(runs("5m_vs_6m", "ippo", [0.1] * 5)), [claim])
    assert verdicts(judged) == {"5m_vs_6m": UNDECIDED, "claim": UNDECIDED}
    assert judged["reason"].tolist() == ["not run: dm2_ippo_demo_50", ""]
    assert np.isnan(judged["estimate"].iloc[0])


def test_three_seeds_decide_nothing_however_far_apart() -> None:
    claim = Claim("T", "t", (Comparison(DM2, IPPO, ("3m",)),))
    curves = [runs("3m", "dm2_ippo_demo", [0.9] * 3), runs("3m", "ippo", [0.0] * 5)]
    judged = judge(tables(*curves), [claim])
    assert verdicts(judged)["claim"] == UNDECIDED
    assert judged["reason"].iloc[0] == "seeds per condition: 3, at least 4 needed"


def test_the_first_condition_that_was_run_is_compared() -> None:
    claim = Claim("T", "t", (Comparison(DM2, IPPO, ("3m",)),))
    both = [
        runs("3m", name, [at] * 4) for name, at in (("dm2_ippo_demo_50", 0.5), ("dm2_ippo_demo", 0.9), ("ippo", 0.1))
    ]
    judged = judge(tables(*both), [claim])
    assert judged["statistic"].iloc[0] == "AUC(dm2_ippo_demo_50) - AUC(ippo)"
    assert judged["estimate"].iloc[0] == pytest.approx(0.4)


def test_runs_of_unequal_length_are_compared_over_their_common_part() -> None:
    rising = runs("3m", "dm2_ippo_demo", [0.0] * 4, end=2000)
    rising["win_rate"] = rising["env_steps"] / 2000
    judged = judge(tables(rising, runs("3m", "ippo", [0.0] * 4)), [Claim("T", "t", (Comparison(DM2, IPPO, ("3m",)),))])
    assert judged["env_steps"].iloc[0] == 1000
    assert judged["estimate"].iloc[0] == pytest.approx(0.25)


def test_against_demonstrators_the_final_win_rate_counts() -> None:
    claim = Claim("C2", "t", (Comparison(DM2, None, ("5m_vs_6m",), "final"),))
    curves = runs("5m_vs_6m", "dm2_ippo_demo_50", [0.5, 0.55, 0.6, 0.65])
    judged = judge(tables(curves, demonstrations={("5m_vs_6m", "dm2_ippo_demo_50"): 0.3}), [claim])
    assert judged["estimate"].iloc[0] == pytest.approx(0.275)
    assert verdicts(judged)["claim"] == REPRODUCED
    # paper: dm2_ippo_demo_5m ends at 0.441 in the figure it was first shown in, its demonstrations won 0.31
    assert judged["paper"].iloc[0] == pytest.approx(0.441 - 0.31, abs=0.02)


def test_a_run_without_its_row_of_demonstrations_is_an_error() -> None:
    claim = Claim("C2", "t", (Comparison(DM2, None, ("5m_vs_6m",), "final"),))
    with pytest.raises(ResultsError, match="no demonstrations of dm2_ippo_demo_50 on 5m_vs_6m"):
        judge(tables(runs("5m_vs_6m", "dm2_ippo_demo_50", [0.5] * 4)), [claim])


def ladder(heights: list[float]) -> tuple[list[pd.DataFrame], dict[tuple[str, str], float], Claim]:
    names = [f"rung_{i}" for i in range(len(heights))]
    curves = [runs("3m", name, [at, at + 0.01, at, at + 0.01]) for name, at in zip(names, heights, strict=True)]
    demonstrations = {("3m", name): 0.1 * i for i, name in enumerate(names)}
    return curves, demonstrations, Claim("C4", "t", (Ladder(tuple(Side((n,), (n,)) for n in names), ("3m",)),))


def test_a_rising_ladder_reproduces_and_a_falling_one_does_not() -> None:
    for heights, verdict in (([0.1, 0.2, 0.3, 0.5, 0.6], REPRODUCED), ([0.6, 0.5, 0.3, 0.2, 0.1], NOT_REPRODUCED)):
        curves, demonstrations, claim = ladder(heights)
        judged = judge(tables(*curves, demonstrations=demonstrations), [claim])
        assert verdicts(judged) == {"3m": verdict, "claim": verdict}
        assert abs(judged["estimate"].iloc[0]) == pytest.approx(1)


def test_a_ladder_of_equal_ends_or_few_rungs_decides_nothing() -> None:
    for heights in ([0.2] * 5, [0.1, 0.2, 0.3, 0.4]):
        curves, demonstrations, claim = ladder(heights)
        equal = [curve.assign(win_rate=heights[0]) if len(heights) == 5 else curve for curve in curves]
        assert verdicts(judge(tables(*equal, demonstrations=demonstrations), [claim]))["claim"] == UNDECIDED


def test_correlation_uses_the_mean_of_each_rung() -> None:
    strata = [np.array([[0.0, 0.4]]), np.array([[0.1, 0.1]]), np.array([[0.9, 0.5]])]  # means 0.2, 0.1, 0.7
    assert correlation_with(np.array([0.1, 0.2, 0.3]))(strata) == pytest.approx([0.5])


def test_open_loop_control_is_compared_with_half_of_the_battles() -> None:
    (claim,) = (claim for claim in CLAIMS if claim.name == "S2")
    for heights, verdict in (([0.0, 0.1, 0.2, 0.1], "holds"), ([0.8, 0.9, 0.7, 0.8], "does not hold")):
        judged = judge(tables(*(runs(map_name, "open_loop", heights) for map_name in claim.parts[0].maps)), [claim])
        assert set(judged["verdict"]) == {verdict}
        assert judged["statistic"].iloc[0] == "final(open_loop) - 0.5"
        assert judged["estimate"].iloc[0] == pytest.approx(np.mean(heights) - 0.5)
        assert judged["paper"].isna().all()


def test_a_gain_that_one_quirk_carries_does_not_hold() -> None:
    (claim,) = (claim for claim in CLAIMS if claim.name == "S1")
    curves = [
        runs(part.maps[0], name, [height] * 4)
        for part in claim.parts
        for side, height in zip(part.sides, (0.3, 0.1), strict=True)
        for name in side.conditions
    ]
    assert verdicts(judge(tables(*curves), [claim]))["claim"] == "holds"
    curves[0]["win_rate"] = 0.1
    judged = judge(tables(*curves), [claim])
    assert judged["verdict"].tolist() == ["does not hold", *["holds"] * 4, PARTIAL]


def test_a_ladder_may_count_episodes() -> None:
    names = [f"dm2_{n}" for n in (16, 32, 64, 128, 256)]
    curves = [runs("3m", name, [at, at + 0.01, at, at + 0.01]) for at, name in enumerate(names)]
    made = tables(*curves, demonstrations={("3m", name): 0.5 for name in names})
    table = made.demonstrations.assign(episodes=[16, 32, 64, 128, 256])
    claim = Claim("S3", "t", (Ladder(tuple(Side((n,)) for n in names), ("3m",), "episodes"),), of_the_paper=False)
    judged = judge(replace(made, demonstrations=table), [claim])
    assert verdicts(judged) == {"3m": "holds", "claim": "holds"}
    assert judged["statistic"].iloc[0].endswith("with the number of episodes demonstrated")


def test_all_claims_are_judged_and_undecided_where_nothing_was_run() -> None:
    judged = judge(tables(runs("3m", "ippo", [0.5] * 5)))
    whole = judged[judged["part"] == "claim"]
    assert whole["claim"].tolist() == [*(f"C{i}" for i in range(1, 12)), "S1", "S2", "S3"]
    assert set(judged["verdict"]) == {UNDECIDED}
    assert judged.loc[judged["part"] != "claim", "reason"].str.len().min() > 0


def test_the_papers_own_numbers_stand_beside_each_claim() -> None:
    """By the same statistics the paper's curves point the way its text says, wherever they show it."""
    judged = judge(tables(runs("3m", "ippo", [0.5] * 5))).dropna(subset="paper").set_index("claim")
    assert set(judged.index) == {f"C{i}" for i in range(1, 12)}
    for name in ("C1", "C2", "C3", "C4", "C5", "C7", "C8", "C10"):
        assert (judged.loc[[name], "paper"] > 0).all(), name
    assert abs(judged.loc["C6", "paper"]) < 0.1
    assert judged.loc["C11", "paper"].round(2).tolist() == [-0.1, -0.05, 0.31]


def test_verdicts_repeat_to_the_last_bit() -> None:
    curves = [runs("3s_vs_3z", name, [0.1, 0.5, 0.3, 0.7]) for name in ("ippo", "dm2_ippo_demo", "qmix")]
    first, second = judge(tables(*curves)), judge(tables(*curves))
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_markdown_has_a_line_per_claim_and_says_what_made_it() -> None:
    curves = [runs("3s_vs_3z", "ippo", [0.1] * 4), runs("3s_vs_3z", "dm2_ippo_demo", [0.5] * 4)]
    text = " ".join(to_markdown(judge(tables(*curves))).split())  # the tables are padded
    assert "built-in simulator 1, scale quick" in text
    assert "| C1 | DM² with IPPO demonstrations learns faster than IPPO | partial |" in text
    assert "| +0.40 [+0.40, +0.40] | 4 | 1,000 | reproduced |" in text


def test_the_paper_scale_runs_what_every_claim_compares_with_enough_seeds() -> None:
    scale = Matrix.load(REPOSITORY / "config", {"scale": "paper"}).scale
    assert len(scale.seeds) >= MIN_SEEDS
    for claim in CLAIMS:
        for part in claim.parts:
            for map_name in part.maps:
                for side in _sides(part):
                    assert set(side.conditions) & set(scale.runs[map_name]), (claim.name, map_name, side)


def test_the_laptop_scale_runs_what_c1_to_c10_compare_and_nothing_else() -> None:
    scale = Matrix.load(REPOSITORY / "config", {"scale": "laptop"}).scale
    claims = {claim.name: claim for claim in CLAIMS if claim.name in {f"C{i}" for i in range(1, 11)}}
    maps = {name: ("5m_vs_6m", "3s_vs_4z") for name in claims} | {"C1": ("5m_vs_6m", "3s_vs_4z", "3s_vs_3z")}
    behind: dict[str, set[str]] = {map_name: set() for map_name in maps["C1"]}
    for name, claim in claims.items():
        for part in claim.parts:
            for map_name in set(maps[name]) & set(part.maps):
                behind[map_name] |= {_taken(side, scale.runs[map_name]) for side in _sides(part)}
    assert {map_name: set(conditions) for map_name, conditions in scale.runs.items()} == behind
    assert (len(scale.seeds), scale.single_seed_runs) == (5, {})


def _taken(side: Side, run: tuple[str, ...]) -> str:
    """The first of a side's conditions that is run, as `judge` takes it."""
    return next((condition for condition in side.conditions if condition in run), f"{side} not run")


def _sides(part: Comparison | Ladder) -> tuple[Side, ...]:
    return part.rungs if isinstance(part, Ladder) else part.sides
