"""DM2: the reward by hand, what reaches IPPO, resuming, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.fake_env import FakeEnv, FakeSpec
from support.twin_comparison import differences

from dm2.core.randomness import stream
from dm2.learners.distribution_matching import DistributionMatching, matching_reward
from dm2.learners.ippo import IPPO, Batch, Rewards
from dm2.play.demonstrations import Demonstrations, sample_demonstrations
from dm2.play.rollout import Episodes, collect
from dm2.settings.learners import DiscriminatorSettings, IPPOSettings, QuirkSettings
from dm2.settings.run import DemonstrationSource, RunSettings

SPEC: Any = FakeSpec()


def settings(**changes: Any) -> RunSettings:
    values: dict[str, Any] = {
        "scale": "smoke",
        "map_name": "fake",
        "condition": "dm2",
        "seed": 1,
        "algorithm": "ippo",
        "reward": "mixed",
        "env_steps": 100,
        "evaluation_interval": 50,
        "evaluation_episodes": 4,
        "ippo": IPPOSettings(episodes_per_update=6, ppo_epochs=2, hidden_size=8, learning_rate=3e-3),
        "discriminator": DiscriminatorSettings(steps_per_update=5, batch_episodes=4, hidden_size=8, reward_weight=0.3),
        "demonstrations": DemonstrationSource(expert="ippo", episodes=8),
    }
    return RunSettings(**(values | changes))


@pytest.fixture(scope="module")
def demonstrations() -> Demonstrations:
    return sample(expert="ippo", checkpoint_percent=100)


def sample(episodes: int = 8, **metadata: Any) -> Demonstrations:
    policy = IPPO(SPEC, IPPOSettings(hidden_size=8), QuirkSettings(), 9).policy()
    return sample_demonstrations([policy], SPEC, FakeEnv, seeds=[9], episodes=episodes, metadata=metadata)  # type: ignore[arg-type]


def play(learner: DistributionMatching, update: int = 0) -> Episodes:
    numbers, generator = np.arange(6) + 6 * update, stream(1, "policy", update)
    return collect(FakeEnv(6), learner.policy(), numbers, generator, act_at_end=learner.acts_at_end)


def test_reward_by_hand() -> None:
    env_reward, logit = torch.tensor([1.0, 2.0]), torch.tensor([[0.5, -1.0], [0.0, 4.0]])
    assert matching_reward(env_reward, logit, "mixed", 0.5).tolist() == [[1.25, 1.5], [1.0, 4.0]]
    assert matching_reward(env_reward, logit, "gail", 0.5).tolist() == logit.tolist()
    assert matching_reward(0.0, logit, "mixed", 0.5).tolist() == [[0.25, -0.5], [0.0, 2.0]]


@pytest.mark.parametrize("reward", ["mixed", "gail"])
def test_ippo_is_paid_by_the_trained_discriminator(
    reward: str, demonstrations: Demonstrations, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = DistributionMatching(SPEC, settings(reward=reward), demonstrations)
    episodes, paid = play(learner), {}
    before = learner.discriminator.flat.clone()

    make_batch = learner.ippo.batch

    def batch(episodes: Episodes, rewards: Rewards) -> Batch:
        paid.update(rewards._asdict())
        return make_batch(episodes, rewards)

    monkeypatch.setattr(learner.ippo, "batch", batch)
    metrics = learner.learn(episodes)
    assert not torch.equal(before, learner.discriminator.flat)
    logits = learner.discriminator.logits(episodes.obs, episodes.actions)
    terminal = learner.discriminator.logits(episodes.final_obs, episodes.final_actions)
    weight, share = (0.3, 1.0) if reward == "mixed" else (1.0, 0.0)
    torch.testing.assert_close(paid["played"], share * episodes.reward + weight * logits)
    torch.testing.assert_close(paid["terminal"], weight * terminal)
    torch.testing.assert_close(paid["padded"], weight * learner.discriminator.zero_logit())
    assert metrics["gail_reward_mean"] == pytest.approx(float(logits[episodes.alive].mean()))


@pytest.mark.parametrize("reward", ["mixed", "gail"])
@pytest.mark.parametrize("input_kind", ["state", "state_action"])
@pytest.mark.parametrize("quirks", ["none", "default", "all"])
@pytest.mark.parametrize("deaths", [{1: 2}, {0: 8, 1: 3}], ids=["one dies", "dead at the end"])
def test_update_equals_the_padded_computation(
    reward: str, input_kind: str, quirks: str, deaths: dict[int, int], demonstrations: Demonstrations
) -> None:
    """Of episodes of 3 to 8 = T steps, so that L + 1 = T and L = T are among them; the experts' likewise."""
    given = {
        "none": QuirkSettings(absorbing_zeros=False),
        "default": QuirkSettings(),
        "all": QuirkSettings.as_the_papers_code(),
    }[quirks]
    matching = DiscriminatorSettings(steps_per_update=5, batch_episodes=4, hidden_size=8, input=input_kind)  # type: ignore[arg-type]
    run = settings(reward=reward, discriminator=matching, quirks=given)
    learned, fresh = (DistributionMatching(SPEC, run, demonstrations) for _ in range(2))
    learned.learn(play(learned))
    fresh.ippo.actor.copy_(learned.ippo.actor)
    fresh.ippo.critic.copy_(learned.ippo.critic)
    fresh.discriminator.flat.data.copy_(learned.discriminator.flat.data)
    env, numbers, generator = FakeEnv(6, deaths=deaths), np.arange(6) + 6, stream(2, "policy")
    episodes = collect(env, fresh.policy(), numbers, generator, act_at_end=fresh.acts_at_end)
    assert {7, 8} < set(episodes.lengths.tolist())
    found = differences(fresh, episodes, demonstrations.agents)
    gradients = {"first discriminator gradient", "later discriminator gradients"}
    assert set(found) == {"rewards", "advantages", "returns", "actor", "critic", "discriminator"} | gradients
    assert all(value < 2e-5 for value in found.values()), found


def test_metrics_are_finite_floats(demonstrations: Demonstrations) -> None:
    learner = DistributionMatching(SPEC, settings(), demonstrations)
    metrics = learner.learn(play(learner))
    wanted = {"discriminator_loss", "discriminator_accuracy_expert", "discriminator_accuracy_own", "gail_reward_mean"}
    assert wanted | {"policy_loss", "value_loss", "entropy"} <= set(metrics)
    assert all(isinstance(value, float) and np.isfinite(value) for value in metrics.values())


def test_goes_on_from_a_saved_state(demonstrations: Demonstrations) -> None:
    one = DistributionMatching(SPEC, settings(), demonstrations)
    other = DistributionMatching(SPEC, settings(), demonstrations)
    one.learn(play(one))
    other.load_state(one.state())
    assert one.learn(play(one, 1)) == other.learn(play(other, 1))
    found, expected = other.state(), one.state()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_policy_state_is_the_actors_alone(demonstrations: Demonstrations) -> None:
    learner = DistributionMatching(SPEC, settings(), demonstrations)
    assert learner.policy_state().keys() == learner.ippo.policy_state().keys()


def test_state_action_discriminators(demonstrations: Demonstrations) -> None:
    given = DiscriminatorSettings(steps_per_update=2, batch_episodes=4, hidden_size=8, input="state_action")
    learner = DistributionMatching(SPEC, settings(discriminator=given), demonstrations)
    assert learner.discriminator.net.w1.shape[-1] == SPEC.obs_size + 1
    learner.learn(play(learner))


def test_learns_to_do_what_the_expert_does() -> None:
    """An expert that always takes action 3, seen by state-action discriminators: its learner takes action 3 too."""
    source = sample(64)
    for agent in source.agents:
        agent.actions[agent.obs.any(axis=1)] = 3
        agent.final_actions[agent.final_obs.any(axis=1)] = 3
    learner = DistributionMatching(
        SPEC,
        settings(
            reward="gail",
            demonstrations=DemonstrationSource(expert="ippo", episodes=64),
            ippo=IPPOSettings(episodes_per_update=64, ppo_epochs=5, hidden_size=16, learning_rate=3e-3),
            discriminator=DiscriminatorSettings(
                steps_per_update=20, batch_episodes=32, hidden_size=16, input="state_action", learning_rate=1e-2
            ),
        ),
        source,
    )
    share = []
    for update in range(25):
        generator = stream(1, "policy", update)
        numbers = np.arange(64) + 64 * update
        episodes = collect(FakeEnv(64), learner.policy(), numbers, generator, act_at_end=True)
        share.append(float((episodes.actions == 3)[episodes.alive].float().mean()))
        learner.learn(episodes)
    assert share[0] < 0.5
    assert share[-1] > 0.8


def test_refuses_demonstrations_of_other_sizes(demonstrations: Demonstrations) -> None:
    with pytest.raises(ValueError, match="found 2 agents with 3 numbers per observation, expected 2 with 5"):
        DistributionMatching(FakeSpec(obs_size=5), settings(), demonstrations)  # type: ignore[arg-type]


def test_refuses_demonstrations_of_another_checkpoint() -> None:
    with pytest.raises(ValueError, match="found checkpoint_percent 50, expected 100"):
        DistributionMatching(SPEC, settings(), sample(checkpoint_percent=50))
