"""Sample demonstrations from experts, trained or scripted (stage `sample_demonstrations`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dm2.scripts import options

if TYPE_CHECKING:
    from dm2.backends import EnvSpec
    from dm2.experiments import DemonstrationSettings
    from dm2.policies import PolicyFile
    from dm2.rollout import Policy


def main(
    settings: options.Settings,
    output: options.Output,
    policies: Annotated[
        list[Path] | None,
        typer.Argument(help="Policies of the experts, in the order of their seeds; none if the expert is scripted."),
    ] = None,
    threads: options.Threads = 1,
) -> None:
    """Let experts play and store what each agent is to learn from.

    IPPO and R-MAPPO sample their policy, QMIX and the heuristic act by epsilon.
    """
    from functools import partial

    import torch

    from dm2.backends import make_env
    from dm2.demonstrations import sample_demonstrations
    from dm2.experiments import DemonstrationSettings
    from dm2.progress import ProgressReport

    wanted = DemonstrationSettings.from_yaml(settings)
    find = scripted_experts if wanted.source.is_scripted else trained_experts
    experts = find(wanted, policies or [])
    torch.set_num_threads(1)  # float sums, and so results, would depend on their number
    pays = experts.regeneration_pays
    make = partial(make_env, experts.backend, wanted.map_name, n_threads=threads, regeneration_pays=pays)
    with ProgressReport(wanted.name, n_episodes(wanted, experts.spec.n_agents), "episodes") as report:
        demonstrations = sample_demonstrations(
            experts.policies,
            experts.spec,
            make,
            seeds=wanted.source.expert_seeds,
            episodes=wanted.source.episodes,
            concurrent=wanted.source.concurrent,
            joint=wanted.source.joint,
            metadata=wanted.source.model_dump(mode="json") | {"experts": experts.records},
            report=report.update,
        )
        demonstrations.save(output)
        report.message(f"win rate {demonstrations.metadata['win_rate']:.3f}")


def n_episodes(wanted: DemonstrationSettings, n_agents: int) -> int:
    """Episodes that are played altogether."""
    shared = wanted.source.concurrent and wanted.source.joint
    return wanted.source.episodes * (1 if shared else n_agents)


@dataclass(frozen=True)
class Experts:
    """Policies to sample, one per team, where they play, and where they come from."""

    policies: list[Policy]
    spec: EnvSpec
    backend: str
    regeneration_pays: bool
    records: list[dict[str, Any]]


def trained_experts(wanted: DemonstrationSettings, paths: list[Path]) -> Experts:
    """The policies of files, on the map and engine of their runs.

    Raises:
        UserError: a file cannot be used, or is not what the settings name.
    """
    from dm2.policies import read_policy

    files = [read_policy(path, epsilon=wanted.source.epsilon) for path in paths]
    check_experts(wanted, files)
    policies, records = [file.policy for file in files], [file.record() for file in files]
    first = files[0]
    return Experts(policies, first.spec, first.settings.backend, first.settings.quirks.regeneration_pays, records)


def scripted_experts(wanted: DemonstrationSettings, paths: list[Path]) -> Experts:
    """The scripted policy that the settings name, once per team.

    Raises:
        UserError: policy files are given, or the map or the engine is unknown.
    """
    from dm2.backends import env_spec
    from dm2.errors import UserError
    from dm2.scripted import scripted_policy

    source = wanted.source
    if paths:
        raise UserError(
            f"policies: found {len(paths)}, expected none: the settings' expert is {source.expert!r}; leave them out"
        )
    spec = env_spec(wanted.backend, wanted.map_name)
    teams = len(source.expert_seeds)
    policy = scripted_policy(source.expert, spec, epsilon=source.epsilon)
    return Experts([policy] * teams, spec, wanted.backend, True, [{"condition": source.expert}] * teams)


def check_experts(wanted: DemonstrationSettings, experts: list[PolicyFile]) -> None:
    """Refuse policies other than those that the settings name.

    Raises:
        UserError: a policy is missing, too many, or of another run or checkpoint.
    """
    from dm2.errors import UserError

    percent = wanted.source.checkpoint_percent
    expected = [(run.map_name, run.condition, run.seed, percent) for run in wanted.experts]
    runs = [(expert.settings, expert.percent) for expert in experts]
    found = [(run.map_name, run.condition, run.seed, percent) for run, percent in runs]
    if found != expected:
        raise UserError(
            f"policies: found (map, condition, seed, percent) {found}, expected {expected}; name the policies that the "
            "settings ask for, in their order"
        )


if __name__ == "__main__":
    options.run(main)
