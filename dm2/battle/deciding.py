"""What units do in a loop: orders of agents, targets of enemies, patients of healers."""

from __future__ import annotations

import numpy as np

from dm2.battle.attacks import begin_attack, cancel_attack, continue_attack
from dm2.battle.compiled import compiled, inline
from dm2.battle.geometry import distance_between, turn
from dm2.battle.records import ATTACK, MOVE, NO_ORDER, NOBODY, READY, Units, World
from dm2.battle.rules_of_smac import EAST, FIRST_ATTACK, MOVE_DISTANCE, NO_OP, NORTH, SOUTH, STOP, WEST


@inline
def give_order(w: World, un: Units, u: int, action: int) -> None:
    """Turn an agent's action into the order of its unit; no-op leaves the last one in force."""
    if action == NO_OP:
        return
    if action >= FIRST_ATTACK:
        target = w.rules[0].n_agents + action - FIRST_ATTACK
        if w.rules[0].has_healers and w.kinds[u].heal_rate > 0.0:
            target = action - FIRST_ATTACK  # SMAC's medivacs choose among the agents
        elif w.rules[0].choosy and w.damage[0, u, target] == 0.0:
            return  # the game refuses the order: the last one stays in force
        if un.of[u].order != ATTACK or un.of[u].target != target:
            cancel_attack(un, u)
        un.of[u].order = ATTACK
        un.of[u].target = target
        return
    cancel_attack(un, u)
    un.of[u].target = NOBODY
    un.of[u].order = NO_ORDER if action == STOP else MOVE
    un.of[u].goal_x = un.x[u] + MOVE_DISTANCE * ((action == EAST) - (action == WEST))
    un.of[u].goal_y = un.y[u] + MOVE_DISTANCE * ((action == NORTH) - (action == SOUTH))


@inline
def _nearest_agent(w: World, un: Units, u: int) -> int:
    """The agent nearest to enemy u in free space, if it is within the scan range; NOBODY otherwise."""
    nearest, least = NOBODY, w.kinds[u].scan_range + w.kinds[u].radius
    x, y = un.x[u], un.y[u]
    for v in range(w.rules[0].n_agents):
        dx, dy = un.x[v] - x, un.y[v] - y
        radius = w.kinds[v].radius
        bound = least + radius
        squared = dx * dx + dy * dy
        if squared < bound * bound:
            nearest, least = v, np.sqrt(squared) - radius
    return nearest


@compiled
def _preferred_agent(w: World, un: Units, u: int) -> int:
    """As `_nearest_agent`, among those that u can hit; those that cannot attack come last."""
    best, least, armed = NOBODY, w.kinds[u].scan_range, False
    for v in range(w.rules[0].n_agents):
        if un.of[v].alive and w.damage[0, u, v] > 0.0:
            free = distance_between(un, u, v) - w.kinds[u].radius - w.kinds[v].radius
            attacks = w.kinds[v].heal_rate == 0.0
            if free <= w.kinds[u].scan_range and (attacks or not armed) and (attacks != armed or free < least):
                best, least, armed = v, free, attacks
    return best


@inline
def _choose_target(w: World, un: Units, u: int, loop: int) -> None:
    """Enemy u keeps a target in reach; else it looks round and may take or swap one."""
    target = un.of[u].target
    if target >= 0:
        free = distance_between(un, u, target) - w.kinds[u].radius - w.kinds[target].radius
        if free <= w.arms[0, u].range:
            return
        if free > w.rules[0].leash:
            target = NOBODY
    if (loop + un.of[u].search_phase) % w.rules[0].search_interval == 0:
        other = _preferred_agent(w, un, u) if w.rules[0].choosy else _nearest_agent(w, un, u)
        if other >= 0 and other != target:
            free = distance_between(un, u, other) - w.kinds[u].radius - w.kinds[other].radius
            if target < 0 or w.rules[0].chase_nearest or free <= w.arms[0, u].range:
                target = other
    un.of[u].target = target


@inline
def _is_hurt(w: World, un: Units, v: int) -> bool:
    return un.of[v].alive and un.of[v].health > 0.0 and un.of[v].health < w.kinds[v].max_health


@compiled
def _choose_patient(w: World, un: Units, u: int, loop: int) -> None:
    """Enemy u keeps a patient until it is whole; else it looks round for the comrade with the least of its health."""
    target = un.of[u].target
    if target >= 0 and _is_hurt(w, un, target):
        return
    un.of[u].target = NOBODY
    if (loop + un.of[u].search_phase) % w.rules[0].search_interval != 0:
        return
    least, nearest = 1.0, 0.0
    for v in range(w.rules[0].n_agents, un.of.shape[0]):
        if v == u or not w.kinds[v].curable or not _is_hurt(w, un, v):
            continue
        free = distance_between(un, u, v) - w.kinds[u].radius - w.kinds[v].radius
        share = un.of[v].health * w.kinds[v].per_health
        if free <= w.kinds[u].scan_range and (share < least or (share == least and free < nearest)):
            un.of[u].target, least, nearest = v, share, free


@compiled
def _decide_healer(w: World, un: Units, u: int, loop: int) -> bool:
    """Healer u's decision and healing in this loop; True if it wants to fly (to its patient or its goal)."""
    me, skill = un.of[u], w.kinds[u]
    me.cooldown = min(me.cooldown + skill.energy_regeneration, skill.max_energy)
    if me.target >= 0 and not un.of[me.target].alive:
        me.target = NOBODY
        if me.order == ATTACK:
            me.order = NO_ORDER
    if u >= w.rules[0].n_agents:
        _choose_patient(w, un, u, loop)
    elif me.order != ATTACK:
        return me.order == MOVE
    patient = me.target
    if patient < 0:
        return True
    if distance_between(un, u, patient) - w.kinds[u].radius - w.kinds[patient].radius > w.arms[0, u].range:
        return True
    if w.kinds[patient].curable and _is_hurt(w, un, patient):
        missing = w.kinds[patient].max_health - un.of[patient].health
        healed = min(min(skill.heal_rate, missing), me.cooldown / skill.energy_per_health)
        un.of[patient].health += healed
        me.cooldown = max(me.cooldown - healed * skill.energy_per_health, 0.0)
    return False


@inline
def decide(w: World, un: Units, u: int, loop: int) -> bool:
    """Unit u's decision and fire in this loop; True if it wants to walk (to its target or its goal)."""
    me, kind = un.of[u], w.kinds[u]
    if w.rules[0].has_healers and w.kinds[u].heal_rate > 0.0:
        return _decide_healer(w, un, u, loop)
    me.cooldown -= 1.0
    me.hold_loops -= 1.0
    if me.target >= 0 and not un.of[me.target].alive:
        me.target = NOBODY
        me.hold_loops = 0.0  # else teams that only stop outlive the real ones by 3 %
        if me.order == ATTACK:
            me.order = NO_ORDER
    if me.phase != READY and continue_attack(w, un, u):
        return False
    if u < w.rules[0].n_agents:
        if me.order != ATTACK:
            return me.order == MOVE
    elif me.phase == READY:
        _choose_target(w, un, u, loop)
    target = me.target
    if target < 0:
        return True
    dx, dy = un.x[target] - un.x[u], un.y[target] - un.y[u]
    distance = np.sqrt(dx * dx + dy * dy)
    free = distance - kind.radius - w.kinds[target].radius
    slop = w.arms[0, u].range_slop if me.engaged == target and w.rules[0].slop_repeats else 0.0
    if free > w.arms[0, u].range + slop:
        me.engaged = NOBODY
        return me.hold_loops <= 0.0
    scale = 1.0 / max(distance, 1e-9)
    if turn(w, un, u, dx * scale, dy * scale) and me.cooldown <= 0.0 and me.phase == READY:
        begin_attack(w, un, u, target, 1 if free <= w.arms[1, u].range else 0)
    return False
