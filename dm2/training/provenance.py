"""What made a result: versions, hardware, code. Goes into `run.json` beside the numbers."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("dm2", "torch", "numpy", "numba", "safetensors", "pydantic")
_CPU_INFO = Path("/proc/cpuinfo")


def provenance(threads: int) -> dict[str, Any]:
    """Versions, hardware and commit, as JSON can hold them.

    Args:
        threads: CPU threads that the run was given.
    """
    return {
        "packages": {name: package_version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cpu_count": os.cpu_count(),
        "threads": threads,
        "git_commit": git_commit(Path(__file__).parent),
    }


def package_version(name: str) -> str | None:
    """The installed version of a package, None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def cpu_model() -> str:
    """The processor's name, as far as the system tells."""
    lines = _CPU_INFO.read_text(errors="replace").splitlines() if _CPU_INFO.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def git_commit(folder: Path) -> str | None:
    """The commit that a folder is checked out at, with `-dirty` if files differ from it.

    None outside a repository, and in one that does not hold the folder's own files: an installed package or an unpacked
    archive may lie in a repository of something else.
    """
    try:
        _git(folder, "ls-files", "--error-unmatch", "--", ".")
        return _git(folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.SubprocessError):  # no git, no repository, or no answer
        return None


def _git(folder: Path, *command: str) -> str:
    """What git says of the repository that a folder lies in, whatever repository the environment names."""
    env = {name: value for name, value in os.environ.items() if name not in ("GIT_DIR", "GIT_WORK_TREE")}
    whole = ["git", "-C", str(folder), *command]
    answer = subprocess.run(whole, capture_output=True, text=True, check=True, timeout=30, env=env)
    return answer.stdout.strip()


def peak_memory_bytes() -> int:
    """The most memory that this process has had at once (resident set)."""
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage counts bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
