"""Distances, places and directions of units."""

from __future__ import annotations

import numpy as np

from dm2.battle.compiled import inline
from dm2.battle.records import WALKABLE, Units, World

FIXED_POINT = 4096.0  # positions are multiples of 1/4096


@inline
def distance_between(un: Units, u: int, v: int) -> float:
    """Distance of the centres of units u and v."""
    dx, dy = un.x[v] - un.x[u], un.y[v] - un.y[u]
    return np.sqrt(dx * dx + dy * dy)


@inline
def can_be_at(w: World, u: int, x: float, y: float) -> bool:
    """Whether unit u can be at (x, y)."""
    near, far = w.rules[0].edge_margin, w.rules[0].map_size - w.rules[0].edge_margin
    if not (x >= near and y >= near and x < far and y < far):
        return False
    ground = w.ground[0, int(x), int(y)]
    return ground == WALKABLE or (w.rules[0].has_crossers and ground <= w.kinds[u].crosses)


@inline
def fixed(position: float) -> float:
    """A coordinate as the game keeps it: the nearest multiple of 1/4096."""
    return np.floor(position * FIXED_POINT + 0.5) * (1.0 / FIXED_POINT)


@inline
def put(un: Units, u: int, x: float, y: float) -> None:
    """Move unit u to (x, y)."""
    un.x[u], un.y[u] = fixed(x), fixed(y)


@inline
def turn(w: World, un: Units, u: int, x: float, y: float) -> bool:
    """Turn unit u towards the unit vector (x, y), as far as one loop allows; True when it faces that way."""
    fx, fy = un.of[u].facing_x, un.of[u].facing_y
    dot = fx * x + fy * y
    if dot >= w.rules[0].turn_cos:
        un.of[u].facing_x, un.of[u].facing_y = x, y
        return True
    sine = w.rules[0].turn_sin if fx * y - fy * x >= 0.0 else -w.rules[0].turn_sin
    fx, fy = fx * w.rules[0].turn_cos - fy * sine, fx * sine + fy * w.rules[0].turn_cos
    un.of[u].facing_x, un.of[u].facing_y = fx, fy
    return fx * x + fy * y >= w.rules[0].facing_cos
