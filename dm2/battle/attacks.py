"""Attacks from their beginning to the damage: wind-up, hits, missiles, and what sweeps, bursts or hits twice."""

from __future__ import annotations

import numpy as np

from dm2.battle.compiled import compiled, inline
from dm2.battle.draws import uniform
from dm2.battle.geometry import distance_between
from dm2.battle.records import CHANNELLING, NOBODY, READY, WINDING_UP, Units, World


@inline
def cancel_attack(un: Units, u: int) -> None:
    """Drop an attack that has not fired, at no cost of cooldown; what has been fired lands, though u may walk off."""
    if un.of[u].phase == WINDING_UP:
        un.of[u].cooldown = 0.0
        un.of[u].phase = READY
    un.of[u].hold_loops = 0.0
    un.of[u].engaged = NOBODY


@compiled
def _call_help(w: World, un: Units, attacker: int, victim: int) -> None:
    for v in range(w.rules[0].n_agents, un.of.shape[0]):
        near = distance_between(un, victim, v) <= w.rules[0].call_for_help_range
        if near and un.of[v].alive and un.of[v].target == NOBODY and w.damage[0, v, attacker] > 0.0:
            un.of[v].target = attacker


@inline
def _hit(w: World, un: Units, u: int, target: int, weapon: int) -> None:
    """One hit: shields first, undiminished by armour; what is left goes to health, less armour."""
    left = w.damage[weapon, u, target]
    absorbed = min(un.of[target].shield, left)
    un.of[target].shield -= absorbed
    left -= absorbed
    if left > 0.0:
        un.of[target].health -= max(left - w.kinds[target].armour, w.rules[0].minimum_damage)
    un.of[target].since_hurt = -1.0  # 0 at the end of this loop
    if w.rules[0].retaliate and target >= w.rules[0].n_agents and un.of[target].target == NOBODY:
        _call_help(w, un, u, target)


@compiled
def _aim_beams(un: Units, u: int, target: int) -> None:
    """Lay the line of u's beams across the target, at right angles to the way to it."""
    x, y = un.x[target] - un.x[u], un.y[target] - un.y[u]
    scale = 1.0 / max(np.sqrt(x * x + y * y), 1e-9)
    un.of[u].beams_x, un.of[u].beams_y = un.x[target], un.y[target]
    un.of[u].beams_ahead_x, un.of[u].beams_ahead_y = x * scale, y * scale


@compiled
def _sweep(w: World, un: Units, u: int) -> None:
    """The beams of unit u hit their target, wherever it is, and all other opponents that touch their line."""
    me, skill, n_agents, weapon = un.of[u], w.kinds[u], w.rules[0].n_agents, un.of[u].weapon
    for v in range(un.of.shape[0]):
        if (u < n_agents) == (v < n_agents) or not un.of[v].alive or w.damage[weapon, u, v] == 0.0:
            continue
        dx, dy = un.x[v] - me.beams_x, un.y[v] - me.beams_y
        ahead = dx * me.beams_ahead_x + dy * me.beams_ahead_y
        aside = dx * me.beams_ahead_y - dy * me.beams_ahead_x
        beyond = max(abs(aside) - skill.sweep, 0.0)  # the ends of the line
        touch = skill.sweep_radius + w.kinds[v].radius
        if v == me.channel_target or ahead * ahead + beyond * beyond <= touch * touch:
            for _beam in range(skill.beams):
                _hit(w, un, u, v, weapon)


@compiled
def burst_dying(w: World, un: Units) -> None:
    """Those that burst and are about to die hit all opponents near them, which may make more of them burst."""
    n_agents, again = w.rules[0].n_agents, True
    while again:
        again = False
        for u in range(un.of.shape[0]):
            radius = w.kinds[u].burst_radius
            if radius == 0.0 or not un.of[u].alive or un.of[u].burst or un.of[u].health > 0.0:
                continue
            un.of[u].burst = again = True
            for v in range(un.of.shape[0]):
                opponents = (u < n_agents) != (v < n_agents)
                if opponents and un.of[v].alive and distance_between(un, u, v) - w.kinds[v].radius <= radius:
                    _hit(w, un, u, v, 0)


@inline
def _channel(un: Units, u: int, target: int, loops: float) -> None:
    """What u has fired at the target lands, or lands again, after so many loops."""
    un.of[u].phase = CHANNELLING
    un.of[u].phase_loops = loops
    un.of[u].channel_target = target


@compiled
def _fire_specially(w: World, un: Units, u: int, target: int) -> bool:
    """The damage point of a weapon that bursts or sweeps; False for the others."""
    if w.kinds[u].burst_radius > 0.0:
        un.of[u].health = 0.0  # the burst comes with its death, in this loop
        return True
    if w.kinds[u].sweep > 0.0:
        _channel(un, u, target, w.kinds[u].channel)
        _aim_beams(un, u, target)
        return True
    return False


@inline
def _fire(w: World, un: Units, u: int, target: int) -> None:
    """The damage point: the weapon hits or its missile starts."""
    weapon = un.of[u].weapon
    un.of[u].phase = READY
    un.of[u].hold_loops = w.arms[weapon, u].backswing if w.rules[0].backswing_holds else 0.0
    if w.rules[0].has_area_weapons and _fire_specially(w, un, u, target):
        return
    if w.arms[weapon, u].missile_speed > 0.0:
        un.of[u].missile_target = target
        un.of[u].missile_weapon = weapon
        un.of[u].missile_x, un.of[u].missile_y = un.x[u], un.y[u]
        return
    _hit(w, un, u, target, weapon)
    if w.arms[weapon, u].hit_interval > 0.0:
        _channel(un, u, target, w.arms[weapon, u].hit_interval)


@inline
def begin_attack(w: World, un: Units, u: int, target: int, weapon: int) -> None:
    """Start the wind-up, from which the cooldown counts; its delay is drawn anew for each attack."""
    delay = w.rules[0].cooldown_delay_low
    delay += (w.rules[0].cooldown_delay_high - w.rules[0].cooldown_delay_low) * uniform(un.of[u].key, u, un.of[u].shots)
    un.of[u].shots += 1
    un.of[u].engaged = target
    un.of[u].cooldown = max(1.0, w.arms[weapon, u].period + delay)
    un.of[u].weapon = weapon
    un.of[u].phase = WINDING_UP
    un.of[u].phase_loops = w.arms[weapon, u].damage_point
    if w.arms[weapon, u].damage_point <= 0.0:
        _fire(w, un, u, target)


@inline
def _continue_channel(w: World, un: Units, u: int) -> bool:
    """Advance what u has fired by one loop; True while it binds u to its place, which a new order ends."""
    target = un.of[u].channel_target
    sweeps = w.rules[0].has_area_weapons and w.kinds[u].sweep > 0.0
    if not sweeps and not un.of[target].alive:  # died after the first hit
        un.of[u].phase = READY
        return False
    if un.of[u].phase_loops <= 0.0:
        un.of[u].phase = READY
        if sweeps:
            _sweep(w, un, u)
        else:
            _hit(w, un, u, target, un.of[u].weapon)
    return w.rules[0].second_hit_holds and un.of[u].engaged != NOBODY


@inline
def continue_attack(w: World, un: Units, u: int) -> bool:
    """Advance a running attack by one loop; True while it binds the unit to its place."""
    un.of[u].phase_loops -= 1.0
    if un.of[u].phase == CHANNELLING:
        return _continue_channel(w, un, u)
    target = un.of[u].target
    reach = w.arms[un.of[u].weapon, u].range + w.arms[un.of[u].weapon, u].range_slop
    if target < 0 or distance_between(un, u, target) - w.kinds[u].radius - w.kinds[target].radius > reach:
        cancel_attack(un, u)
        return False
    if un.of[u].phase_loops <= 0.0:
        _fire(w, un, u, target)
    return True


@inline
def fly_missile(w: World, un: Units, u: int) -> None:
    """One loop of the missile of unit u, which follows its target; it is lost if that has died."""
    target = un.of[u].missile_target
    if not un.of[target].alive:
        un.of[u].missile_target = NOBODY
        return
    weapon = un.of[u].missile_weapon
    dx, dy = un.x[target] - un.of[u].missile_x, un.y[target] - un.of[u].missile_y
    distance = np.sqrt(dx * dx + dy * dy)
    speed = w.arms[weapon, u].missile_speed
    if distance <= speed:
        un.of[u].missile_target = NOBODY
        _hit(w, un, u, target, weapon)
    else:
        un.of[u].missile_x += dx / distance * speed
        un.of[u].missile_y += dy / distance * speed
