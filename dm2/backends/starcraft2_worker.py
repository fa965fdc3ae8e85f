"""The process that owns one StarCraft II: it opens oxwhirl/smac's StarCraft2Env and plays what it is told.

Questions come over a pipe: RESET, or a team's actions int64 [A]. The answer to each is a `Played`, or None if the game
died within the step. An error of SMAC's ends the process; its traceback stands in the log, which the parent shows.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from dm2.backends.protobuf_loader import load_s2clientprotocol

DIFFICULTY = "7"  # VeryHard, as in the SMAC and DM² papers
GAME_LOOPS_PER_STEP = 8
RESET = "reset"
_SECONDS_TO_END_IN_ORDER = 5.0


@dataclass(frozen=True)
class Played:
    """What a battle looks like after a reset or a step."""

    obs: np.ndarray  # float32 [A, obs_size]
    state: np.ndarray  # float32 [state_size]
    avail_actions: np.ndarray  # bool [A, n_actions]
    reward: float = 0.0
    ended: bool = False
    battle_won: bool = False
    truncated: bool = False  # by the episode limit alone
    dead_allies: int = 0
    dead_enemies: int = 0


def import_smac() -> Any:
    """SMAC's class StarCraft2Env, with any protobuf."""
    load_s2clientprotocol()
    from smac.env import StarCraft2Env

    return StarCraft2Env


def serve(connection: Connection, map_name: str, seed: int, log: str) -> None:
    """Play until the parent closes the pipe.

    Args:
        connection: the worker's end.
        map_name: a SMAC map.
        seed: of this game, for all battles that it plays.
        log: file that takes stdout and stderr, the game's among them.
    """
    os.setsid()  # the game is in this group: one signal ends both, and a terminal's Ctrl-C meets neither
    _write_to(log)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    env = import_smac()(
        map_name=map_name,
        step_mul=GAME_LOOPS_PER_STEP,
        difficulty=DIFFICULTY,
        seed=seed,
        continuing_episode=True,  # tells whether the limit ended the battle, and changes nothing else
    )
    try:
        while True:
            question = connection.recv()
            connection.send(_started(env) if isinstance(question, str) else _stepped(env, question))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        env.close()


def _started(env: Any) -> Played:
    env.reset()
    return _played(env)


def _stepped(env: Any, actions: np.ndarray) -> Played | None:
    reward, ended, info = env.step(actions.tolist())
    if "battle_won" not in info:  # SMAC's way to say that the game died and was started again
        return None
    return _played(
        env,
        reward=float(reward),
        ended=bool(ended),
        battle_won=bool(info["battle_won"]),
        truncated=bool(info.get("episode_limit", False)),
        dead_allies=int(info["dead_allies"]),
        dead_enemies=int(info["dead_enemies"]),
    )


def _played(env: Any, **outcome: Any) -> Played:
    return Played(
        obs=np.asarray(env.get_obs(), dtype=np.float32),
        state=np.asarray(env.get_state(), dtype=np.float32),
        avail_actions=np.asarray(env.get_avail_actions(), dtype=bool),
        **outcome,
    )


def _write_to(log: str) -> None:
    file = os.open(log, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.close(file)


def _end_with_parent() -> None:
    """Once the parent is gone, and the pipe with it, leave SMAC some seconds to close the game; then end the group."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        time.sleep(_SECONDS_TO_END_IN_ORDER)
        os.killpg(0, signal.SIGKILL)
