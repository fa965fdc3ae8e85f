"""Small battles of the tests' own making, and how to play them."""

from __future__ import annotations

import numpy as np

from dm2.battle.env import BattleEnv
from dm2.battle.records import World
from dm2.battle.rules_of_smac import EAST, NO_OP, NORTH, SOUTH, STOP, WEST
from dm2.calibration.duels import duel, harmless

__all__ = [
    "EAST",
    "NORTH",
    "SOUTH",
    "STOP",
    "WEST",
    "act",
    "duel",
    "harmless",
    "open_battle",
    "place",
    "random_actions",
]


def open_battle(world: World, n_battles: int = 1, seed: int = 0) -> BattleEnv:
    """A started environment on `world`."""
    env = BattleEnv("duel", n_battles, seed, world=world)
    env.reset()
    return env


def act(env: BattleEnv, action: int) -> None:
    """Every living agent takes `action` if it can, else stops."""
    wanted = np.where(env.avail_actions[:, :, action], action, STOP)
    env.step(np.where(env.avail_actions[:, :, NO_OP], NO_OP, wanted).astype(np.int64))


def place(env: BattleEnv, unit: int, x: float, y: float) -> None:
    """Put a unit of the first battle somewhere else."""
    env.battles.x[0, unit], env.battles.y[0, unit] = x, y


def random_actions(env: BattleEnv, generator: np.random.Generator) -> np.ndarray:
    """Uniform available actions, int64 [E, A]."""
    scores = generator.random(env.avail_actions.shape)
    return np.where(env.avail_actions, scores, -1.0).argmax(axis=2)
