"""A Slurm of one node, this machine: Debian's packages without munge, database or systemd.

As a program it runs a command while that Slurm is up: `python tests/support/one_node.py sinfo`. Its configuration lies
in Slurm's own folder, since jobs of the executor plugin lose the variables that would name another one; where a
configuration is there already, nothing is touched.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

CONFIGURATION = Path("/etc/slurm/slurm.conf")
PACKAGES = ("slurmctld", "slurmd", "slurm-client")
DAEMONS = ("slurmctld", "slurmd")
NODE = socket.gethostname().partition(".")[0]
SECONDS_TO_START = 120
MIB = 2**20


def why_not() -> str | None:
    """Why no Slurm can be started here, or None if it can."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return "needs Debian and its superuser, to install and start Slurm"
    if CONFIGURATION.exists():
        return f"{CONFIGURATION} exists: another Slurm is set up here, or a test was killed in the middle"
    return None


def install() -> None:
    """Install Slurm's packages where they are missing."""
    if not all(shutil.which(program) for program in (*DAEMONS, "sbatch")):
        apt = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]
        subprocess.run([*apt, "update"], check=True)
        subprocess.run([*apt, "install", "-y", "--no-install-recommends", *PACKAGES], check=True)


@contextlib.contextmanager
def one_node() -> Iterator[None]:
    """Slurm for the length of a block; its processes and files are gone afterwards.

    Raises:
        RuntimeError: it cannot be started here, or the node does not become idle.
    """
    if (reason := why_not()) is not None:
        raise RuntimeError(reason)
    install()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        state = Path(folder)
        CONFIGURATION.parent.mkdir(exist_ok=True)
        CONFIGURATION.write_text(configuration(state))
        stack.callback(CONFIGURATION.unlink)
        for daemon in DAEMONS:
            (state / f"{daemon}.d").mkdir()
            subprocess.run([daemon], check=True)
            stack.callback(stop, state / f"{daemon}.pid")
        wait_until_idle(state)
        yield
        subprocess.run(["scancel", "--full", "--user=root", "--signal=KILL"], check=False)


def configuration(state: Path) -> str:
    """The contents of slurm.conf, with everything that Slurm writes under `state`."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 9 // 10 // MIB
    lines = [
        "ClusterName=one",
        f"SlurmctldHost={NODE}(127.0.0.1)",
        "CommunicationParameters=NoCtldInAddrAny,NoInAddrAny",
        *("AuthType=auth/none", "CredType=cred/none", "SlurmUser=root", "SlurmdUser=root"),
        f"StateSaveLocation={state}/slurmctld.d",
        f"SlurmdSpoolDir={state}/slurmd.d",
        *(f"{name}PidFile={state}/{name.lower()}.pid" for name in ("Slurmctld", "Slurmd")),
        *(f"{name}LogFile={state}/{name.lower()}.log" for name in ("Slurmctld", "Slurmd")),
        *("ProctrackType=proctrack/pgid", "ReturnToService=2", "KillWait=120", "MinJobAge=3600"),
        *("SelectType=select/cons_tres", "SelectTypeParameters=CR_Core_Memory", "DefMemPerCPU=512"),
        f"NodeName={NODE} NodeAddr=127.0.0.1 CPUs={os.cpu_count()} RealMemory={memory} State=UNKNOWN",
        "PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP",
    ]
    return "\n".join(lines) + "\n"


def wait_until_idle(state: Path) -> None:
    """Return once the node takes jobs."""
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline:
        answer = subprocess.run(["sinfo", "-h", "-o", "%t"], capture_output=True, text=True, check=False)
        if answer.stdout.strip() == "idle":
            return
        time.sleep(0.2)
    logs = "".join(path.read_text() for path in state.glob("*.log"))
    raise RuntimeError(f"Slurm's node is not idle after {SECONDS_TO_START} seconds:\n{logs[-4000:]}")


def stop(pid_file: Path) -> None:
    """End a daemon and wait until it is gone."""
    pid = int(pid_file.read_text())
    os.kill(pid, signal.SIGTERM)
    with contextlib.suppress(ProcessLookupError):
        for _ in range(100):
            os.kill(pid, 0)
            time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    with one_node():
        sys.exit(subprocess.run(sys.argv[1:], check=False).returncode)
