"""dm2.learners.ippo_kernels: the losses' gradients equal automatic differentiation."""

import pytest
import torch
from support.ippo_learner import SETTINGS, agent_rewards, learner, play

from dm2.learners import ippo_kernels
from dm2.learners.ppo import policy_objective, value_loss
from dm2.nets.actor_critic import Folded, fold, forward


def policy_twin(net, rows, steps):
    """Gradients and sums over rows, of one agent after the other, by automatic differentiation."""
    leaves = Folded(*(parameter.detach().requires_grad_() for parameter in net))
    losses, sums = [], []
    for agent, (inputs, hidden, *data) in enumerate(rows):
        own = Folded(*(leaf[agent : agent + 1] for leaf in leaves))
        objective = policy_objective(forward(own, inputs[None], hidden[None])[0][0], *data, SETTINGS.clip_epsilon)
        surrogate, entropy, clipped = (value.sum() for value in objective)
        losses.append(-(surrogate + SETTINGS.entropy_coefficient * entropy) / steps[agent])
        sums.append(torch.stack([surrogate, entropy, clipped]))
    return Folded(*torch.autograd.grad(torch.stack(losses).sum(), leaves)), torch.stack(sums).detach()


def value_twin(net, rows, steps, one_sided):
    leaves = Folded(*(parameter.detach().requires_grad_() for parameter in net))
    sums = []
    for agent, (inputs, hidden, *data) in enumerate(rows):
        own = Folded(*(leaf[agent : agent + 1] for leaf in leaves))
        values = forward(own, inputs[None], hidden[None])[0][0, :, 0]
        sums.append(value_loss(values, *data, SETTINGS.clip_epsilon, SETTINGS.huber_delta, one_sided).sum())
    loss = (SETTINGS.value_loss_coefficient / steps * torch.stack(sums)).sum()
    return Folded(*torch.autograd.grad(loss, leaves)), torch.stack(sums).detach()


@pytest.mark.parametrize("one_sided", [False, True])
def test_kernel_gradients_equal_automatic_differentiation(one_sided):
    ippo = learner()
    ippo.learn(play(ippo))
    episodes = play(ippo, first=50)
    batch = ippo.batch(episodes, agent_rewards(episodes))
    for _ in range(4):  # away from the old policy, so that ratios and values are clipped
        ippo.actor += 0.02 * torch.randn(ippo.actor.shape, generator=torch.Generator().manual_seed(2))
        ippo.critic += 0.02 * torch.randn(ippo.critic.shape, generator=torch.Generator().manual_seed(3))
    actor, critic = fold(ippo.actor, ippo.actor_shape), fold(ippo.critic, ippo.critic_shape)
    policy, value = (actor, batch.actor_rows, batch.actor_steps), (critic, batch.critic_rows, batch.critic_steps)
    found = (
        *ippo_kernels.policy_gradients(*policy, SETTINGS),
        *ippo_kernels.value_gradients(*value, SETTINGS, one_sided),
    )
    expected = (*policy_twin(*policy), *value_twin(*value, one_sided))
    assert expected[1][:, 2].min() > 5 and float(found[1][:, 2].min()) > 5  # some ratios are clipped
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=2e-6, check_dtype=False)
