"""dm2.nets.actor_critic: stacked networks are separate networks; initial numbers; inputs."""

import numpy as np
import pytest
import torch
from support.random_nets import SHAPE, random_data, random_parameters
from support.separate_net import SeparateNet

from dm2.nets.actor_critic import (
    build_inputs,
    flat_parameters,
    fold,
    forward,
    initial_parameters,
    named_parameters,
    normalise,
)


def test_stacked_networks_equal_separate_ones():
    flat = random_parameters().double()
    inputs, hidden = (data.double() for data in random_data())
    outputs, new_hidden = forward(fold(flat, SHAPE), normalise(inputs), hidden)
    for learner in range(3):
        expected = SeparateNet(flat, SHAPE, learner)(inputs[learner], hidden[learner])
        torch.testing.assert_close((outputs[learner], new_hidden[learner]), expected)


def test_gradients_through_the_fold_equal_those_of_separate_networks():
    flat = random_parameters().double().requires_grad_()
    inputs, hidden = (data.double() for data in random_data())
    outputs, _ = forward(fold(flat, SHAPE), normalise(inputs), hidden)
    outputs.square().sum().backward()
    for learner in range(3):
        net = SeparateNet(flat.detach(), SHAPE, learner)
        net(inputs[learner], hidden[learner])[0].square().sum().backward()
        torch.testing.assert_close(flat.grad[learner], net.flat(gradients=True))


def test_a_learners_result_does_not_depend_on_the_others():
    flat, (inputs, hidden) = random_parameters(), random_data()
    outputs, _ = forward(fold(flat, SHAPE), normalise(inputs), hidden)
    alone, _ = forward(fold(flat[1:2], SHAPE), normalise(inputs[1:2]), hidden[1:2])
    torch.testing.assert_close(outputs[1:2], alone)


def test_initial_parameters():
    flat = initial_parameters(SHAPE, 2, 0.01, np.random.default_rng(0))
    named = named_parameters(flat, SHAPE)
    eye = torch.eye
    torch.testing.assert_close(named["linear1.weight"][0] @ named["linear1.weight"][0].T, 2 * eye(7))
    torch.testing.assert_close(named["linear2.weight"][1].T @ named["linear2.weight"][1], 2 * eye(12))
    torch.testing.assert_close(named["gru.hidden_weight"][0] @ named["gru.hidden_weight"][0].T, eye(12))
    torch.testing.assert_close(named["head.weight"][0].T @ named["head.weight"][0], 1e-4 * eye(5))
    assert all((named[name] == 1).all() for name in named if "norm.weight" in name or name == "norm1.weight")
    assert all(not named[name].any() for name in named if name.endswith("bias"))
    assert not torch.equal(named["linear1.weight"][0], named["linear1.weight"][1])


def test_named_parameters_write_through_and_go_back():
    flat = random_parameters()
    named = named_parameters(flat, SHAPE)
    named["head.bias"].fill_(7.0)
    assert (flat[:, -5:] == 7.0).all()
    assert torch.equal(flat_parameters(named, SHAPE, 3), flat)


def test_parameters_of_another_network_are_refused_by_name():
    named = named_parameters(random_parameters(), SHAPE)
    with pytest.raises(ValueError, match=r"head.bias: found shape \[3, 4\], expected \[3, 5\]"):
        flat_parameters({**named, "head.bias": named["head.bias"][:, :4]}, SHAPE, 3)
    with pytest.raises(ValueError, match=r"expected \[2, 7\]"):
        flat_parameters(named, SHAPE, 2)
    del named["head.bias"]
    with pytest.raises(ValueError, match="parameters: found"):
        flat_parameters(named, SHAPE, 3)
    with pytest.raises(ValueError, match=r"parameters: found shape \[3, 6\]"):
        named_parameters(torch.zeros(3, 6), SHAPE)


def test_inputs_are_observation_last_action_and_agent():
    obs = torch.tensor([[[0.5, 2.0]], [[3.0, 4.0]]])
    inputs = build_inputs(obs, torch.tensor([[-1], [2]]), n_actions=3)
    assert inputs.tolist() == [[[0.5, 2.0, 0, 0, 0, 1, 0]], [[3.0, 4.0, 0, 0, 1, 0, 1]]]


def test_inputs_of_teams_side_by_side_are_those_of_each():
    obs, last_actions = torch.rand(3, 2, 4, 5), torch.tensor([[-1, 0, 1, 2], [2, 1, 0, -1]]).expand(3, 2, 4)
    teams = [build_inputs(*team, n_actions=3) for team in zip(obs, last_actions, strict=True)]
    assert torch.equal(build_inputs(obs, last_actions, n_actions=3), torch.stack(teams))
