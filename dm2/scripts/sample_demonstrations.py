"""Sample demonstrations from trained experts (stage `sample_demonstrations`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dm2.scripts import options

if TYPE_CHECKING:
    from dm2.experiments import DemonstrationSettings
    from dm2.scripts.policy_file import PolicyFile


def main(
    policies: Annotated[list[Path], typer.Argument(help="Policies of the experts, in the order of their seeds.")],
    settings: options.Settings,
    output: options.Output,
    threads: options.Threads = 1,
) -> None:
    """Let experts play and store what each agent is to learn from: IPPO samples its policy, QMIX acts by epsilon."""
    from functools import partial

    import torch

    from dm2.backends import make_env
    from dm2.demonstrations import sample_demonstrations
    from dm2.experiments import DemonstrationSettings
    from dm2.progress import ProgressReport
    from dm2.scripts.policy_file import read_policy

    wanted = DemonstrationSettings.from_yaml(settings)
    experts = [read_policy(path, epsilon=wanted.source.epsilon) for path in policies]
    check_experts(wanted, experts)
    torch.set_num_threads(1)  # float sums, and so results, would depend on their number
    first = experts[0].settings
    pays = first.quirks.regeneration_pays
    make = partial(make_env, first.backend, first.map_name, n_threads=threads, regeneration_pays=pays)
    with ProgressReport(wanted.name, n_episodes(wanted, experts[0].spec.n_agents), "episodes") as report:
        demonstrations = sample_demonstrations(
            [expert.policy for expert in experts],
            experts[0].spec,
            make,
            seeds=wanted.source.expert_seeds,
            episodes=wanted.source.episodes,
            concurrent=wanted.source.concurrent,
            joint=wanted.source.joint,
            metadata=wanted.source.model_dump(mode="json") | {"experts": [expert.record() for expert in experts]},
            report=report.update,
        )
        demonstrations.save(output)
        report.message(f"win rate {demonstrations.metadata['win_rate']:.3f}")


def n_episodes(wanted: DemonstrationSettings, n_agents: int) -> int:
    """Episodes that are played altogether."""
    shared = wanted.source.concurrent and wanted.source.joint
    return wanted.source.episodes * (1 if shared else n_agents)


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
