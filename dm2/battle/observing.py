"""What agents are told: available actions, observations and the state, as SMAC lays them out."""

from __future__ import annotations

import numpy as np

from dm2.battle.compiled import compiled, inline
from dm2.battle.geometry import distance_between
from dm2.battle.records import WALKABLE, Battles, Record, Units, World
from dm2.battle.rules_of_smac import (
    AGENT_STATE_FEATURES,
    ATTACK_DISTANCE,
    DISTANCE,
    DX,
    DY,
    EAST,
    ENEMY_STATE_FEATURES,
    FIRST_ATTACK,
    HEALTH,
    MOVE_DISTANCE,
    MOVE_FEATURES,
    NO_OP,
    NORTH,
    OWN_FEATURES,
    SIGHT,
    SOUTH,
    STOP,
    UNIT_FEATURES,
    VISIBLE,
    WEST,
)


@inline
def _can_walk_to(w: World, x: float, y: float) -> bool:
    """SMAC's look at the cell of a point, coordinates truncated towards zero."""
    i, j = int(x), int(y)
    return i >= 0 and j >= 0 and i < w.rules[0].map_size and j < w.rules[0].map_size and w.ground[0, i, j] == WALKABLE


@compiled
def _avail_patients(w: World, un: Units, a: int, row: np.ndarray) -> None:
    """SMAC's medivacs choose among all agents but medivacs, whole or not."""
    for v in range(w.rules[0].n_agents):
        row[FIRST_ATTACK + v] = (
            un.of[v].alive and w.kinds[v].heal_rate == 0.0 and distance_between(un, a, v) <= ATTACK_DISTANCE
        )


@inline
def _avail(w: World, un: Units, a: int, row: np.ndarray) -> None:
    row[:] = False
    if not un.of[a].alive:
        row[NO_OP] = True
        return
    x, y = un.x[a], un.y[a]
    row[STOP] = True
    row[NORTH] = _can_walk_to(w, x, y + MOVE_DISTANCE / 2)
    row[SOUTH] = _can_walk_to(w, x, y - MOVE_DISTANCE / 2)
    row[EAST] = _can_walk_to(w, x + MOVE_DISTANCE / 2, y)
    row[WEST] = _can_walk_to(w, x - MOVE_DISTANCE / 2, y)
    if w.rules[0].has_healers and w.kinds[a].heal_rate > 0.0:
        _avail_patients(w, un, a, row)
        return
    for v in range(w.rules[0].n_agents, un.of.shape[0]):
        dx, dy = un.x[v] - x, un.y[v] - y
        row[FIRST_ATTACK + v - w.rules[0].n_agents] = dx * dx + dy * dy <= ATTACK_DISTANCE * ATTACK_DISTANCE


@inline
def _observe_unit(
    unit: Record,
    kind: Record,
    dx: float,
    dy: float,
    visible: float,
    shields: bool,
    n_types: int,
    row: np.ndarray,
    at: int,
) -> None:
    """Features of a unit at (dx, dy) from the observer, from row[at] on; zeros if it is out of sight."""
    squared = dx * dx + dy * dy
    if squared < SIGHT * SIGHT:
        row[at + VISIBLE] = visible
        row[at + DISTANCE] = np.sqrt(squared) * (1.0 / SIGHT)
        row[at + DX] = dx * (1.0 / SIGHT)
        row[at + DY] = dy * (1.0 / SIGHT)
        row[at + HEALTH] = unit.health * kind.per_health
        if shields:
            row[at + UNIT_FEATURES] = unit.shield * kind.per_shield
        if n_types:
            row[at + UNIT_FEATURES + shields + kind.unit_type] = 1.0


@inline
def _observe_agent(w: World, un: Units, a: int, avail: np.ndarray, row: np.ndarray) -> None:
    row[:] = 0.0
    me, kind, rules = un.of[a], w.kinds[a], w.rules[0]
    if not me.alive:
        return
    for k in range(MOVE_FEATURES):
        row[k] = avail[NORTH + k]
    x, y, n_agents, n_types = un.x[a], un.y[a], rules.n_agents, rules.n_types
    at = MOVE_FEATURES
    shields = rules.enemies_have_shields
    for u in range(n_agents, un.of.shape[0]):
        _observe_unit(
            un.of[u],
            w.kinds[u],
            un.x[u] - x,
            un.y[u] - y,
            1.0 if avail[FIRST_ATTACK + u - n_agents] else 0.0,
            shields,
            n_types,
            row,
            at,
        )
        at += UNIT_FEATURES + shields + n_types
    shields = rules.allies_have_shields
    for u in range(n_agents):
        if u != a:
            _observe_unit(un.of[u], w.kinds[u], un.x[u] - x, un.y[u] - y, 1.0, shields, n_types, row, at)
            at += UNIT_FEATURES + shields + n_types
    row[at] = me.health * kind.per_health
    if shields:
        row[at + OWN_FEATURES] = me.shield * kind.per_shield
    if n_types:
        row[at + OWN_FEATURES + shields + kind.unit_type] = 1.0


@inline
def _observe_state(w: World, un: Units, last_actions: np.ndarray, row: np.ndarray) -> None:
    row[:] = 0.0
    rules = w.rules[0]
    n_agents, n_types, per_map = rules.n_agents, rules.n_types, 1.0 / rules.playable_size
    middle = 0.5 * rules.map_size
    n_actions = FIRST_ATTACK + un.of.shape[0] - n_agents
    at = 0
    for u in range(un.of.shape[0]):
        ally = u < n_agents
        shields = rules.allies_have_shields if ally else rules.enemies_have_shields
        features = AGENT_STATE_FEATURES if ally else ENEMY_STATE_FEATURES
        unit, kind = un.of[u], w.kinds[u]
        if unit.alive:
            row[at] = unit.health * kind.per_health
            if ally:
                row[at + 1] = max(unit.cooldown, 0.0) * kind.per_cooldown
            row[at + features - 2] = (un.x[u] - middle) * per_map
            row[at + features - 1] = (un.y[u] - middle) * per_map
            if shields:
                row[at + features] = unit.shield * kind.per_shield
            if n_types:
                row[at + features + shields + kind.unit_type] = 1.0
        at += features + shields + n_types
    for a in range(n_agents):
        if last_actions[a] >= 0:
            row[at + last_actions[a]] = 1.0
        at += n_actions


@compiled
def observe(w: World, b: Battles, e: int) -> None:
    """Refresh availability, observations and state of battle e."""
    un = Units(b.x[e], b.y[e], b.units[e])
    for a in range(w.rules[0].n_agents):
        _avail(w, un, a, b.avail_actions[e, a])
        _observe_agent(w, un, a, b.avail_actions[e, a], b.obs[e, a])
    _observe_state(w, un, b.last_actions[e], b.state[e])


@compiled
def keep_last(b: Battles, e: int) -> None:
    """Keep what battle e's agents were told last, before it starts anew."""
    for a in range(b.obs.shape[1]):
        for k in range(b.obs.shape[2]):
            b.final_obs[e, a, k] = b.obs[e, a, k]
        for k in range(b.avail_actions.shape[2]):
            b.final_avail_actions[e, a, k] = b.avail_actions[e, a, k]
    for k in range(b.state.shape[1]):
        b.final_state[e, k] = b.state[e, k]
