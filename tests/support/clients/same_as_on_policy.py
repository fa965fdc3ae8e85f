"""on-policy's own class, played through the stand-in, beside dm2.adapters.smac's: the same numbers step by step.

    SC2PATH=stand-in python same_as_on_policy.py MAP STEPS [FLAG ...]

The flags are those of its train_smac.py. Its observations are SMAC's in another order, with more of the agent itself.
Its states are not SMAC's: it computes them twice, from the units that the stand-in shows and from those of our class.
"""

import json
import sys
from typing import Any

import numpy as np
from difference import FLOAT32, REWARD, SEED, Difference

from dm2.adapters.smac import StarCraft2Env as OurEnv
from dm2.backends.protobuf_loader import load_s2clientprotocol

load_s2clientprotocol()

from onpolicy.config import get_config  # noqa: E402
from onpolicy.envs.starcraft2.StarCraft2_Env import StarCraft2Env as TheirEnv  # noqa: E402
from onpolicy.scripts.train.train_smac import parse_args  # noqa: E402

OF_ITSELF = 4  # an agent's own visibility, distance, x and y, which SMAC leaves out


def show(env: Any, units_of: OurEnv) -> None:
    """Let their class see our units."""
    for name in ("agents", "enemies", "last_action", "pathing_grid", "terrain_height", "map_x", "map_y"):
        setattr(env, name, getattr(units_of, name))
    env.max_distance_x, env.max_distance_y = units_of.max_distance_x, units_of.max_distance_y
    env._init_ally_unit_types(min(unit.unit_type for unit in units_of.agents.values()))


def as_smac_has_it(env: Any, observation: np.ndarray) -> np.ndarray:
    """An observation of theirs without what SMAC does not tell."""
    sizes = [np.prod(env.get_obs_ally_feats_size()), np.prod(env.get_obs_enemy_feats_size())]
    sizes += [env.get_obs_move_feats_size(), env.get_obs_own_feats_size()]
    allies, enemies, moves, own, _ = np.split(observation, np.cumsum(sizes))
    return np.concatenate([moves, enemies, allies, own[OF_ITSELF : -env.n_actions]])


def compare(map_name: str, n_steps: int, flags: list[str]) -> str:
    arguments = parse_args(["--map_name", map_name, *flags], get_config())
    theirs, ours = TheirEnv(arguments), OurEnv(map_name, seed=SEED, obs_last_action=True)
    theirs.seed(SEED - 1)  # it counts on before it starts the game
    over_ours = TheirEnv(arguments)
    difference, generator = Difference(), np.random.default_rng(0)
    steps = battles = 0
    while steps < n_steps:
        observations, states, masks = theirs.reset()
        ours.reset()
        difference.of("max_reward", theirs.max_reward, ours.max_reward, 0)
        terminated = False
        while True:
            show(over_ours, ours)
            state_of = over_ours.get_state_agent if arguments.use_state_agent else over_ours.get_state
            difference.of("masks", masks, ours.get_avail_actions(), 0)
            difference.of("observations", observations, over_ours.get_obs(), FLOAT32)
            difference.of("states", states, [state_of(agent) for agent in range(ours.n_agents)], FLOAT32)
            smacs = [as_smac_has_it(theirs, observation) for observation in observations]
            difference.of("SMAC's observations", smacs, ours.get_obs(), FLOAT32)
            if terminated:
                break
            wishes = np.array(masks) * (1 + generator.random((ours.n_agents, ours.n_actions)))
            wishes[:, 4] *= 1.5  # to the east, where the enemies are
            wishes[:, ours.n_actions_no_attack :] *= 2
            actions = wishes.argmax(axis=1)
            observations, states, rewards, dones, infos, masks = theirs.step(actions)
            reward, terminated, _ = ours.step(actions)
            difference.of("rewards", rewards, [[reward]] * ours.n_agents, REWARD)
            assert np.array_equal(dones, ours.death_tracker_ally.astype(bool) | terminated)
            assert all(info["won"] == ours.win_counted and info["battles_draw"] == ours.timeouts for info in infos)
            steps += 1
        battles += 1
    assert (theirs.battles_won, theirs.battles_game) == (ours.battles_won, ours.battles_game)
    assert theirs.force_restarts == 0
    theirs.close()
    return json.dumps({"steps": steps, "battles": battles, "won": ours.battles_won} | difference.largest)


if __name__ == "__main__":
    print(compare(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
