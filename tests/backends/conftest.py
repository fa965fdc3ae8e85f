from pathlib import Path

import pytest
from support import fake_installation

from dm2.backends.starcraft2 import starcraft2_spec


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A complete fake installation; returns the folder of its packages, where its files `faults` and `pids` are."""
    monkeypatch.setenv("SC2PATH", str(fake_installation.install_game(tmp_path)))
    folder = fake_installation.install_packages(tmp_path)
    monkeypatch.syspath_prepend(str(folder))
    starcraft2_spec.cache_clear()
    yield folder
    starcraft2_spec.cache_clear()
    fake_installation.forget_packages()
