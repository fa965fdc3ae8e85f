"""dm2.training.provenance: which commit a result is said to be of."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dm2.training.provenance import git_commit, provenance


def git(folder: Path, *command: str) -> str:
    author = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    return subprocess.run(["git", *author, *command], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of one commit that holds the folder `package`."""
    folder = tmp_path / "repository"
    (folder / "package").mkdir(parents=True)
    (folder / "package" / "module.py").write_text("")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "first")
    return folder


def test_the_commit_is_that_of_the_repository_and_says_if_files_differ(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD").strip()
    assert git_commit(repository / "package") == commit
    (repository / "package" / "module.py").write_text("changed")
    assert git_commit(repository / "package") == f"{commit}-dirty"


def test_an_archive_unpacked_in_another_repository_has_no_commit(repository: Path) -> None:
    shutil.copytree(repository / "package", repository / "dm2-0.1.0" / "dm2")
    assert git_commit(repository / "dm2-0.1.0" / "dm2") is None
    (repository / ".gitignore").write_text("/dm2-0.1.0/\n")  # as of a virtual environment
    assert git_commit(repository / "dm2-0.1.0" / "dm2") is None


def test_a_repository_that_the_environment_names_is_not_asked(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(repository / "package", tmp_path / "elsewhere" / "package")
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))  # as in a hook of git
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "elsewhere"))
    assert git_commit(tmp_path / "elsewhere" / "package") is None


def test_without_a_repository_or_git_there_is_no_commit(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert git_commit(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit(repository / "package") is None


def test_provenance_is_json_and_names_the_threads() -> None:
    record = provenance(threads=3)
    assert json.loads(json.dumps(record)) == record
    assert record["threads"] == 3
    assert record["python"] == ".".join(map(str, sys.version_info[:3]))
