"""How units walk: straight, round corners, past comrades and round who stands in the way."""

from __future__ import annotations

import numpy as np

from dm2.battle.compiled import compiled, inline
from dm2.battle.geometry import FIXED_POINT, can_be_at, put, turn
from dm2.battle.paths import IN_SIGHT
from dm2.battle.records import MOVE, NO_ORDER, NOBODY, READY, Units, World

SQUEEZES = 16  # overlaps made up for in a step between several comrades; each time about half of one is left
DETOUR_SIGHT = 2.0  # map units ahead in which a blocked unit counts the bodies on either side
HALF_ROOT_3 = 0.8660254037844386


@compiled
def _blocker(body2: np.ndarray, un: Units, u: int, x: float, y: float) -> int:
    """The first unit that u would press into at (x, y) more than it does now; NOBODY if the place is free."""
    near, bodies = 0, body2[u]
    for v in range(bodies.shape[0]):  # without branches, so that it runs on whole vectors
        dx, dy = un.x[v] - x, un.y[v] - y
        near += dx * dx + dy * dy < bodies[v]
    if near == 0:
        return NOBODY
    for v in range(bodies.shape[0]):
        dx, dy = un.x[v] - x, un.y[v] - y
        squared = dx * dx + dy * dy
        if squared < bodies[v]:
            dx, dy = un.x[v] - un.x[u], un.y[v] - un.y[u]
            if squared < dx * dx + dy * dy:
                return v
    return NOBODY


@inline
def _are_comrades(w: World, u: int, v: int) -> bool:
    return (u < w.rules[0].n_agents) == (v < w.rules[0].n_agents)


@inline
def _is_idle(w: World, un: Units, u: int) -> bool:
    if u < w.rules[0].n_agents:
        return un.of[u].order == NO_ORDER and un.of[u].phase == READY
    dx, dy = un.of[u].goal_x - un.x[u], un.of[u].goal_y - un.y[u]
    arrived = dx * dx + dy * dy <= w.rules[0].arrival_radius * w.rules[0].arrival_radius
    return un.of[u].target == NOBODY and arrived


@compiled
def _push_aside(w: World, un: Units, u: int, v: int, x: float, y: float) -> bool:
    """Move u's idle comrade v out of (x, y), straight away from it; True if that freed the place."""
    if not _are_comrades(w, u, v) or not _is_idle(w, un, v):
        return False
    dx, dy = un.x[v] - x, un.y[v] - y
    distance = np.sqrt(dx * dx + dy * dy)
    if distance < 1e-6:
        return False
    scale = (np.sqrt(w.body2[u, v]) + 1.0 / FIXED_POINT) / distance
    px, py = x + dx * scale, y + dy * scale
    if not can_be_at(w, v, px, py) or _blocker(w.body2, un, v, px, py) != NOBODY:
        return False
    put(un, v, px, py)
    return True


@compiled
def _squeeze_by(w: World, un: Units, u: int, x: float, y: float) -> bool:
    """Bring u as near to (x, y) as comrades who walk leave room; False if it would press into anybody else.

    Of each overlap a share is made up by the comrade, who gives way across its own way and loses nothing of it, and
    the rest by u, which stays where it is if that does not end.
    """
    for _ in range(SQUEEZES):
        v = _blocker(w.body2, un, u, x, y)
        if v == NOBODY:
            put(un, u, x, y)
            return True
        if not _are_comrades(w, u, v) or not un.of[v].walks:
            return False
        dx, dy = x - un.x[v], y - un.y[v]
        distance = max(np.sqrt(dx * dx + dy * dy), 1e-9)
        body = np.sqrt(w.body2[u, v]) + 1.0 / FIXED_POINT
        hx, hy = un.of[v].facing_x, un.of[v].facing_y
        push = w.rules[0].push_share * (body - distance) / distance * (dx * hy - dy * hx)
        vx, vy = un.x[v] - push * hy, un.y[v] + push * hx
        if can_be_at(w, v, vx, vy) and _blocker(w.body2, un, v, vx, vy) == NOBODY:
            put(un, v, vx, vy)
        dx, dy = x - un.x[v], y - un.y[v]
        distance = max(np.sqrt(dx * dx + dy * dy), 1e-9)
        scale = max(body / distance, 1.0)
        x, y = un.x[v] + scale * dx, un.y[v] + scale * dy
        if not can_be_at(w, u, x, y):
            return False
    return True


@compiled
def _free_side(w: World, un: Units, u: int, dx: float, dy: float) -> int:
    """The side of (dx, dy) on which fewer bodies stand in the way: 1 left, -1 right."""
    across = 0.0
    for v in range(un.of.shape[0]):
        x, y = un.x[v] - un.x[u], un.y[v] - un.y[u]
        ahead, aside = dx * x + dy * y, dx * y - dy * x
        if v != u and ahead > 0.0 and x * x + y * y < DETOUR_SIGHT * DETOUR_SIGHT:
            across += 1.0 if aside > 0.0 else -1.0 if aside < 0.0 else 0.0
            across += 0.01 * aside
    return -1 if across > 0.0 else 1


@compiled
def _detour(w: World, un: Units, u: int, dx: float, dy: float, step: float, blocked: bool) -> None:
    """Walk round what stands in the way of (dx, dy), following its rim on one side until the way is free.

    Headings are tried from the one nearest to the obstacle (60 degrees off the last heading, but not beyond the goal)
    away from it, in turns of 30 degrees.
    """
    fresh = un.of[u].detour == 0
    side = _free_side(w, un, u, dx, dy) if fresh else 1 if un.of[u].detour > 0 else -1
    hx, hy = dx, dy
    fx, fy = un.of[u].facing_x, un.of[u].facing_y
    along, across = dx * fx + dy * fy, (dx * fy - dy * fx) * side
    if not fresh and along < 0.5 and (across > 0.0 or along < 0.0):
        hx, hy = 0.5 * fx + HALF_ROOT_3 * fy * side, 0.5 * fy - HALF_ROOT_3 * fx * side
    for _turn_number in range(10):
        x, y = un.x[u] + step * hx, un.y[u] + step * hy
        if can_be_at(w, u, x, y) and _blocker(w.body2, un, u, x, y) == NOBODY:
            if fresh or blocked:
                un.of[u].detour = side * w.rules[0].detour_memory
            un.of[u].facing_x, un.of[u].facing_y = hx, hy
            put(un, u, x, y)
            return
        hx, hy = HALF_ROOT_3 * hx - 0.5 * hy * side, HALF_ROOT_3 * hy + 0.5 * hx * side
    un.of[u].detour = -side * w.rules[0].detour_memory


@compiled
def _slide(w: World, un: Units, u: int, dx: float, dy: float, step: float) -> None:
    """The straight way leaves the walkable ground: keep the part of the step that stays on it."""
    x, y = un.x[u], un.y[u]
    if can_be_at(w, u, x + step * dx, y) and _blocker(w.body2, un, u, x + step * dx, y) == NOBODY:
        put(un, u, x + step * dx, y)
    elif can_be_at(w, u, x, y + step * dy) and _blocker(w.body2, un, u, x, y + step * dy) == NOBODY:
        put(un, u, x, y + step * dy)


@inline
def _goal(un: Units, u: int) -> tuple[float, float]:
    target = un.of[u].target
    if target >= 0:
        return un.x[target], un.y[target]
    return un.of[u].goal_x, un.of[u].goal_y


@compiled
def _next_turn(w: World, un: Units, u: int, goal_x: float, goal_y: float) -> tuple[float, float]:
    """Where a walker has to turn next on its way to the goal: the goal itself if the way there is straight."""
    size = w.rules[0].map_size
    last = size - 1
    here = int(un.x[u]) * size + int(un.y[u])
    corner = w.ground[1 + here, min(max(int(goal_x), 0), last), min(max(int(goal_y), 0), last)]
    if corner == IN_SIGHT or w.kinds[u].crosses:
        return goal_x, goal_y
    return corner // size + 0.5, corner % size + 0.5


@inline
def _walk(w: World, un: Units, u: int, wait: bool) -> bool:
    """One loop of unit u's way; False if it would rather `wait` for a comrade in its way who has yet to walk."""
    me = un.of[u]
    goal_x, goal_y = _goal(un, u)
    if w.rules[0].has_corners:
        goal_x, goal_y = _next_turn(w, un, u, goal_x, goal_y)
    dx, dy = goal_x - un.x[u], goal_y - un.y[u]
    distance = np.sqrt(dx * dx + dy * dy)
    if distance < 1e-3:
        if me.order == MOVE:
            me.order = NO_ORDER
        return True
    scale = 1.0 / distance
    dx, dy = dx * scale, dy * scale
    if w.rules[0].walkers_turn and me.detour == 0:
        if not me.walks:
            me.facing_x, me.facing_y = dx, dy
        elif not turn(w, un, u, dx, dy):
            me.turns = True
            return True
    step = min(w.kinds[u].speed, distance)
    x, y = un.x[u] + step * dx, un.y[u] + step * dy
    if not can_be_at(w, u, x, y):
        _slide(w, un, u, dx, dy, step)
        return True
    obstacle = _blocker(w.body2, un, u, x, y)
    if obstacle != NOBODY and wait and un.of[obstacle].has_to_walk and _are_comrades(w, u, obstacle):
        return False
    if obstacle != NOBODY and _push_aside(w, un, u, obstacle, x, y):
        obstacle = _blocker(w.body2, un, u, x, y)
    if obstacle == NOBODY:
        me.detour -= 1 if me.detour > 0 else -1 if me.detour < 0 else 0
    if obstacle == NOBODY and (me.detour == 0 or dx * me.facing_x + dy * me.facing_y > 0.0):
        turn(w, un, u, dx, dy)
        put(un, u, x, y)
    elif obstacle != NOBODY and me.detour == 0 and _squeeze_by(w, un, u, x, y):
        turn(w, un, u, dx, dy)
    elif u < w.rules[0].n_agents or me.target >= 0 or distance > w.rules[0].arrival_radius:
        _detour(w, un, u, dx, dy, step, obstacle != NOBODY)
    return True


@inline
def walk_all(w: World, un: Units, n_walkers: int) -> None:
    """Move the walkers listed, each after the comrades in its way, so that a column moves as one."""
    for i in range(n_walkers):
        un.of[un.of[i].walker].has_to_walk = True
    n_before = n_walkers + 1
    while n_walkers > 0:
        wait = n_walkers < n_before  # else they wait for each other
        n_before, n_walkers = n_walkers, 0
        for i in range(n_before):
            u = un.of[i].walker
            x, y = un.x[u], un.y[u]
            if not _walk(w, un, u, wait):
                un.of[n_walkers].walker = u
                n_walkers += 1
                continue
            least = 0.25 * w.kinds[u].speed
            un.of[u].walks = un.of[u].turns or (un.x[u] - x) ** 2 + (un.y[u] - y) ** 2 >= least * least
            un.of[u].turns = False
            un.of[u].has_to_walk = False
