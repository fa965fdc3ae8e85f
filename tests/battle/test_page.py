"""docs/mechanics.md and docs/simulator.md cite rules, functions, tests and measurements that are there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pandas as pd
import pytest

from dm2.battle.env import SIMULATOR_VERSION
from dm2.battle.scenario import Mechanics
from dm2.settings.maps import Heal, Map, Unit, Weapon

REPOSITORY = Path(__file__).parents[2]
MECHANICS_PAGE, PAGE = (
    (REPOSITORY / "docs" / name).read_text(encoding="utf-8") for name in ("mechanics.md", "simulator.md")
)
TESTS = [
    name
    for folder in ("battle", "calibration")
    for path in sorted((REPOSITORY / "tests" / folder).glob("test_*.py"))
    for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
]


def rows(text: str) -> list[list[str]]:
    """Cells of the table in a text."""
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def in_code(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def section(name: str) -> str:
    """Text of a section of docs/simulator.md."""
    return PAGE.partition(f"\n## {name}\n")[2].partition("\n## ")[0]


MECHANICS = rows(MECHANICS_PAGE)


def test_every_rule_has_its_line_with_a_source_a_function_and_a_test() -> None:
    assert [int(row[0]) for row in MECHANICS if row[0]] == list(range(1, 46))
    for _, mechanic, source, code, tests in MECHANICS:
        assert source and in_code(code) and in_code(tests), mechanic


@pytest.mark.parametrize("cited", sorted(set(re.findall(r"`(test_[\w.]+)`", MECHANICS_PAGE))))
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
    named = {key for row in rows(section("What is assumed")) for key in in_code(row[0])}
    assert len(named) > 10
    assert named <= known
    assumed = (REPOSITORY / "dm2" / "battle" / "data" / "mechanics.yaml").read_text(encoding="utf-8")
    assumed = assumed.partition("# assumed\n")[2]
    assert set(re.findall(r"^(\w+):", assumed, re.MULTILINE)) <= named


def test_nearness_is_what_was_measured() -> None:
    table = pd.read_csv(REPOSITORY / "results" / "calibration" / "nearness.csv")
    units = {"length": "{:.1%}", "raw_reward": "{:.1%}", "dead_allies": "{:.3f}", "dead_enemies": "{:.3f}"}
    measured = []
    for row in table.itertuples():
        form = units[row.quantity]
        mean, largest = form.format(row.root_mean_square), form.replace(":", ":+").format(row.largest)
        quantity = row.quantity.replace("_", " ").replace("allies", "agents")
        measured.append([quantity, row.role, str(row.maps), mean, f"{largest} on {row.largest_on}"])
    shown = [[cell.replace(" %", "%") for cell in row] for row in rows(section("How near it is"))]
    assert shown == measured


def test_the_page_is_about_the_simulator_as_it_is() -> None:
    assert f"This page is about simulator {SIMULATOR_VERSION};" in PAGE
