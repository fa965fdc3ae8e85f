"""Self-imitation: what the store keeps, and a learner that goes on from its store."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.fake_env import FakeEnv, FakeSpec

from dm2.core.randomness import stream
from dm2.learners.discriminator_kernels import EpisodeRows
from dm2.learners.self_imitation import BestEpisodes, SelfImitation, discounted_returns
from dm2.play.rollout import Episodes, collect
from dm2.settings.learners import DiscriminatorSettings, IPPOSettings, QuirkSettings, SelfImitationSettings
from dm2.settings.run import RunSettings

SPEC: Any = FakeSpec()


def one_row_each(values: list[float]) -> list[EpisodeRows]:
    """One agent's episodes of one row each, which holds the episode's return."""
    return [EpisodeRows(np.array(values, np.float32).reshape(-1, 1), np.arange(len(values) + 1))]


def stored(capacity: int, batches: list[list[float]], evict_before_insert: bool = False) -> list[float]:
    store = BestEpisodes(capacity, evict_before_insert)
    for values in batches:
        store.offer(np.array(values), one_row_each(values))
    return store.rows()[0].rows[:, 0].tolist()


def test_discounted_returns_by_hand() -> None:
    found = discounted_returns(torch.tensor([1.0, 2.0, 4.0, 3.0]), torch.tensor([3, 1]), 0.5)
    assert found.tolist() == [1.0 + 1.0 + 1.0, 3.0]


batches_of_returns = st.lists(st.lists(st.integers(0, 9).map(float), min_size=1, max_size=9), min_size=1, max_size=6)


@given(batches_of_returns, st.integers(1, 8))
def test_keeps_the_best(batches: list[list[float]], capacity: int) -> None:
    everything = [value for batch in batches for value in batch]
    assert sorted(stored(capacity, batches)) == sorted(everything)[-capacity:]


def test_of_equals_the_older_stays_and_order_is_that_of_play() -> None:
    store = BestEpisodes(2, False)
    rows = [EpisodeRows(np.array([[10.0], [20.0], [30.0]]), np.arange(4))]
    store.offer(np.array([1.0, 1.0, 1.0]), rows)
    assert store.rows()[0].rows[:, 0].tolist() == [10.0, 20.0]


@given(batches_of_returns, st.integers(1, 8))
def test_quirk_throws_the_worst_out_for_anything(batches: list[list[float]], capacity: int) -> None:
    plain: list[float] = []
    for value in (value for batch in batches for value in batch):
        if len(plain) >= capacity:
            heapq.heappop(plain)
        heapq.heappush(plain, value)
    assert sorted(stored(capacity, batches, evict_before_insert=True)) == sorted(plain)


def test_store_goes_on_from_its_state() -> None:
    one, other = BestEpisodes(3, False), BestEpisodes(3, False)
    one.offer(np.array([3.0, 1.0, 2.0, 5.0]), one_row_each([3.0, 1.0, 2.0, 5.0]))
    other.load_state(one.state(), 1)
    for store in (one, other):
        store.offer(np.array([4.0, 2.0]), one_row_each([4.0, 2.0]))
    assert other.rows()[0].rows.tolist() == one.rows()[0].rows.tolist() == [[3.0], [5.0], [4.0]]


def test_refuses_a_state_that_does_not_fit() -> None:
    store = BestEpisodes(3, False)
    store.offer(np.array([3.0, 1.0]), one_row_each([3.0, 1.0]))
    with pytest.raises(ValueError, match="found 2 stored episodes, expected at most 1"):
        BestEpisodes(1, False).load_state(store.state(), 1)


def settings(stored_episodes: int = 8, **changes: Any) -> RunSettings:
    return RunSettings(
        scale="smoke",
        map_name="fake",
        condition="dm2_sil",
        seed=1,
        algorithm="ippo",
        reward="mixed",
        env_steps=100,
        evaluation_interval=50,
        evaluation_episodes=4,
        ippo=IPPOSettings(episodes_per_update=6, ppo_epochs=2, hidden_size=8),
        discriminator=DiscriminatorSettings(steps_per_update=5, batch_episodes=4, hidden_size=8),
        self_imitation=SelfImitationSettings(stored_episodes=stored_episodes),
        **changes,
    )


def play(learner: SelfImitation, update: int = 0) -> Episodes:
    numbers, generator = np.arange(6) + 6 * update, stream(1, "policy", update)
    return collect(FakeEnv(6), learner.policy(), numbers, generator, act_at_end=learner.acts_at_end)


@pytest.mark.parametrize("absorbing_zeros", [True, False])
def test_experts_are_the_best_own_episodes(absorbing_zeros: bool) -> None:
    quirks = QuirkSettings(absorbing_zeros=absorbing_zeros)
    learner = SelfImitation(SPEC, settings(stored_episodes=4, quirks=quirks))
    episodes = play(learner)
    found = learner.expert_rows(episodes)
    best = np.sort(np.argsort(-discounted_returns(episodes.reward, episodes.lengths, 0.99), kind="stable")[:4])
    parts = [[*episodes.obs[0, episodes.starts[n] : episodes.starts[n + 1]], episodes.final_obs[0, n]] for n in best]
    expected = np.concatenate([part if absorbing_zeros else part[:-1] for part in parts])
    np.testing.assert_array_equal(found[0].rows[:, : SPEC.obs_size], expected)


def test_learner_goes_on_from_a_saved_state() -> None:
    one, other = SelfImitation(SPEC, settings()), SelfImitation(SPEC, settings())
    one.learn(play(one))
    other.load_state(one.state())
    assert one.learn(play(one, 1)) == other.learn(play(other, 1))
    assert all(torch.equal(tensor, other.state()[name]) for name, tensor in one.state().items())


def test_a_fresh_learner_can_be_saved_and_loaded() -> None:
    one, other = SelfImitation(SPEC, settings()), SelfImitation(SPEC, settings())
    other.load_state(one.state())
    assert one.learn(play(one)) == other.learn(play(other))


def test_the_quirk_is_read_from_the_settings() -> None:
    quirks = QuirkSettings(evict_before_insert=True)
    assert SelfImitation(SPEC, settings(quirks=quirks)).store.evict_before_insert
    assert not SelfImitation(SPEC, settings()).store.evict_before_insert
