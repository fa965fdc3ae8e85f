"""dm2.play.rollout: episodes without padding, in the right places, the same for the same seed."""

import dataclasses

import numpy as np
import pytest
import torch
from support.fake_env import FakeEnv

from dm2.play.rollout import NO_ACTION_YET, ActResult, Episodes, collect


class Echo:
    """Acts at random from its uniform number and records what it was given."""

    def initial_hidden(self, n_battles):
        return {"steps": torch.zeros(2, n_battles, 1)}

    def act(self, obs, last_actions, avail_actions, hidden, uniform):
        n_available = avail_actions.sum(-1)
        first = avail_actions.int().argmax(-1)
        actions = first + (uniform * n_available).long()
        extras = {"last": last_actions, "steps": hidden["steps"], "uniform": uniform}
        return ActResult(actions, {"steps": hidden["steps"] + 1}, extras)


def play(n_battles=6, seed=1, **options):
    return collect(FakeEnv(n_battles), Echo(), np.arange(10, 10 + n_battles), np.random.default_rng(seed), **options)


def test_episode_lengths_and_rows():
    env = FakeEnv(6)
    episodes = play()
    env.reset(np.arange(10, 16))
    assert episodes.lengths.tolist() == [env.length(n) for n in range(6)]
    assert episodes.rows == sum(episodes.lengths.tolist())
    assert episodes.starts.tolist() == [0, *np.cumsum(episodes.lengths.numpy()).tolist()]
    assert episodes.truncated.tolist() == [n == 8 for n in episodes.lengths.tolist()]


def test_rows_are_episode_major_and_hidden_state_follows_its_battle():
    episodes = play(keep_state=True)
    steps = torch.cat([torch.arange(n) for n in episodes.lengths.tolist()])
    numbers = torch.arange(10, 16).repeat_interleave(episodes.lengths)
    assert torch.equal(episodes.state, torch.stack([steps, numbers], 1).float())
    assert torch.equal(episodes.extras["steps"], steps.float().expand(2, -1)[..., None])
    assert episodes.final_state[:, 0].tolist() == episodes.lengths.tolist()


def test_last_actions_are_those_the_policy_was_given():
    episodes = play()
    assert torch.equal(episodes.last_actions, episodes.extras["last"])
    assert (episodes.last_actions[:, episodes.starts[:-1]] == NO_ACTION_YET).all()


def test_dead_agents_are_not_alive_and_see_zeros():
    episodes = play()
    steps = torch.cat([torch.arange(n) for n in episodes.lengths.tolist()])
    assert episodes.alive[0].all()
    assert torch.equal(episodes.alive[1], steps < 2)
    assert not episodes.obs[1, ~episodes.alive[1]].any()
    assert episodes.dead_allies.tolist() == [1] * 6


def test_returns_sum_each_episodes_rewards():
    episodes = play()
    parts = episodes.reward.split(episodes.lengths.tolist())
    assert torch.allclose(episodes.returns, torch.stack([part.sum() for part in parts]))


def test_same_seed_same_episodes_other_seed_others():
    first, second, other = play(), play(), play(seed=2)
    for name in ("obs", "actions", "reward", "final_obs"):
        assert torch.equal(getattr(first, name), getattr(second, name))
    assert not torch.equal(first.actions, other.actions)


def test_draws_do_not_depend_on_when_other_battles_end():
    episodes = play()
    uniform = np.random.default_rng(1).random((8, 2, 6), dtype=np.float32)
    for n, (start, length) in enumerate(zip(episodes.starts.tolist(), episodes.lengths.tolist(), strict=False)):
        assert np.array_equal(episodes.extras["uniform"][:, start : start + length].numpy(), uniform[:length, :, n].T)


def test_the_policy_answers_the_final_observations_as_if_the_battles_went_on():
    plain, found = play(keep_state=True), play(keep_state=True, act_at_end=True)
    for part in dataclasses.fields(Episodes):
        one, other = getattr(plain, part.name), getattr(found, part.name)
        if isinstance(one, torch.Tensor):
            assert torch.equal(one, other), part.name
    assert all(torch.equal(extra, found.extras[name]) for name, extra in plain.extras.items())
    assert plain.final_actions is None and plain.final_extras == {}
    uniform = np.random.default_rng(1).random((9, 2, 6), dtype=np.float32)
    for n, length in enumerate(found.lengths.tolist()):
        assert np.array_equal(found.final_extras["uniform"][:, n].numpy(), uniform[length, :, n])
        assert (found.final_extras["steps"][:, n] == length).all()
    assert torch.equal(found.final_extras["last"], found.actions[:, found.starts[1:] - 1])
    assert found.final_avail_actions.gather(2, found.final_actions[..., None]).all()
    assert len(set(found.final_actions[0].tolist())) > 1 and not found.final_actions[1].any()


def test_final_answers_do_not_depend_on_the_other_battles():
    one, other = (
        collect(FakeEnv(6), Echo(), numbers, np.random.default_rng(1), act_at_end=True)
        for numbers in (np.arange(10, 16), np.array([10, 12, 18, 13, 24, 12]))
    )
    assert one.lengths[[0, 3]].tolist() == other.lengths[[0, 3]].tolist()
    assert int(one.lengths.max()) > int(other.lengths.max())
    assert torch.equal(one.final_actions[:, [0, 3]], other.final_actions[:, [0, 3]])


def test_state_is_kept_only_on_request():
    assert play().state is None and play().final_state is None


def test_wrong_shape_is_refused_by_name():
    episodes = play()
    with pytest.raises(ValueError, match=r"actions: found shape \[2, 3\], expected \[2, \d+\]"):
        dataclasses.replace(episodes, actions=episodes.actions[:, :3])
    with pytest.raises(ValueError, match=r"extras\['x'\]"):
        dataclasses.replace(episodes, extras={"x": torch.zeros(2, 3, 4)})
    assert isinstance(episodes, Episodes)


def test_number_of_episodes_must_fill_the_battles():
    with pytest.raises(ValueError, match=r"episodes: found shape \[3\], expected \[a multiple of 4\]"):
        collect(FakeEnv(4), Echo(), np.arange(3), np.random.default_rng(0))


@pytest.mark.parametrize("n_battles", [1, 2])
def test_more_episodes_than_battles_are_played_in_waves(n_battles):
    env, numbers, generator = FakeEnv(n_battles), np.arange(10, 16), np.random.default_rng(1)
    options = {"keep_state": True, "act_at_end": True}
    waves = collect(env, Echo(), numbers, np.random.default_rng(1), **options)
    parts = [
        collect(FakeEnv(n_battles), Echo(), wave, generator, **options) for wave in np.split(numbers, 6 // n_battles)
    ]
    assert waves.n_episodes == 6
    assert waves.rows == sum(part.rows for part in parts)
    for name, axis in {
        "lengths": 0,
        "obs": 1,
        "actions": 1,
        "reward": 0,
        "final_obs": 1,
        "final_avail_actions": 1,
        "final_actions": 1,
        "state": 0,
        "final_state": 0,
    }.items():
        assert torch.equal(getattr(waves, name), torch.cat([getattr(part, name) for part in parts], axis)), name
    assert torch.equal(waves.extras["last"], waves.last_actions)
    assert torch.equal(waves.final_extras["uniform"], torch.cat([p.final_extras["uniform"] for p in parts], 1))


@pytest.mark.parametrize("numbers", [np.arange(3), np.arange(0), np.arange(4).reshape(2, 2)])
def test_waves_that_are_not_full_are_refused(numbers):
    with pytest.raises(ValueError, match=r"episodes: found shape .*, expected \[a multiple of 2\]"):
        collect(FakeEnv(2), Echo(), numbers, np.random.default_rng(1))
