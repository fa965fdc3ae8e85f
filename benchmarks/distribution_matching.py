"""Env steps per second of DM2 with the paper's settings on 5m_vs_6m, everything included, beside IPPO alone.

    python benchmarks/distribution_matching.py [--map-name 5m_vs_6m] [--threads 1] [--expert-updates 20]

An expert is trained for a few updates first and samples 1,000 demonstrations; the learner starts from the expert's own
parameters, so that both sides live about as long as each other. The first update is left out: it loads or compiles the
kernels. Steps per second of processor time are printed too, for machines that do something else at the same time.
"""

from __future__ import annotations

import argparse
import time
from functools import partial

import numpy as np
import torch

from dm2.backends import BatchedEnv, make_env
from dm2.config import DemonstrationSource, DiscriminatorSettings, IPPOSettings, QuirkSettings, RunSettings
from dm2.demonstrations import sample_demonstrations
from dm2.distribution_matching import DistributionMatching
from dm2.ippo import IPPO
from dm2.randomness import stream
from dm2.rollout import collect


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    make = partial(make_env, "simulator", arguments.map_name, n_threads=arguments.threads)
    settings = run_settings(arguments.map_name)
    assert settings.ippo is not None
    env = make(settings.ippo.episodes_per_update, 0)
    expert = IPPO(env.spec, settings.ippo, QuirkSettings(), seed=0)
    train(env, expert, arguments.expert_updates)
    demonstrations = sample_demonstrations([expert.policy()], env.spec, make, seeds=[0], episodes=1000)
    learner = DistributionMatching(env.spec, settings, demonstrations)
    learner.ippo.load_state(expert.state())
    for name, each in (("IPPO", expert), ("DM2", learner)):
        train(env, each, 1)
        wall, processor = time.perf_counter(), time.process_time()
        env_steps, living = train(env, each, arguments.updates)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        print(
            f"{name} on {arguments.map_name}, {settings.ippo.episodes_per_update} episodes per update, "
            f"{settings.ippo.ppo_epochs} epochs, {arguments.threads} thread(s): {env_steps / wall:,.0f} env steps/s, "
            f"{env_steps / processor:,.0f} per processor second ({env_steps:,} env steps in {arguments.updates} "
            f"updates; agents live in {living:.0%} of them)"
        )


def run_settings(map_name: str) -> RunSettings:
    return RunSettings(
        scale="benchmark",
        map_name=map_name,
        condition="dm2_ippo_demo",
        seed=1,
        algorithm="ippo",
        reward="mixed",
        env_steps=10_000_000,
        evaluation_interval=50_000,
        evaluation_episodes=32,
        ippo=IPPOSettings(episodes_per_update=256, ppo_epochs=10, clip_epsilon=0.05),
        discriminator=DiscriminatorSettings(),
        demonstrations=DemonstrationSource(expert="ippo"),
    )


def train(env: BatchedEnv, learner: IPPO | DistributionMatching, updates: int) -> tuple[int, float]:
    """Env steps played, and the share of them in which an agent lives."""
    env_steps, living = 0, 0.0
    for update in range(updates):
        numbers = np.arange(env.n_battles) + update * env.n_battles
        episodes = collect(env, learner.policy(), numbers, stream(0, "policy", update))
        learner.learn(episodes)
        env_steps += episodes.rows
        living += float(episodes.alive.float().mean(0).sum())
    return env_steps, living / max(1, env_steps)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--map-name", default="5m_vs_6m")
    parser.add_argument("--updates", type=int, default=4)
    parser.add_argument("--expert-updates", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
