"""The battles of one game, as the game has them: loops that pass, orders for units, units that die and come back.

SMAC's maps create both sides anew once nobody lives; in the next battle's first loops the enemies already walk, which
the simulator plays itself. Any number of loops can pass at a time; eight, as in an environment step, cost least.
"""

from __future__ import annotations

import math
import secrets

import numpy as np

from dm2.adapters.battle_sequence import BattleSequence
from dm2.adapters.smac_units import Frame, SmacUnit, UnitTypes
from dm2.battle import kernel
from dm2.battle.env import spec_of
from dm2.battle.records import GRAVE, Options, World, allocate
from dm2.battle.rules_of_smac import EAST, FIRST_ATTACK, MOVE_DISTANCE, NORTH, SOUTH, STOP, WEST
from dm2.battle.scenario import load_scenario

FOREVER = 2**62
_MOVES = {
    (0.0, MOVE_DISTANCE): NORTH,
    (0.0, -MOVE_DISTANCE): SOUTH,
    (MOVE_DISTANCE, 0.0): EAST,
    (-MOVE_DISTANCE, 0.0): WEST,
}


class Match:
    """One map and seed.

    Attributes:
        loops: game loops since the match began.
        sequence: which battles are played, and what was ordered in the last one.
        unrecorded: what first happened in it that no recording of actions holds, "" if nothing did.
    """

    def __init__(self, map_name: str, seed: int | None) -> None:
        """Start the first battle; a seed is drawn if there is none.

        Raises:
            ValueError: unknown map.
        """
        self.map_name = map_name
        world = load_scenario(map_name)
        self.world, self.spec = _endless(world), spec_of(map_name, world)
        self.seed = secrets.randbits(31) if seed is None else seed
        self.types = UnitTypes.of(map_name, self.world)
        self._battles = allocate(self.world, 1, self.spec.obs_size, self.spec.state_size)
        self._options = Options(self.seed, True, False)
        self._worlds: dict[int, World] = {}
        self.loops = 0
        self.restart()

    def restart(self) -> None:
        """Begin with the seed's first battle again."""
        self.sequence = BattleSequence(self.seed, follows_history=True)
        self._start_battle()

    def _start_battle(self) -> None:
        number = self.sequence.begin_next()
        numbers, all_battles = np.array([number], dtype=np.uint64), np.ones(1, dtype=bool)
        kernel.reset_battles(self.world, self._battles, self._options, numbers, all_battles)
        self._loop = 0  # of the battle
        self.unrecorded = ""
        self._first_tag = (self.sequence.started - 1) * len(self.types.names) + 1
        self._forget_orders()

    def _forget_orders(self) -> None:
        self._actions = np.zeros((1, self.spec.n_agents), dtype=np.int64)
        self._points: dict[int, tuple[float, float]] = {}

    @property
    def _units(self) -> np.ndarray:
        """Records of all units, [U]."""
        return self._battles.units[0]

    def tag(self, u: int) -> int:
        """The number by which the game names unit u in this battle."""
        return self._first_tag + u

    def living(self, tag: int) -> int | None:
        """The unit of that number; None if it is dead or of no one."""
        u = tag - self._first_tag
        return u if 0 <= u < len(self.types.names) and self._units["alive"][u] else None

    def units(self) -> list[tuple[int, SmacUnit]]:
        """Number and looks of everybody who lives, agents first."""
        alive = np.flatnonzero(self._units["alive"]).tolist()
        frame = Frame(self._battles.x[0], self._battles.y[0], self._units)
        return [(self.tag(u), frame.unit(self.types, u)) for u in alive]

    def can_heal(self, u: int) -> bool:
        """Whether a unit heals instead of attacking."""
        return bool(self.world.kinds["heal_rate"][u] > 0)

    # --- orders of an agent's unit u, in force from the next loop on -------------------------------------------------

    def order_stop(self, u: int) -> None:
        """Stay, and do nothing."""
        self._order(u, STOP)

    def order_target(self, u: int, target: int) -> None:
        """Attack an enemy; a healer: heal an agent."""
        self._order(u, FIRST_ATTACK + (target if self.can_heal(u) else target - self.spec.n_agents))

    def order_move(self, u: int, x: float, y: float) -> None:
        """Go to a point."""
        away = (x - float(self._battles.x[0, u]), y - float(self._battles.y[0, u]))
        self._order(u, _MOVES.get(away, NORTH))
        if away not in _MOVES:
            self._points[u] = (x, y)

    def _order(self, u: int, action: int) -> None:
        self._actions[0, u] = action
        self._points.pop(u, None)

    # --- what a recording holds --------------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether SMAC ends the battle here: it is decided, or its steps are as many as the map allows."""
        decided = bool(self._battles.status["terminated"][0])
        return decided or len(self.sequence.actions) >= self.spec.episode_limit

    def _foreign(self, count: int) -> str:
        """What of the orders given and the loops to pass is no environment step; "" if they are one."""
        actions = self._actions[0]
        offered = self._battles.avail_actions[0, range(self.spec.n_agents), actions]
        if self.is_over:
            return "a step after its end"
        if count != self.world.rules[0]["loops_per_step"]:
            return f"a step of {count} game loops"
        if self._points:
            return f"a move of agent {min(self._points)} to another point than those {MOVE_DISTANCE:g} away on an axis"
        if not offered.all():
            agent = int(np.argmin(offered))
            found = "an order that SMAC does not offer" if actions[agent] else "no order for"
            return f"{found} agent {agent}"
        return ""

    # --- time --------------------------------------------------------------------------------------------------------

    def pass_loops(self, count: int) -> None:
        """Let game loops pass; the first one of an empty map starts the next battle, and the others are its own."""
        self.loops += count
        if not self._units["alive"].any():
            self._start_battle()
            return
        orders = self._actions
        self.unrecorded = self.unrecorded or self._foreign(count)
        self.sequence.actions.append(orders[0])
        if self._points:
            self._play(0, orders)
            for u, (x, y) in self._points.items():
                self._units["goal_x"][u], self._units["goal_y"][u] = x, y
            orders = np.zeros_like(orders)
        chunk = math.gcd(count, self._loop)  # so that the loops keep their numbers
        for _ in range(count // chunk):
            self._play(chunk, orders)
            orders = np.zeros_like(orders)  # no-op: the last orders stay in force
        self._forget_orders()

    def _play(self, loops: int, orders: np.ndarray) -> None:
        status = self._battles.status
        status["steps"][0] = self._loop // loops if loops else 0
        status["active"][0] = True  # the world goes on when a side is dead
        kernel.step_battles(self._world(loops), self._battles, self._options, orders, kernel.new_board(), False)
        self._loop += loops

    def _world(self, loops: int) -> World:
        """The map with so many loops in a step."""
        if loops not in self._worlds:
            rules = self.world.rules.copy()
            rules["loops_per_step"] = loops
            self._worlds[loops] = self.world._replace(rules=rules)
        return self._worlds[loops]

    def kill(self, tags: list[int]) -> None:
        """Take units off the map."""
        found = [u for u in map(self.living, tags) if u is not None]
        if found and not self.is_over:
            self.unrecorded = self.unrecorded or "units killed by debug"
        for u in found:
            self._units["alive"][u] = False
            self._units["health"][u] = self._units["shield"][u] = 0.0
            self._battles.x[0, u], self._battles.y[0, u] = GRAVE * (u + 1), GRAVE


def _endless(world: World) -> World:
    """The map without an episode limit: SMAC counts steps itself."""
    rules = world.rules.copy()
    rules["episode_limit"] = FOREVER
    return world._replace(rules=rules)
