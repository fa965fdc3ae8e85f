"""Sample demonstrations from experts, trained or scripted (stage `sample_demonstrations`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dm2.scripts import options

if TYPE_CHECKING:
    from dm2.core.interface import EnvSpec
    from dm2.play.experts import ExpertChoice
    from dm2.play.policy_files import PolicyFile
    from dm2.play.rollout import Policy
    from dm2.settings.matrix import DemonstrationSettings


def main(
    settings: options.Settings,
    output: options.Output,
    policies: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Policies of the experts, in the order of their seeds; of all candidates with --choice; none if the"
            " expert is scripted."
        ),
    ] = None,
    choice: Annotated[
        Path | None,
        typer.Option(help="Which candidate is the expert, as choose-expert wrote it.", exists=True, dir_okay=False),
    ] = None,
    threads: options.Threads = 1,
) -> None:
    """Let experts play and store what each agent is to learn from.

    IPPO and R-MAPPO sample their policy, QMIX and the heuristic act by epsilon.
    """
    from functools import partial

    import torch

    from dm2.backends.make_env import make_env
    from dm2.play.demonstrations import greedy_win_rate, sample_demonstrations
    from dm2.play.experts import ExpertChoice
    from dm2.settings.matrix import DemonstrationSettings
    from dm2.training.progress import ProgressReport

    wanted = DemonstrationSettings.from_yaml(settings)
    chosen = None if choice is None else ExpertChoice.from_yaml(choice)
    if wanted.source.is_scripted:
        experts = scripted_experts(wanted, policies or [])
    else:
        experts = trained_experts(wanted, policies or [], chosen)
    torch.set_num_threads(1)  # float sums, and so results, would depend on their number
    pays = experts.regeneration_pays
    make = partial(make_env, experts.backend, wanted.map_name, n_threads=threads, regeneration_pays=pays)
    greedy = greedy_win_rate(
        experts.greedy_policies,
        make,
        seeds=experts.seeds,
        episodes=wanted.greedy_episodes,
        concurrent=wanted.source.concurrent,
    )
    with ProgressReport(wanted.name, n_episodes(wanted, experts.spec.n_agents), "episodes") as report:
        demonstrations = sample_demonstrations(
            experts.policies,
            experts.spec,
            make,
            seeds=experts.seeds,
            episodes=wanted.source.episodes,
            concurrent=wanted.source.concurrent,
            joint=wanted.source.joint,
            metadata=wanted.source.model_dump(mode="json") | {"experts": experts.records} | greedy,
            report=report.update,
        )
        demonstrations.save(output)
        won = demonstrations.metadata["sampled_win_rate"]
        report.message(f"win rate {won:.3f}, greedily {greedy['greedy_win_rate']:.3f}")


def n_episodes(wanted: DemonstrationSettings, n_agents: int) -> int:
    """Episodes that are played altogether."""
    return wanted.source.episodes * (1 if wanted.source.concurrent else n_agents)


@dataclass(frozen=True)
class Experts:
    """Policies to sample and the same playing greedily, one per team; their seeds, engine and origin."""

    policies: list[Policy]
    greedy_policies: list[Policy]
    seeds: tuple[int, ...]
    spec: EnvSpec
    backend: str
    regeneration_pays: bool
    records: list[dict[str, Any]]


def trained_experts(wanted: DemonstrationSettings, paths: list[Path], choice: ExpertChoice | None = None) -> Experts:
    """The policies of files, on the map and engine of their runs; of several candidates the one that was chosen.

    Raises:
        UserError: a file cannot be used, or is not what the settings name.
    """
    from dm2.play.policy_files import read_policy

    files = [read_policy(path, epsilon=wanted.source.epsilon) for path in paths]
    if choice is not None:
        files = chosen_expert(wanted, files, choice)
    check_experts(wanted, files)
    first = files[0]
    return Experts(
        policies=[file.policy for file in files],
        greedy_policies=[read_policy(file.path, greedy=True).policy for file in files],
        seeds=tuple(file.settings.seed for file in files),
        spec=first.spec,
        backend=first.settings.backend,
        regeneration_pays=first.settings.quirks.regeneration_pays,
        records=[file.record() for file in files],
    )


def scripted_experts(wanted: DemonstrationSettings, paths: list[Path]) -> Experts:
    """The scripted policy that the settings name, once per team.

    Raises:
        UserError: policy files are given, or the map or the engine is unknown.
    """
    from dm2.backends.make_env import env_spec
    from dm2.core.errors import UserError
    from dm2.play.scripted import scripted_policy

    source = wanted.source
    if paths:
        raise UserError(
            f"policies: found {len(paths)}, expected none: the settings' expert is {source.expert!r}; leave them out"
        )
    spec = env_spec(wanted.backend, wanted.map_name)
    teams = len(source.expert_seeds)
    return Experts(
        policies=[scripted_policy(source.expert, spec, epsilon=source.epsilon)] * teams,
        greedy_policies=[scripted_policy(source.expert, spec)] * teams,
        seeds=source.expert_seeds,
        spec=spec,
        backend=wanted.backend,
        regeneration_pays=True,
        records=[{"condition": source.expert}] * teams,
    )


def chosen_expert(wanted: DemonstrationSettings, files: list[PolicyFile], choice: ExpertChoice) -> list[PolicyFile]:
    """The candidate that was chosen.

    Raises:
        UserError: the settings name the expert's seed themselves, or the choice is of another map or condition, or
            among other candidates.
    """
    from dm2.core.errors import UserError

    if not wanted.source.is_chosen:
        raise UserError("--choice: found it with settings that name the experts' seeds; leave it out")
    found = (choice.map_name, choice.condition)
    if found != (wanted.map_name, wanted.source.expert):
        raise UserError(
            f"--choice: found (map, condition) {found}, expected {(wanted.map_name, wanted.source.expert)}; name the"
            " choice of this expert"
        )
    seeds, candidates = {file.settings.seed for file in files}, {one.seed for one in choice.candidates}
    if seeds != candidates:
        raise UserError(
            f"policies: found those of seeds {sorted(seeds)}, expected those of all candidates, {sorted(candidates)}"
        )
    return [file for file in files if file.settings.seed == choice.seed]


def check_experts(wanted: DemonstrationSettings, experts: list[PolicyFile]) -> None:
    """Refuse policies other than those that the settings name.

    Raises:
        UserError: a policy is missing, too many, or of another run or checkpoint.
    """
    from dm2.core.errors import UserError

    source = wanted.source
    if source.is_chosen and len(experts) != 1:
        raise UserError(
            f"policies: found {len(experts)}, expected one, the expert's; or name those of all candidates and --choice"
        )
    found = [(one.settings.map_name, one.settings.condition, one.settings.seed, one.percent) for one in experts]
    seeds = [experts[0].settings.seed] if source.is_chosen else source.expert_seeds
    expected = [(wanted.map_name, source.expert, seed, source.checkpoint_percent) for seed in seeds]
    if found != expected:
        raise UserError(
            f"policies: found (map, condition, seed, percent) {found}, expected {expected}; name the policies that the "
            "settings ask for, in their order"
        )


if __name__ == "__main__":
    options.run(main)
