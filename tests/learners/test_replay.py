import dataclasses

import numpy as np
import pytest
import torch

from dm2.core.randomness import stream
from dm2.learners.replay import Replay, StoredEpisode, replay_batch
from dm2.play.rollout import Episodes


def episodes(lengths: list[int], truncated: list[bool] | None = None, first_tag: int = 0, agents: int = 2) -> Episodes:
    """Episode n's observations are n's tag + step / 100, its actions cycle; the final observation goes on counting."""
    n = len(lengths)
    size = torch.tensor(lengths)
    tag = (first_tag + torch.arange(n)).float()
    step = torch.cat([torch.arange(length) for length in lengths])
    value = torch.repeat_interleave(tag, size) + step / 100
    final = tag + size / 100
    offsets = torch.arange(agents)[:, None, None] * 1000.0
    return Episodes(
        lengths=size,
        obs=value[None, :, None] + offsets,
        avail_actions=torch.ones(agents, len(step), 3, dtype=torch.bool),
        actions=(step[None] + torch.arange(agents)[:, None]) % 3,
        reward=value * 10,
        battle_won=torch.zeros(n, dtype=torch.bool),
        truncated=torch.tensor(truncated or [False] * n),
        dead_allies=torch.zeros(n, dtype=torch.int64),
        dead_enemies=torch.zeros(n, dtype=torch.int64),
        final_obs=final[None, :, None] + offsets,
        final_avail_actions=torch.zeros(agents, n, 3, dtype=torch.bool).index_fill_(2, torch.tensor([1]), True),
        state=-value[:, None],
        final_state=-final[:, None],
        extras={"log_prob": torch.zeros(agents, len(step))},
    )


def stored_tags(replay: Replay) -> set[int]:
    batch = replay.sample(len(replay), np.random.default_rng(0))
    return {int(value) for value in batch.obs[: int(batch.counts[0]), 0, 0]}


def test_packing_is_the_longest_first_step_by_step():
    block = episodes([1, 3, 2], truncated=[False, False, True])
    batch = replay_batch([StoredEpisode(block, number) for number in range(3)])
    assert batch.counts.tolist() == [3, 2, 2]  # a truncated episode has one row more
    torch.testing.assert_close(batch.obs[:, 0, 0], torch.tensor([1, 2, 0, 1.01, 2.01, 1.02, 2.02]))
    torch.testing.assert_close(batch.obs[:, 1, 0], batch.obs[:, 0, 0] + 1000)
    torch.testing.assert_close(batch.state[:, 0], -batch.obs[:, 0, 0])
    assert batch.played.tolist() == [0, 1, 2, 3, 4, 5]
    torch.testing.assert_close(batch.reward, torch.tensor([10, 20, 0, 10.1, 20.1, 10.2]))
    assert batch.continues.tolist() == [True, True, False, True, True, False]
    assert batch.following[batch.continues].tolist() == [3, 4, 5, 6]
    assert batch.actions.tolist() == [[0, 1], [0, 1], [0, 1], [1, 2], [1, 2], [2, 0]]
    assert batch.last_actions.tolist() == [[-1, -1]] * 3 + [[0, 1], [0, 1], [1, 2], [1, 2]]
    assert batch.avail_actions[-1].tolist() == [[False, True, False]] * 2
    assert batch.avail_actions[:-1].all()


def test_the_final_observation_of_a_decided_battle_is_not_used():
    block = episodes([2, 4])
    garbage = dataclasses.replace(
        block,
        final_obs=torch.full_like(block.final_obs, torch.nan),
        final_state=torch.full_like(block.final_state, torch.nan),
    )
    plain, spoilt = (replay_batch([StoredEpisode(b, 0), StoredEpisode(b, 1)]) for b in (block, garbage))
    for field in dataclasses.fields(plain):
        torch.testing.assert_close(getattr(plain, field.name), getattr(spoilt, field.name))


def test_the_oldest_episodes_go_first():
    replay = Replay(capacity=5)
    for first_tag in (0, 3, 6):
        replay.add(episodes([2, 1, 3], first_tag=first_tag))
    assert len(replay) == 5
    assert stored_tags(replay) == {4, 5, 6, 7, 8}
    rows = sum(len(value) for name, value in replay.state().items() if name.endswith(".reward"))
    assert rows == 12  # the block of episodes 0 to 2 is freed


def test_one_collection_larger_than_the_memory_keeps_its_newest():
    replay = Replay(capacity=2)
    replay.add(episodes([1, 1, 1, 1]))
    assert stored_tags(replay) == {2, 3}


def test_sampling_is_without_replacement_and_reaches_everything():
    replay = Replay(capacity=100)
    for first_tag in range(0, 12, 3):
        replay.add(episodes([1, 1, 1], first_tag=first_tag))
    draws, seen = np.random.default_rng(1), set()
    for _ in range(40):
        batch = replay.sample(4, draws)
        tags = batch.obs[:, 0, 0].int().tolist()
        assert len(set(tags)) == 4
        seen |= set(tags)
    assert seen == set(range(12))


def test_more_than_is_stored_is_refused():
    replay = Replay(capacity=10)
    replay.add(episodes([1, 1]))
    with pytest.raises(ValueError, match="found 2 episodes, expected at least 3"):
        replay.sample(3, np.random.default_rng(0))


def test_episodes_without_state_are_refused():
    with pytest.raises(ValueError, match="keep_state=True"):
        Replay(capacity=2).add(dataclasses.replace(episodes([1]), state=None, final_state=None))


def test_a_restored_memory_samples_and_evicts_alike():
    replay, copy = Replay(capacity=4), Replay(capacity=4)
    replay.add(episodes([2, 3, 1]))
    replay.add(episodes([1, 2], first_tag=3))
    copy.load_state({name: value.clone() for name, value in replay.state().items()})
    for memory in (replay, copy):
        memory.add(episodes([4], first_tag=5))
    assert stored_tags(copy) == stored_tags(replay) == {2, 3, 4, 5}
    batches = [memory.sample(3, stream(7, "minibatch")) for memory in (replay, copy)]
    torch.testing.assert_close(batches[0].obs, batches[1].obs)


def test_what_the_policy_recorded_is_not_kept():
    replay = Replay(capacity=2)
    replay.add(episodes([2, 2]))
    assert not any("log_prob" in name for name in replay.state())
