from pathlib import Path

from dm2.claims import CLAIMS, Ladder, Part, Side
from dm2.experiments import Matrix
from dm2.few_seeds import MIN_RUNGS, MIN_SEEDS

CONFIG = Path(__file__).parents[1] / "config"


def sides(part: Part) -> list[tuple[str, Side]]:
    """Every condition of a part, with its map."""
    if isinstance(part, Ladder):
        return [(map_name, side) for map_name in part.maps for side in part.rungs]
    return [(contrast.map_name, side) for contrast in part.contrasts for side in contrast.sides]


def test_the_paper_scale_runs_what_every_claim_compares_with_enough_seeds() -> None:
    scale = Matrix.load(CONFIG, {"scale": "paper"}).scale
    assert len(scale.seeds) >= MIN_SEEDS
    for claim in CLAIMS:
        for part in claim.parts:
            for map_name, side in sides(part):
                assert set(side.conditions) & set(scale.runs[map_name]), (claim.name, map_name, side)


def test_the_laptop_scale_runs_what_c1_to_c10_compare_and_nothing_else() -> None:
    scale = Matrix.load(CONFIG, {"scale": "laptop"}).scale
    claims = {claim.name: claim for claim in CLAIMS if claim.name in {f"C{i}" for i in range(1, 11)}}
    maps = {name: ("5m_vs_6m", "3s_vs_4z") for name in claims} | {"C1": ("5m_vs_6m", "3s_vs_4z", "3s_vs_3z")}
    behind: dict[str, set[str]] = {map_name: set() for map_name in maps["C1"]}
    for name, claim in claims.items():
        for part in claim.parts:
            for map_name, side in sides(part):
                if map_name in maps[name]:
                    behind[map_name].add(taken(side, scale.runs[map_name]))
    assert {map_name: set(conditions) for map_name, conditions in scale.runs.items()} == behind
    assert (len(scale.seeds), scale.single_seed_runs) == (5, {})


def taken(side: Side, run: tuple[str, ...]) -> str:
    """The first of a side's conditions that is run, as `judge` takes it."""
    return next((condition for condition in side.conditions if condition in run), f"{side} not run")


def test_every_ladder_has_enough_rungs_to_be_judged() -> None:
    for claim in CLAIMS:
        for part in claim.parts:
            assert not isinstance(part, Ladder) or len(part.rungs) >= MIN_RUNGS, claim.name


def test_no_run_is_in_two_contrasts_of_a_comparison() -> None:
    """Pooled contrasts count as independent."""
    for claim in CLAIMS:
        for part in claim.parts:
            used = sides(part)
            assert len(used) == len(set(used)), claim.name
