"""dm2.learners.ippo: shortcuts against the padded computation, learning."""

import dataclasses

import numpy as np
import pytest
import torch
from support.fake_env import FakeEnv, FakeSpec
from support.ippo_learner import SETTINGS, agent_rewards, learner, play
from support.twin_comparison import differences

from dm2.core.randomness import stream
from dm2.learners.ppo import masked_log_softmax
from dm2.nets.actor_critic import forward
from dm2.play.rollout import collect
from dm2.settings.learners import QuirkSettings


def update(ippo, *arguments):
    return ippo.update(ippo.batch(*arguments))


QUIRKS = {
    "none": {"absorbing_zeros": False, "regeneration_pays": False},
    "default": {},
    "last_episode_left_out": {"last_episode_left_out": True},
    "first_action_leak": {"first_action_leak": True},
    "one_sided_huber": {"one_sided_huber": True},
    "frozen_critic_head": {"frozen_critic_head": True},
    "all but absorbing_zeros": {**QuirkSettings.as_the_papers_code().model_dump(), "absorbing_zeros": False},
    "all": QuirkSettings.as_the_papers_code().model_dump(),
}


def past_its_first_update(**quirks):
    """A learner whose biases are not 0 and whose actors are not uniform; its optimizers have no past."""
    learned, fresh = learner(**quirks), learner(**quirks)
    learned.learn(play(learned))
    fresh.actor.copy_(learned.actor)
    fresh.critic.copy_(learned.critic)
    return fresh


@pytest.mark.parametrize("quirks", QUIRKS.values(), ids=QUIRKS)
@pytest.mark.parametrize("deaths", [{1: 2}, {0: 8, 1: 3}, {}], ids=["one dies", "dead at the end", "nobody dies"])
def test_update_equals_the_padded_computation(quirks, deaths):
    """Of episodes of 3 to 8 = T steps, so that L + 1 = T and L = T are among them."""
    ippo = past_its_first_update(**quirks)
    episodes = play(ippo, first=100, deaths=deaths)
    assert {7, 8} < set(episodes.lengths.tolist())
    found = differences(ippo, episodes)
    assert set(found) == {"rewards", "advantages", "returns", "actor", "critic"}
    assert all(value < 2e-5 for value in found.values()), found


@pytest.mark.parametrize("absorbing_zeros", [True, False])
def test_first_epoch_sees_the_log_probs_and_values_of_the_rollout(absorbing_zeros):
    ippo = learner(absorbing_zeros=absorbing_zeros)
    ippo.learn(play(ippo))
    episodes = play(ippo, first=50)
    batch = ippo.batch(episodes, agent_rewards(episodes))
    for agent, rows in enumerate(batch.actor_rows):
        policy = ippo.policy()
        own = [rows.inputs.expand(2, -1, -1), rows.hidden.expand(2, -1, -1)]
        logits = forward(policy.actor, *own)[0][agent]
        log_probs = masked_log_softmax(logits, rows.avail_actions).gather(1, rows.actions[:, None])[:, 0]
        torch.testing.assert_close(log_probs, rows.old_log_prob, rtol=0, atol=2e-6)
        values = forward(policy.critic, *(data.expand(2, -1, -1) for data in batch.critic_rows[agent][:2]))[0][agent]
        torch.testing.assert_close(values[:, 0], batch.critic_rows[agent].old_values, rtol=0, atol=2e-6)


def test_first_action_leak_changes_the_first_steps_inputs_only():
    plain, leaking = learner(), learner(first_action_leak=True)
    episodes = play(plain)
    inputs = [one.batch(episodes, agent_rewards(episodes)).critic_rows for one in (plain, leaking)]
    first = torch.zeros(len(inputs[0][0].inputs), dtype=torch.bool)
    first[episodes.starts[:-1]] = True
    for one, other in zip(*inputs, strict=True):
        assert torch.equal((one.inputs != other.inputs).any(-1), first)


@pytest.mark.parametrize("absorbing_zeros", [True, False])
def test_the_first_ratio_is_1_under_the_leak_too(absorbing_zeros):
    ippo = past_its_first_update(first_action_leak=True, absorbing_zeros=absorbing_zeros)
    episodes = play(ippo, first=50)
    batch = ippo.batch(episodes, agent_rewards(episodes))
    _, objective = ippo.actor_gradient(batch)
    surrogate = torch.stack([rows.advantages.mean() for rows in batch.actor_rows]).double()
    torch.testing.assert_close(objective[:, 0], surrogate, rtol=0, atol=1e-6)
    assert not objective[:, 2].any()


def test_garbage_in_a_dead_agents_steps_does_not_reach_its_actor():
    ippo, other = learner(), learner()
    episodes = play(ippo)
    dead = ~episodes.alive
    garbage = {name: episodes.extras[name].clone() for name in ("log_prob", "actor_hidden")}
    for value in garbage.values():
        value[dead] = 1e6
    spoiled = dataclasses.replace(episodes, extras={**episodes.extras, **garbage})
    assert dead.any()
    assert ippo.learn(episodes) == other.learn(spoiled)
    assert torch.equal(ippo.actor, other.actor)


def test_without_absorbing_zeros_the_absorbing_reward_does_not_matter():
    ippo, other = learner(absorbing_zeros=False), learner(absorbing_zeros=False)
    episodes = play(ippo)
    rewards = agent_rewards(episodes)
    update(ippo, episodes, rewards)
    update(other, episodes, rewards._replace(terminal=torch.full((2, 12), 1e6), padded=torch.full((2,), 1e6)))
    assert torch.equal(ippo.actor, other.actor) and torch.equal(ippo.critic, other.critic)


def test_ends_without_absorbing_zeros():
    """With lambda 1 the return of the last step is its reward if decided, else plus gamma times the final value."""
    settings = SETTINGS.model_copy(update={"gae_lambda": 1.0})
    ippo = learner(settings, absorbing_zeros=False)
    episodes = play(ippo)
    rewards = agent_rewards(episodes)
    batch = ippo.batch(episodes, rewards)
    last = episodes.starts[1:] - 1
    policy = ippo.policy()
    again = policy.act(  # the step after the last, had the battle gone on
        episodes.final_obs,
        episodes.actions[:, last],
        episodes.final_avail_actions,
        policy.act(
            episodes.obs[:, last],
            episodes.last_actions[:, last],
            episodes.avail_actions[:, last],
            {name: episodes.extras[name][:, last] for name in ("actor_hidden", "critic_hidden")},
            torch.zeros(2, 12),
        ).hidden,
        torch.zeros(2, 12),
    )
    expected = rewards.played[:, last] + 0.99 * again.extras["value"] * episodes.truncated
    assert 0 < int(episodes.truncated.sum()) < 12
    found = torch.stack([rows.returns for rows in batch.critic_rows])[:, last]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert not batch.tail.count.any() and batch.critic_steps.tolist() == [episodes.rows] * 2


def test_agents_do_not_influence_each_other():
    """Another reward for agent 1 leaves agent 0 as it was."""
    ippo, other = learner(), learner()
    episodes = play(ippo)
    rewards = agent_rewards(episodes)
    update(ippo, episodes, rewards)
    changed = rewards.played.clone()
    changed[1] *= -3
    update(other, episodes, rewards._replace(played=changed))
    assert torch.equal(ippo.actor[0], other.actor[0]) and torch.equal(ippo.critic[0], other.critic[0])
    assert not torch.equal(ippo.actor[1], other.actor[1])


def test_frozen_critic_head_stays_and_the_rest_learns():
    ippo = learner(frozen_critic_head=True)
    before = {name: value for name, value in ippo.state().items() if name.startswith("critic.")}
    ippo.learn(play(ippo))
    after = ippo.state()
    unchanged = {name for name, value in before.items() if torch.equal(value, after[name])}
    assert unchanged == {"critic.head.weight", "critic.head.bias"}


def test_goes_on_from_its_state_bit_by_bit():
    ippo, other = learner(), learner()
    other.actor.zero_()
    ippo.learn(play(ippo))
    other.load_state(ippo.state())
    episodes = play(ippo, first=20)
    assert ippo.learn(episodes) == other.learn(episodes)
    assert all(torch.equal(value, other.state()[name]) for name, value in ippo.state().items())


def test_state_of_another_map_is_refused():
    state = learner(spec=FakeSpec(obs_size=4)).state()
    with pytest.raises(ValueError, match=r"input_norm.weight: found shape \[2, 10\], expected \[2, 9\]"):
        learner().load_state(state)


def test_policies_are_snapshots():
    ippo = learner()
    policy = ippo.greedy_policy()
    before = policy.actor.head_weight.clone()
    ippo.learn(play(ippo))
    assert torch.equal(policy.actor.head_weight, before)
    assert not torch.equal(ippo.greedy_policy().actor.head_weight, before)


def test_same_seed_same_training_bit_by_bit():
    results = []
    for _ in range(2):
        ippo = learner()
        metrics = [ippo.learn(play(ippo, first=first)) for first in (0, 12)]
        results.append((metrics, ippo.actor))
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])


def test_rewards_of_other_episodes_are_refused():
    ippo = learner()
    episodes = play(ippo)
    with pytest.raises(ValueError, match=r"rewards.played: found shape \[2, 5\], expected \[2, \d+\]"):
        update(ippo, episodes, agent_rewards(episodes)._replace(played=torch.zeros(2, 5)))


def test_episodes_without_the_answers_at_their_ends_are_refused():
    ippo = learner()
    episodes = collect(FakeEnv(12), ippo.policy(), np.arange(12), stream(1, "policy"))
    with pytest.raises(ValueError, match="found no final_actions, expected them: collect with act_at_end"):
        ippo.learn(episodes)


def test_the_last_episode_left_out_changes_no_loss_but_the_statistics():
    """Garbage in what the policy saw of it moves no parameter; other rewards do."""
    ippo, other, third = (learner(last_episode_left_out=True) for _ in range(3))
    episodes = play(ippo)
    rewards = agent_rewards(episodes)
    obs = episodes.obs.clone()
    obs[:, episodes.starts[-2] :] = 1e6
    update(ippo, episodes, rewards)
    update(other, dataclasses.replace(episodes, obs=obs), rewards)
    assert torch.equal(ippo.actor, other.actor) and torch.equal(ippo.critic, other.critic)
    played = rewards.played.clone()
    played[:, episodes.starts[-2] :] += 10.0
    update(third, episodes, rewards._replace(played=played))
    assert not torch.equal(ippo.actor, third.actor)


@pytest.mark.parametrize("absorbing_zeros", [True, False])
def test_learns_to_answer_the_signal(absorbing_zeros):
    """Random play is right a third of the time; agent 1 is dead for a part of each episode, which caps the return."""
    settings = SETTINGS.model_copy(
        update={"episodes_per_update": 32, "ppo_epochs": 5, "clip_epsilon": 0.2, "learning_rate": 2e-3}
    )
    ippo = learner(settings, absorbing_zeros=absorbing_zeros)
    returns = []
    for update in range(25):
        episodes = play(ippo, first=32 * update, seed=update)
        returns.append(float(episodes.returns.mean()))
        ippo.learn(episodes)
    greedy = collect(FakeEnv(32), ippo.greedy_policy(), np.arange(32), stream(0, "policy"))
    assert returns[0] < 1.5
    assert float(greedy.returns.mean()) > 3.2
