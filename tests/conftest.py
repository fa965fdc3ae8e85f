"""Options of the suite: what needs a game, a GPU or a cluster runs only on request."""

import pytest

OPT_IN = {
    "starcraft": "run the tests that need StarCraft II",
    "device": "run the tests that need a GPU",
    "slurm": "run the tests that install and start Slurm (Debian, as root)",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    for name, help_text in OPT_IN.items():
        parser.addoption(f"--{name}", action="store_true", help=help_text)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for name in OPT_IN:
            if name in item.keywords and not config.getoption(name):
                item.add_marker(pytest.mark.skip(reason=f"opt in with --{name}"))
