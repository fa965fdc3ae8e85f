"""Run the repository's workflow in a directory of its own."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def snakemake(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run snakemake; its outputs lie under `directory`, its messages in `stdout`."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "workflow" / "Snakefile")]
    where = ["--directory", str(directory), "--cores", "2"]
    return subprocess.run(
        [*command, *where, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
