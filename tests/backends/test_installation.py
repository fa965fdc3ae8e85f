from pathlib import Path

import pytest
from support import fake_installation

from dm2.backends.installation import inspect_installation, require_installation, try_imports
from dm2.core.errors import UserError


def test_a_complete_installation_is_found(packages: Path) -> None:
    found = inspect_installation("3m")
    assert [finding.part for finding in found if finding.good] == [finding.part for finding in found]
    text = {finding.part: finding.text for finding in found}
    assert text["game"].startswith("build 75689 in ")
    assert text["maps"].startswith("2 in ")
    assert text["protobuf"] == "3.20.3"
    require_installation("3m")
    assert try_imports().good


def test_the_newest_build_counts_and_what_cannot_run_does_not(packages: Path, tmp_path: Path) -> None:
    fake_installation.install_game(tmp_path / "other", build=76052)
    versions = tmp_path / "StarCraftII" / "Versions"
    (tmp_path / "other" / "StarCraftII" / "Versions" / "Base76052").rename(versions / "Base76052")
    assert inspect_installation()[0].text.startswith("build 76052")
    (versions / "Base76052" / "SC2_x64").chmod(0o644)
    assert inspect_installation()[0].text.startswith("build 75689")


def test_without_the_game_one_sentence_says_so(packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SC2PATH", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"backend starcraft2: game: found no Versions/Base\*/SC2_x64 in") as error:
        require_installation("3m")
    assert "dm2 doctor" in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_the_wrong_smac_is_recognised(packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (packages / "smac").rename(tmp_path / "smac-of-starcraft")
    fake_installation.install_automl_smac(packages)
    wrong = inspect_installation()[-1]
    assert not wrong.good
    assert "AutoML's SMAC3, which the package index calls smac" in wrong.text
    assert "pip uninstall smac" in wrong.text
    (packages / "smac" / "facade").rmdir()
    assert "another project of that name" in inspect_installation()[-1].text


def test_packages_that_do_not_work_together_are_told(packages: Path) -> None:
    (packages / "smac" / "env" / "__init__.py").write_text("import pysc2.lib\n")
    tried = try_imports()
    assert not tried.good
    assert tried.text == "smac cannot be imported: ModuleNotFoundError: No module named 'pysc2.lib'"


def test_an_import_without_end_is_told(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (packages / "smac" / "env" / "__init__.py").write_text("import time; time.sleep(600)\n")
    monkeypatch.setattr("dm2.backends.installation._IMPORT_SECONDS", 1)
    tried = try_imports()
    assert not tried.good and tried.text.startswith("smac cannot be imported: no end after 1 s; ")
