"""StarCraft II behind dm2.core.interface.BatchedEnv: oxwhirl/smac, one process and one game per battle.

What differs from the simulator:

- SMAC seeds a game when it is started. A game's seed is made from the env's seed and the number of the first episode
  that it plays, so these two decide that battle's start as far as StarCraft II goes by its seed; the episodes that the
  same game plays after it depend on all that went before. That equal seeds give equal results is not promised.
- A battle whose game dies ends there: truncated, reward 0, observations as they were. The game is started again for
  the next reset; after MAX_FAILURES in a row without a battle played to its end, the env gives up.
- A game takes a process and much memory, so there are as many as threads are asked for, and more episodes are played
  in waves (dm2.play.rollout.collect). Their number decides which game plays which episode, so it may change results.
- Rewards are SMAC's own, so regeneration_pays cannot be switched off; there is no autoreset.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import tempfile
import weakref
from contextlib import suppress
from functools import cache

import numpy as np

from dm2.backends.installation import game_builds, is_stand_in, require_installation
from dm2.backends.starcraft2_worker import DIFFICULTY, RESET, Played, import_smac, serve
from dm2.core.errors import UserError
from dm2.core.interface import EnvSpec, check_actions
from dm2.core.randomness import stream

MAX_FAILURES = 3
ANSWER_SECONDS = 300.0  # pysc2 itself waits up to two minutes for the game
CLOSE_SECONDS = 10.0
LOG_TAIL_LINES = 60  # SMAC's and pysc2's traceback alone takes more than 20

_log = logging.getLogger(__name__)


class GameLost(Exception):
    """The game or its process died, or does not answer; the message says what, and of which process."""


@cache
def starcraft2_spec(map_name: str) -> EnvSpec:
    """Sizes of a map's interface, as SMAC tells them; the game is not started.

    Raises:
        UserError: StarCraft II or a package is missing.
        ValueError: SMAC does not know the map.
    """
    require_installation(map_name)
    try:
        env = import_smac()(map_name=map_name)
    except ImportError as error:
        raise UserError(
            f"backend starcraft2: smac cannot be imported: {error} (`dm2 doctor` shows every part)"
        ) from None
    except KeyError:
        raise ValueError(f"unknown map {map_name!r}: SMAC has no such map") from None
    info = env.get_env_info()
    return EnvSpec(
        map_name=map_name,
        n_agents=info["n_agents"],
        n_enemies=env.n_enemies,
        n_actions=info["n_actions"],
        obs_size=info["obs_shape"],
        state_size=info["state_shape"],
        episode_limit=info["episode_limit"],
        backend=_engine(map_name),
    )


def _engine(map_name: str) -> str:
    """What plays, as results name it."""
    if not is_stand_in():
        return f"StarCraft II (build {game_builds()[-1]}, difficulty {DIFFICULTY})"
    from dm2.battle.env import simulator_spec

    return f"{simulator_spec(map_name).backend} behind SMAC"


class Game:
    """One worker process and its game, as the parent sees them."""

    def __init__(self, map_name: str) -> None:
        """Nothing is started before the first `ask_reset`."""
        self.map_name = map_name
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the env; has no name that could be left behind)
        self.failures = 0  # since a battle was last played to its end
        self._process: multiprocessing.process.BaseProcess | None = None
        self._has_played = False  # a battle to its end, in this process

    def ask_reset(self, seed: int) -> None:
        """Start the next battle; a game that is not running is started with this seed."""
        if not self._has_played:  # SMAC would start a second game beside the first
            self.stop(CLOSE_SECONDS)
        if self._process is None:
            self.log.truncate(0)
            context = multiprocessing.get_context("spawn")
            self._connection, workers_end = context.Pipe()
            arguments = (workers_end, self.map_name, seed, f"/proc/{os.getpid()}/fd/{self.log.fileno()}")
            self._process = context.Process(target=serve, args=arguments, daemon=True)
            self._process.start()
            workers_end.close()
        self.ask(RESET)

    def ask(self, question: str | np.ndarray) -> None:
        """Send RESET or actions, int64 [A]."""
        with suppress(BrokenPipeError, ConnectionResetError):  # `answer` tells
            self._connection.send(question)

    def answer(self) -> Played:
        """Wait for the battle's next look.

        Raises:
            GameLost: there is none; worker and game are gone.
        """
        played, fate = None, "died"
        try:
            if self._connection.poll(ANSWER_SECONDS):
                played = self._connection.recv()
            else:
                fate = f"did not answer for {ANSWER_SECONDS:.0f} seconds"
        except (EOFError, ConnectionResetError):
            pass
        if played is None:
            self.failures += 1
            lost = f"worker process {self._process.pid if self._process else 'none'} {fate}"
            self.stop(0.0)
            raise GameLost(lost)
        if played.ended:
            self.failures, self._has_played = 0, True
        return played

    def hang_up(self) -> None:
        """Close the pipe: the worker closes its game and ends."""
        if self._process is not None:
            self._connection.close()

    def stop(self, patience: float) -> None:
        """End worker and game, after some seconds in which they may end in order."""
        if self._process is None:
            return
        self.hang_up()
        process, self._process, self._has_played = self._process, None, False
        process.join(patience)
        with suppress(ProcessLookupError):  # the group is the worker's: the game is in it
            os.killpg(process.pid or 0, signal.SIGKILL)
        process.kill()  # had it not come as far as its own group
        process.join()

    def last_words(self) -> str:
        """The end of what worker and game wrote to stderr."""
        self.log.seek(0)
        lines = self.log.read().decode("utf-8", errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:]) or "(nothing)"


def _close(games: list[Game]) -> None:
    for game in games:
        game.hang_up()
    for game in games:
        game.stop(CLOSE_SECONDS)
        game.log.close()


class StarCraft2Battles:
    """E games of StarCraft II on one map; the buffers are those of dm2.core.interface.BatchedEnv."""

    def __init__(self, map_name: str, n_battles: int, seed: int) -> None:
        """Look at what is installed; the first `reset` starts the games.

        Raises:
            UserError: StarCraft II or a package is missing.
            ValueError: unknown map, or an impossible number.
        """
        if n_battles < 1 or seed < 0:
            raise ValueError(f"n_battles {n_battles}, seed {seed}: expected >= 1 and >= 0")
        self.spec = spec = starcraft2_spec(map_name)
        self.n_battles = n_battles
        self.obs = np.zeros((n_battles, spec.n_agents, spec.obs_size), dtype=np.float32)
        self.state = np.zeros((n_battles, spec.state_size), dtype=np.float32)
        self.avail_actions = np.zeros((n_battles, spec.n_agents, spec.n_actions), dtype=bool)
        self.reward = np.zeros(n_battles, dtype=np.float32)
        self.battle_won, self.terminated, self.truncated, self.active = np.zeros((4, n_battles), dtype=bool)
        self.dead_allies, self.dead_enemies = np.zeros((2, n_battles), dtype=np.int64)
        self.restarts = 0  # games lost so far
        self._seed = seed
        self._games = [Game(map_name) for _ in range(n_battles)]
        self.close = weakref.finalize(self, _close, self._games)

    def reset(self, episodes: np.ndarray | None = None) -> None:
        """Start every battle; episode numbers (by default 0..E-1) choose the seeds of games that are not running yet.

        Raises:
            UserError: a game cannot be started.
        """
        numbers = np.arange(self.n_battles) if episodes is None else np.asarray(episodes)
        if numbers.shape != (self.n_battles,) or numbers.min() < 0:
            raise ValueError(f"episodes: expected {self.n_battles} numbers >= 0, found {numbers!r}")
        seeds = [int(stream(self._seed, "starcraft2", int(number)).integers(1, 2**31)) for number in numbers]
        for game, seed in zip(self._games, seeds, strict=True):
            game.ask_reset(seed)
        for battle, seed in enumerate(seeds):
            self._show(battle, self._started(battle, seed))

    def _started(self, battle: int, seed: int) -> Played:
        game = self._games[battle]
        while True:
            try:
                return game.answer()
            except GameLost as lost:
                self._count_loss(battle, lost)
                game.ask_reset(seed)

    def step(self, actions: np.ndarray) -> None:
        """Play one environment step of every running battle.

        Args:
            actions: int64 [E, A].

        Raises:
            ValueError: wrong shape or type, or an action that is not available, naming battle and agent.
            RuntimeError: no battle is running.
            UserError: a game was lost too often.
        """
        check_actions(self, actions, self._first_unavailable)
        self.reward[:] = 0.0
        running = np.flatnonzero(self.active).tolist()
        for battle in running:
            self._games[battle].ask(actions[battle])
        for battle in running:
            try:
                self._show(battle, self._games[battle].answer())
            except GameLost as lost:
                self.active[battle], self.truncated[battle] = False, True
                self._count_loss(battle, lost)

    def _show(self, battle: int, played: Played) -> None:
        self.obs[battle], self.state[battle] = played.obs, played.state
        self.avail_actions[battle], self.reward[battle] = played.avail_actions, played.reward
        self.active[battle], self.battle_won[battle] = not played.ended, played.battle_won
        self.truncated[battle] = played.truncated
        self.terminated[battle] = played.ended and not played.truncated
        self.dead_allies[battle], self.dead_enemies[battle] = played.dead_allies, played.dead_enemies

    def _count_loss(self, battle: int, lost: GameLost) -> None:
        game = self._games[battle]
        self.restarts += 1
        if game.failures < MAX_FAILURES:
            _log.warning("battle %d: %s; StarCraft II is started again (%d so far)", battle, lost, self.restarts)
            return
        raise UserError(
            f"battle {battle}: StarCraft II was lost {game.failures} times in a row, expected a battle played to its"
            f" end; the last time its {lost}. `dm2 doctor` shows what is installed. The last it wrote to stderr:\n"
            f"{game.last_words()}"
        )

    def _first_unavailable(self, actions: np.ndarray) -> tuple[int, int]:
        known = (actions >= 0) & (actions < self.spec.n_actions)
        chosen = np.take_along_axis(self.avail_actions, np.where(known, actions, 0)[..., None], axis=2)[..., 0]
        wrong = np.argwhere(self.active[:, None] & ~(chosen & known))
        return tuple(wrong[0].tolist()) if len(wrong) else (-1, -1)
