"""docs/simulator.md cites rules, functions and tests that are there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from dm2.battle.scenario import Mechanics
from dm2.settings.maps import Heal, Map, Unit, Weapon

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "simulator.md").read_text(encoding="utf-8")
TESTS = [
    name
    for folder in ("battle", "calibration")
    for path in sorted((REPOSITORY / "tests" / folder).glob("test_*.py"))
    for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
]


def rows(section: str) -> list[list[str]]:
    """Cells of the section's table."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def in_code(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


MECHANICS = [row for row in rows("Every mechanic") if row[2]]  # without the lines that name a group


def test_every_rule_has_its_line_with_a_source_a_function_and_a_test() -> None:
    assert [int(row[0]) for row in MECHANICS if row[0]] == list(range(1, 46))
    for _, mechanic, source, code, tests in MECHANICS:
        assert source and in_code(code) and in_code(tests), mechanic


@pytest.mark.parametrize("cited", sorted(set(re.findall(r"`(test_[\w.]+)`", PAGE))))
def test_a_cited_test_is_there(cited: str) -> None:
    if cited.endswith("..."):
        assert len([name for name in TESTS if name.startswith(cited.removesuffix("..."))]) == 1
    else:
        assert TESTS.count(cited) == 1


@pytest.mark.parametrize("cited", sorted({name for row in MECHANICS for name in in_code(row[3])}))
def test_cited_code_is_there(cited: str) -> None:
    if cited.endswith(".yaml"):
        assert (REPOSITORY / "dm2" / "battle" / "data" / cited).is_file()
    else:
        module, _, name = cited.rpartition(".")
        assert hasattr(importlib.import_module(f"dm2.battle.{module}"), name)


def test_assumptions_are_named_as_in_the_data() -> None:
    known = {key for model in (Mechanics, Map, Unit, Weapon, Heal) for key in model.model_fields}
    named = {key for row in rows("What is assumed") for key in in_code(row[0])}
    assert len(named) > 10
    assert named <= known
    assumed = (REPOSITORY / "dm2" / "battle" / "data" / "mechanics.yaml").read_text(encoding="utf-8")
    assumed = assumed.partition("# assumed\n")[2]
    assert set(re.findall(r"^(\w+):", assumed, re.MULTILINE)) <= named
