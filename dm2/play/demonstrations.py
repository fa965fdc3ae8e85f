"""Demonstrations: what experts saw and did, per agent; sampled once, stored as plain arrays, shared by every learner.

Each agent has a set of episodes of its own. Who gets which is what the demonstration ablation varies (Wang et al., AAAI
2023): with A agents and N episodes each,

- concurrent: every agent gets the same N episodes, its own observations of them; otherwise agent i gets the episodes
  N i to N (i + 1) - 1, so that no two agents' demonstrations are of one battle;
- joint: all of them come from one team; otherwise agent i's come from agent i of the i-th of A teams that were trained
  apart. Concurrent episodes of these are played by one mixed team, whose agent i is agent i of team i, in the same
  battles; otherwise each team plays battles of its own.

An episode of L steps is L observations and actions, and its terminal row: the observation after the last step and what
the expert answered it, though nobody took that action. Discriminators see it under the quirk `absorbing_zeros`.

An archive is a zip file of .npy arrays (numpy's .npz): `metadata` (JSON), and per agent i `lengths_i`, `obs_i`,
`actions_i`, `avail_actions_i`, `final_obs_i`, `final_actions_i`. Reading one never runs code, and takes no more memory
than demonstrations of the map and the number of episodes that are asked for, whatever the file claims or unfolds to.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from dm2.core.checks import check_shape
from dm2.core.files import StorageError, atomic_write
from dm2.core.randomness import stream
from dm2.settings.base import SettingsError
from dm2.settings.run import RunSettings

if TYPE_CHECKING:  # torch takes seconds to import, and reading the metadata does not need it
    from dm2.core.interface import BatchedEnv, EnvSpec
    from dm2.play.rollout import Episodes, Policy

FORMAT = "dm2 demonstrations"
FORMAT_VERSION = 3  # since 2 with avail_actions, since 3 with the terminal row
BATTLES_AT_ONCE = 250
MAX_METADATA_BYTES = 2**20  # some KiB are usual

_UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, OverflowError),
    RuntimeError,  # claims to be encrypted, packed in another way, or nested without end
    *(SyntaxError, TypeError, tokenize.TokenError),  # the .npy header is no header
)
"""What reading a damaged archive raises."""

_ARRAYS: dict[str, np.dtype[Any]] = {
    "lengths": np.dtype(np.int64),
    "obs": np.dtype(np.float32),
    "actions": np.dtype(np.int64),
    "avail_actions": np.dtype(np.bool_),
    "final_obs": np.dtype(np.float32),
    "final_actions": np.dtype(np.int64),
}


@dataclass(frozen=True)
class AgentDemonstrations:
    """One agent's demonstrations without padding; episode n owns the rows starts[n] to starts[n + 1].

    Attributes:
        lengths: env steps of each episode, int64 [episodes], each at least 1.
        obs: what the agent saw before each step, float32 [rows, obs_size]; zeros once it is dead.
        actions: what it then did, int64 [rows].
        avail_actions: what it could have done, bool [rows, n_actions].
        final_obs: what it saw after the last step, float32 [episodes, obs_size]; zeros once it is dead.
        final_actions: what it answered, int64 [episodes]; 0 once it is dead.

    Raises:
        ValueError: a shape or type differs from the ones above.
    """

    lengths: np.ndarray
    obs: np.ndarray
    actions: np.ndarray
    avail_actions: np.ndarray
    final_obs: np.ndarray
    final_actions: np.ndarray

    def __post_init__(self) -> None:
        """Check shapes and types."""
        check_shape("lengths", self.lengths, (None,))
        if len(self.lengths) == 0 or int(self.lengths.min()) < 1:
            raise ValueError(f"lengths: found {self.lengths.tolist()}, expected episodes of at least one step")
        check_shape("obs", self.obs, (int(self.lengths.sum()), None))
        check_shape("actions", self.actions, (int(self.lengths.sum()),))
        check_shape("avail_actions", self.avail_actions, (int(self.lengths.sum()), None))
        check_shape("final_obs", self.final_obs, (len(self.lengths), self.obs.shape[1]))
        check_shape("final_actions", self.final_actions, (len(self.lengths),))
        for name, dtype in _ARRAYS.items():
            if getattr(self, name).dtype != dtype:
                raise ValueError(f"{name}: found type {getattr(self, name).dtype}, expected {dtype}")

    @cached_property
    def starts(self) -> np.ndarray:
        """First row of each episode, and the number of rows at the end, int64 [episodes + 1]."""
        return np.concatenate(([0], np.cumsum(self.lengths)))


@dataclass(frozen=True)
class Demonstrations:
    """Every agent's demonstrations, and where they come from.

    Attributes:
        agents: one per agent, all with the same number of episodes and the same obs_size.
        metadata: a record that JSON can hold; see `sample_demonstrations` for what it tells.

    Raises:
        ValueError: the agents do not fit together.
    """

    agents: tuple[AgentDemonstrations, ...]
    metadata: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Check that the agents fit together."""
        for i, agent in enumerate(self.agents):
            check_shape(f"lengths of agent {i}", agent.lengths, (self.n_episodes,))
            check_shape(f"obs of agent {i}", agent.obs, (None, self.obs_size))

    @property
    def n_agents(self) -> int:
        """A."""
        return len(self.agents)

    @property
    def n_episodes(self) -> int:
        """Episodes per agent."""
        return len(self.agents[0].lengths)

    @property
    def obs_size(self) -> int:
        """Numbers in an observation."""
        return self.agents[0].obs.shape[1]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over arrays and metadata, 64 hexadecimal digits; the same for the same content."""
        digest = hashlib.sha256(json.dumps(dict(self.metadata), sort_keys=True).encode())
        for name, array in self._arrays().items():
            digest.update(f"{name} {array.shape} ".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def _arrays(self) -> dict[str, np.ndarray]:
        return {f"{name}_{i}": getattr(agent, name) for i, agent in enumerate(self.agents) for name in _ARRAYS}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the archive, atomically.

        Raises:
            StorageError: it cannot be written; nothing was changed.
        """
        record = {"format": FORMAT, "version": FORMAT_VERSION, "n_agents": self.n_agents, **self.metadata}
        metadata = np.frombuffer(json.dumps(record, allow_nan=False).encode(), np.uint8)
        with atomic_write(path) as file:
            np.savez_compressed(file, allow_pickle=False, metadata=metadata, **self._arrays())

    @classmethod
    def load(cls, path: str | os.PathLike[str], spec: EnvSpec, episodes: int) -> Demonstrations:
        """Read an archive and check it against what it is wanted for.

        Args:
            path: the archive.
            spec: sizes of the map.
            episodes: per agent.

        Raises:
            StorageError: no such file, damaged, of another map or number of episodes, or of other shapes; the message
                names the file, what was found and what was expected.
        """
        with _Archive(Path(path)) as archive:
            metadata = archive.metadata()
            archive.expect(metadata, map_name=spec.map_name, n_agents=spec.n_agents, episodes=episodes)
            agents = tuple(archive.agent(i, spec, episodes) for i in range(spec.n_agents))
        return cls(agents, {key: metadata[key] for key in metadata if key not in ("format", "version", "n_agents")})


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The record of an archive, without its arrays.

    Raises:
        StorageError: no such file, or no archive of demonstrations.
    """
    with _Archive(Path(path)) as archive:
        return archive.metadata()


def check_demonstrations(spec: EnvSpec, settings: RunSettings, demonstrations: Demonstrations) -> None:
    """Refuse demonstrations of other sizes, or from another source than a run's settings name.

    Raises:
        SettingsError: the demonstrations are of another map or another source.
    """
    found = (demonstrations.n_agents, demonstrations.obs_size)
    if found != (spec.n_agents, spec.obs_size):
        raise SettingsError(
            f"demonstrations: found {found[0]} agents with {found[1]} numbers per observation, expected"
            f" {spec.n_agents} with {spec.obs_size} on {spec.map_name}; sample demonstrations on this map"
        )
    assert settings.demonstrations is not None  # RunSettings asks for it where demonstrations are read
    for key, expected in settings.demonstrations.model_dump(mode="json").items():
        if demonstrations.metadata.get(key, expected) != expected:
            raise SettingsError(
                f"demonstrations: found {key} {demonstrations.metadata[key]!r}, expected {expected!r} as in the run's"
                " settings; name the archive that was sampled for this run"
            )


class _Archive:
    """A .npz file that is read with care: nothing is believed that the file itself does not bear out."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> _Archive:
        """Open the file."""
        try:
            self.zip = zipfile.ZipFile(self.path)
        except OSError as error:
            raise StorageError(f"{self.path}: cannot be read ({error.strerror}); expected a readable file") from error
        except _UNREADABLE as error:
            raise StorageError(self._damaged(str(error))) from error
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the file."""
        self.zip.close()

    def metadata(self) -> dict[str, Any]:
        """The record; refuses files of another format or version."""
        text = self._array("metadata", np.dtype(np.uint8), (None,)).tobytes()
        try:
            record = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise StorageError(self._damaged(f"its metadata is no JSON ({error})")) from error
        if not isinstance(record, dict):
            raise StorageError(self._damaged(f"its metadata is a {type(record).__name__}, expected an object"))
        self.expect(record, format=FORMAT)
        if record.get("version") != FORMAT_VERSION:
            raise StorageError(
                f"{self.path}: found an archive of version {record.get('version')!r}, expected {FORMAT_VERSION}, which"
                " holds the observation after an episode's last step too; sample it again"
            )
        return record

    def expect(self, record: Mapping[str, Any], **expected: Any) -> None:
        """Refuse a record that says something else."""
        for key, value in expected.items():
            if record.get(key) != value:
                raise StorageError(
                    f"{self.path}: found {key} {record.get(key)!r}, expected {value!r}; name demonstrations made for"
                    " this, or sample them"
                )

    def agent(self, i: int, spec: EnvSpec, episodes: int) -> AgentDemonstrations:
        """Read one agent's arrays and check shapes and ranges."""
        lengths = self._array(f"lengths_{i}", _ARRAYS["lengths"], (episodes,))
        self._check_range(f"lengths_{i}", lengths, 1, spec.episode_limit)
        rows = int(lengths.sum())
        obs = self._array(f"obs_{i}", _ARRAYS["obs"], (rows, spec.obs_size))
        actions = self._array(f"actions_{i}", _ARRAYS["actions"], (rows,))
        self._check_range(f"actions_{i}", actions, 0, spec.n_actions - 1)
        avail_actions = self._array(f"avail_actions_{i}", _ARRAYS["avail_actions"], (rows, spec.n_actions))
        final_obs = self._array(f"final_obs_{i}", _ARRAYS["final_obs"], (episodes, spec.obs_size))
        final_actions = self._array(f"final_actions_{i}", _ARRAYS["final_actions"], (episodes,))
        self._check_range(f"final_actions_{i}", final_actions, 0, spec.n_actions - 1)
        for name, array in {f"obs_{i}": obs, f"final_obs_{i}": final_obs}.items():
            if not np.isfinite(array).all():
                raise StorageError(self._damaged(f"{name} holds numbers that are not finite"))
        if not avail_actions[np.arange(rows), actions].all():
            raise StorageError(self._damaged(f"actions_{i} holds actions that avail_actions_{i} rules out"))
        return AgentDemonstrations(lengths, obs, actions, avail_actions, final_obs, final_actions)

    def _check_range(self, name: str, array: np.ndarray, low: int, high: int) -> None:
        if int(array.min()) < low or int(array.max()) > high:
            raise StorageError(
                f"{self.path}: found {name} from {array.min()} to {array.max()}, expected {low} to {high} on this map;"
                " name demonstrations made for it, or sample them"
            )

    def _array(self, name: str, dtype: np.dtype[Any], shape: tuple[int | None, ...]) -> np.ndarray:
        """Read one array whose type and shape are known; both are checked before memory is taken."""
        try:
            info = self.zip.getinfo(f"{name}.npy")
        except KeyError:
            raise StorageError(self._damaged(f"it holds no array {name!r}")) from None
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # zipfile unfolds others without bound
            raise StorageError(self._damaged(f"{name} is packed by method {info.compress_type}, expected deflate"))
        if name == "metadata" and info.file_size > MAX_METADATA_BYTES:
            raise StorageError(self._damaged(f"its metadata claims {info.file_size} bytes"))
        try:
            with self.zip.open(info) as member:
                found = self._header(name, member, info.file_size)
                self._check_type(name, found, dtype, shape)
                content = member.read(info.file_size - member.tell())  # with a number, or it unfolds all there is
                return np.frombuffer(bytearray(content), dtype).reshape(found[0])
        except (OSError, *_UNREADABLE) as error:
            raise StorageError(self._damaged(f"{name} cannot be read ({error})")) from error

    def _header(self, name: str, member: IO[bytes], size: int) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
        """Shape, column order and type that a .npy header claims; the data must be as long as they say."""
        if np.lib.format.read_magic(member) != (1, 0):
            raise ValueError("unknown version of the .npy format")
        header = np.lib.format.read_array_header_1_0(member)
        shape, _, dtype = header
        claimed, left = int(np.prod([int(n) for n in shape], dtype=object)) * dtype.itemsize, size - member.tell()
        if claimed != left:
            raise ValueError(f"its header claims {claimed} bytes, there are {left}")
        return header

    def _check_type(
        self,
        name: str,
        found: tuple[tuple[int, ...], bool, np.dtype[Any]],
        dtype: np.dtype[Any],
        shape: tuple[int | None, ...],
    ) -> None:
        fits = len(found[0]) == len(shape) and all(e is None or f == e for f, e in zip(found[0], shape, strict=True))
        if not fits or found[1] or found[2] != dtype:
            wanted = [("any" if n is None else n) for n in shape]
            raise StorageError(
                f"{self.path}: found {name} of {found[2]} {list(found[0])}, expected {dtype} {wanted};"
                " name demonstrations made for this map, or sample them again"
            )

    def _damaged(self, found: str) -> str:
        return f"{self.path}: damaged, or no archive of demonstrations: {found}; delete it and sample it again"


# --- sampling ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Assignment:
    """Whose episodes an agent learns from.

    Attributes:
        team: number of the team that plays.
        first_episode: number of the first of the team's episodes.
    """

    team: int
    first_episode: int


def assign(n_agents: int, episodes: int, concurrent: bool, joint: bool) -> list[Assignment]:
    """Team and episodes of each agent's demonstrations; see the module's docstring."""
    if concurrent:
        return [Assignment(team=0, first_episode=0)] * n_agents
    return [Assignment(team=0 if joint else agent, first_episode=agent * episodes) for agent in range(n_agents)]


def sample_demonstrations(
    teams: Sequence[Policy],
    spec: EnvSpec,
    make: Callable[[int, int], BatchedEnv],
    *,
    seeds: Sequence[int],
    episodes: int,
    concurrent: bool = True,
    joint: bool = True,
    metadata: Mapping[str, Any] | None = None,
    report: Callable[[int], None] = lambda episodes: None,
) -> Demonstrations:
    """Let expert teams play and keep what each agent is to learn from.

    Args:
        teams: one policy if joint, else one per agent.
        spec: sizes of the map.
        make: opens battles, given their number and the seed.
        seeds: one per team, by custom that of its training; a battle depends on its team's seed, its number and the
            policy. A mixed team's battles are those of the first seed.
        episodes: N, per agent.
        concurrent: all agents get the same episodes.
        joint: all agents' episodes come from one team; if not, and concurrent, from the mixed team.
        metadata: recorded too, such as the sources of the policies.
        report: told the number of episodes played so far, after each batch.

    Returns:
        Demonstrations whose metadata tells map_name, obs_size, backend, episodes (per agent), concurrent, joint,
        sampling_seeds, and over all episodes that were played, sampled_episodes of them, sampled_win_rate, return_mean,
        return_sd and episode_length_mean.

    Raises:
        ValueError: the number of teams or seeds does not fit.
    """
    expected = 1 if joint else spec.n_agents
    if len(teams) != expected or len(seeds) != expected:
        raise ValueError(f"found {len(teams)} teams and {len(seeds)} seeds, expected {expected} of each")
    players = _players(teams, concurrent)
    assignments = assign(spec.n_agents, episodes, concurrent, joint)
    agents: dict[int, AgentDemonstrations] = {}
    played: list[Episodes] = []
    for assignment in dict.fromkeys(assignments):
        policy, seed = players[assignment.team], seeds[assignment.team]
        batches = []
        for batch in _play(policy, make, seed, assignment.first_episode, episodes):
            batches.append(batch)
            played.append(batch)
            report(sum(each.n_episodes for each in played))
        for agent in (i for i, other in enumerate(assignments) if other == assignment):
            agents[agent] = _keep(batches, agent)
    record = {
        "map_name": spec.map_name,
        "obs_size": spec.obs_size,
        "backend": spec.backend,
        "episodes": episodes,
        "concurrent": concurrent,
        "joint": joint,
        "sampling_seeds": list(seeds),
        **_worth(played),
        **(metadata or {}),
    }
    return Demonstrations(tuple(agents[agent] for agent in range(spec.n_agents)), record)


def greedy_win_rate(
    teams: Sequence[Policy],
    make: Callable[[int, int], BatchedEnv],
    *,
    seeds: Sequence[int],
    episodes: int,
    concurrent: bool = True,
) -> dict[str, Any]:
    """How often the teams of `sample_demonstrations` win when they take their best actions, for its metadata.

    The paper's win rates of demonstrators are of such play, though its IPPO experts sample while they demonstrate.

    Args:
        teams: greedy policies of the same experts; if several are concurrent, their mixed team plays.
        make: opens battles, given their number and the seed.
        seeds: one per team; the battles are others than those of the demonstrations.
        episodes: of each team that plays.
        concurrent: all agents get the same episodes.

    Returns:
        greedy_win_rate, and greedy_episodes, the number of episodes of all teams that it is the share of.
    """
    players = _players(teams, concurrent)
    played = [
        batch.battle_won.numpy()
        for policy, seed in zip(players, seeds[: len(players)], strict=True)
        for batch in _play(policy, make, seed, 0, episodes, "greedy")
    ]
    battle_won = np.concatenate(played)
    return {"greedy_win_rate": float(battle_won.mean()), "greedy_episodes": len(battle_won)}


def _players(teams: Sequence[Policy], concurrent: bool) -> Sequence[Policy]:
    """The teams that play: the experts', or the one that is mixed of them."""
    from dm2.play.mixed_team import MixedTeam

    return [MixedTeam(teams)] if concurrent and len(teams) > 1 else teams


def _play(
    policy: Policy,
    make: Callable[[int, int], BatchedEnv],
    seed: int,
    first_episode: int,
    episodes: int,
    *names: str,
) -> Iterator[Episodes]:
    """Episodes first_episode, first_episode + 1, ... of a seed, a batch of battles at a time; `names` tell streams."""
    from dm2.play.rollout import collect

    env_seed = int(stream(seed, "demonstrations", *names, "env").integers(2**62))
    for first in range(first_episode, first_episode + episodes, BATTLES_AT_ONCE):
        numbers = np.arange(first, min(first + BATTLES_AT_ONCE, first_episode + episodes))
        generator = stream(seed, "demonstrations", *names, "policy", first)
        yield collect(make(len(numbers), env_seed), policy, numbers, generator, act_at_end=True)


def _keep(batches: Sequence[Episodes], agent: int) -> AgentDemonstrations:
    """One agent's rows of some batches of episodes."""
    lengths = np.concatenate([batch.lengths.numpy() for batch in batches])
    names = [name for name in _ARRAYS if name != "lengths"]
    arrays = {name: np.concatenate([getattr(batch, name)[agent].numpy() for batch in batches]) for name in names}
    return AgentDemonstrations(lengths, **arrays)


def _worth(batches: Sequence[Episodes]) -> dict[str, float]:
    """How well the experts played."""
    returns = np.concatenate([batch.returns.numpy() for batch in batches]).astype(np.float64)
    return {
        "sampled_episodes": len(returns),
        "sampled_win_rate": float(np.concatenate([batch.battle_won.numpy() for batch in batches]).mean()),
        "return_mean": float(returns.mean()),
        "return_sd": float(returns.std()),
        "episode_length_mean": float(np.concatenate([batch.lengths.numpy() for batch in batches]).mean()),
    }
