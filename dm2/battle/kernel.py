"""The battle itself: one numba kernel over E battles, 8 game loops per environment step.

A unit is an index into the rows of `Battles`: agents first, then enemies. Within a loop every unit decides and fires
on the positions at the loop's start; then units move, each after the comrades in its way; then missiles fly; then the
dead are removed, so that two units can kill each other. The rules are those of `World` (dm2/battle/world.py);
docs/simulator.md lists where each comes from. What few maps have (healing, splash, flying, ways round corners) stands
behind the flags of RULES in functions that are not inlined, so that the other maps keep their speed.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic

from dm2.battle.compiled import compiled, entry, inline
from dm2.battle.paths import IN_SIGHT
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
    reward,
)
from dm2.battle.world import WALKABLE, World

NO_ORDER, MOVE, ATTACK = 0, 1, 2  # orders of an agent's unit
READY, WINDING_UP, CHANNELLING = 0, 1, 2  # phases of an attack
NOBODY = -1
GRAVE = -1e6  # where the dead and the not yet created stand: out of everybody's reach
FIXED_POINT = 4096.0  # positions are multiples of 1/4096
HALF_ROOT_3 = 0.8660254037844386
PORTION = 8  # battles that a thread takes at a time
PATIENCE = 5_000  # looks at the board, of some 20 ns each, before a thread gives way
TAKEN, PLAYED, AWAKE = 0, 8, 16  # places on the board, each on a cache line of its own
BOARD_SIZE = 24
BITS = 32  # of the count of portions taken from the front; above it stands that of portions taken from the back
FROM_FRONT = (1 << BITS) - 1
SQUEEZES = 16  # overlaps made up for in a step between several comrades; each time about half of one is left
DETOUR_SIGHT = 2.0  # map units ahead in which a blocked unit counts the bodies on either side
CREATION_GAP = 1.0 / 1024  # map units by which fresh units stand farther apart than bodies can press
PUSHES = 4  # rounds in which a place is cleared of overlaps before the next one is tried
# Degrees from the east: diagonals as seen on 2s3z; of the straight ones south is seen, the others settled on 3m's logs.
FIRST_DIRECTIONS = (270, 180, 0, 90, 315, 135, 45, 225)
REACH = 24  # rows of the grid on each side of the point

UNIT = np.dtype(
    [
        ("facing_x", "f8"),  # unit vector
        ("facing_y", "f8"),
        ("health", "f8"),
        ("shield", "f8"),
        ("cooldown", "f8"),  # loops until the weapon is ready, counted from the attack's start; of a healer: its energy
        ("phase_loops", "f8"),  # loops left of the attack's phase
        ("hold_loops", "f8"),  # left of the backswing, during which the unit does not follow its target
        ("since_hurt", "f8"),  # loops since the last damage
        ("goal_x", "f8"),  # where a MOVE, or the enemy's attack-move, goes
        ("goal_y", "f8"),
        ("missile_x", "f8"),
        ("missile_y", "f8"),
        ("beams_x", "f8"),  # the middle of the line that the beams of a running channel burn
        ("beams_y", "f8"),
        ("beams_ahead_x", "f8"),  # unit vector, at right angles to that line
        ("beams_ahead_y", "f8"),
        ("key", "u8"),  # the battle's random key
        ("shots", "i8"),  # attacks begun: the counter of the unit's random numbers
        ("target", "i4"),  # unit attacked, healed or walked to, NOBODY if none
        ("engaged", "i4"),  # unit attacked before, NOBODY if there was none or the way to it was walked since
        ("missile_target", "i4"),  # NOBODY if no missile flies
        ("channel_target", "i4"),  # whom the attack that is being channelled has been fired at
        ("walker", "i4"),  # row i: the i-th of the units that have to walk in this loop
        ("search_phase", "i4"),  # loops by which the enemy's looks round are shifted
        ("missile_weapon", "i1"),
        ("weapon", "i1"),  # weapon of the running attack
        ("phase", "i1"),  # READY, WINDING_UP, CHANNELLING
        ("order", "i1"),  # NO_ORDER, MOVE, ATTACK (agents)
        ("walks", "?"),  # got on in the last loop in which it walked, or turned, and wants to walk in this one
        ("turns", "?"),  # spends this loop of its way turning
        ("has_to_walk", "?"),  # in this loop, still
        ("detour", "i1"),  # > 0: walks round obstacles on their left for so many more loops; < 0: on their right
        ("alive", "?"),
        ("burst", "?"),  # has burst already
    ],
    align=True,
)
STATUS = np.dtype(
    [
        ("episode", "u8"),  # number of the episode that the battle began with
        ("restarts", "u8"),  # battles played in this place since
        ("steps", "i8"),  # environment steps played
        ("dead_allies", "i8"),
        ("dead_enemies", "i8"),
        ("reward", "f4"),
        ("active", "?"),
        ("won", "?"),
        ("terminated", "?"),
        ("truncated", "?"),
    ],
    align=True,
)


Record = Any  # an element of a structured array


class Units(NamedTuple):
    """The units of one battle; positions apart from the rest, so that the loops over pairs run on whole vectors."""

    x: np.ndarray  # float64 [U], map units
    y: np.ndarray
    of: np.ndarray  # UNIT [U]


class Battles(NamedTuple):
    """E battles of U units, agents first."""

    x: np.ndarray  # float64 [E, U], map units
    y: np.ndarray
    units: np.ndarray  # UNIT [E, U]
    status: np.ndarray  # STATUS [E]
    last_actions: np.ndarray  # int64 [E, A]; NOBODY before the first step
    obs: np.ndarray  # float32 [E, A, obs_size]
    state: np.ndarray  # float32 [E, state_size]
    avail_actions: np.ndarray  # bool [E, A, n_actions]
    final_obs: np.ndarray  # as obs; of the battle that a restart ended
    final_state: np.ndarray


class Options(NamedTuple):
    """How battles are run, beyond the scenario."""

    seed: int
    regeneration_pays: bool  # see dm2.backends.make_env
    autoreset: bool


def allocate(world: World, n_battles: int, obs_size: int, state_size: int) -> Battles:
    """Zeroed buffers for `n_battles` battles."""
    n_agents, n_units = int(world.rules[0]["n_agents"]), world.kinds.shape[0]
    return Battles(
        x=np.zeros((n_battles, n_units)),
        y=np.zeros((n_battles, n_units)),
        units=np.zeros((n_battles, n_units), dtype=UNIT),
        status=np.zeros(n_battles, dtype=STATUS),
        last_actions=np.zeros((n_battles, n_agents), dtype=np.int64),
        obs=np.zeros((n_battles, n_agents, obs_size), dtype=np.float32),
        state=np.zeros((n_battles, state_size), dtype=np.float32),
        avail_actions=np.zeros((n_battles, n_agents, FIRST_ATTACK + n_units - n_agents), dtype=np.bool_),
        final_obs=np.zeros((n_battles, n_agents, obs_size), dtype=np.float32),
        final_state=np.zeros((n_battles, state_size), dtype=np.float32),
    )


def _atomic(operation: str) -> Any:
    """An operation on an element of an int64 array, in one order for all threads; it gives what was there before."""

    @intrinsic
    def operate(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            struct = context.make_array(signature.args[0])(context, builder, arguments[0])
            pointer = cgutils.get_item_pointer(context, builder, signature.args[0], struct, [arguments[1]])
            return builder.atomic_rmw(operation, pointer, arguments[2], "seq_cst")

        return types.int64(array, types.intp, types.int64), generate

    return operate


_add = _atomic("add")
_exchange = _atomic("xchg")


def new_board() -> np.ndarray:
    """Where threads agree on who plays what: int64; nothing to take yet."""
    board = np.zeros(BOARD_SIZE, dtype=np.int64)
    board[TAKEN] = np.iinfo(np.int64).max // 2
    return board


@inline
def _n_portions(b: Battles) -> int:
    return (b.status.shape[0] + PORTION - 1) // PORTION


@inline
def _n_taken(board: np.ndarray) -> int:
    taken = _add(board, TAKEN, 0)
    return (taken & FROM_FRONT) + (taken >> BITS)


@inline
def _take(n_portions: int, board: np.ndarray, helping: bool) -> int:
    """The portion taken, NOBODY if none is left: helpers take from the back, so that each cache keeps its battles."""
    taken = _add(board, TAKEN, 1 << BITS if helping else 1)
    front, back = taken & FROM_FRONT, taken >> BITS
    if front + back >= n_portions:
        return NOBODY
    return n_portions - 1 - back if helping else front


def all_played(b: Battles, board: np.ndarray) -> bool:
    """Whether the step begun last is over."""
    return int(board[PLAYED]) * PORTION >= len(b.status)


@inline
def _mix(value: np.uint64) -> np.uint64:
    """One round of splitmix64 (Steele, Lea, Flood 2014)."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@inline
def _battle_key(seed: int, episode: np.uint64, restarts: np.uint64) -> np.uint64:
    """The random key of one battle."""
    return _mix(_mix(_mix(np.uint64(seed)) ^ episode) ^ restarts)


@inline
def _uniform(key: np.uint64, unit: int, counter: int) -> float:
    """A number in [0, 1) that depends on its arguments alone."""
    bits = _mix(key ^ _mix(np.uint64(unit) * np.uint64(0x100000001) + (np.uint64(counter) << np.uint64(16))))
    return np.float64(bits >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@inline
def _distance(un: Units, u: int, v: int) -> float:
    dx, dy = un.x[v] - un.x[u], un.y[v] - un.y[u]
    return np.sqrt(dx * dx + dy * dy)


@inline
def _walkable(w: World, u: int, x: float, y: float) -> bool:
    """Whether unit u can be at (x, y)."""
    near, far = w.rules[0].edge_margin, w.rules[0].map_size - w.rules[0].edge_margin
    if not (x >= near and y >= near and x < far and y < far):
        return False
    ground = w.ground[0, int(x), int(y)]
    return ground == WALKABLE or (w.rules[0].has_crossers and ground <= w.kinds[u].crosses)


@inline
def _cancel_attack(un: Units, u: int) -> None:
    """Drop an attack that has not fired, at no cost of cooldown; what has been fired lands, though u may walk off."""
    if un.of[u].phase == WINDING_UP:
        un.of[u].cooldown = 0.0
        un.of[u].phase = READY
    un.of[u].hold_loops = 0.0
    un.of[u].engaged = NOBODY


@inline
def _give_order(w: World, un: Units, u: int, action: int) -> None:
    if action == NO_OP:
        return
    if action >= FIRST_ATTACK:
        target = w.rules[0].n_agents + action - FIRST_ATTACK
        if w.rules[0].has_healers and w.kinds[u].heal_rate > 0.0:
            target = action - FIRST_ATTACK  # SMAC's medivacs choose among the agents
        elif w.rules[0].choosy and w.damage[0, u, target] == 0.0:
            return  # the game refuses the order: the last one stays in force
        if un.of[u].order != ATTACK or un.of[u].target != target:
            _cancel_attack(un, u)
        un.of[u].order = ATTACK
        un.of[u].target = target
        return
    _cancel_attack(un, u)
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
            free = _distance(un, u, v) - w.kinds[u].radius - w.kinds[v].radius
            attacks = w.kinds[v].heal_rate == 0.0
            if free <= w.kinds[u].scan_range and (attacks or not armed) and (attacks != armed or free < least):
                best, least, armed = v, free, attacks
    return best


@compiled
def _call_help(w: World, un: Units, attacker: int, victim: int) -> None:
    for v in range(w.rules[0].n_agents, un.of.shape[0]):
        near = _distance(un, victim, v) <= w.rules[0].call_for_help_range
        if near and un.of[v].alive and un.of[v].target == NOBODY and w.damage[0, v, attacker] > 0.0:
            un.of[v].target = attacker


@inline
def _choose_target(w: World, un: Units, u: int, loop: int) -> None:
    """Enemy u keeps a target in reach; else it looks round and may take or swap one."""
    target = un.of[u].target
    if target >= 0:
        free = _distance(un, u, target) - w.kinds[u].radius - w.kinds[target].radius
        if free <= w.arms[0, u].range:
            return
        if free > w.rules[0].leash:
            target = NOBODY
    if (loop + un.of[u].search_phase) % w.rules[0].search_interval == 0:
        other = _preferred_agent(w, un, u) if w.rules[0].choosy else _nearest_agent(w, un, u)
        if other >= 0 and other != target:
            free = _distance(un, u, other) - w.kinds[u].radius - w.kinds[other].radius
            if target < 0 or w.rules[0].chase_nearest or free <= w.arms[0, u].range:
                target = other
    un.of[u].target = target


@inline
def _turn(w: World, un: Units, u: int, x: float, y: float) -> bool:
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
def _burst_dying(w: World, un: Units) -> None:
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
                if opponents and un.of[v].alive and _distance(un, u, v) - w.kinds[v].radius <= radius:
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
def _begin_attack(w: World, un: Units, u: int, target: int, weapon: int) -> None:
    delay = w.rules[0].cooldown_delay_low
    delay += (w.rules[0].cooldown_delay_high - w.rules[0].cooldown_delay_low) * _uniform(
        un.of[u].key, u, un.of[u].shots
    )
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
def _continue_attack(w: World, un: Units, u: int) -> bool:
    """Advance a running attack by one loop; True while it binds the unit to its place."""
    un.of[u].phase_loops -= 1.0
    if un.of[u].phase == CHANNELLING:
        return _continue_channel(w, un, u)
    target = un.of[u].target
    reach = w.arms[un.of[u].weapon, u].range + w.arms[un.of[u].weapon, u].range_slop
    if target < 0 or _distance(un, u, target) - w.kinds[u].radius - w.kinds[target].radius > reach:
        _cancel_attack(un, u)
        return False
    if un.of[u].phase_loops <= 0.0:
        _fire(w, un, u, target)
    return True


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
        free = _distance(un, u, v) - w.kinds[u].radius - w.kinds[v].radius
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
    if _distance(un, u, patient) - w.kinds[u].radius - w.kinds[patient].radius > w.arms[0, u].range:
        return True
    if w.kinds[patient].curable and _is_hurt(w, un, patient):
        missing = w.kinds[patient].max_health - un.of[patient].health
        healed = min(min(skill.heal_rate, missing), me.cooldown / skill.energy_per_health)
        un.of[patient].health += healed
        me.cooldown = max(me.cooldown - healed * skill.energy_per_health, 0.0)
    return False


@inline
def _decide(w: World, un: Units, u: int, loop: int) -> bool:
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
    if me.phase != READY and _continue_attack(w, un, u):
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
    if _turn(w, un, u, dx * scale, dy * scale) and me.cooldown <= 0.0 and me.phase == READY:
        _begin_attack(w, un, u, target, 1 if free <= w.arms[1, u].range else 0)
    return False


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
def _fixed(position: float) -> float:
    return np.floor(position * FIXED_POINT + 0.5) * (1.0 / FIXED_POINT)


@inline
def _put(un: Units, u: int, x: float, y: float) -> None:
    un.x[u], un.y[u] = _fixed(x), _fixed(y)


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
    if not _walkable(w, v, px, py) or _blocker(w.body2, un, v, px, py) != NOBODY:
        return False
    _put(un, v, px, py)
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
            _put(un, u, x, y)
            return True
        if not _are_comrades(w, u, v) or not un.of[v].walks:
            return False
        dx, dy = x - un.x[v], y - un.y[v]
        distance = max(np.sqrt(dx * dx + dy * dy), 1e-9)
        body = np.sqrt(w.body2[u, v]) + 1.0 / FIXED_POINT
        hx, hy = un.of[v].facing_x, un.of[v].facing_y
        push = w.rules[0].push_share * (body - distance) / distance * (dx * hy - dy * hx)
        vx, vy = un.x[v] - push * hy, un.y[v] + push * hx
        if _walkable(w, v, vx, vy) and _blocker(w.body2, un, v, vx, vy) == NOBODY:
            _put(un, v, vx, vy)
        dx, dy = x - un.x[v], y - un.y[v]
        distance = max(np.sqrt(dx * dx + dy * dy), 1e-9)
        scale = max(body / distance, 1.0)
        x, y = un.x[v] + scale * dx, un.y[v] + scale * dy
        if not _walkable(w, u, x, y):
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
        if _walkable(w, u, x, y) and _blocker(w.body2, un, u, x, y) == NOBODY:
            if fresh or blocked:
                un.of[u].detour = side * w.rules[0].detour_memory
            un.of[u].facing_x, un.of[u].facing_y = hx, hy
            _put(un, u, x, y)
            return
        hx, hy = HALF_ROOT_3 * hx - 0.5 * hy * side, HALF_ROOT_3 * hy + 0.5 * hx * side
    un.of[u].detour = -side * w.rules[0].detour_memory


@compiled
def _slide(w: World, un: Units, u: int, dx: float, dy: float, step: float) -> None:
    """The straight way leaves the walkable ground: keep the part of the step that stays on it."""
    x, y = un.x[u], un.y[u]
    if _walkable(w, u, x + step * dx, y) and _blocker(w.body2, un, u, x + step * dx, y) == NOBODY:
        _put(un, u, x + step * dx, y)
    elif _walkable(w, u, x, y + step * dy) and _blocker(w.body2, un, u, x, y + step * dy) == NOBODY:
        _put(un, u, x, y + step * dy)


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
    turn = w.ground[1 + here, min(max(int(goal_x), 0), last), min(max(int(goal_y), 0), last)]
    if turn == IN_SIGHT or w.kinds[u].crosses:
        return goal_x, goal_y
    return turn // size + 0.5, turn % size + 0.5


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
        elif not _turn(w, un, u, dx, dy):
            me.turns = True
            return True
    step = min(w.kinds[u].speed, distance)
    x, y = un.x[u] + step * dx, un.y[u] + step * dy
    if not _walkable(w, u, x, y):
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
        _turn(w, un, u, dx, dy)
        _put(un, u, x, y)
    elif obstacle != NOBODY and me.detour == 0 and _squeeze_by(w, un, u, x, y):
        _turn(w, un, u, dx, dy)
    elif u < w.rules[0].n_agents or me.target >= 0 or distance > w.rules[0].arrival_radius:
        _detour(w, un, u, dx, dy, step, obstacle != NOBODY)
    return True


@inline
def _walk_all(w: World, un: Units, n_walkers: int) -> None:
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


@inline
def _fly_missile(w: World, un: Units, u: int) -> None:
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


@inline
def _end_loop(w: World, un: Units, u: int) -> None:
    """Death and regeneration."""
    me, kind = un.of[u], w.kinds[u]
    if me.health <= 0.0:
        me.alive = False
        me.health = 0.0
        me.shield = 0.0
        un.x[u] = GRAVE * (u + 1)
        un.y[u] = GRAVE
        return
    me.since_hurt += 1.0
    if me.since_hurt > w.rules[0].shield_delay and me.shield < kind.max_shield:
        me.shield = min(kind.max_shield, me.shield + w.rules[0].shield_regeneration)
    if kind.health_regeneration > 0.0:
        me.health = min(kind.max_health, me.health + kind.health_regeneration)


@inline
def _play_loop(w: World, un: Units, loop: int, first: int) -> None:
    """One game loop for the units from `first` on (all of them, or the enemies alone)."""
    walkers = 0
    for u in range(first, un.of.shape[0]):
        if un.of[u].alive and _decide(w, un, u, loop):
            un.of[walkers].walker = u
            walkers += 1
        else:
            un.of[u].walks = False
    _walk_all(w, un, walkers)
    for u in range(un.of.shape[0]):
        if un.of[u].missile_target >= 0:
            _fly_missile(w, un, u)
    if w.rules[0].has_area_weapons:
        _burst_dying(w, un)
    for u in range(un.of.shape[0]):
        if un.of[u].alive:
            _end_loop(w, un, u)


@compiled
def _play_loops(w: World, un: Units, start: int, stop: int, first: int) -> None:
    """The game loops from `start` to `stop`; a call per step is cheaper than one per loop."""
    for loop in range(start, stop):
        _play_loop(w, un, loop, first)


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
                xs[u], ys[u], placed = _fixed(x), _fixed(y), True
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
        away = w.rules[0].survivors_radius * np.sqrt(_uniform(key, 2 * n_units + 2 + u, 0))
        angle = 2.0 * np.pi * _uniform(key, 2 * n_units + 2 + u, 1)
        un.x[u] = w.rules[0].goal_x + away * np.cos(angle)
        un.y[u] = w.rules[0].goal_y + away * np.sin(angle)
    _create(w.kinds, w.body2, w.ground, 0, n_agents, un.x, un.y)
    _number_agents(w.kinds, n_agents, un.x, un.y)


@compiled
def _place_units(w: World, un: Units, key: np.uint64) -> None:
    if w.rules[0].survivors_radius > 0.0:
        _create_agents(w, un, key)
    goal_x, goal_y = w.rules[0].goal_x, w.rules[0].goal_y
    if w.rules[0].goal_varies:
        share = _uniform(key, 2 * un.of.shape[0] + 1, 0)
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
        un.of[u].goal_x, un.of[u].goal_y = (x, y) if _walkable(w, u, x, y) else (goal_x, goal_y)
        un.of[u].cooldown = w.kinds[u].start_energy
        un.of[u].phase_loops = un.of[u].hold_loops = un.of[u].since_hurt = 0.0
        un.of[u].phase = READY
        un.of[u].engaged = NOBODY
        un.of[u].order = NO_ORDER
        un.of[u].target = un.of[u].missile_target = un.of[u].channel_target = NOBODY
        un.of[u].detour = 0
        un.of[u].shots = 0
        un.of[u].key = key
        phase = _uniform(key, un.of.shape[0] + 1 + u, 0) * w.rules[0].search_interval
        un.of[u].search_phase = int(phase)


@compiled
def _start_battle(w: World, b: Battles, o: Options, e: int) -> None:
    """Put the units of battle e at their start; the outcome of the last step stays."""
    un, status = Units(b.x[e], b.y[e], b.units[e]), b.status[e]
    key = _battle_key(o.seed, status.episode, status.restarts)
    _place_units(w, un, key)
    b.last_actions[e] = NOBODY
    status.steps = 0
    status.active = True
    delay = int(_uniform(key, un.of.shape[0], 0) * (w.rules[0].start_delay + 1))
    _play_loops(w, un, 0, delay, w.rules[0].n_agents)
    _observe(w, b, e)


@compiled
def _enemy_total(w: World, un: Units) -> tuple[float, int]:
    """Health and shields of the enemies together, and how many live."""
    total, living = 0.0, 0
    for u in range(w.rules[0].n_agents, un.of.shape[0]):
        total += un.of[u].health + un.of[u].shield
        living += un.of[u].alive
    return total, living


@compiled
def _n_fighters(w: World, un: Units, first: int, end: int) -> int:
    """How many of the units live that can attack: SMAC ends a battle when one side has only medivacs left."""
    fighters = 0
    for u in range(first, end):
        fighters += un.of[u].alive and w.kinds[u].heal_rate == 0.0
    return fighters


@compiled
def _step_battle(w: World, b: Battles, o: Options, e: int, actions: np.ndarray) -> None:
    """One environment step of battle e."""
    un, status = Units(b.x[e], b.y[e], b.units[e]), b.status[e]
    total, enemies = _enemy_total(w, un)
    for a in range(w.rules[0].n_agents):
        _give_order(w, un, a, actions[e, a])
        b.last_actions[e, a] = actions[e, a]
    start = status.steps * w.rules[0].loops_per_step
    _play_loops(w, un, start, start + w.rules[0].loops_per_step, 0)
    status.steps += 1
    total_left, enemies_left = _enemy_total(w, un)
    damage, kills = total - total_left, enemies - enemies_left
    agents_left = 0
    for a in range(w.rules[0].n_agents):
        agents_left += un.of[a].alive
    status.dead_allies = w.rules[0].n_agents - agents_left
    status.dead_enemies = un.of.shape[0] - w.rules[0].n_agents - enemies_left
    if w.rules[0].has_healers:
        agents_left = _n_fighters(w, un, 0, w.rules[0].n_agents)
        enemies_left = _n_fighters(w, un, w.rules[0].n_agents, un.of.shape[0])
    status.terminated = agents_left == 0 or enemies_left == 0
    status.won = enemies_left == 0 and agents_left > 0
    status.truncated = status.steps >= w.rules[0].episode_limit and not status.terminated
    status.active = not (status.terminated or status.truncated)
    status.reward = reward(damage, kills, status.won, w.rules[0].max_reward, o.regeneration_pays)
    _observe(w, b, e)


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
            un.of[v].alive and w.kinds[v].heal_rate == 0.0 and _distance(un, a, v) <= ATTACK_DISTANCE
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
def _observe(w: World, b: Battles, e: int) -> None:
    """Refresh availability, observations and state of battle e."""
    un = Units(b.x[e], b.y[e], b.units[e])
    for a in range(w.rules[0].n_agents):
        _avail(w, un, a, b.avail_actions[e, a])
        _observe_agent(w, un, a, b.avail_actions[e, a], b.obs[e, a])
    _observe_state(w, un, b.last_actions[e], b.state[e])


@compiled
def _keep_last(b: Battles, e: int) -> None:
    for a in range(b.obs.shape[1]):
        for k in range(b.obs.shape[2]):
            b.final_obs[e, a, k] = b.obs[e, a, k]
    for k in range(b.state.shape[1]):
        b.final_state[e, k] = b.state[e, k]


@compiled
def _play_portion(w: World, b: Battles, o: Options, actions: np.ndarray, portion: int) -> None:
    """One environment step of the running battles of a portion."""
    for e in range(portion * PORTION, min((portion + 1) * PORTION, b.status.shape[0])):
        status = b.status[e]
        if not status.active:
            status.reward = 0.0
            continue
        _step_battle(w, b, o, e, actions)
        if o.autoreset and not status.active:
            _keep_last(b, e)
            status.restarts += np.uint64(1)
            _start_battle(w, b, o, e)


@entry
def step_battles(w: World, b: Battles, o: Options, actions: np.ndarray, board: np.ndarray, helping: bool) -> None:
    """Play one environment step of all running battles with available actions, int64 [E, A], together with helpers.

    Whoever calls with `helping` takes portions of this step and of the next ones until none has come for a while. The
    other caller begins the step and returns when all is played, or after a while of waiting for a helper.
    """
    n_portions = _n_portions(b)
    if not helping:
        _exchange(board, PLAYED, 0)
        _exchange(board, TAKEN, 0)  # from here on helpers take portions
    looks = 0
    while looks < PATIENCE:
        looks += 1
        if _n_taken(board) < n_portions:
            portion = _take(n_portions, board, helping)
            if portion != NOBODY:
                _play_portion(w, b, o, actions, portion)
                _add(board, PLAYED, 1)
                looks = 0
        elif not helping and _add(board, PLAYED, 0) == n_portions:
            return
        if helping and looks == PATIENCE:
            _add(board, AWAKE, -1)
            if _n_taken(board) < n_portions:  # a step began before it could see that this helper sleeps
                _add(board, AWAKE, 1)
                looks = 0


@entry
def sleepers(board: np.ndarray, helpers: int) -> int:
    """How many of the helpers sleep; from now on they count as awake."""
    asleep = helpers - _add(board, AWAKE, 0)
    _add(board, AWAKE, asleep)
    return asleep


@entry
def reset_battles(w: World, b: Battles, o: Options, episodes: np.ndarray) -> None:
    """Start every battle; battle e plays episode `episodes[e]`, uint64 [E]."""
    for e in range(episodes.shape[0]):
        status = b.status[e]
        status.episode = episodes[e]
        status.restarts = np.uint64(0)
        status.reward = 0.0
        status.dead_allies = status.dead_enemies = 0
        status.won = status.terminated = status.truncated = False
        _start_battle(w, b, o, e)


@entry
def first_unavailable(b: Battles, actions: np.ndarray) -> tuple[int, int]:
    """Battle and agent of the first unavailable action among the running battles; (-1, -1) if there is none."""
    n_actions = b.avail_actions.shape[2]
    for e in range(actions.shape[0]):
        if b.status[e].active:
            for a in range(actions.shape[1]):
                if actions[e, a] < 0 or actions[e, a] >= n_actions or not b.avail_actions[e, a, actions[e, a]]:
                    return e, a
    return -1, -1
