"""Batched environment over the battle kernel (SMAC's interface for E battles at once)."""

from __future__ import annotations

import operator
import threading
import time
import weakref
from typing import Any

import numpy as np

from dm2.battle import kernel
from dm2.battle.records import Battles, Options, World, allocate
from dm2.battle.rules_of_smac import FIRST_ATTACK, MOVE_FEATURES, FeatureSizes
from dm2.battle.scenario import load_scenario
from dm2.core.interface import EnvSpec, check_actions

SIMULATOR_VERSION = "7"  # raised whenever a battle would go, or be seen, differently


MAX_SEED = 2**63 - 1


def spec_of(map_name: str, world: World) -> EnvSpec:
    """Sizes of a scenario's interface."""
    rules = world.rules[0]
    sizes, n_agents = FeatureSizes.of(rules), int(rules["n_agents"])
    n_enemies = world.kinds.shape[0] - n_agents
    n_actions = FIRST_ATTACK + n_enemies
    return EnvSpec(
        map_name=map_name,
        n_agents=n_agents,
        n_enemies=n_enemies,
        n_actions=n_actions,
        obs_size=MOVE_FEATURES + n_enemies * sizes.enemy + (n_agents - 1) * sizes.ally + sizes.own,
        state_size=n_agents * sizes.agent_state + n_enemies * sizes.enemy_state + n_agents * n_actions,
        episode_limit=int(rules["episode_limit"]),
        backend=f"simulator {SIMULATOR_VERSION}",
    )


def simulator_spec(map_name: str) -> EnvSpec:
    """Sizes of a shipped map's interface.

    Raises:
        ValueError: unknown map.
    """
    return spec_of(map_name, load_scenario(map_name))


class BattleEnv:
    """E battles on one map; see dm2.core.interface.BatchedEnv for the buffers.

    With `autoreset`, a battle that ends starts its next one within the same step: reward, battle_won, terminated,
    truncated and the counts of the dead tell of the one that ended; obs, state and avail_actions are those of the new
    one, and the ended one's last ones are in final_obs, final_state and final_avail_actions.
    """

    def __init__(
        self,
        map_name: str,
        n_battles: int,
        seed: int,
        *,
        n_threads: int = 1,
        regeneration_pays: bool = True,
        autoreset: bool = False,
        world: World | None = None,
    ) -> None:
        """Open the battles (`world` replaces the shipped map's numbers); `reset` starts them.

        Raises:
            ValueError: unknown map, an impossible number, or a seed that is no integer from 0 to MAX_SEED.
        """
        if n_battles < 1 or n_threads < 1:
            raise ValueError(f"n_battles {n_battles}, n_threads {n_threads}: expected >= 1")
        if not hasattr(seed, "__index__") or not 0 <= operator.index(seed) <= MAX_SEED:
            raise ValueError(f"seed: found {seed!r}, expected an integer from 0 to {MAX_SEED}")
        self.world = world if world is not None else load_scenario(map_name)
        self.spec = spec_of(map_name, self.world)
        self.n_battles, self.n_threads, self.seed = n_battles, n_threads, operator.index(seed)
        self._options = Options(self.seed, regeneration_pays, autoreset)
        self._open(allocate(self.world, n_battles, self.spec.obs_size, self.spec.state_size))

    def _open(self, battles: Battles) -> None:
        """Name the parts of the battles' buffers, and start the threads."""
        self.battles = battles
        self.obs, self.state = self.battles.obs, self.battles.state
        self.avail_actions, status = self.battles.avail_actions, self.battles.status
        self.reward, self.active, self.battle_won = status["reward"], status["active"], status["won"]
        self.terminated, self.truncated = status["terminated"], status["truncated"]
        self.dead_allies, self.dead_enemies = status["dead_allies"], status["dead_enemies"]
        self.final_obs, self.final_state = self.battles.final_obs, self.battles.final_state
        self.final_avail_actions = self.battles.final_avail_actions
        # Plain threads: a compiled step leaves the interpreter free, and OpenMP's threads stay torch's own.
        self._actions = np.zeros((self.n_battles, self.spec.n_agents), dtype=np.int64)
        self._board = kernel.new_board()
        self._shared = (self.world, self.battles, self._options, self._actions, self._board)
        self._helpers = Helpers(min(self.n_threads, self.n_battles) - 1, self._shared)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy needs, as pickle and copy.deepcopy ask for it: it has buffers and threads of its own."""
        kept = ("world", "spec", "n_battles", "n_threads", "seed", "_options", "battles")
        return {name: getattr(self, name) for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open(self.battles)

    def reset(self, episodes: np.ndarray | None = None) -> None:
        """Start every battle; battle e plays episode `episodes[e]` of the seed (by default 0..E-1)."""
        numbers = np.arange(self.n_battles) if episodes is None else np.asarray(episodes)
        self.reset_some(numbers, np.ones(self.n_battles, dtype=bool))

    def reset_some(self, episodes: np.ndarray, mask: np.ndarray) -> None:
        """Start the battles that the mask names, bool [E]; the others stay as they are."""
        if episodes.shape != (self.n_battles,) or episodes.min() < 0:
            raise ValueError(f"episodes: expected {self.n_battles} numbers >= 0, found {episodes!r}")
        if mask.shape != (self.n_battles,) or mask.dtype != bool:
            raise ValueError(f"mask: found {mask.dtype} {mask.shape}, expected bool ({self.n_battles},)")
        numbers, named = episodes.astype(np.uint64), mask.copy()  # other strides would be compiled for anew
        kernel.reset_battles(self.world, self.battles, self._options, numbers, named)

    def step(self, actions: np.ndarray) -> None:
        """Play one environment step of every running battle.

        Args:
            actions: int64 [E, A].

        Raises:
            ValueError: wrong shape or type, or an action that is not available, naming battle and agent.
            RuntimeError: no battle is running.
        """
        check_actions(self, actions, self._first_unavailable)
        self.play(actions)

    def play(self, actions: np.ndarray) -> None:
        """Play one environment step with actions, int64 [E, A], that nobody checks.

        The game takes orders that SMAC does not offer: an attack on an enemy that is far away, and no-op for an agent
        that lives, which goes on with its last order.
        """
        self._actions[:] = actions
        self._helpers.wake()
        kernel.step_battles(*self._shared, False)
        while not kernel.all_played(self.battles, self._board):
            time.sleep(0)  # a helper has no processor: give way

    def _first_unavailable(self, actions: np.ndarray) -> tuple[int, int]:
        return kernel.first_unavailable(self.battles, actions)


class Helpers:
    """Threads that help to step battles; between steps they look out for the next one a moment, then sleep."""

    def __init__(self, count: int, shared: tuple[Any, ...]) -> None:
        self.count = count
        self._board = shared[-1]
        self._alarm = threading.Semaphore(0)
        over = threading.Event()
        for _ in range(count):
            threading.Thread(target=_help, args=(self._alarm, over, shared), daemon=True).start()
        weakref.finalize(self, _dismiss, self._alarm, over, count)

    def wake(self) -> None:
        """Wake those that sleep."""
        if self.count and (asleep := kernel.sleepers(self._board, self.count)):
            self._alarm.release(asleep)


def _help(alarm: threading.Semaphore, over: threading.Event, shared: tuple[Any, ...]) -> None:
    while alarm.acquire() and not over.is_set():
        kernel.step_battles(*shared, True)


def _dismiss(alarm: threading.Semaphore, over: threading.Event, count: int) -> None:
    over.set()
    for _ in range(count):
        alarm.release()
