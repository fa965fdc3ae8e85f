"""Options of the suite: what needs a game, a cluster or the code of others runs only on request."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import fake_installation

from dm2.backends.starcraft2 import starcraft2_spec
from dm2.core.errors import UserError
from dm2.nets import products

FLAG = {"action": "store_true"}
OPT_IN = {
    "starcraft": FLAG | {"help": "run the tests that need StarCraft II"},
    "wheel": FLAG | {"help": "build the package and install it in an environment of its own"},
    "slurm": FLAG | {"help": "run the tests that install and start Slurm (Debian, as root)"},
    "clients": {"metavar": "DIR", "help": "run the code of others that lies in DIR (docs/clients.md)"},
}


@pytest.fixture(params=["torch", "numpy"])
def each_library(request: pytest.FixtureRequest) -> Iterator[None]:
    """Multiply by one library after the other."""
    try:
        with products.using(request.param):
            yield
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A complete fake installation; gives the folder of its packages, where its files `faults` and `pids` are."""
    monkeypatch.setenv("SC2PATH", str(fake_installation.install_game(tmp_path)))
    folder = fake_installation.install_packages(tmp_path)
    monkeypatch.syspath_prepend(str(folder))
    starcraft2_spec.cache_clear()
    yield folder
    starcraft2_spec.cache_clear()
    fake_installation.forget_packages()


def pytest_configure(config: pytest.Config) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored under nohup, and by all processes that the tests start there


def pytest_addoption(parser: pytest.Parser) -> None:
    for name, option in OPT_IN.items():
        parser.addoption(f"--{name}", **option)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for name in OPT_IN:
            if item.get_closest_marker(name) and not config.getoption(name):
                item.add_marker(pytest.mark.skip(reason=f"opt in with --{name}"))
