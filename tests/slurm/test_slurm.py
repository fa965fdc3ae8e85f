"""The workflow on a cluster: scale smoke on a Slurm of one node; jobs are cancelled and preempted, the node is drained.

Opt in with `make test-slurm`; needs Debian and its superuser.
"""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.one_node import NODE, one_node, why_not

REPOSITORY = Path(__file__).parents[2]
RUNS = "runs={3m: [ippo, qmix, rmappo, dm2_ippo_demo, dm2_qmix_demo, dm2_sil]}"
SLOWLY = (  # to be struck half-way
    "maps={3m: {env_steps: 4_000, rmappo: {ppo_epochs: 40}, discriminator: {steps_per_update: 200}}}"
)
SMOKE = ("--config", "scale=smoke", "seeds=[112358]", RUNS, SLOWLY)
ONE_NODE = (
    *("--profile", "workflow/profiles/slurm", "--jobs", "40", "--latency-wait", "5"),
    *("--slurm-status-command", "squeue", "--slurm-no-account", "--slurm-init-seconds-before-status-checks", "2"),
    *("--default-resources", "slurm_partition=debug", "mem_mb=1024", "runtime=10"),
)
SECONDS_AT_MOST = 900.0  # for one step; an idle machine takes some minutes for all of them

pytestmark = [pytest.mark.slurm, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]


class Workflow:
    """The workflow in a folder of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        folder.mkdir()
        command = [sys.executable, "-m", "snakemake", "--directory", str(folder), *arguments, *SMOKE]
        with open(folder / "messages.txt", "w") as messages:
            self.process = subprocess.Popen(command, cwd=REPOSITORY, stdout=messages, stderr=subprocess.STDOUT)

    def messages(self) -> str:
        return (self.folder / "messages.txt").read_text()

    def run(self, condition: str) -> Path:
        return self.folder / "results" / "smoke" / "runs" / "3m" / condition / "seed-112358"

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS_AT_MOST
        while not condition():
            assert self.process.poll() in (None, 0), self.messages()[-5000:]
            assert time.monotonic() < deadline, self.messages()[-5000:]
            time.sleep(0.1)

    def is_in_training(self, condition: str) -> bool:
        """Whether the run has been evaluated and is not finished."""
        return (self.run(condition) / "checkpoints" / "metrics.csv").exists()

    def finish(self) -> None:
        """Wait for its end, which must be a good one."""
        self.wait_until(lambda: self.process.poll() == 0)


def slurm(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def jobs(state: str, word: str = "") -> list[str]:
    """Ids of the Slurm jobs in a state whose comment, rule and wildcards, has the word."""
    lines = [line.split("|") for line in slurm("squeue", "-h", "-t", "all", "-o", "%i|%T|%k").splitlines()]
    return [job for job, found, comment in lines if found == state and word in comment]


def set_node(state: str) -> None:
    slurm("scontrol", "update", f"nodename={NODE}", f"state={state}", "reason=test")


def cancel(workflow: Workflow, job: str) -> None:
    slurm("scancel", job)


def preempt(workflow: Workflow, job: str) -> None:
    """Slurm stops it and queues it again, to start two minutes later unless told otherwise."""
    slurm("scontrol", "requeue", job)
    workflow.wait_until(lambda: job in jobs("PENDING"))
    slurm("scontrol", "update", f"jobid={job}", "starttime=now")


STRIKES = {"rmappo": cancel, "dm2_ippo_demo": preempt}


def strike_in_training(workflow: Workflow) -> None:
    """Each of `STRIKES`, on the job of its condition, in whatever order they come to be in training."""
    left = dict(STRIKES)
    while left:
        workflow.wait_until(lambda: any(map(workflow.is_in_training, left)))
        condition = next(filter(workflow.is_in_training, left))
        (job,) = jobs("RUNNING", condition)
        left.pop(condition)(workflow, job)


def drain_the_node(workflow: Workflow) -> None:
    """No job starts until it resumes; those that run come to their end. The tables at least are still to be made."""
    set_node("drain")
    workflow.wait_until(lambda: not jobs("RUNNING") and not jobs("COMPLETING") and bool(jobs("PENDING")))
    time.sleep(2)
    assert not jobs("RUNNING")
    set_node("resume")


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    workflow = Workflow(tmp_path_factory.mktemp("local") / "run", "--cores", "2")
    workflow.finish()
    return workflow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workflow]:
    """A workflow that ended although jobs were cancelled and preempted and the node was drained."""
    with one_node():
        workflow = Workflow(tmp_path_factory.mktemp("cluster") / "run", *ONE_NODE)
        try:
            strike_in_training(workflow)
            drain_the_node(workflow)
            workflow.finish()
            assert len(jobs("COMPLETED", "tables")) == 1  # short jobs in a group
            yield workflow
        finally:
            workflow.process.kill()


def test_the_tables_are_those_of_a_local_run(local: Workflow, cluster: Workflow) -> None:
    for table in ("learning_curves.csv", "summary.csv", "demonstrations.csv", "claims.csv"):
        made = [workflow.folder / "results" / "smoke" / table for workflow in (local, cluster)]
        assert made[0].read_bytes() == made[1].read_bytes(), table


def test_the_policies_are_those_of_a_local_run(local: Workflow, cluster: Workflow) -> None:
    found = [sorted(workflow.folder.rglob("policies/*.safetensors")) for workflow in (local, cluster)]
    names = [[path.relative_to(workflow.folder) for path in found[n]] for n, workflow in enumerate((local, cluster))]
    assert names[0]
    assert names[0] == names[1]
    assert [path.read_bytes() for path in found[0]] == [path.read_bytes() for path in found[1]]


@pytest.mark.parametrize("condition", STRIKES)
def test_a_run_that_was_stopped_went_on_from_its_checkpoint(cluster: Workflow, condition: str) -> None:
    run = cluster.run(condition)
    assert json.loads((run / "run.json").read_text())["resumes"] == 1
    assert re.search("SIGTERM: stopped at .* resumed at .* finished", (run / "log.txt").read_text(), re.DOTALL)


def test_snakemake_sent_the_cancelled_job_again_and_slurm_the_preempted_one(cluster: Workflow) -> None:
    assert len(re.findall("Trying to restart job", cluster.messages())) == 1
