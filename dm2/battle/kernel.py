"""The battle itself: one numba kernel over E battles, 8 game loops per environment step.

A unit is an index into the rows of `Battles`: agents first, then enemies. Within a loop every unit decides and fires
on the positions at the loop's start; then units move, each after the comrades in its way; then missiles fly; then the
dead are removed, so that two units can kill each other. The rules are those of `World` (dm2/battle/records.py);
docs/mechanics.md lists where each comes from. What few maps have (healing, splash, flying, ways round corners) stands
behind the flags of RULES in functions that are not inlined, so that the other maps keep their speed.

Here are the loop, the step and the start of battles, and how threads share them. The parts are in modules of their own:
`deciding`, `attacks`, `walking`, `creation`, `observing`; what they all use is in `records`, `geometry` and `draws`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic

from dm2.battle.attacks import burst_dying, fly_missile
from dm2.battle.compiled import compiled, entry, inline
from dm2.battle.creation import place_units
from dm2.battle.deciding import decide, give_order
from dm2.battle.draws import battle_key, uniform
from dm2.battle.observing import keep_last, observe
from dm2.battle.records import GRAVE, NOBODY, Battles, Options, Units, World
from dm2.battle.rules_of_smac import reward
from dm2.battle.walking import walk_all

PORTION = 8  # battles that a thread takes at a time
PATIENCE = 5_000  # looks at the board, of some 20 ns each, before a thread gives way
TAKEN, PLAYED, AWAKE = 0, 8, 16  # places on the board, each on a cache line of its own
BOARD_SIZE = 24
BITS = 32  # of the count of portions taken from the front; above it stands that of portions taken from the back
FROM_FRONT = (1 << BITS) - 1


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
        if un.of[u].alive and decide(w, un, u, loop):
            un.of[walkers].walker = u
            walkers += 1
        else:
            un.of[u].walks = False
    walk_all(w, un, walkers)
    for u in range(un.of.shape[0]):
        if un.of[u].missile_target >= 0:
            fly_missile(w, un, u)
    if w.rules[0].has_area_weapons:
        burst_dying(w, un)
    for u in range(un.of.shape[0]):
        if un.of[u].alive:
            _end_loop(w, un, u)


@compiled
def _play_loops(w: World, un: Units, start: int, stop: int, first: int) -> None:
    """The game loops from `start` to `stop`; a call per step is cheaper than one per loop."""
    for loop in range(start, stop):
        _play_loop(w, un, loop, first)


@compiled
def _start_battle(w: World, b: Battles, o: Options, e: int) -> None:
    """Put the units of battle e at their start; the outcome of the last step stays."""
    un, status = Units(b.x[e], b.y[e], b.units[e]), b.status[e]
    key = battle_key(o.seed, status.episode, status.restarts)
    place_units(w, un, key)
    b.last_actions[e] = NOBODY
    status.steps = 0
    status.active = True
    delay = int(uniform(key, un.of.shape[0], 0) * (w.rules[0].start_delay + 1))
    _play_loops(w, un, 0, delay, w.rules[0].n_agents)
    observe(w, b, e)


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
        give_order(w, un, a, actions[e, a])
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
    observe(w, b, e)


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
            keep_last(b, e)
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
def reset_battles(w: World, b: Battles, o: Options, episodes: np.ndarray, mask: np.ndarray) -> None:
    """Start the battles that the mask names, bool [E]; battle e plays episode `episodes[e]`, uint64 [E]."""
    for e in range(episodes.shape[0]):
        if not mask[e]:
            continue
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
