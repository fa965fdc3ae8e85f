"""oxwhirl/smac's own class, played through the stand-in, beside dm2.adapters.smac's: the same numbers step by step.

SC2PATH=stand-in python same_as_smac.py MAP STEPS '{"option": value, ...}'
"""

import json
import sys
from typing import Any

import numpy as np
from difference import FLOAT32, REWARD, SEED, Difference
from smac.env import StarCraft2Env as TheirEnv

from dm2.adapters.smac import StarCraft2Env as OurEnv


def compare(map_name: str, n_steps: int, options: dict[str, Any]) -> str:
    theirs = TheirEnv(map_name=map_name, seed=SEED, **options)
    ours = OurEnv(map_name=map_name, seed=SEED, **options)
    difference, generator = Difference(), np.random.default_rng(0)
    steps = battles = 0
    while steps < n_steps:
        for env in (theirs, ours):
            env.reset()
        if battles == 0:
            difference.of("max_reward", theirs.max_reward, ours.max_reward, 0)
            difference.of("pathing_grid", theirs.pathing_grid, ours.pathing_grid, 0)
            difference.of("terrain_height", theirs.terrain_height, ours.terrain_height, 0)
            assert theirs.get_env_info() == ours.get_env_info()
            assert theirs.get_unit_types() == ours.get_unit_types()
        terminated = False
        while not terminated:
            difference.of("observations", theirs.get_obs(), ours.get_obs(), FLOAT32)
            difference.of("states", theirs.get_state(), ours.get_state(), FLOAT32)
            difference.of("visibility", theirs.get_visibility_matrix(), ours.get_visibility_matrix(), 0)
            masks = np.array(theirs.get_avail_actions())
            difference.of("masks", masks, ours.get_avail_actions(), 0)
            numbers = np.arange(ours.n_actions)
            wishes = 1 + generator.random(masks.shape) + 0.5 * (numbers == 4)
            if battles % 2:  # all fire at one enemy, so that battles are won too
                wishes += np.where(numbers >= 6, 1000 - numbers, numbers == 4)
            actions = (masks * wishes).argmax(axis=1).tolist()
            (reward, terminated, info), outcome = theirs.step(actions), ours.step(actions)
            difference.of("rewards", reward, outcome[0], REWARD)
            assert (terminated, info) == outcome[1:], f"step {steps}: {terminated, info} {outcome[1:]}"
            steps += 1
        battles += 1
    assert theirs.get_stats() == ours.get_stats()
    theirs.close()
    return json.dumps({"steps": steps, "battles": battles, "won": ours.battles_won} | difference.largest)


if __name__ == "__main__":
    print(compare(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])))
