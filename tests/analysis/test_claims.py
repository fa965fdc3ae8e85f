from collections.abc import Collection
from pathlib import Path

from dm2.analysis.claims import CLAIMS, Claim, Ladder, Part, Side
from dm2.analysis.few_seeds import MIN_RUNGS, MIN_SEEDS
from dm2.settings.matrix import Matrix

CONFIG = Path(__file__).parents[2] / "config"


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


def test_the_laptop_scale_can_judge_c1_to_c11_and_s2_and_runs_nothing_else_but_the_core_figure() -> None:
    matrix = Matrix.load(CONFIG, {"scale": "laptop"})
    scale = matrix.scale
    compared = {map_name: set(matrix.figure_conditions("core", map_name)) for map_name in scale.runs}
    for claim in CLAIMS:
        if claim.name == "S2" or claim.of_the_paper:
            run = [(name, taken(side, scale.runs[name])) for name, side in sides_on(claim, scale.runs)]
            assert any(condition in scale.runs[name] for name, condition in run), claim.name
            for map_name, condition in run:
                compared[map_name].add(condition)
    assert all(set(conditions) <= compared[map_name] for map_name, conditions in scale.runs.items())
    assert (len(scale.seeds), scale.single_seed_runs) == (5, {})


def test_the_laptop_scale_has_rungs_enough_for_the_ladder_of_demonstrations() -> None:
    runs = Matrix.load(CONFIG, {"scale": "laptop"}).scale.runs
    ladder = next(part for claim in CLAIMS for part in claim.parts if claim.name == "C4" and isinstance(part, Ladder))
    for map_name in ladder.maps:
        assert sum(bool(set(rung.conditions) & set(runs[map_name])) for rung in ladder.rungs) >= MIN_RUNGS


def sides_on(claim: Claim, maps: Collection[str]) -> list[tuple[str, Side]]:
    """Every condition of a claim on some maps."""
    return [(name, side) for part in claim.parts for name, side in sides(part) if name in maps]


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
