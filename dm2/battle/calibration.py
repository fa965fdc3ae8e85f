"""The simulator beside logs of the real game that no learning stands between.

The logs are results/starcraft2/*.csv. Random teams draw available actions uniformly; passive teams only stop.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from dm2.battle.duels import EAST, STOP
from dm2.battle.env import BattleEnv, load_scenario, simulator_spec
from dm2.tables import read_csv

MAPS = ("3m", "8m", "2s3z")
_RANDOM_COLUMNS = {"length_steps": "length", "raw_reward": "raw_reward", "dead_allies": "dead_allies"}
_SAME_LENGTH = 0.05  # tests whose mean lengths differ by less, relatively, are taken for the same behaviour


def real_random(logs: Path) -> pd.DataFrame:
    """Mean length, raw reward and dead allies of the real game's first episodes, per map."""
    episodes = read_csv(logs / "real_battles_random_first_episodes.csv")
    return episodes.groupby("map")[list(_RANDOM_COLUMNS)].mean().rename(columns=_RANDOM_COLUMNS)


def real_passive(logs: Path) -> pd.Series:
    """Mean length of the real game's tests of untrained nets that never hurt an enemy and stood to die, per map.

    Which nets only stopped is not recorded. Kept are tests without reward in which every agent died: the ones of a
    map's most frequent length (within 5 %), the longest of these where there are several.
    """
    tests = read_csv(logs / "real_battles_untrained_greedy_tests.csv")
    agents = {map_name: simulator_spec(map_name).n_agents for map_name in MAPS}
    tests = tests[(tests.mean_raw_reward == 0) & (tests.mean_dead_allies == tests["map"].map(agents))]
    lengths = {}
    for map_name, group in tests.groupby("map"):
        values = group.mean_length_steps.to_numpy()
        near = [values[abs(values / value - 1) < _SAME_LENGTH] for value in values]
        lengths[map_name] = max(near, key=lambda cluster: (len(cluster), cluster.mean())).mean()
    return pd.Series(lengths, name="length")


def play(map_name: str, battles: int, seed: int, *, passive: bool = False, first: bool = True) -> dict[str, float]:
    """Means over simulated battles, each the first of a game unless told otherwise, of a random or a passive team."""
    changes = {"survivors_radius": 0.0} if first else {}
    env = BattleEnv(map_name, battles, seed, world=load_scenario(map_name, **changes))
    env.reset()
    generator = np.random.default_rng(seed)
    length, reward = np.zeros(battles), np.zeros(battles)
    while env.active.any():
        length += env.active
        scores = generator.random(env.avail_actions.shape)
        actions = np.where(env.avail_actions, scores, -1.0).argmax(axis=2)
        if passive:
            actions = np.where(env.avail_actions[:, :, STOP], STOP, 0)
        env.step(actions)
        reward += env.reward
    scale = float(env.world.rules[0]["max_reward"]) / 20.0
    return {
        "length": float(length.mean()),
        "raw_reward": float(reward.mean() * scale),
        "dead_allies": float(env.dead_allies.mean()),
    }


def compare(logs: Path, battles: int, seed: int) -> pd.DataFrame:
    """One row per map, kind of team and quantity: the real game's mean, ours and the difference."""
    random, passive = real_random(logs), real_passive(logs)
    rows = []
    for map_name in MAPS:
        ours = play(map_name, battles, seed)
        rows += [(map_name, "random", key, random.loc[map_name, key], ours[key]) for key in ours]
        length = play(map_name, battles, seed, passive=True)["length"]
        rows.append((map_name, "passive", "length", passive[map_name], length))
    table = pd.DataFrame(rows, columns=["map_name", "team", "quantity", "starcraft2", "simulator"])
    table["difference"] = table.simulator - table.starcraft2
    table["relative_difference"] = table.difference / table.starcraft2
    return table


def random_windows(logs: Path, battles: int, seed: int) -> pd.DataFrame:
    """Random play on every map with logs of runs' first 10,000 env steps.

    There a tenth of the actions, or a twentieth, were those of a net that had begun to learn; here all are random.

    Returns:
        One row per map: map_name, runs (logs), starcraft2 (mean length in steps), its sd over runs, simulator and
        relative_difference.
    """
    logged = read_csv(logs / "real_battles_near_random_windows.csv").groupby("map").mean_length_steps
    table = (
        logged.agg(["count", "mean", "std"]).reset_index().set_axis(["map_name", "runs", "starcraft2", "sd"], axis=1)
    )
    table["simulator"] = [play(name, battles, seed, first=False)["length"] for name in table.map_name]
    table["relative_difference"] = table.simulator / table.starcraft2 - 1
    return table


def walk(logs: Path) -> pd.DataFrame:
    """One row per unit of the real 2s3z episode whose first 16 game loops are known: how far it came, there and here.

    Lengths are in map units, x to the east and y to the north.
    """
    table = read_csv(logs / "real_episode_2s3z_walk.csv")
    env = BattleEnv("2s3z", 1, 0, world=load_scenario("2s3z", start_delay_loops=0, survivors_radius=0.0))
    env.reset()
    start = {"x": env.battles.x[0].copy(), "y": env.battles.y[0].copy()}
    for _ in range(2):
        env.step(np.full((1, env.spec.n_agents), EAST))
    for axis, positions in (("x", env.battles.x[0]), ("y", env.battles.y[0])):
        table[f"{axis}_starcraft2"] = table[f"{axis}_after"] - table[axis]
        table[f"{axis}_simulator"] = positions - start[axis]
    return table.drop(columns=["x_after", "y_after"])
