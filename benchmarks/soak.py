"""Memory over the time of a long run: does it stay flat?

    python benchmarks/soak.py SETTINGS --csv FILE [--demonstrations ARCHIVE] [--seconds-between 10] [--figure FILE]
    python benchmarks/soak.py --csv FILE --figure FILE                    # draws the samples of an earlier soak

SETTINGS is a run's settings file (`dm2 show-settings 5m_vs_6m ippo --scale paper --output settings.yaml`), whose
`env_steps` say how long the soak is. The run trains in a process of its own and a temporary folder. Its resident
memory is read every few seconds; growth is the median of the last quarter of the samples less that of the second
quarter, which leaves out the start, when buffers fill.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from dm2.analysis.plotting import figure_settings

KIB_PER_MIB = 1024
WHAT = ["backend", "map_name", "condition"]


def main() -> None:
    arguments = parse_arguments()
    if arguments.settings:
        with tempfile.TemporaryDirectory() as folder:
            soak(arguments, Path(folder)).to_csv(arguments.csv, index=False)
    samples = pd.read_csv(arguments.csv)
    if arguments.figure:
        draw(samples, arguments.figure)
    print(verdict(samples))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", type=Path, nargs="?")
    parser.add_argument("--demonstrations", type=Path)
    parser.add_argument("--seconds-between", type=float, default=10.0)
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--figure", type=Path)
    return parser.parse_args()


def soak(arguments: argparse.Namespace, run: Path) -> pd.DataFrame:
    """Train the run to its end.

    Returns:
        One row per sample: what is trained (backend, map_name, condition), wall_seconds, env_steps of the last
        evaluation, memory_mib.
    """
    command = [sys.executable, "-m", "dm2.scripts.train", "--settings", arguments.settings, "--run-directory", run]
    if arguments.demonstrations:
        command += ["--demonstrations", arguments.demonstrations]
    started, samples = time.monotonic(), []
    process = subprocess.Popen(list(map(str, command)))
    while process.poll() is None:
        time.sleep(arguments.seconds_between)
        if (memory := resident_mib(process.pid)) > 0:
            samples.append((round(time.monotonic() - started, 1), env_steps(run), round(memory, 1)))
    if process.returncode != 0:
        sys.exit(f"the run ended with exit code {process.returncode}")
    trained = pd.read_csv(run / "metrics.csv").iloc[-1]
    rows = [(*trained[WHAT], *sample) for sample in samples]
    return pd.DataFrame(rows, columns=[*WHAT, "wall_seconds", "env_steps", "memory_mib"])


def resident_mib(process: int) -> float:
    """Resident memory of a process; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    kib = next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)
    return kib / KIB_PER_MIB


def env_steps(run: Path) -> int:
    """Where the run was at its last evaluation."""
    for metrics in (run / "checkpoints" / "metrics.csv", run / "metrics.csv"):  # it moves when the run ends
        with contextlib.suppress(OSError):
            return int(pd.read_csv(metrics)["env_steps"].iloc[-1])
    return 0


def verdict(samples: pd.DataFrame) -> str:
    """How much the memory grew, in one line."""
    memory = samples["memory_mib"]
    quarter = len(memory) // 4
    growth = memory[-quarter:].median() - memory[quarter : 2 * quarter].median() if quarter else float("nan")
    steps = samples["env_steps"].max()
    return f"{len(memory)} samples to {steps:,} env steps: peak {memory.max():.0f} MiB, growth {growth:+.1f} MiB"


@figure_settings()
def draw(samples: pd.DataFrame, path: Path) -> None:
    """Memory against the env steps of the last evaluation before."""
    from matplotlib.figure import Figure

    from dm2.analysis.tables import engine_name

    backend, map_name, condition = samples[WHAT].iloc[0]
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot(samples["env_steps"] / 1e6, samples["memory_mib"], ".", markersize=3)
    axes.set(xlabel="million env steps", ylabel="resident memory (MiB)", ylim=(0, None))
    title = f"training {condition} on {map_name}, {engine_name(backend)}\n{verdict(samples)}"
    axes.set_title(title, fontsize="medium")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
