"""Evaluation: how well a policy plays, as a pure function, the same for every algorithm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dm2.backends.make_env import make_env
from dm2.core.randomness import stream
from dm2.play.rollout import Episodes, Policy, collect


@dataclass(frozen=True)
class Evaluation:
    """Statistics over the episodes of one evaluation.

    Attributes:
        n_episodes: number of episodes.
        win_rate: share of episodes won, in [0, 1].
        return_mean: mean undiscounted return of the environment's reward.
        return_sd: its standard deviation over the episodes (population).
        episode_length_mean: env steps.
        dead_allies_mean: agents dead at the end.
        dead_enemies_mean: enemies dead at the end.
    """

    n_episodes: int
    win_rate: float
    return_mean: float
    return_sd: float
    episode_length_mean: float
    dead_allies_mean: float
    dead_enemies_mean: float


def evaluate(
    policy: Policy,
    backend: str,
    map_name: str,
    seed: int,
    n_episodes: int,
    *,
    n_threads: int = 1,
    regeneration_pays: bool = True,
) -> Evaluation:
    """Play episodes and summarise them.

    Args:
        policy: who plays; an evaluation in the sense of the paper gives it a greedy one.
        backend: engine, see dm2.backends.
        map_name: SMAC map.
        seed: decides the battles and the policy's draws, both apart from those of a training with the same seed.
        n_episodes: how many, all at once.
        n_threads: threads of the engine; without influence on the result.
        regeneration_pays: quirk 4, it changes returns.
    """
    battle_seed = int(stream(seed, "evaluation", "battles").integers(2**62))
    env = make_env(backend, map_name, n_episodes, battle_seed, n_threads=n_threads, regeneration_pays=regeneration_pays)
    return summarise(collect(env, policy, np.arange(n_episodes), stream(seed, "evaluation", "policy")))


def summarise(episodes: Episodes) -> Evaluation:
    """Statistics over all episodes."""
    returns = episodes.returns.double()
    return Evaluation(
        n_episodes=episodes.n_episodes,
        win_rate=float(episodes.battle_won.double().mean()),
        return_mean=float(returns.mean()),
        return_sd=float(returns.std(correction=0)),
        episode_length_mean=float(episodes.lengths.double().mean()),
        dead_allies_mean=float(episodes.dead_allies.double().mean()),
        dead_enemies_mean=float(episodes.dead_enemies.double().mean()),
    )
