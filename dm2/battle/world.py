"""A scenario as the kernel reads it: records of rules, units and weapons, and the ground."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

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
