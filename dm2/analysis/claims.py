"""The paper's claims, and what they say about numbers. How numbers become verdicts: `dm2.analysis.verdicts`.

C1 to C11 are the paper's. S1 to S3 are statements that the paper does not test; the same rules say whether they hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dm2.analysis.verdicts import WON, Rule

Measure = Literal["AUC", "AUC of the last half", "final"]

ALL_MAPS = ("5m_vs_6m", "3s_vs_4z", "3s_vs_3z", "3s_vs_5z", "8m_vs_9m")
TWO_MAPS = ("5m_vs_6m", "3s_vs_4z")


@dataclass(frozen=True)
class Side:
    """One side of a comparison.

    Args:
        conditions: our conditions; the first one that was run is taken.
        paper: its names in results/paper/paper_curves.csv; the first one that the paper shows on the map is taken. None
            where the paper has no such condition.
    """

    conditions: tuple[str, ...]
    paper: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contrast:
    """Two sides on one map.

    Args:
        map_name: map.
        first: what is claimed to be above, or not.
        second: what it is compared with, the reference: a condition, a win rate, or None for the win rate of the
            demonstrations that `first` learns from.
    """

    map_name: str
    first: Side
    second: Side | float | None

    @property
    def sides(self) -> tuple[Side, ...]:
        """The conditions compared: two, or one with a win rate."""
        return (self.first, self.second) if isinstance(self.second, Side) else (self.first,)


@dataclass(frozen=True)
class Comparison:
    """Differences of two sides, each judged and all pooled.

    Args:
        contrasts: what is compared; no run is in two of them.
        measure: the number taken from each run.
        rule: how the interval of the difference becomes a verdict.
        paper_figure: figure of the paper that shows it.
    """

    contrasts: tuple[Contrast, ...]
    measure: Measure = "AUC"
    rule: Rule = "above"
    paper_figure: str = "core"


@dataclass(frozen=True)
class Effects:
    """How much larger one main effect is than another, in a table of two by two conditions.

    Args:
        contrasts: the two diagonals of the table: the sum of the effects, and their difference.
        words: the statistic.
        measure: the number taken from each run.
        rule: how the interval of the difference becomes a verdict.
        paper_figure: figure of the paper that shows it.
    """

    contrasts: tuple[Contrast, Contrast]
    words: str
    measure: Measure = "AUC"
    rule: Rule = "above"
    paper_figure: str = "core"


@dataclass(frozen=True)
class Ladder:
    """Rank correlation between how a condition ends and a number of its demonstrations, over a ladder of sets.

    Args:
        rungs: conditions that differ in their demonstrations.
        maps: maps of the claim.
        against: what the rungs are ordered by: how good their demonstrations are, or how many.
        paper_figure: figure of the paper that shows it.
    """

    rungs: tuple[Side, ...]
    maps: tuple[str, ...]
    against: Literal["win_rate", "episodes"] = "win_rate"
    paper_figure: str = "all_demos"


Part = Comparison | Effects | Ladder


@dataclass(frozen=True)
class Claim:
    """A sentence, of the paper or about it, and what it says about numbers."""

    name: str
    sentence: str
    parts: tuple[Part, ...]
    of_the_paper: bool = True


def _same(name: str) -> Side:
    return Side((name,), (name,))


def _rung(percent: int) -> Side:
    ours = f"dm2_ippo_demo_{percent}" if percent < 100 else "dm2_ippo_demo"
    return Side((ours,), (f"dm2_ippo_demo_{percent // 10}m",))


def on(maps: tuple[str, ...], first: Side, second: Side | float | None) -> tuple[Contrast, ...]:
    """The same two sides on several maps."""
    return tuple(Contrast(map_name, first, second) for map_name in maps)


IPPO = _same("ippo")
DM2_FULL = _rung(100)
DM2_HALF = Side(("dm2_ippo_demo_50", *DM2_FULL.conditions), ("dm2_ippo_demo_5m", *DM2_FULL.paper))
RUNGS = tuple(_rung(percent) for percent in range(10, 101, 10))
CONCURRENT_JOINT = Side(("dm2_ippo_demo_50",), ("ablation_concurrent_joint",))
NONCONCURRENT_JOINT = _same("ablation_nonconcurrent_joint")
CONCURRENT_INDEPENDENT = _same("ablation_concurrent_independent")
NONCONCURRENT_INDEPENDENT = _same("ablation_nonconcurrent_independent")
FLIPPED_QUIRKS = (
    "absorbing_zeros_off",
    "first_action_leak_on",
    "regeneration_pays_off",
    "one_sided_huber_on",
    "frozen_critic_head_on",
    "last_episode_left_out_on",
)
STUDIED_ON = {"regeneration_pays_off": "3s_vs_4z"}
"""Maps of the quirks that change nothing on 5m_vs_6m, where nobody has shields."""
OTHER_EPISODES = (64, 125, 250, 500, 2000)

CLAIMS = (
    Claim(
        "C1",
        "DM² with IPPO demonstrations learns faster than IPPO",
        (Comparison(on((*TWO_MAPS, "3s_vs_3z"), DM2_HALF, IPPO), paper_figure="gail_only"),),
    ),
    Claim(
        "C2",
        "DM² surpasses its demonstrators",
        (Comparison(on(TWO_MAPS, DM2_HALF, None), "final", paper_figure="gail_only"),),
    ),
    Claim(
        "C3",
        "both rewards are needed: GAIL alone fails",
        (
            Comparison(
                on(TWO_MAPS, DM2_HALF, Side(("gail_only_ippo_demo_50",), ("gail_only_ippo_demo_5m",))),
                paper_figure="gail_only",
            ),
        ),
    ),
    Claim("C4", "better demonstrations make DM² better", (Ladder(RUNGS, TWO_MAPS),)),
    Claim(
        "C5",
        "experts trained together matter",
        (
            Comparison(
                (
                    Contrast("5m_vs_6m", CONCURRENT_JOINT, CONCURRENT_INDEPENDENT),
                    Contrast("5m_vs_6m", NONCONCURRENT_JOINT, NONCONCURRENT_INDEPENDENT),
                ),
                paper_figure="demo_ablation",
            ),
        ),
    ),
    Claim(
        "C6",
        "concurrent sampling matters less",
        (
            Comparison(
                (Contrast("5m_vs_6m", CONCURRENT_JOINT, NONCONCURRENT_JOINT),),
                rule="within",
                paper_figure="demo_ablation",
            ),
            Effects(
                (
                    Contrast("5m_vs_6m", CONCURRENT_JOINT, NONCONCURRENT_INDEPENDENT),
                    Contrast("5m_vs_6m", NONCONCURRENT_JOINT, CONCURRENT_INDEPENDENT),
                ),
                "|joint effect| - |concurrency effect| of AUC(ablation_*)",
                paper_figure="demo_ablation",
            ),
        ),
    ),
    Claim(
        "C7",
        "behavioural-cloning pre-training does not replace DM²",
        (
            Comparison(
                on(TWO_MAPS, DM2_HALF, _same("ippo_bc_pretrain")), "AUC of the last half", paper_figure="bc_pretrain"
            ),
        ),
    ),
    Claim(
        "C8",
        "state-only discriminators do at least as well as state-action ones",
        (
            Comparison(
                tuple(
                    Contrast(
                        map_name,
                        _rung(percent),
                        Side((f"dm2_state_action_demo_{percent}",), (f"dm2_state_action_demo_{percent // 10}m",)),
                    )
                    for map_name, percent in (("5m_vs_6m", 50), ("5m_vs_6m", 70), ("3s_vs_4z", 50), ("3s_vs_4z", 60))
                ),
                rule="not below",
                paper_figure="state_action",
            ),
        ),
    ),
    Claim("C9", "QMIX demonstrations work too", (Comparison(on(ALL_MAPS, _same("dm2_qmix_demo"), IPPO)),)),
    Claim(
        "C10",
        "centralised baselines learn faster than decentralised ones",
        tuple(Comparison(on(ALL_MAPS, _same(name), IPPO)) for name in ("qmix", "rmappo")),
    ),
    Claim(
        "C11",
        "the gain is not universal: DM² does not beat IPPO on 8m_vs_9m, self-imitation is slower on 3s_vs_3z",
        (
            Comparison(on(("8m_vs_9m",), DM2_FULL, IPPO), rule="not above"),
            Comparison(on(("8m_vs_9m",), _same("dm2_sil"), IPPO), rule="not above"),
            Comparison(on(("3s_vs_3z",), IPPO, _same("dm2_sil"))),
        ),
    ),
    Claim(
        "S1",
        "DM²'s gain over IPPO hangs on no single quirk of the original code",
        tuple(
            Comparison(
                on(
                    (STUDIED_ON.get(quirk, "5m_vs_6m"),),
                    Side((f"dm2_ippo_demo_{quirk}",)),
                    Side((f"ippo_{quirk}",)),
                )
            )
            for quirk in FLIPPED_QUIRKS
        ),
        of_the_paper=False,
    ),
    Claim(
        "S2",
        "maps cannot be won open-loop, by time step and agent id alone",
        (Comparison(on(ALL_MAPS, Side(("open_loop",)), WON), "final", rule="not above"),),
        of_the_paper=False,
    ),
    Claim(
        "S3",
        "more episodes of demonstrations make DM² better",
        (
            Ladder(
                (*(Side((f"dm2_ippo_demo_{n}_demonstrated_episodes",)) for n in OTHER_EPISODES), DM2_FULL),
                TWO_MAPS,
                "episodes",
            ),
        ),
        of_the_paper=False,
    ),
)
"""The claims of the paper that its figures let one check, in the order of its text, and what it leaves open."""
