"""What the kernel reads and writes: a scenario (rules, units, weapons, the ground), and battles on it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dm2.battle.rules_of_smac import FIRST_ATTACK

NO_ORDER, MOVE, ATTACK = 0, 1, 2  # orders of an agent's unit
READY, WINDING_UP, CHANNELLING = 0, 1, 2  # phases of an attack
NOBODY = -1
GRAVE = -1e6  # where the dead and the not yet created stand: out of everybody's reach
WALKABLE, CLIFF, CLOSED = 0, 1, 2  # ground

RULES = np.dtype(
    [
        ("n_agents", "i8"),
        ("n_types", "i8"),  # unit types told apart by a one-hot feature; 0 on maps with one type of agents
        ("map_size", "i8"),
        ("playable_size", "f8"),  # by which SMAC divides positions in the state
        ("episode_limit", "i8"),  # environment steps
        ("loops_per_step", "i8"),
        ("search_interval", "i8"),  # loops
        ("start_delay", "i8"),  # loops
        ("detour_memory", "i8"),  # loops
        ("allies_have_shields", "?"),
        ("enemies_have_shields", "?"),
        ("chase_nearest", "?"),
        ("backswing_holds", "?"),
        ("slop_repeats", "?"),
        ("second_hit_holds", "?"),
        ("walkers_turn", "?"),
        ("retaliate", "?"),
        # what only some maps have, so that the others pay for a look at most
        ("has_healers", "?"),
        ("has_area_weapons", "?"),  # that sweep or burst
        ("has_crossers", "?"),  # of cliffs, or of everything
        ("has_corners", "?"),  # see World.turns
        ("choosy", "?"),  # some unit cannot be hit by everybody, or cannot attack
        ("goal_varies", "?"),
        ("goal_x", "f8"),  # end of the enemies' attack-move
        ("goal_y", "f8"),
        ("goal_to_x", "f8"),  # where it varies: drawn per battle between the two points
        ("goal_to_y", "f8"),
        ("cooldown_delay_low", "f8"),  # loops
        ("cooldown_delay_high", "f8"),
        ("turn_cos", "f8"),  # of the angle a unit turns in a loop
        ("turn_sin", "f8"),
        ("facing_cos", "f8"),  # of the angle within which a weapon fires
        ("minimum_damage", "f8"),
        ("shield_delay", "f8"),  # loops
        ("shield_regeneration", "f8"),  # per loop
        ("leash", "f8"),
        ("call_for_help_range", "f8"),
        ("arrival_radius", "f8"),
        ("push_share", "f8"),
        ("edge_margin", "f8"),
        ("survivors_radius", "f8"),  # 0: every battle begins as the first of a game
        ("max_reward", "f8"),  # see dm2.battle.rules_of_smac
    ],
    align=True,
)
KIND = np.dtype(
    [
        (field, "f8")
        for field in (
            "point_x",  # where the unit is created, if there is room
            "point_y",
            "spawn_x",  # where it is then, in the first battle of a game
            "spawn_y",
            "place_x",  # in the formation of its group: from the point where the first of them is created
            "place_y",
            "max_health",
            "max_shield",
            "armour",
            "health_regeneration",  # per loop
            "speed",  # map units per loop
            "radius",
            "scan_range",  # free space
            "per_health",  # reciprocals, by which the observations are scaled
            "per_shield",
            "per_cooldown",
        )
    ]
    + [("unit_type", "i8"), ("created", "i8")]  # row i: the unit of the side that is created i-th
    + [  # what only some units can do
        ("heal_rate", "f8"),  # per loop; 0: no healer
        ("energy_per_health", "f8"),
        ("start_energy", "f8"),
        ("max_energy", "f8"),
        ("energy_regeneration", "f8"),  # per loop
        ("burst_radius", "f8"),  # 0: does not burst
        ("sweep", "f8"),  # half length of the line, 0: does not sweep
        ("sweep_radius", "f8"),
        ("channel", "f8"),  # loops
        ("beams", "i8"),
        ("crosses", "i8"),  # the most of WALKABLE, CLIFF, CLOSED
        ("curable", "i8"),  # 1 by the map's healers
    ]
)
ARM = np.dtype(  # times in loops, range in free space, speed in map units per loop (0: instant)
    [
        (field, "f8")
        for field in ("range", "range_slop", "period", "damage_point", "backswing", "missile_speed", "hit_interval")
    ]
)


class World(NamedTuple):
    """A scenario in the kernel's units (loops, map units per loop), read-only.

    U units, agents first. Each has two arms, the second being the weapon it uses in melee (a copy of the first where
    there is none).
    """

    rules: np.ndarray  # RULES [1]
    kinds: np.ndarray  # KIND [U]
    arms: np.ndarray  # ARM [2, U]
    damage: np.ndarray  # float64 [2, U, U]; per hit of an attacker's arm on a target before armour; 0: cannot hit it
    body2: np.ndarray  # float64 [U, U]; squared centre distance below which two bodies overlap, 0 on the diagonal
    # int16 [1 + map_size**2, map_size, map_size], [., x, y]. First what each cell is: WALKABLE, CLIFF or CLOSED. Then,
    # for every cell x * map_size + y in which a walker stands, where it turns next on its way to each cell (see
    # dm2.battle.paths); these are left out where the ground has no corners.
    ground: np.ndarray

    @property
    def walkable(self) -> np.ndarray:
        """Where units on the ground can go, bool [map_size, map_size], [x, y]."""
        return np.asarray(self.ground[0] == WALKABLE)


# --- battles --------------------------------------------------------------------------------------------------------

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
    final_obs: np.ndarray  # as obs; of the battle that a restart ended, as the two after it
    final_state: np.ndarray
    final_avail_actions: np.ndarray


class Options(NamedTuple):
    """How battles are run, beyond the scenario."""

    seed: int
    regeneration_pays: bool  # see dm2.backends.make_env.make_env
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
        final_avail_actions=np.zeros((n_battles, n_agents, FIRST_ATTACK + n_units - n_agents), dtype=np.bool_),
    )
