"""Demonstrations: who gets which episodes, archives that come back as they were, and files that are refused."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import tracemalloc
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.fake_env import FakeEnv, FakeSpec
from torch import Tensor

from dm2.core.files import StorageError
from dm2.play.demonstrations import (
    AgentDemonstrations,
    Demonstrations,
    assign,
    greedy_win_rate,
    read_metadata,
    sample_demonstrations,
)
from dm2.play.rollout import ActResult, Hidden, Policy, collect

SPEC = FakeSpec()
EPISODES = 6
MANY = 200
MEBIBYTE = 2**20


class TakesAction:
    """Always the same action, or no-op when it is dead."""

    def __init__(self, action: int) -> None:
        self.action = action

    def initial_hidden(self, n_battles: int) -> Hidden:
        return {}

    def act(
        self, obs: Tensor, last_actions: Tensor, avail_actions: Tensor, hidden: Hidden, uniform: Tensor
    ) -> ActResult:
        return ActResult(torch.where(avail_actions[..., 0], 0, self.action), {})


def make(n_battles: int, seed: int) -> FakeEnv:
    return FakeEnv(n_battles, seed)


def sample(teams: tuple[Policy, ...] = (TakesAction(1),), **options: Any) -> Demonstrations:
    seeds = tuple(range(len(teams)))
    return sample_demonstrations(teams, SPEC, make, seeds=seeds, **{"episodes": EPISODES, **options})  # type: ignore[arg-type]


def lengths_of(first: int, count: int) -> list[int]:
    return [3 + number % (SPEC.episode_limit - 2) for number in range(first, first + count)]


def test_assignment_of_the_four_cells() -> None:
    cells = {
        (concurrent, joint): [(a.team, a.first_episode) for a in assign(3, 1000, concurrent, joint)]
        for concurrent in (True, False)
        for joint in (True, False)
    }
    assert cells[True, True] == [(0, 0), (0, 0), (0, 0)]
    assert cells[False, True] == [(0, 0), (0, 1000), (0, 2000)]
    assert cells[True, False] == [(0, 0), (0, 0), (0, 0)]  # of the mixed team
    assert cells[False, False] == [(0, 0), (1, 1000), (2, 2000)]


def test_concurrent_agents_share_their_battles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dm2.play.demonstrations.BATTLES_AT_ONCE", 4)  # two batches
    found = sample()
    assert found.agents[0].lengths.tolist() == found.agents[1].lengths.tolist() == lengths_of(0, 6)
    assert not found.agents[1].obs[found.agents[1].starts[:-1] + 2].any()  # agent 1 dies after two steps
    assert set(found.agents[0].actions) == {1}


def test_nonconcurrent_agents_see_battles_of_their_own() -> None:
    found = sample(concurrent=False)
    assert found.agents[0].lengths.tolist() == lengths_of(0, 6)
    assert found.agents[1].lengths.tolist() == lengths_of(6, 6)


def test_independent_agents_follow_teams_of_their_own() -> None:
    found = sample((TakesAction(1), TakesAction(2)), joint=False, concurrent=False)
    assert set(found.agents[0].actions) == {1}
    assert set(found.agents[1].actions) == {0, 2}
    assert found.agents[0].lengths.tolist() == lengths_of(0, 6)
    assert found.agents[1].lengths.tolist() == lengths_of(6, 6)
    assert not np.array_equal(found.agents[0].obs[:2], found.agents[1].obs[:2])  # the teams' battles differ


def test_independent_concurrent_agents_play_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Agent i acts by team i in battles that are the same for all, of which each has its own observations."""
    monkeypatch.setattr("dm2.play.demonstrations.BATTLES_AT_ONCE", 4)
    seen: list[int] = []
    found = sample((TakesAction(1), TakesAction(2)), joint=False, report=seen.append)
    assert seen == [4, 6]  # no team plays apart
    assert found.agents[0].lengths.tolist() == found.agents[1].lengths.tolist() == lengths_of(0, 6)
    assert set(found.agents[0].actions) == {1}
    assert set(found.agents[1].actions) == {0, 2}
    first_steps = [agent.obs[agent.starts[:-1]] for agent in found.agents]
    alone = [sample((TakesAction(action),)).agents for action in (1, 2)]  # FakeEnv shows all players the same signals
    for agent in range(2):
        np.testing.assert_array_equal(first_steps[agent], alone[0][agent].obs[alone[0][agent].starts[:-1]])
        np.testing.assert_array_equal(found.agents[agent].actions, alone[agent][agent].actions)


def test_metadata_tells_how_well_the_experts_played() -> None:
    episodes = collect(FakeEnv(6), TakesAction(1), np.arange(6), np.random.default_rng(0))
    metadata = sample(metadata={"epsilon": 0.1}).metadata
    assert metadata["sampled_win_rate"] == pytest.approx(float(episodes.battle_won.float().mean()))
    assert metadata["sampled_episodes"] == 6
    assert metadata["episode_length_mean"] == np.mean(lengths_of(0, 6))
    assert metadata["episodes"] == 6
    assert metadata["epsilon"] == 0.1
    assert metadata["backend"] == SPEC.backend


def test_the_greedy_win_rate_is_that_of_the_teams_that_play(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dm2.play.demonstrations.BATTLES_AT_ONCE", 4)
    seeds_seen: list[int] = []

    def opened(n_battles: int, seed: int) -> FakeEnv:
        seeds_seen.append(seed)
        return make(n_battles, seed)

    teams = (TakesAction(1), TakesAction(2))
    found = greedy_win_rate(teams, opened, seeds=(0, 1), episodes=6)  # the mixed team
    assert found == {"greedy_win_rate": 0.5, "greedy_episodes": 6} and len(set(seeds_seen)) == 1
    apart = greedy_win_rate(teams, opened, seeds=(0, 1), episodes=6, concurrent=False)
    assert apart == {"greedy_win_rate": 0.5, "greedy_episodes": 12} and len(set(seeds_seen)) == 2
    alone = greedy_win_rate(teams[:1], opened, seeds=(0,), episodes=5)
    assert alone == {"greedy_win_rate": 0.6, "greedy_episodes": 5}
    sampled_in: list[int] = []
    sample_demonstrations(
        teams[:1], SPEC, lambda n, seed: sampled_in.append(seed) or make(n, seed), seeds=(0,), episodes=4
    )  # type: ignore
    assert not set(sampled_in) & set(seeds_seen)  # other battles


def test_reports_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dm2.play.demonstrations.BATTLES_AT_ONCE", 4)
    seen: list[int] = []
    sample(concurrent=False, report=seen.append)
    assert seen == [4, 6, 10, 12]


def test_refuses_too_few_teams() -> None:
    for concurrent in (True, False):
        with pytest.raises(ValueError, match="found 1 teams and 1 seeds, expected 2 of each"):
            sample(joint=False, concurrent=concurrent)


def test_archive_comes_back_as_it_was(tmp_path: Path) -> None:
    original = sample(metadata={"epsilon": 0.1})
    original.save(tmp_path / "set.npz")
    found = Demonstrations.load(tmp_path / "set.npz", SPEC, EPISODES)  # type: ignore[arg-type]
    assert found.metadata == original.metadata
    assert found.fingerprint == original.fingerprint
    for agent, other in zip(found.agents, original.agents, strict=True):
        for name in ("lengths", "obs", "actions", "avail_actions", "final_obs", "final_actions"):
            np.testing.assert_array_equal(getattr(agent, name), getattr(other, name))
    assert read_metadata(tmp_path / "set.npz")["sampled_win_rate"] == original.metadata["sampled_win_rate"]


def test_the_terminal_row_is_the_observation_after_the_last_step_and_the_answer_to_it() -> None:
    alive, dead = sample().agents
    assert alive.final_obs[:, 1].tolist() == (alive.lengths / SPEC.episode_limit).tolist()
    assert alive.final_actions.tolist() == [1] * 6
    assert not dead.final_obs.any() and not dead.final_actions.any()


def test_fingerprint_follows_the_content() -> None:
    one, other = sample(), sample()
    assert one.fingerprint == other.fingerprint
    other.agents[0].obs[0, 0] += 1.0
    assert dataclasses.replace(other).fingerprint != one.fingerprint
    assert sample(metadata={"epsilon": 0.1}).fingerprint != one.fingerprint


def rewrite(path: Path, change: Callable[[dict[str, np.ndarray]], None]) -> Path:
    """Change the arrays of an archive behind its back."""
    with np.load(path) as archive:
        arrays = dict(archive)
    change(arrays)
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    sample().save(tmp_path / "set.npz")
    return tmp_path / "set.npz"


def refused(path: Path, message: str, spec: FakeSpec = SPEC, episodes: int = EPISODES) -> None:
    with pytest.raises(StorageError, match=message) as caught:
        Demonstrations.load(path, spec, episodes)  # type: ignore[arg-type]
    assert str(path) in str(caught.value)


def test_refuses_another_map(archive: Path) -> None:
    refused(archive, "found map_name 'fake', expected '3m'", dataclasses.replace(SPEC, map_name="3m"))


def test_refuses_another_number_of_agents(archive: Path) -> None:
    refused(archive, "found n_agents 2, expected 3", dataclasses.replace(SPEC, n_agents=3))


def test_refuses_another_number_of_episodes(archive: Path) -> None:
    refused(archive, "found episodes 6, expected 1000", episodes=1000)


def test_refuses_more_episodes_than_the_metadata_tells(archive: Path) -> None:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays["lengths_0"] = np.repeat(arrays["lengths_0"], 1000)

    refused(rewrite(archive, change), r"found lengths_0 of int64 \[6000\], expected int64 \[6\]")


def test_refuses_another_obs_size(archive: Path) -> None:
    spec = dataclasses.replace(SPEC, obs_size=5)
    refused(archive, r"found obs_0 of float32 \[33, 3\], expected float32 \[33, 5\]", spec)


def test_refuses_episodes_beyond_the_limit(archive: Path) -> None:
    spec = dataclasses.replace(SPEC, episode_limit=5)
    refused(archive, "found lengths_0 from 3 to 8, expected 1 to 5", spec)


def test_refuses_actions_that_do_not_exist(archive: Path) -> None:
    refused(archive, "found actions_0 from 1 to 1, expected 0 to 0", dataclasses.replace(SPEC, n_actions=1))


def test_refuses_a_missing_file(tmp_path: Path) -> None:
    refused(tmp_path / "none.npz", "cannot be read")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_refuses_a_truncated_archive(archive: Path, share: float) -> None:
    content = archive.read_bytes()
    archive.write_bytes(content[: int(share * len(content))])
    refused(archive, "damaged")


def test_refuses_flipped_bits(archive: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        info = file.getinfo("obs_1.npy")
    content = bytearray(archive.read_bytes())
    content[info.header_offset + 80 + info.compress_size // 2] ^= 0xFF
    archive.write_bytes(content)
    refused(archive, "damaged.*obs_1")


def members_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def read_or_refused(path: Path, content: bytes, episodes: int = EPISODES) -> Demonstrations | None:
    """What the reader makes of bytes: nothing else than demonstrations or a refusal that names the file."""
    path.write_bytes(content)
    try:
        return Demonstrations.load(path, SPEC, episodes)  # type: ignore[arg-type]
    except StorageError as error:
        assert str(path) in str(error)
        return None


EXAMPLES = int(os.environ.get("DM2_FUZZ_EXAMPLES", "200"))
FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=EXAMPLES, deadline=None)


@given(st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 7)), min_size=1, max_size=3))
@FUZZ
def test_flipped_bits_are_found_or_harmless(tmp_path: Path, flips: list[tuple[int, int]]) -> None:
    original = sample()
    original.save(tmp_path / "set.npz")
    content = bytearray((tmp_path / "set.npz").read_bytes())
    for place, bit in flips:
        content[place % len(content)] ^= 1 << bit
    found = read_or_refused(tmp_path / "set.npz", bytes(content))
    assert found is None or found.fingerprint == original.fingerprint


NPY_HEADER = st.one_of(
    st.binary(max_size=30),
    st.fixed_dictionaries(
        {
            "descr": st.sampled_from(["<i8", "<f4", "|u1", "|O", "<U9999999", "[('a', 'O')]", "<V8", "M8[s]"]),
            "fortran_order": st.booleans(),
            "shape": st.lists(st.integers(-2, 2**64), max_size=3).map(tuple),
        }
    ).map(lambda header: repr(header).encode()),
    st.sampled_from([b"(" * 5000, b"{" * 5000, b"9" * 5000, b"__import__('os').abort()"]),
)


def npy(header: bytes, data: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


@given(
    st.sampled_from(["metadata", "lengths_0", "obs_0", "actions_1", "final_obs_0", "final_actions_1"]),
    st.binary(max_size=60) | st.builds(npy, NPY_HEADER, st.binary(max_size=16)),
)
@FUZZ
def test_no_hostile_array_gets_past_the_reader(tmp_path: Path, name: str, content: bytes) -> None:
    sample().save(tmp_path / "set.npz")
    members = members_of(tmp_path / "set.npz")
    hostile = io.BytesIO()
    with zipfile.ZipFile(hostile, "w") as file:
        for each, good in members.items():
            file.writestr(each, content if each == f"{name}.npy" else good)
        file.writestr("../../outside.npy", content)  # nobody asks for it, so nobody unpacks it
    assert read_or_refused(tmp_path / "set.npz", hostile.getvalue()) is None
    assert {path.name for path in tmp_path.iterdir()} == {"set.npz"}


@cache
def many_episodes() -> Demonstrations:
    """Of arrays that are longer than what zipfile unfolds at once."""
    return sample(episodes=MANY)


def bomb(members: dict[str, bytes], method: int, bomb: str, claimed: int) -> bytes:
    """An archive in which the index, which a reader goes by, claims a size for the member `bomb`."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as file:
        for name, member in members.items():
            file.writestr(name, member)
        file.getinfo(bomb).file_size = claimed
    return content.getvalue()


@given(
    st.sampled_from(["metadata", "lengths_0", "obs_0", "actions_1", "avail_actions_1", "final_obs_0"]),
    st.sampled_from([zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]),
    st.data(),
)
@settings(FUZZ, max_examples=EXAMPLES // 5)
def test_no_bomb_takes_memory(tmp_path: Path, name: str, method: int, data: st.DataObject) -> None:
    """Of arrays that unfold to 4 MiB or more, whose headers fit or tell the truth, in an index that may lie."""
    many_episodes().save(tmp_path / "set.npz")
    members = members_of(tmp_path / "set.npz")
    with np.load(tmp_path / "set.npz") as arrays:
        good = arrays[name]
    zeros = bytes(data.draw(st.integers(4, 8)) * MEBIBYTE)
    rows = data.draw(st.sampled_from([len(good), len(zeros) // good[0].nbytes]))
    header = io.BytesIO()
    claim = {"descr": good.dtype.str, "fortran_order": False, "shape": (rows, *good.shape[1:])}
    np.lib.format.write_array_header_1_0(header, claim)
    members[f"{name}.npy"] = header.getvalue() + zeros
    claims = [len(members[f"{name}.npy"]), 2**31 - 1, len(header.getvalue()) + good.nbytes, 0]
    content = bomb(members, method, f"{name}.npy", data.draw(st.sampled_from(claims)))
    tracemalloc.start()
    assert read_or_refused(tmp_path / "set.npz", content, MANY) is None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MEBIBYTE


@given(st.binary(max_size=200))
@FUZZ
def test_no_bytes_get_past_the_reader_or_crash_it(tmp_path: Path, content: bytes) -> None:
    assert read_or_refused(tmp_path / "set.npz", content) is None


def test_refuses_metadata_that_would_fill_the_memory(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dm2.play.demonstrations.MAX_METADATA_BYTES", 100)
    refused(archive, "its metadata claims [0-9]+ bytes")


@pytest.mark.parametrize("name", ["obs_0", "final_obs_1"])
def test_refuses_numbers_that_are_not_finite(archive: Path, name: str) -> None:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays[name][0, 0] = np.nan

    refused(rewrite(archive, change), f"{name} holds numbers that are not finite")


def test_refuses_actions_that_were_not_available(archive: Path) -> None:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays["avail_actions_1"][:, 0] = False

    refused(rewrite(archive, change), "actions_1 holds actions that avail_actions_1 rules out")


def test_refuses_a_missing_array(archive: Path) -> None:
    def change(arrays: dict[str, np.ndarray]) -> None:
        del arrays["actions_1"]

    refused(rewrite(archive, change), "holds no array 'actions_1'")


def test_refuses_another_type(archive: Path) -> None:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays["obs_0"] = arrays["obs_0"].astype(np.float64)

    refused(rewrite(archive, change), "found obs_0 of float64")


def test_refuses_pickled_objects(archive: Path) -> None:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays["lengths_0"] = np.array([{"a": 1}, None], dtype=object)

    refused(rewrite(archive, change), "lengths_0")


def test_refuses_another_version(archive: Path) -> None:
    def change(arrays: dict[str, np.ndarray]) -> None:
        record = json.loads(arrays["metadata"].tobytes()) | {"version": 99}
        arrays["metadata"] = np.frombuffer(json.dumps(record).encode(), np.uint8)

    refused(rewrite(archive, change), "found an archive of version 99, expected 3, .*; sample it again")


def test_refuses_a_claim_that_the_file_cannot_hold(archive: Path) -> None:
    """A header that claims 80 terabytes; nothing of that size may be allocated."""
    header = io.BytesIO()
    claim = {"descr": "<i8", "fortran_order": False, "shape": (10**13,)}
    np.lib.format.write_array_header_1_0(header, claim)
    members = members_of(archive)
    members["lengths_0.npy"] = header.getvalue() + bytes(80)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    refused(archive, "claims 80000000000000 bytes, there are 80")


def test_a_failed_write_changes_nothing(archive: Path) -> None:
    before = archive.read_bytes()
    with pytest.raises(ValueError, match="Out of range float values"):
        sample(metadata={"epsilon": float("nan")}).save(archive)
    assert archive.read_bytes() == before


def test_agent_demonstrations_check_their_shapes() -> None:
    lengths, obs, actions = np.array([2]), np.zeros((2, 3), np.float32), np.zeros(2, np.int64)
    avail_actions = np.ones((2, 4), np.bool_)
    final = np.zeros((1, 3), np.float32), np.zeros(1, np.int64)
    with pytest.raises(ValueError, match=r"obs: found shape \[3, 3\], expected \[2, any\]"):
        AgentDemonstrations(lengths, np.zeros((3, 3), np.float32), actions, avail_actions, *final)
    with pytest.raises(ValueError, match="obs: found type float64, expected float32"):
        AgentDemonstrations(lengths, obs.astype(np.float64), actions, avail_actions, *final)
    with pytest.raises(ValueError, match="expected episodes of at least one step"):
        AgentDemonstrations(np.array([2, 0]), obs, actions, avail_actions, *final)
    with pytest.raises(ValueError, match=r"avail_actions: found shape \[1, 4\], expected \[2, any\]"):
        AgentDemonstrations(lengths, obs, actions, avail_actions[:1], *final)
    with pytest.raises(ValueError, match=r"final_obs: found shape \[1, 2\], expected \[1, 3\]"):
        AgentDemonstrations(lengths, obs, actions, avail_actions, final[0][:, :2], final[1])
