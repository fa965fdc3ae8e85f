"""A stage has one name: that of its module is its rule's, and with dashes its command's."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from dm2 import cli

ROOT = Path(__file__).parents[2]
MODULES = {path.stem for path in (ROOT / "dm2" / "scripts").glob("[a-z]*.py")} - {"options"}
COMMANDS = set(get_command(cli.app).commands)


def test_commands_are_the_modules() -> None:
    assert {command.replace("-", "_") for command in COMMANDS} == MODULES


def test_rules_are_named_after_their_modules() -> None:
    """Where several rules run one module, each name goes on to say for what."""
    text = "\n".join(path.read_text() for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")))
    rules = re.findall(r"^rule (\w+):.*?python -m dm2\.scripts\.(\w+)", text, re.MULTILINE | re.DOTALL)
    rules += [(name, dict(rules)[base]) for base, name in re.findall(r"^use rule (\w+) as (\w+)", text, re.MULTILINE)]
    assert len(rules) == len(re.findall(r"^(?:use )?rule ", text, re.MULTILINE)) > 0
    shared = {module for module in MODULES if sum(module == other for _, other in rules) > 1}
    assert [(rule, module) for rule, module in rules if not rule.startswith(module)] == []
    assert [(rule, module) for rule, module in rules if module not in shared and rule != module] == []


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name
)
def test_commands_that_the_documentation_names_are_there(path: Path) -> None:
    named = re.findall(r"(?:^|`)dm2 ([a-z][a-z-]*)", path.read_text(), re.MULTILINE)
    assert set(named) <= COMMANDS
