"""Discriminators: they learn to tell, each alone, from named streams, and go on from a saved state."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from dm2.core.interface import EnvSpec
from dm2.learners.discriminator import Discriminator, inputs, own_rows, stored_logits
from dm2.learners.discriminator_kernels import EpisodeRows, episode_rows
from dm2.play.rollout import Episodes
from dm2.settings.learners import DiscriminatorSettings, QuirkSettings

SPEC = EnvSpec(
    map_name="fake", n_agents=2, n_enemies=1, n_actions=4, obs_size=3, state_size=2, episode_limit=8, backend="fake 1"
)
SETTINGS = DiscriminatorSettings(steps_per_update=20, batch_episodes=4, hidden_size=16, learning_rate=1e-2)


def discriminator(spec: EnvSpec = SPEC, seed: int = 3, **changes: object) -> Discriminator:
    return Discriminator(spec, SETTINGS.model_copy(update=changes), QuirkSettings(), seed)


def some_rows(seed: int, mean: float, episodes: int = 6) -> EpisodeRows:
    generator = np.random.default_rng(seed)
    lengths = generator.integers(3, 9, episodes)
    rows = generator.normal(mean, 0.3, (int(lengths.sum()), SPEC.obs_size)).astype(np.float32)
    return episode_rows(rows, np.concatenate(([0], np.cumsum(lengths))))


EXPERT = [some_rows(0, 1.0), some_rows(1, 0.5)]
OWN = [some_rows(2, -1.0), some_rows(3, -0.5)]


def some_episodes() -> Episodes:
    obs = torch.randn(2, 5, SPEC.obs_size, generator=torch.Generator().manual_seed(0))
    avail_actions = torch.ones(2, 5, SPEC.n_actions, dtype=torch.bool)
    avail_actions[:, :, 0] = False
    obs[1, 4], avail_actions[1, 4] = 0.0, torch.tensor([True, False, False, False])  # agent 1 is dead in the last row
    none = torch.zeros(2, dtype=torch.int64)
    return Episodes(
        lengths=torch.tensor([2, 3]),
        obs=obs,
        avail_actions=avail_actions,
        actions=torch.tensor([[1, 2, 3, 1, 2], [3, 3, 1, 2, 0]]),
        reward=torch.zeros(5),
        battle_won=none.bool(),
        truncated=none.bool(),
        dead_allies=none,
        dead_enemies=none,
        final_obs=torch.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [[0.0] * 3, [0.0] * 3]]),
        final_avail_actions=avail_actions[:, :2],
        final_actions=torch.tensor([[1, 2], [0, 0]]),
    )


def test_learns_to_tell_expert_from_own() -> None:
    found = discriminator(steps_per_update=60)
    first, last = found.update(EXPERT, OWN), [found.update(EXPERT, OWN) for _ in range(5)][-1]
    assert last["discriminator_loss"] < first["discriminator_loss"]
    assert last["discriminator_accuracy_expert"] > 0.9
    assert last["discriminator_accuracy_own"] > 0.9


def test_an_agent_learns_alone_as_in_company() -> None:
    both, alone = discriminator(), discriminator(dataclasses.replace(SPEC, n_agents=1))
    both.update(EXPERT, OWN)
    alone.update(EXPERT[:1], OWN[:1])
    assert torch.equal(both.flat[0], alone.flat[0])
    assert not torch.equal(both.flat[0], both.flat[1])


def test_goes_on_from_a_saved_state() -> None:
    one, other = discriminator(), discriminator(seed=3)
    one.update(EXPERT, OWN)
    other.load_state(one.state())
    assert one.update(EXPERT, OWN) == other.update(EXPERT, OWN)
    assert all(torch.equal(tensor, other.state()[name]) for name, tensor in one.state().items())


def test_a_fresh_state_can_be_loaded() -> None:
    one, other = discriminator(), discriminator(seed=3)
    other.load_state(one.state())
    assert one.update(EXPERT, OWN) == other.update(EXPERT, OWN)


def test_another_seed_is_another_discriminator() -> None:
    assert not torch.equal(discriminator(seed=3).flat, discriminator(seed=4).flat)


def test_refuses_a_state_of_another_shape() -> None:
    with pytest.raises(ValueError, match=r"parameters: found shape .* expected"):
        discriminator().load_state(discriminator(hidden_size=8).state())


def test_refuses_too_few_episodes() -> None:
    with pytest.raises(ValueError, match="own episodes of agent 1: found 3 episodes, expected at least 4"):
        discriminator().update(EXPERT, [OWN[0], some_rows(3, 0.0, episodes=3)])


def test_initial_parameters_are_those_of_torch_linear() -> None:
    net = discriminator(hidden_size=64).net
    bounds = {"w1": SPEC.obs_size, "b1": SPEC.obs_size, "w2": 64, "b2": 64, "w3": 64, "b3": 64}
    for name, fan_in in bounds.items():
        parameter = getattr(net, name)
        assert float(parameter.abs().max()) <= fan_in**-0.5
        if parameter[0].numel() > 30:
            assert float(parameter.std()) == pytest.approx((3.0 * fan_in) ** -0.5, rel=0.2)


def test_logits_by_a_plain_twin_and_of_the_zero_row() -> None:
    found = discriminator()
    episodes = some_episodes()
    rows, zero = found.logits(episodes.obs, episodes.actions), found.zero_logit()
    for agent in range(2):
        net = found.net.of(agent)
        h2 = torch.tanh(torch.tanh(episodes.obs[agent] @ net.w1.T + net.b1) @ net.w2.T + net.b2)
        torch.testing.assert_close(rows[agent], h2 @ net.w3 + net.b3)
    torch.testing.assert_close(zero[1], rows[1, 4])


def test_stored_parameters_say_what_the_discriminator_said() -> None:
    found, episodes = discriminator(), some_episodes()
    parameters = found.state()["parameters"]
    torch.testing.assert_close(
        stored_logits(parameters, SPEC, found.settings)(episodes), found.logits(episodes.obs, episodes.actions)
    )
    with pytest.raises(ValueError, match=r"discriminator.parameters.*expected"):
        stored_logits(parameters[:, 1:], SPEC, found.settings)


def test_state_action_appends_the_action_as_a_number() -> None:
    episodes = some_episodes()
    seen = inputs(episodes.obs, episodes.actions, "state_action")
    assert seen.shape == (2, 5, 4)
    assert seen[0, :, 3].tolist() == [1.0, 2.0, 3.0, 1.0, 2.0]
    found = discriminator(input="state_action")
    rows, zero = found.logits(episodes.obs, episodes.actions), found.zero_logit()
    torch.testing.assert_close(zero[1], rows[1, 4])
    found.update([episode_rows(np.ones((20, 4), np.float32), np.arange(5) * 5)] * 2, own_rows_of_four(episodes))


def own_rows_of_four(episodes: Episodes) -> list[EpisodeRows]:
    rows = own_rows(episodes, "state_action", terminal=False)
    return [EpisodeRows(np.tile(r.rows, (2, 1)), np.concatenate((r.starts, r.starts[-1] + r.starts[1:]))) for r in rows]


def test_own_rows_leave_out_the_dead() -> None:
    first, second = own_rows(some_episodes(), "state", terminal=False)
    assert first.starts.tolist() == [0, 2, 5]
    assert second.starts.tolist() == [0, 2, 4]


def test_terminal_rows_are_at_the_episodes_ends() -> None:
    episodes = some_episodes()
    first, second = own_rows(episodes, "state_action", terminal=True)
    assert first.starts.tolist() == [0, 3, 7]
    assert first.rows[[2, 6], :4].tolist() == [[1.0, 2.0, 3.0, 1.0], [4.0, 5.0, 6.0, 2.0]]
    np.testing.assert_array_equal(first.rows[[0, 1, 3, 4, 5], :3], episodes.obs[0])
    assert second.starts.tolist() == [0, 2, 4]  # agent 1 is dead there


def test_unused_quirk_changes_the_training() -> None:
    absorbing = discriminator()
    living = Discriminator(SPEC, SETTINGS, QuirkSettings(absorbing_zeros=False), 3)
    absorbing.update(EXPERT, OWN)
    living.update(EXPERT, OWN)
    assert not torch.equal(absorbing.flat, living.flat)
