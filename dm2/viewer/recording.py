"""Battles as a compact recording, and played again from it.

A battle of the simulator is a function of its map, the simulator's version, the seed, the episode number and the
agents' actions. A recording holds these and nothing else; `replay` turns it into the frames of every battle.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dm2.battle.env import BattleEnv, simulator_spec
from dm2.core.errors import UserError
from dm2.core.files import StorageError, atomic_write, read_json

if TYPE_CHECKING:
    from dm2.play.rollout import Episodes

_Number = Annotated[int, Field(ge=0, lt=2**63, strict=True)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RecordedBattle(_Record):
    """One battle: its episode number and every agent's action in every env step, [steps][n_agents]."""

    episode: _Number
    actions: tuple[tuple[_Number, ...], ...] = Field(min_length=1)


class Recording(_Record):
    """Battles of one map and seed; the file is this record as JSON."""

    kind: Literal["dm2 recording"] = "dm2 recording"
    version: Literal[1] = 1
    map_name: str
    backend: str  # engine and version that played it
    seed: _Number
    regeneration_pays: bool  # changes rewards only
    battles: tuple[RecordedBattle, ...] = Field(min_length=1)

    @classmethod
    def of(
        cls, episodes: Episodes, numbers: np.ndarray, map_name: str, seed: int, regeneration_pays: bool
    ) -> Recording:
        """Record episodes that `dm2.play.rollout.collect` played on the simulator.

        Args:
            episodes: as collected.
            numbers: their episode numbers, int64 [N].
            map_name: the map.
            seed: of the environment.
            regeneration_pays: of the environment.
        """
        starts, actions = episodes.starts.tolist(), episodes.actions.T.tolist()  # [rows][A]
        rows = itertools.pairwise(starts)
        battles = [
            RecordedBattle(episode=number, actions=actions[start:stop])
            for number, (start, stop) in zip(numbers.tolist(), rows, strict=True)
        ]
        backend = simulator_spec(map_name).backend
        return cls(map_name=map_name, backend=backend, seed=seed, regeneration_pays=regeneration_pays, battles=battles)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the recording as JSON, atomically; StorageError if it cannot be written."""
        with atomic_write(path, "w") as file:
            file.write(self.model_dump_json() + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Recording:
        """Read a recording.

        Raises:
            StorageError: no such file, or not a recording; the message names the file and the key.
        """
        try:
            return cls.model_validate(read_json(path))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"])) or "file"
            raise StorageError(
                f"{Path(path)}: no recording of battles: {key}: {first['msg']}; name a file that `dm2 watch` wrote"
            ) from error


@dataclass(frozen=True)
class Battle:
    """What one battle looked like; F = env steps + 1 frames, U units, agents first, A agents.

    Attributes:
        episode: its number.
        x, y: float64 [F, U], map units; the dead stay where they fell.
        health, shield: float64 [F, U].
        alive: bool [F, U].
        target: unit that is attacked or walked to, -1 if none, int64 [F, U].
        shots: attacks begun so far, int64 [F, U].
        actions: int64 [F - 1, A].
        reward: float32 [F - 1].
        battle_won: every enemy fell.
        truncated: only the episode limit ended it.
    """

    episode: int
    x: np.ndarray
    y: np.ndarray
    health: np.ndarray
    shield: np.ndarray
    alive: np.ndarray
    target: np.ndarray
    shots: np.ndarray
    actions: np.ndarray
    reward: np.ndarray
    battle_won: bool
    truncated: bool

    @property
    def steps(self) -> int:
        """Env steps."""
        return len(self.reward)


def replay(recording: Recording) -> list[Battle]:
    """Play the battles of a recording again, each to its end.

    Raises:
        UserError: another version of the simulator recorded it, or its actions are none that were played.
    """
    env = _env_of(recording)
    tracks = [_track(battle, env.spec.n_agents) for battle in recording.battles]
    lengths = np.array([len(track) for track in tracks])
    env.reset(np.array([battle.episode for battle in recording.battles]))
    frames, rewards = [_frame(env)], []
    for step in range(int(lengths.max())):
        _check_running(env, lengths, step)
        actions = np.stack([track[min(step, len(track) - 1)] for track in tracks])
        try:
            env.step(actions)
        except ValueError as error:  # an action that is not available
            raise UserError(_not_played(f"in step {step}, {error}")) from error
        frames.append(_frame(env))
        rewards.append(env.reward.copy())
    _check_running(env, lengths, int(lengths.max()))
    return [
        _battle(env, recording.battles[e].episode, e, tracks[e], frames, np.array(rewards)) for e in range(len(tracks))
    ]


def _env_of(recording: Recording) -> BattleEnv:
    try:
        env = BattleEnv(
            recording.map_name,
            len(recording.battles),
            recording.seed,
            regeneration_pays=recording.regeneration_pays,
        )
    except ValueError as error:  # no such map
        raise UserError(f"recording: {error}") from error
    if recording.backend != env.spec.backend:
        raise UserError(
            f"recording: found battles of {recording.backend!r}, expected {env.spec.backend!r}: they would go"
            " differently here; record them again, or install the version of dm2 that recorded them"
        )
    return env


def _track(battle: RecordedBattle, n_agents: int) -> np.ndarray:
    """A battle's actions, int64 [steps, A]."""
    found = {len(step) for step in battle.actions}
    if found != {n_agents}:
        raise UserError(_not_played(f"episode {battle.episode} has {sorted(found)} actions per step, not {n_agents}"))
    return np.array(battle.actions, dtype=np.int64)


def _check_running(env: BattleEnv, lengths: np.ndarray, step: int) -> None:
    """A battle runs exactly as long as it has actions."""
    wrong = np.flatnonzero(env.active != (step < lengths))
    if len(wrong):
        e = int(wrong[0])
        state = "goes on" if env.active[e] else "is over"
        raise UserError(_not_played(f"battle {e} has {lengths[e]} steps and {state} after {step}"))


def _not_played(found: str) -> str:
    return f"recording: {found}; expected the actions of battles as they were played: the file was changed, record anew"


def _frame(env: BattleEnv) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    battles = env.battles
    return battles.x.copy(), battles.y.copy(), battles.units.copy()


def _battle(
    env: BattleEnv,
    episode: int,
    e: int,
    actions: np.ndarray,
    frames: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
    rewards: np.ndarray,
) -> Battle:
    own = frames[: len(actions) + 1]
    units = np.stack([units[e] for _, _, units in own])
    alive = units["alive"]
    return Battle(
        episode=episode,
        x=_stay_where_they_fell(np.stack([x[e] for x, _, _ in own]), alive),
        y=_stay_where_they_fell(np.stack([y[e] for _, y, _ in own]), alive),
        health=units["health"],
        shield=units["shield"],
        alive=alive,
        target=np.where(alive, units["target"], -1).astype(np.int64),
        shots=units["shots"],
        actions=actions,
        reward=rewards[: len(actions), e],
        battle_won=bool(env.battle_won[e]),
        truncated=bool(env.truncated[e]),
    )


def _stay_where_they_fell(position: np.ndarray, alive: np.ndarray) -> np.ndarray:
    """Positions [F, U] in which the dead keep their last one alive."""
    last = np.maximum.accumulate(np.where(alive, np.arange(len(alive))[:, None], 0))
    return np.take_along_axis(position, last, axis=0)
