"""dm2.ippo_kernels: the losses' gradients equal automatic differentiation of their plain twins."""

import pytest
import torch
from test_ippo import SETTINGS, agent_rewards, learner, play

from dm2 import ippo_kernels
from dm2.ippo import plain_policy_gradients, plain_value_gradients
from dm2.nets import fold


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
    policy, value = (batch.actor_steps, SETTINGS), (batch.critic_steps, SETTINGS, one_sided)
    found = (
        *ippo_kernels.policy_gradients(actor, batch.actor_rows, *policy),
        *ippo_kernels.value_gradients(critic, batch.critic_rows, *value),
    )
    expected = (
        *plain_policy_gradients(actor, batch.padded_actor_rows, *policy),
        *plain_value_gradients(critic, batch.padded_critic_rows, *value),
    )
    assert expected[1][:, 2].min() > 5 and float(found[1][:, 2].min()) > 5  # some ratios are clipped
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=2e-6, check_dtype=False)
