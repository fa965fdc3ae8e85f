"""Markdown pages of this repository: their blocks, and their commands run as a reader runs them."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PROGRAMS = {"dm2": ["-c", "from dm2.cli import main; main()"], "snakemake": ["-m", "snakemake"]}


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page in a language, without their fences."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[str]:
    """The lines of a page's console blocks, without the comments behind them."""
    lines = "".join(blocks(page, "console")).splitlines()
    return [re.sub(r"\s+#.*", "", line) for line in lines]


def run(command: str, project: Path) -> str:
    """Run a command in a copy of the repository, with the package that lies there; what it printed.

    Raises:
        AssertionError: it failed.
    """
    program, *arguments = shlex.split(command)
    done = subprocess.run(
        [sys.executable, *PROGRAMS[program], *arguments],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout
