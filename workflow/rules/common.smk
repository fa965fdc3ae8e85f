"""The matrix of runs and the helpers of all rules."""

import json
import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.settings.types import DeploymentMethod

from dm2.settings.algorithms import run_digest
from dm2.settings.code_digest import code_digest
from dm2.settings.base import SettingsError, read_yaml
from dm2.settings.matrix import Matrix, Run, alternatives
from dm2.core.file_locks import hold
from dm2.settings.plan import Throughput, plan_in_words
from dm2.core.files import StorageError

# Jobs start the Python that runs Snakemake, whether or not its environment is activated; one of conda comes before it.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()])
)

REPOSITORY = Path(workflow.basedir).parent
if "{" in str(REPOSITORY):
    raise WorkflowError(
        f"{REPOSITORY}: found a brace in the path of the repository, which Snakemake takes for a wildcard; move it"
    )
if DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method:
    raise WorkflowError(
        "--software-deployment-method conda: found it, expected an environment that is there already: Snakemake"
        " would build one from a copy of environment.yml, from which its relative paths lead nowhere; leave it out"
        " after `conda env create -f environment.yml && conda activate dm2`"
    )
PAPER_CURVES = str(REPOSITORY / "results" / "paper" / "paper_curves.csv")
PAPER_DEMONSTRATIONS = str(REPOSITORY / "results" / "paper" / "demo_win_rates.csv")
THROUGHPUT = REPOSITORY / "benchmarks" / "throughput.csv"
EXPERIMENTS = str(REPOSITORY / "config" / "experiments.yaml")
SLOWEST_ENV_STEPS_PER_MINUTE = 12_000

try:
    # Snakemake's own reader takes the last of two equal keys.
    for path in workflow.configfiles:
        read_yaml(path)
    MATRIX = Matrix.load(REPOSITORY / "config", config)
    if workflow.is_main_process:
        logger.info(plan_in_words(MATRIX, Throughput.load(THROUGHPUT)))
except SettingsError as error:
    raise WorkflowError(str(error)) from None

SCALE = MATRIX.scale.scale
PERCENTS = [f"{percent:03d}" for percent in MATRIX.policy_percents]
BATTLES = [f"results/{SCALE}/battles"] if MATRIX.scale.backend == "simulator" else []
FIGURES = [figure for figure in MATRIX.figures if MATRIX.figure_maps(figure)]


wildcard_constraints:
    scale=SCALE,
    map_name=alternatives(run.map_name for run in MATRIX.runs),
    condition=alternatives(run.condition for run in MATRIX.runs),
    seed=alternatives(run.seed for run in MATRIX.runs),
    expert=alternatives(condition for _, condition in MATRIX.choices),
    archive=alternatives(name for _, name in MATRIX.demonstrations),
    percent=alternatives(PERCENTS),
    figure=alternatives(FIGURES),


LOCKS = []


def hold_files():
    """Keep other Snakemakes off the files that this one makes or reads, until it ends."""
    made = map(str, workflow.persistence.all_outputfiles())
    read = map(str, workflow.persistence.all_inputfiles())
    try:
        LOCKS.append(hold(Path(".snakemake", "dm2.locks"), made, read))
    except StorageError as error:
        raise WorkflowError(str(error)) from None


def run_of(wildcards):
    """The run that the wildcards name."""
    return Run(wildcards.map_name, wildcards.condition, int(wildcards.seed))


def settings_of(wildcards):
    """All settings of the run that the wildcards name."""
    return MATRIX.settings(run_of(wildcards))


def archive_of(wildcards):
    """What the demonstration archive that the wildcards name is sampled from."""
    return MATRIX.demonstrations[wildcards.map_name, wildcards.archive]


def training_code(wildcards):
    """Digest of the code that trains a run."""
    return run_digest("dm2.scripts.train", settings_of(wildcards))


def sampling_code(wildcards):
    """Digest of the code that samples an archive, its experts' policies included."""
    stage = "dm2.scripts.sample_demonstrations"
    experts = MATRIX.experts(archive_of(wildcards))
    return (
        run_digest(stage, MATRIX.settings(experts[0]))
        if experts
        else code_digest(stage, map_names=[wildcards.map_name])
    )


def showing_code(stage):
    """Digest of the code of a stage that makes tables, figures or battles of the scale's maps."""
    return code_digest(stage, map_names=MATRIX.scale.map_names)


def growing(amount):
    """A resource to ask a cluster for: so much at the first attempt, twice as much at the second."""
    return lambda wildcards, attempt: amount * attempt


def training_minutes(wildcards, attempt):
    """Wall time to ask a cluster for; a run that needs more goes on from its checkpoint at the next attempt."""
    env_steps = settings_of(wildcards).env_steps
    return attempt * (30 + env_steps // SLOWEST_ENV_STEPS_PER_MINUTE)


def demonstrations_of(wildcards):
    """The archive that a run learns from."""
    wanted = MATRIX.demonstration_settings(run_of(wildcards))
    return (
        f"results/{wildcards.scale}/demonstrations/{wanted.map_name}/{wanted.name}.npz"
    )


def expert_policies(wildcards):
    """The policies an archive is sampled from, one per expert."""
    archive = archive_of(wildcards)
    percent = f"{archive.source.checkpoint_percent:03d}"
    if archive.source.is_chosen:
        return f"results/{SCALE}/experts/{wildcards.map_name}/{archive.source.expert}/{percent}.safetensors"
    return [
        f"{run.directory(SCALE)}/policies/{percent}.safetensors"
        for run in MATRIX.experts(archive)
    ]


def expert_choice(wildcards):
    """Which run its chosen expert is, for people to read; nothing where its settings name the experts."""
    source = archive_of(wildcards).source
    path = f"results/{SCALE}/experts/{wildcards.map_name}/{source.expert}.yaml"
    return [path] if source.is_chosen else []


def candidates_of(wildcards):
    """The folders of the runs that an expert is chosen from."""
    runs = MATRIX.choices[wildcards.map_name, wildcards.expert]
    return [run.directory(SCALE) for run in runs]


def candidate_files(name):
    """A file of each of the runs that an expert is chosen from."""
    return lambda wildcards: [f"{folder}/{name}" for folder in candidates_of(wildcards)]


def candidate_policies(wildcards):
    """The policies of these runs after one share of training."""
    return [
        f"{folder}/policies/{wildcards.percent}.safetensors"
        for folder in candidates_of(wildcards)
    ]
