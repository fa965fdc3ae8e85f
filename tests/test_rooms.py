"""The house has floors: a room imports from rooms below it alone, and no modules import each other in a circle."""

import re
from graphlib import TopologicalSorter
from pathlib import Path

import dm2
from dm2.core.imports import imports

ROOMS = (
    *("core", "settings", "nets", "battle", "backends", "play", "learners", "analysis", "training", "viewer"),
    *("adapters", "calibration", "scripts", "cli"),
)
"""From the ground up."""
ROOT = Path(dm2.__file__).parents[1]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "dm2").rglob("*.py")
    if "drop_in" not in path.parts  # laid out as SMAC's own package is
}


def imported_by(module: str) -> set[str]:
    """Modules that it names, also for type checkers alone; not the packages that they lie in."""
    names = set(imports(module, deferred=True)) & MODULES
    return {name for name in names if not any(other.startswith(f"{name}.") for other in names)} - {"dm2"}


def test_imports_lead_down() -> None:
    floors = {name: ROOMS.index(name.split(".")[1]) for name in MODULES - {"dm2"}}
    assert {
        (module, other) for module in floors for other in imported_by(module) if floors[module] < floors[other]
    } == set()


def test_there_are_no_circles() -> None:
    TopologicalSorter({module: imported_by(module) for module in MODULES}).prepare()


def test_rooms_import_nothing_themselves() -> None:
    assert {room for room in ROOMS[:-1] if imported_by(f"dm2.{room}")} == set()


def closure(arrows: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The arrows, and those that follow from them."""
    further = arrows | {(a, d) for a, b in arrows for c, d in arrows if b == c}
    return arrows if further == arrows else closure(further)


def test_the_picture_of_the_house_is_true() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    arrows = set(re.findall(r"(\w+) --> (\w+)", re.sub(r'\["[^"]*"\]', "", page)))
    modules = MODULES - {"dm2"}
    taken = {(one.split(".")[1], other.split(".")[1]) for one in modules for other in imported_by(one)}
    assert closure(arrows) == closure({(a, b) for a, b in taken if a != b})
