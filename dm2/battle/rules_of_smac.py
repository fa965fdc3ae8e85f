"""What SMAC fixes for every map: the actions, the numbers by which units are told, and the reward.

Source: oxwhirl/smac, `StarCraft2Env`, with its default options. What the game fixes is in `dm2.battle.records.World`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from dm2.battle.compiled import inline

ATTACK_DISTANCE = 6.0  # attacks are offered within this centre distance, whatever the weapon's range
SIGHT = 9.0  # range of every agent
MOVE_DISTANCE = 2.0  # a move order goes to the point this far away; availability looks half as far

# --- actions -------------------------------------------------------------------------------------------------------

NO_OP, STOP, NORTH, SOUTH, EAST, WEST, FIRST_ATTACK = range(7)
"""No-op is for the dead alone; from FIRST_ATTACK on there is one action per enemy (healers: per agent)."""
BASIC_ACTIONS = ("no-op", "stop", "north", "south", "east", "west")
"""Names of those without a target."""


def action_name(action: int) -> str:
    """What an action does."""
    return BASIC_ACTIONS[action] if action < FIRST_ATTACK else f"attack {action - FIRST_ATTACK}"


# --- reward --------------------------------------------------------------------------------------------------------

REWARD_DEATH_VALUE = 10  # for an enemy killed
REWARD_WIN = 200
REWARD_SCALE_RATE = 20  # what a won battle returns, if nothing is regained


def max_reward(n_enemies: int, vitality: float) -> float:
    """The most that a battle pays before scaling, but for what enemies regain.

    Args:
        n_enemies: how many enemies there are.
        vitality: their full health and shields together.
    """
    return REWARD_DEATH_VALUE * n_enemies + REWARD_WIN + vitality


@inline
def reward(damage: float, kills: int, won: bool, most: float, regeneration_pays: bool) -> float:
    """SMAC's positive-only shaped reward of one env step, shared by all agents.

    Args:
        damage: health and shields that the enemies lost, less what they regained.
        kills: enemies killed.
        won: whether the step won the battle.
        most: `max_reward` of the map.
        regeneration_pays: SMAC takes the absolute value, so that shields that enemies regain pay; off, they pay 0.
    """
    gained = damage + REWARD_DEATH_VALUE * kills
    points = (abs(gained) if regeneration_pays else max(gained, 0.0)) + REWARD_WIN * won
    return points / (most / REWARD_SCALE_RATE)


# --- features ------------------------------------------------------------------------------------------------------
# An observation is: the four moves; every enemy; every other agent; the agent itself. The state is: every agent; every
# enemy; the agents' last actions, one-hot. All numbers of a unit are 0 if it is dead or, in observations, out of sight.
# After those listed here come the shield, on a side that has units with shields, and its type, one-hot, on maps with
# several types of agents.

MOVE_FEATURES = 4
"""Whether the agent can go north, south, east, west."""
VISIBLE, DISTANCE, DX, DY, HEALTH = range(5)
"""Of another unit in an observation; VISIBLE, of an enemy, is whether it can be attacked."""
UNIT_FEATURES = 5
OWN_FEATURES = 1
"""Health."""
AGENT_STATE_FEATURES = 4
"""Health, cooldown (of a healer: energy), x, y."""
ENEMY_STATE_FEATURES = 3
"""Health, x, y."""


class FeatureSizes(NamedTuple):
    """How many numbers tell of a unit on one map: in observations an enemy, another agent, oneself; in the state."""

    enemy: int
    ally: int
    own: int
    agent_state: int
    enemy_state: int

    @classmethod
    def of(cls, rules: Any) -> FeatureSizes:
        """The sizes on a map, from the record of its rules (dm2.battle.records.RULES)."""
        ally = int(rules["allies_have_shields"]) + int(rules["n_types"])
        enemy = int(rules["enemies_have_shields"]) + int(rules["n_types"])
        return cls(
            enemy=UNIT_FEATURES + enemy,
            ally=UNIT_FEATURES + ally,
            own=OWN_FEATURES + ally,
            agent_state=AGENT_STATE_FEATURES + ally,
            enemy_state=ENEMY_STATE_FEATURES + enemy,
        )
