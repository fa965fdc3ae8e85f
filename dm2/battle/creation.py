"""How units are created: on a grid round their point, pushed out of whom they overlap, then at the battle's start."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dm2.battle.compiled import compiled, entry
from dm2.battle.draws import uniform
from dm2.battle.geometry import can_be_at, fixed
from dm2.battle.records import GRAVE, NO_ORDER, NOBODY, READY, WALKABLE, Units, World

CREATION_GAP = 1.0 / 1024  # map units by which fresh units stand farther apart than bodies can press
PUSHES = 4  # rounds in which a place is cleared of overlaps before the next one is tried
# Degrees from the east: diagonals as seen on 2s3z; of the straight ones south is seen, the others settled on 3m's logs.
FIRST_DIRECTIONS = (270, 180, 0, 90, 315, 135, 45, 225)
REACH = 24  # rows of the grid on each side of the point


def _grid() -> np.ndarray:
    """Places of the grid in the order in which they are tried, int64 [P, 2]: the nearest first.

    Of equally near ones those of FIRST_DIRECTIONS come first, the others counterclockwise from the east.
    """

    def order(place: tuple[int, int]) -> tuple[int, int, float]:
        turn = round(math.degrees(math.atan2(place[1], place[0]))) % 360
        rank = FIRST_DIRECTIONS.index(turn) if turn in FIRST_DIRECTIONS else len(FIRST_DIRECTIONS)
        return place[0] ** 2 + place[1] ** 2, rank, turn

    rows = range(-REACH, REACH + 1)
    return np.array(sorted(((x, y) for x in rows for y in rows), key=order), dtype=np.int64)


GRID = _grid()


@compiled
def _is_inside_another(kinds: np.ndarray, body2: np.ndarray, u: int, x: float, y: float, xs: Any, ys: Any) -> bool:
    for v in range(xs.shape[0]):
        dx, dy = x - xs[v], y - ys[v]
        if body2[u, v] > 0.0 and dx * dx + dy * dy < kinds[v].radius * kinds[v].radius:
            return True
    return False


@compiled
def _push_out(body2: np.ndarray, u: int, v: int, x: float, y: float, xs: Any, ys: Any) -> tuple[float, float, bool]:
    """(x, y) moved away from v as far as their bodies ask, and whether it had to move."""
    dx, dy = x - xs[v], y - ys[v]
    squared, body = dx * dx + dy * dy, body2[u, v]
    if body == 0.0 or squared >= body + 4.0 * CREATION_GAP:  # most are far: no need of a root
        return x, y, False
    least = np.sqrt(body) + CREATION_GAP
    if squared >= (least - 1e-9) * (least - 1e-9):
        return x, y, False
    scale = least / max(np.sqrt(squared), 1e-9)
    return xs[v] + scale * dx, ys[v] + scale * dy, True


@compiled
def _is_free(ground: np.ndarray, x: float, y: float) -> bool:
    size = ground.shape[1]
    return x >= 0.0 and y >= 0.0 and x < size and y < size and ground[0, int(x), int(y)] == WALKABLE


@compiled
def _create(kinds: np.ndarray, body2: np.ndarray, ground: np.ndarray, first: int, end: int, xs: Any, ys: Any) -> None:
    """Create the units from `first` to `end` among those that stand somewhere (not in the GRAVE) already.

    Each one takes the first place of its point's grid, whose rows are its radius apart, that is on walkable ground and
    inside nobody; there it is pushed out of whom it overlaps, the one created last before the others.

    Args:
        kinds: KIND [U]; where a unit finds no place it is put at its spawn_x and spawn_y.
        body2: float64 [U, U], as in World.
        ground: as in World.
        first: the first unit of a side.
        end: the one after its last.
        xs: positions of all units, float64 [U]; those of the new ones are written.
        ys: likewise.
    """
    for u in range(first, end):
        xs[u], ys[u] = GRAVE * (u + 1), GRAVE
    for nth in range(first, end):
        u, placed = kinds[nth].created, False
        for place in range(GRID.shape[0]):
            x = kinds[u].point_x + kinds[u].radius * GRID[place, 0]
            y = kinds[u].point_y + kinds[u].radius * GRID[place, 1]
            if not _is_free(ground, x, y) or _is_inside_another(kinds, body2, u, x, y, xs, ys):
                continue
            pushed, rounds = True, 0
            while pushed and rounds < PUSHES:
                pushed, rounds = False, rounds + 1
                for older in range(nth - 1, first - 1, -1):
                    x, y, moved = _push_out(body2, u, kinds[older].created, x, y, xs, ys)
                    pushed |= moved
                for v in range(xs.shape[0]):
                    if v < first or v >= end:
                        x, y, moved = _push_out(body2, u, v, x, y, xs, ys)
                        pushed |= moved
            if not pushed and _is_free(ground, x, y):
                xs[u], ys[u], placed = fixed(x), fixed(y), True
                break
        if not placed:  # for all who were left: where it is without them
            xs[u], ys[u] = kinds[u].spawn_x, kinds[u].spawn_y


@compiled
def _number_agents(kinds: np.ndarray, n_agents: int, xs: Any, ys: Any) -> None:
    """Deal the agents' places out as SMAC does: within a type by x, then y."""
    for u in range(1, n_agents):
        x, y, at = xs[u], ys[u], u
        while at > 0 and kinds[at - 1].unit_type == kinds[u].unit_type:
            if xs[at - 1] < x or (xs[at - 1] == x and ys[at - 1] <= y):
                break
            xs[at], ys[at] = xs[at - 1], ys[at - 1]
            at -= 1
        xs[at], ys[at] = x, y


@entry
def create_sides(kinds: np.ndarray, body2: np.ndarray, ground: np.ndarray, n_agents: int, xs: Any, ys: Any) -> None:
    """Create the agents, then the enemies, as in the first battle of a game; arguments as for `_create`."""
    for u in range(xs.shape[0]):
        xs[u], ys[u] = GRAVE * (u + 1), GRAVE
    _create(kinds, body2, ground, 0, n_agents, xs, ys)
    _number_agents(kinds, n_agents, xs, ys)
    _create(kinds, body2, ground, n_agents, xs.shape[0], xs, ys)


@compiled
def _create_agents(w: World, un: Units, key: np.uint64) -> None:
    """Create the agents among whom the battle before has left: its enemies, wherever they stand near their goal."""
    n_agents, n_units = w.rules[0].n_agents, un.of.shape[0]
    for u in range(n_agents, n_units):
        away = w.rules[0].survivors_radius * np.sqrt(uniform(key, 2 * n_units + 2 + u, 0))
        angle = 2.0 * np.pi * uniform(key, 2 * n_units + 2 + u, 1)
        un.x[u] = w.rules[0].goal_x + away * np.cos(angle)
        un.y[u] = w.rules[0].goal_y + away * np.sin(angle)
    _create(w.kinds, w.body2, w.ground, 0, n_agents, un.x, un.y)
    _number_agents(w.kinds, n_agents, un.x, un.y)


@compiled
def place_units(w: World, un: Units, key: np.uint64) -> None:
    """Put all units at the start of the battle with this random key."""
    if w.rules[0].survivors_radius > 0.0:
        _create_agents(w, un, key)
    goal_x, goal_y = w.rules[0].goal_x, w.rules[0].goal_y
    if w.rules[0].goal_varies:
        share = uniform(key, 2 * un.of.shape[0] + 1, 0)
        goal_x += share * (w.rules[0].goal_to_x - goal_x)
        goal_y += share * (w.rules[0].goal_to_y - goal_y)
    for u in range(un.of.shape[0]):
        if u >= w.rules[0].n_agents or w.rules[0].survivors_radius == 0.0:
            un.x[u], un.y[u] = w.kinds[u].spawn_x, w.kinds[u].spawn_y
        un.of[u].facing_x, un.of[u].facing_y = 1.0 if u < w.rules[0].n_agents else -1.0, 0.0
        un.of[u].health, un.of[u].shield = w.kinds[u].max_health, w.kinds[u].max_shield
        un.of[u].alive = True
        un.of[u].burst = un.of[u].walks = un.of[u].turns = un.of[u].has_to_walk = False
        x, y = goal_x + w.kinds[u].place_x, goal_y + w.kinds[u].place_y  # a group keeps its formation
        un.of[u].goal_x, un.of[u].goal_y = (x, y) if can_be_at(w, u, x, y) else (goal_x, goal_y)
        un.of[u].cooldown = w.kinds[u].start_energy
        un.of[u].phase_loops = un.of[u].hold_loops = un.of[u].since_hurt = 0.0
        un.of[u].phase = READY
        un.of[u].engaged = NOBODY
        un.of[u].order = NO_ORDER
        un.of[u].target = un.of[u].missile_target = un.of[u].channel_target = NOBODY
        un.of[u].detour = 0
        un.of[u].shots = 0
        un.of[u].key = key
        phase = uniform(key, un.of.shape[0] + 1 + u, 0) * w.rules[0].search_interval
        un.of[u].search_phase = int(phase)
