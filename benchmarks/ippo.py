"""Env steps per second of IPPO with the paper's settings, collecting and updating, everything included.

    python benchmarks/ippo.py [--map-name 5m_vs_6m] [--threads 1]

The first update is left out: it loads or compiles the kernels. Steps per second of processor time are printed too, for
machines that do something else at the same time.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from dm2.backends import make_env
from dm2.config import IPPOSettings, QuirkSettings
from dm2.ippo import IPPO
from dm2.randomness import stream
from dm2.rollout import collect


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    settings = IPPOSettings(episodes_per_update=arguments.episodes, ppo_epochs=arguments.epochs, clip_epsilon=0.05)
    env = make_env("simulator", arguments.map_name, arguments.episodes, seed=0, n_threads=arguments.threads)
    learner = IPPO(env.spec, settings, QuirkSettings(), seed=0)
    generator = stream(0, "policy")
    env_steps, collecting, updating, processor_start = 0, 0.0, 0.0, 0.0
    for update in range(arguments.updates + 1):
        numbers = np.arange(arguments.episodes) + update * arguments.episodes
        start = time.perf_counter()
        episodes = collect(env, learner.policy(), numbers, generator)
        collected = time.perf_counter()
        learner.learn(episodes)
        end = time.perf_counter()
        if update == 0:
            processor_start = time.process_time()
        else:
            env_steps += episodes.rows
            collecting += collected - start
            updating += end - collected
    processor_seconds = time.process_time() - processor_start
    print(
        f"IPPO on {arguments.map_name}, {arguments.episodes} episodes per update, {arguments.epochs} epochs, "
        f"{arguments.threads} thread(s): {env_steps / (collecting + updating):,.0f} env steps/s "
        f"(collecting {env_steps / collecting:,.0f}, updating {env_steps / updating:,.0f}), "
        f"{env_steps / processor_seconds:,.0f} per processor second "
        f"({env_steps:,} env steps in {arguments.updates} updates)"
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--map-name", default="5m_vs_6m")
    parser.add_argument("--episodes", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--updates", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
