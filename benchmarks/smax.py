"""Env steps per second of SMAX (the package jaxmarl) under random play; a peer of the simulator.

    python benchmarks/smax.py [--map-name 5m_vs_6m] [--battles 256] [--laps 9]

Rutherford et al. 2024, "JaxMARL: multi-agent RL environments and algorithms in JAX". Its enemies follow its built-in
heuristic; battles restart by themselves; actions are drawn among the available ones; one compiled scan plays a lap,
on every core that XLA takes. Needs jaxmarl alone, so it can run in an environment of its own; prints a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import jax
import jax.numpy as jnp
import jaxmarl
from jaxmarl.environments.smax import map_name_to_scenario

STEPS_PER_LAP = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--map-name", default="5m_vs_6m")
    parser.add_argument("--battles", type=int, default=256)
    parser.add_argument("--laps", type=int, default=9)
    arguments = parser.parse_args()
    env = jaxmarl.make("HeuristicEnemySMAX", scenario=map_name_to_scenario(arguments.map_name))

    def play_step(carry, _):
        key, state = carry
        key, draw, step = jax.random.split(key, 3)
        keys = jax.random.split(draw, len(env.agents))
        available = jax.vmap(env.get_avail_actions)(state)
        actions = {
            agent: jax.random.categorical(keys[index], jnp.where(available[agent] > 0, 0.0, -jnp.inf))
            for index, agent in enumerate(env.agents)
        }
        obs, state, reward, *_ = jax.vmap(env.step)(jax.random.split(step, arguments.battles), state, actions)
        # Observations and rewards must be made, so something of them is kept.
        return (key, state), sum(obs[agent].sum() + reward[agent].sum() for agent in env.agents)

    lap = jax.jit(lambda carry: jax.lax.scan(play_step, carry, None, STEPS_PER_LAP))
    _, state = jax.vmap(env.reset)(jax.random.split(jax.random.key(0), arguments.battles))
    carry, kept = lap((jax.random.key(1), state))  # compiles
    kept.block_until_ready()
    rates = []
    for _ in range(arguments.laps):
        started = time.perf_counter()
        carry, kept = lap(carry)
        kept.block_until_ready()
        rates.append(arguments.battles * STEPS_PER_LAP / (time.perf_counter() - started))
    print(json.dumps({"env_steps_per_second": round(statistics.median(rates)), "repeats": arguments.laps}))


if __name__ == "__main__":
    main()
