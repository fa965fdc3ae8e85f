import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.judged_tables import flat, runs, tables

from dm2.analysis.claims import CLAIMS, Claim, Comparison, Contrast, Effects, Ladder, Side, on
from dm2.analysis.evidence import paper_pair
from dm2.analysis.judgement import decided_on, deciding, judge, shown, to_markdown
from dm2.analysis.tables import CURVES, DEMONSTRATIONS, ResultsError, read_table, write_table
from dm2.analysis.verdicts import NOT_REPRODUCED, NOT_RUN, PARTIAL, REPRODUCED, UNDECIDED, Runs, verdict_of_parts

REPOSITORY = Path(__file__).parents[2]
JUDGED = ("quick", "laptop")
"""Scales with committed verdicts."""
DM2 = Side(("dm2_ippo_demo_50", "dm2_ippo_demo"), ("dm2_ippo_demo_5m", "dm2_ippo_demo_10m"))
IPPO = Side(("ippo",), ("ippo",))


def verdicts(judged: pd.DataFrame) -> dict[str, str]:
    return dict(zip(judged["part"], judged["verdict"], strict=True))


def test_a_comparison_is_judged_per_map_and_the_pooled_row_decides() -> None:
    claim = Claim("T", "t", (Comparison(on(("5m_vs_6m", "3s_vs_4z"), DM2, IPPO)),))
    judged = judge(
        tables(
            runs("5m_vs_6m", "dm2_ippo_demo", flat(0.75)),
            runs("5m_vs_6m", "ippo", flat(0.25)),
            runs("3s_vs_4z", "dm2_ippo_demo", flat(0.1)),
            runs("3s_vs_4z", "ippo", flat(0.2)),
        ),
        [claim],
    )
    pooled = "pooled: 5m_vs_6m, 3s_vs_4z"
    assert verdicts(judged) == {
        "5m_vs_6m": REPRODUCED,
        "3s_vs_4z": NOT_REPRODUCED,
        pooled: REPRODUCED,
        "claim": REPRODUCED,
    }
    estimates = judged.set_index("part")["estimate"]
    assert estimates[["5m_vs_6m", "3s_vs_4z", pooled]].tolist() == pytest.approx([0.5, -0.1, 0.2])


def test_what_was_not_run_is_not_judged_and_named() -> None:
    claim = Claim("T", "t", (Comparison(on(("5m_vs_6m",), DM2, IPPO)),))
    judged = judge(tables(runs("5m_vs_6m", "ippo", flat(0.1))), [claim])
    assert verdicts(judged) == {"5m_vs_6m": NOT_RUN, "claim": NOT_RUN}
    assert judged["reason"].tolist() == ["not run: dm2_ippo_demo_50", ""]
    assert np.isnan(judged["estimate"].iloc[0])
    assert "Not judged at this scale: T." in to_markdown(judged)


def test_a_pooled_row_names_the_maps_that_it_lacks() -> None:
    claim = Claim("T", "t", (Comparison(on(("3m", "8m", "2s3z"), DM2, IPPO)),))
    curves = [
        runs(at, name, flat(height))
        for at, low in (("3m", 0.1), ("8m", 0.0))
        for name, height in (("dm2_ippo_demo", 6 * low), ("ippo", low))
    ]
    for one in curves[2:]:
        one["win_rate"] = 0.0
    judged = judge(tables(*curves), [claim]).set_index("part")
    assert judged.loc["8m", "reason"] == "nobody learned"
    assert judged.loc["pooled: 3m", "reason"] == "not run: 2s3z; nobody learned: 8m"
    assert judged.loc["pooled: 3m", "estimate"] == pytest.approx(0.5)
    assert judged.loc["claim", "verdict"] == REPRODUCED


def test_four_seeds_decide_nothing_however_far_apart_and_show_no_interval() -> None:
    claim = Claim("T", "t", (Comparison(on(("3m",), DM2, IPPO)),))
    curves = [runs("3m", "dm2_ippo_demo", [0.9] * 4), runs("3m", "ippo", [0.0] * 5)]
    judged = judge(tables(*curves), [claim])
    assert verdicts(judged)["claim"] == UNDECIDED
    assert judged["reason"].iloc[0] == "seeds per condition: 4, at least 5 needed"
    assert judged["estimate"].iloc[0] == pytest.approx(0.9) and np.isnan(judged["low"].iloc[0])


def test_a_map_whose_seeds_are_not_all_there_yet_is_named_and_decides_nothing() -> None:
    claim = Claim("T", "t", (Comparison(on(("3m", "8m"), DM2, IPPO)),))
    whole = [runs("3m", name, flat(height)) for name, height in (("dm2_ippo_demo", 0.6), ("ippo", 0.1))]
    begun = [runs("8m", "dm2_ippo_demo", [0.0] * 4), runs("8m", "ippo", flat(0.9))]
    judged = judge(tables(*whole, *begun), [claim]).set_index("part")
    assert judged.loc["8m", "verdict"] == UNDECIDED
    assert judged.loc["8m", "reason"] == "seeds per condition: 4, at least 5 needed"
    pooled = judged.loc["pooled: 3m"]
    assert (pooled["verdict"], pooled["reason"]) == (REPRODUCED, "fewer than 5 seeds so far: 8m")
    assert (pooled["n_seeds"], pooled["estimate"]) == (5, pytest.approx(0.5))
    finished = [*whole, runs("8m", "dm2_ippo_demo", [0.0] * 5), begun[1]]
    assert judge(tables(*finished), [claim]).set_index("part").loc["pooled: 3m, 8m", "estimate"] == pytest.approx(-0.2)


def test_the_first_condition_that_was_run_is_compared() -> None:
    claim = Claim("T", "t", (Comparison(on(("3m",), DM2, IPPO)),))
    both = [
        runs("3m", name, [at] * 5) for name, at in (("dm2_ippo_demo_50", 0.5), ("dm2_ippo_demo", 0.9), ("ippo", 0.1))
    ]
    judged = judge(tables(*both), [claim])
    assert judged["statistic"].iloc[0] == "AUC(dm2_ippo_demo_50) - AUC(ippo)"
    assert judged["estimate"].iloc[0] == pytest.approx(0.4)


def test_runs_of_unequal_length_are_compared_over_their_common_part() -> None:
    rising = runs("3m", "dm2_ippo_demo", [0.0] * 5, end=2000)
    rising["win_rate"] = rising["env_steps"] / 2000
    claim = Claim("T", "t", (Comparison(on(("3m",), DM2, IPPO)),))
    judged = judge(tables(rising, runs("3m", "ippo", [0.0] * 5)), [claim])
    assert judged["env_steps"].iloc[0] == 1000
    assert judged["estimate"].iloc[0] == pytest.approx(0.25)


def test_against_demonstrators_the_final_win_rate_counts() -> None:
    claim = Claim("C2", "t", (Comparison(on(("5m_vs_6m",), DM2, None), "final", paper_figure="gail_only"),))
    curves = runs("5m_vs_6m", "dm2_ippo_demo_50", [0.8, 0.85, 0.9, 0.95, 0.85])
    judged = judge(tables(curves, demonstrations={("5m_vs_6m", "dm2_ippo_demo_50"): 0.3}), [claim])
    assert judged["estimate"].iloc[0] == pytest.approx(0.57)
    assert verdicts(judged)["claim"] == REPRODUCED
    assert judged["expert"].iloc[0] == "ippo at 50 %, seed 7"
    # paper: dm2_ippo_demo_5m ends at 0.441 in the figure it was first shown in, its demonstrations won 0.31
    assert judged["paper"].iloc[0] == pytest.approx(0.441 - 0.31, abs=0.02)


def test_a_run_without_its_row_of_demonstrations_is_an_error() -> None:
    claim = Claim("C2", "t", (Comparison(on(("5m_vs_6m",), DM2, None), "final"),))
    with pytest.raises(ResultsError, match="no demonstrations of dm2_ippo_demo_50 on 5m_vs_6m"):
        judge(tables(runs("5m_vs_6m", "dm2_ippo_demo_50", [0.5] * 5)), [claim])


def ladder(heights: list[float]) -> tuple[list[pd.DataFrame], dict[tuple[str, str], float], Claim]:
    names = [f"rung_{i}" for i in range(len(heights))]
    curves = [runs("3m", name, flat(at)) for name, at in zip(names, heights, strict=True)]
    demonstrations = {("3m", name): 0.1 * i for i, name in enumerate(names)}
    return curves, demonstrations, Claim("C4", "t", (Ladder(tuple(Side((n,), (n,)) for n in names), ("3m",)),))


def test_a_rising_ladder_reproduces_and_a_falling_one_does_not() -> None:
    rising = [0.1, 0.2, 0.3, 0.5, 0.6, 0.7]
    for heights, verdict in ((rising, REPRODUCED), (rising[::-1], NOT_REPRODUCED)):
        curves, demonstrations, claim = ladder(heights)
        judged = judge(tables(*curves, demonstrations=demonstrations), [claim])
        assert verdicts(judged) == {"3m": verdict, "pooled: 3m": verdict, "claim": verdict}
        assert abs(judged["estimate"].iloc[0]) == pytest.approx(1)
        assert judged["expert"].iloc[0] == "ippo at 50 %, seed 7"


@pytest.mark.parametrize(
    ("heights", "reason"),
    [
        ([0.2] * 6, "all sets of demonstrations alike"),
        ([0.1, 0.2, 0.3, 0.4, 0.5], "sets of demonstrations: 5, at least 6 needed"),
        ([0.0, 0.01, 0.02, 0.03, 0.04, 0.05], "nobody learned"),
    ],
)
def test_a_ladder_of_equal_ends_few_rungs_or_no_wins_decides_nothing(heights: list[float], reason: str) -> None:
    curves, demonstrations, claim = ladder(heights)
    judged = judge(tables(*curves, demonstrations=demonstrations), [claim])
    assert verdicts(judged)["claim"] == UNDECIDED
    assert judged["reason"].iloc[0] == reason


def named(name: str) -> Claim:
    return next(claim for claim in CLAIMS if claim.name == name)


def test_open_loop_control_is_compared_with_half_of_the_battles_where_somebody_wins_them() -> None:
    claim = named("S2")
    (part,) = claim.parts
    assert isinstance(part, Comparison)
    maps = [contrast.map_name for contrast in part.contrasts]
    for height, verdict in ((0.0, "holds"), (0.98, "does not hold")):
        curves = [runs(map_name, "open_loop", [height] * 5) for map_name in maps]
        unwon = judge(tables(*curves), [claim])
        assert set(unwon["verdict"]) == {UNDECIDED} and unwon["reason"].iloc[0] == "nobody learned"
        judged = judge(tables(*curves, *(runs(map_name, "qmix", [0.0, 0.6]) for map_name in maps)), [claim])
        assert verdicts(judged)["claim"] == verdict
        assert judged["statistic"].iloc[0] == "final(open_loop) - 0.5"
        assert judged["estimate"].iloc[0] == pytest.approx(height - 0.5)
        assert judged["paper"].isna().all()


def test_a_gain_that_one_quirk_carries_is_partial() -> None:
    claim = named("S1")
    curves = [
        runs(contrast.map_name, name, flat(height))
        for part in claim.parts
        if isinstance(part, Comparison)
        for contrast in part.contrasts
        for side, height in zip(contrast.sides, (0.3, 0.1), strict=True)
        for name in side.conditions
    ]
    assert verdicts(judge(tables(*curves), [claim]))["claim"] == "holds"
    curves[0]["win_rate"] = 0.1
    judged = judge(tables(*curves), [claim])
    assert judged["verdict"].tolist() == ["does not hold", *["holds"] * 5, PARTIAL]


def test_a_ladder_may_count_episodes() -> None:
    numbers = (16, 32, 64, 128, 256, 512)
    names = [f"dm2_{n}" for n in numbers]
    curves = [runs("3m", name, flat(0.1 + 0.1 * at)) for at, name in enumerate(names)]
    made = tables(*curves, demonstrations={("3m", name): 0.5 for name in names})
    table = made.demonstrations.assign(episodes=numbers)
    claim = Claim("S3", "t", (Ladder(tuple(Side((n,)) for n in names), ("3m",), "episodes"),), of_the_paper=False)
    judged = judge(replace(made, demonstrations=table), [claim])
    assert verdicts(judged)["claim"] == "holds"
    assert judged["statistic"].iloc[0].endswith("with the number of episodes demonstrated")


@pytest.mark.parametrize(
    ("heights", "verdict"),
    [
        ({"cj": 0.5, "nj": 0.5, "ci": 0.1, "ni": 0.1}, REPRODUCED),  # joint training is all that matters
        ({"cj": 0.5, "nj": 0.1, "ci": 0.5, "ni": 0.1}, NOT_REPRODUCED),  # concurrency is
        ({"cj": 0.5, "nj": 0.3, "ci": 0.3, "ni": 0.1}, UNDECIDED),  # both as much
    ],
)
def test_which_of_two_effects_is_larger(heights: Mapping[str, float], verdict: str) -> None:
    def cell(name: str) -> Side:
        return Side((name,))

    diagonals = (Contrast("3m", cell("cj"), cell("ni")), Contrast("3m", cell("nj"), cell("ci")))
    claim = Claim("C6", "t", (Effects(diagonals, "|joint effect| - |concurrency effect|"),))
    judged = judge(tables(*(runs("3m", name, flat(at)) for name, at in heights.items())), [claim])
    assert verdicts(judged) == {"3m": verdict, "claim": verdict}
    joint = (heights["cj"] + heights["nj"] - heights["ci"] - heights["ni"]) / 2
    concurrency = (heights["cj"] + heights["ci"] - heights["nj"] - heights["ni"]) / 2
    assert judged["estimate"].iloc[0] == pytest.approx(abs(joint) - abs(concurrency))


def test_all_claims_are_listed_and_none_judged_where_nothing_was_run() -> None:
    judged = judge(tables(runs("3m", "ippo", [0.5] * 5)))
    whole = judged[judged["part"] == "claim"]
    names = [*(f"C{i}" for i in range(1, 12)), "S1", "S2", "S3"]
    assert whole["claim"].tolist() == names
    assert set(judged["verdict"]) == {NOT_RUN}
    text = to_markdown(judged)
    assert f"Not judged at this scale: {', '.join(names)}." in text and "|" not in text


def test_the_papers_own_numbers_stand_beside_each_claim() -> None:
    """By the same statistics the paper's curves point the way its text says, wherever they show it."""
    judged = judge(tables(runs("3m", "ippo", [0.5] * 5))).dropna(subset="paper").set_index("claim")
    assert set(judged.index) == {f"C{i}" for i in range(1, 12)}
    for name in ("C1", "C2", "C3", "C4", "C5", "C7", "C8", "C10"):
        assert (judged.loc[[name], "paper"] > 0).all(), name
    assert judged.loc["C6", "paper"].round(2).tolist() == [0.0, 0.17]
    assert judged.loc["C11", "paper"].round(2).tolist() == [-0.1, -0.05, 0.31]


def test_what_the_papers_curves_do_not_show_is_said() -> None:
    """C9 on 8m_vs_9m and 3s_vs_5z, and that concurrency does not matter by 0.1, are not in its curves."""
    judged = judge(tables(runs("3m", "ippo", [0.5] * 5)))
    whole = judged[judged["part"] == "claim"].set_index("claim")["paper_verdict"]
    assert {name: verdict for name, verdict in whole.items() if verdict != REPRODUCED} == {
        "C6": UNDECIDED,
        "C9": UNDECIDED,
        "C11": UNDECIDED,
        "S1": "",
        "S2": "",
        "S3": "",
    }
    c9 = judged[judged["claim"] == "C9"].set_index("part")["paper_verdict"]
    assert (c9["8m_vs_9m"], c9["3s_vs_5z"], c9["3s_vs_3z"]) == (UNDECIDED, UNDECIDED, REPRODUCED)


def test_the_papers_curves_stand_for_five_runs_of_their_mean_and_sd() -> None:
    made = tables(runs("3m", "ippo", [0.5] * 5))
    pair = paper_pair(Contrast("8m_vs_9m", DM2, IPPO), "final", "core", made)
    assert pair is not None and isinstance(pair.second, Runs)
    last = made.paper_curves.query("map == '8m_vs_9m' and condition == 'ippo' and env_steps >= 9_500_000")
    assert len(pair.second.final) == 5
    assert pair.second.final.mean() == pytest.approx(last["win_rate"].mean())
    assert pair.second.final.std(ddof=1) == pytest.approx(last["sd"].mean())


def test_a_claims_verdict_follows_from_its_deciding_rows() -> None:
    conditions = {"ippo": 0.1, "dm2_ippo_demo": 0.5, "qmix": 0.6, "rmappo": 0.0, "dm2_sil": 0.05, "dm2_qmix_demo": 0.4}
    curves = [runs(at, name, flat(height)) for at in ("3s_vs_3z", "8m_vs_9m") for name, height in conditions.items()]
    judged = judge(tables(*curves))
    whole, parts = shown(judged)
    assert {"C1", "C9", "C10", "C11"} <= set(whole["claim"])
    for name, verdict in whole[["claim", "verdict"]].itertuples(index=False):
        rows = judged[(judged["claim"] == name) & (judged["part"] != "claim")]
        found = [UNDECIDED if one == NOT_RUN else one for one in deciding(rows)["verdict"]]
        assert verdict_of_parts(found) == verdict, name
    assert decided_on(parts[parts["claim"] == "C10"]) == "3s_vs_3z, 8m_vs_9m"


def test_a_pooled_row_names_the_conditions_that_a_map_lacks() -> None:
    half = {"dm2_ippo_demo_50": 0.5, "ablation_concurrent_independent": 0.1}
    known = {("5m_vs_6m", "dm2_ippo_demo_50"): 0.5}
    curves = [runs("5m_vs_6m", name, flat(height)) for name, height in half.items()]
    judged = judge(tables(*curves, demonstrations=known))
    row = judged[(judged["claim"] == "C5") & judged["part"].str.startswith("pooled: ")].iloc[0]
    assert row["part"] == "pooled: 5m_vs_6m"
    assert row["reason"] == "not run: ablation_nonconcurrent_joint, ablation_nonconcurrent_independent"


def test_the_papers_difference_is_known_over_our_length_too() -> None:
    heights = {"ippo": 0.1, "dm2_ippo_demo": 0.5}
    judged = judge(tables(*(runs("3s_vs_3z", name, flat(height), end=3_000_000) for name, height in heights.items())))
    for part in ("3s_vs_3z", "pooled: 3s_vs_3z"):
        row = judged[(judged["claim"] == "C1") & (judged["part"] == part)].iloc[0]
        assert row["paper"] == pytest.approx(0.19, abs=0.01)  # over 10 million env steps
        assert row["paper_at_our_length"] == pytest.approx(0.55, abs=0.02)


def test_one_seed_a_side_has_an_estimate_and_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        judged = judge(tables(runs("3s_vs_3z", "ippo", [0.2]), runs("3s_vs_3z", "dm2_ippo_demo", [0.5])))
    row = judged[(judged["claim"] == "C1") & (judged["part"] == "3s_vs_3z")].iloc[0]
    assert row["estimate"] == pytest.approx(0.3) and pd.isna(row["low"])


def test_verdicts_repeat_to_the_last_bit() -> None:
    curves = [runs("3s_vs_3z", name, [0.1, 0.5, 0.3, 0.7]) for name in ("ippo", "dm2_ippo_demo", "qmix")]
    first, second = judge(tables(*curves)), judge(tables(*curves))
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_markdown_has_a_line_per_claim_and_says_what_made_it() -> None:
    curves = [runs("3s_vs_3z", "ippo", [0.1] * 5), runs("3s_vs_3z", "dm2_ippo_demo", [0.5] * 5)]
    text = " ".join(to_markdown(judge(tables(*curves))).split())  # the tables are padded
    assert "built-in simulator 1, scale quick" in text
    assert "| C1 | DM² with IPPO demonstrations learns faster than IPPO | reproduced | reproduced |" in text
    assert "| +0.40 [+0.40, +0.40] | 5 | 1,000 | reproduced |" in text
    assert "Not judged at this scale: C2, C3, C4, C5, C6, C7, C8, C9, C10, C11, S1, S2, S3." in text


@pytest.mark.parametrize("scale", JUDGED)
def test_committed_verdicts_follow_from_their_tables(scale: str, tmp_path: Path) -> None:
    folder = REPOSITORY / "results" / scale
    made = replace(
        tables(runs("3m", "ippo", [0.5])),
        curves=read_table(folder / "learning_curves.csv", CURVES),
        demonstrations=read_table(folder / "demonstrations.csv", DEMONSTRATIONS),
    )
    judged = judge(made)
    assert (folder / "claims.md").read_text(encoding="utf-8") == to_markdown(judged)
    write_table(judged, tmp_path / "claims.csv")
    assert (folder / "claims.csv").read_bytes() == (tmp_path / "claims.csv").read_bytes()
