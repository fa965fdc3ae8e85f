"""Who demonstrates, and their play: from the settings of an archive and the experts' policies to its demonstrations.

An expert is the policy of a run, which the settings name or which was chosen before (`dm2.play.experts`), or scripted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dm2.backends.make_env import env_spec, make_env
from dm2.core.errors import UserError
from dm2.play.demonstrations import Demonstrations, greedy_win_rate, sample_demonstrations
from dm2.play.policy_files import PolicyFile, read_policy
from dm2.play.scripted import scripted_policy

if TYPE_CHECKING:
    from dm2.core.interface import BatchedEnv, EnvSpec
    from dm2.play.experts import ExpertChoice
    from dm2.play.rollout import Policy
    from dm2.settings.matrix import DemonstrationSettings


def experts_of(wanted: DemonstrationSettings, paths: Sequence[Path], choice: ExpertChoice | None = None) -> Experts:
    """Who demonstrates.

    Args:
        wanted: settings of the archive.
        paths: policies of the experts, in the order of their seeds; of all candidates with a choice; none if the
            expert is scripted.
        choice: which candidate is the expert.

    Raises:
        UserError: a file cannot be used, or is not what the settings name.
    """
    return scripted_experts(wanted, paths) if wanted.source.is_scripted else trained_experts(wanted, paths, choice)


def greedy_play(wanted: DemonstrationSettings, experts: Experts, threads: int = 1) -> dict[str, Any]:
    """How well the experts play greedily, for the metadata of their demonstrations; arguments as of `sampled_play`."""
    return greedy_win_rate(
        experts.greedy_policies,
        _battles(wanted, experts, threads),
        seeds=experts.seeds,
        episodes=wanted.greedy_episodes,
        concurrent=wanted.source.concurrent,
    )


def sampled_play(
    wanted: DemonstrationSettings,
    experts: Experts,
    greedy: Mapping[str, Any],
    threads: int = 1,
    report: Callable[[int], None] = lambda episodes: None,
) -> Demonstrations:
    """What the experts show: `source.episodes` of each agent.

    Args:
        wanted: settings of the archive.
        experts: who plays.
        greedy: what `greedy_play` found.
        threads: CPU threads for the battles; the play is the same for any.
        report: told the number of episodes played so far.
    """
    return sample_demonstrations(
        experts.policies,
        experts.spec,
        _battles(wanted, experts, threads),
        seeds=experts.seeds,
        episodes=wanted.source.episodes,
        concurrent=wanted.source.concurrent,
        joint=wanted.source.joint,
        metadata=wanted.source.model_dump(mode="json") | {"experts": experts.records, **greedy},
        report=report,
    )


def _battles(wanted: DemonstrationSettings, experts: Experts, threads: int) -> Callable[[int, int], BatchedEnv]:
    pays = experts.regeneration_pays
    return partial(make_env, experts.backend, wanted.map_name, n_threads=threads, regeneration_pays=pays)


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


def trained_experts(
    wanted: DemonstrationSettings, paths: Sequence[Path], choice: ExpertChoice | None = None
) -> Experts:
    """The policies of files, on the map and engine of their runs; of several candidates the one that was chosen.

    Raises:
        UserError: a file cannot be used, or is not what the settings name.
    """
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


def scripted_experts(wanted: DemonstrationSettings, paths: Sequence[Path]) -> Experts:
    """The scripted policy that the settings name, once per team.

    Raises:
        UserError: policy files are given, or the map or the engine is unknown.
    """
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
