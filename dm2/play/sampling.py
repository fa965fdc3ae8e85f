"""Who demonstrates, and their play: from the settings of an archive and the experts' policies to its demonstrations.

An expert is scripted, or the policy of a run, which the settings name or which was chosen before (`dm2.play.experts`).
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
    from dm2.play.rollout import Policy
    from dm2.settings.demonstrations import DemonstrationSettings


def experts_of(wanted: DemonstrationSettings, paths: Sequence[Path]) -> Experts:
    """Who demonstrates.

    Args:
        wanted: settings of the archive.
        paths: policies of the experts, in the order of their seeds; none if the expert is scripted.

    Raises:
        UserError: a file cannot be used, or is not what the settings name.
    """
    return scripted_experts(wanted, paths) if wanted.source.is_scripted else trained_experts(wanted, paths)


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


def trained_experts(wanted: DemonstrationSettings, paths: Sequence[Path]) -> Experts:
    """The policies of files, on the map and engine of their runs.

    Raises:
        UserError: a file cannot be used, or is not what the settings name.
    """
    files = [read_policy(path, epsilon=wanted.source.epsilon) for path in paths]
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


def check_experts(wanted: DemonstrationSettings, experts: list[PolicyFile]) -> None:
    """Refuse policies other than those that the settings name.

    Raises:
        UserError: a policy is missing, too many, or of another run or checkpoint.
    """
    source = wanted.source
    if source.is_chosen and len(experts) != 1:
        raise UserError(f"policies: found {len(experts)}, expected one, the expert's, as keep-expert leaves it")
    found = [(one.settings.map_name, one.settings.condition, one.settings.seed, one.percent) for one in experts]
    seeds = [experts[0].settings.seed] if source.is_chosen else source.expert_seeds
    expected = [(wanted.map_name, source.expert, seed, source.checkpoint_percent) for seed in seeds]
    if found != expected:
        raise UserError(
            f"policies: found (map, condition, seed, percent) {found}, expected {expected}; name the policies that the "
            "settings ask for, in their order"
        )
