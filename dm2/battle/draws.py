"""Random numbers that depend on their place alone: seed, episode, restart, unit, and how many it has drawn before.

So a battle is the same whatever runs beside it, and nothing has to be kept but the battle's key.
"""

from __future__ import annotations

import numpy as np

from dm2.battle.compiled import inline


@inline
def _mix(value: np.uint64) -> np.uint64:
    """One round of splitmix64 (Steele, Lea, Flood 2014)."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@inline
def battle_key(seed: int, episode: np.uint64, restarts: np.uint64) -> np.uint64:
    """The random key of one battle."""
    return _mix(_mix(_mix(np.uint64(seed)) ^ episode) ^ restarts)


@inline
def uniform(key: np.uint64, unit: int, counter: int) -> float:
    """A number in [0, 1) that depends on its arguments alone."""
    bits = _mix(key ^ _mix(np.uint64(unit) * np.uint64(0x100000001) + (np.uint64(counter) << np.uint64(16))))
    return np.float64(bits >> np.uint64(11)) * (1.0 / 9007199254740992.0)
