"""dm2.nets.adam: each learner's update is torch's own Adam after torch's own clipping."""

import pytest
import torch

from dm2.nets.adam import ClippedAdam


def test_equals_torch_learner_by_learner():
    start = torch.randn(3, 20, generator=torch.Generator().manual_seed(0))
    stacked = ClippedAdam(start.clone(), 5e-4, 1e-5, max_gradient_norm=2.0)
    separate = [torch.nn.Parameter(row.clone()) for row in start]
    optimizers = [torch.optim.Adam([row], lr=5e-4, eps=1e-5) for row in separate]
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        gradient = torch.randn(3, 20, generator=generator) * torch.tensor([[0.01], [1.0], [100.0]])
        norms = stacked.step(gradient)
        for learner, (row, optimizer) in enumerate(zip(separate, optimizers, strict=True)):
            row.grad = gradient[learner].clone()
            norm = torch.nn.utils.clip_grad_norm_([row], 2.0)
            optimizer.step()
            torch.testing.assert_close(norms[learner], norm)
            torch.testing.assert_close(stacked.parameters[learner], row.detach(), rtol=1e-6, atol=1e-7)


def test_goes_on_from_its_state():
    gradient = torch.tensor([[1.0, -2.0]])
    first = ClippedAdam(torch.zeros(1, 2), 0.1, 1e-5, 10.0)
    first.step(gradient)
    second = ClippedAdam(first.parameters.clone(), 0.1, 1e-5, 10.0)
    second.load_state(first.state())
    first.step(gradient)
    second.step(gradient)
    assert torch.equal(first.parameters, second.parameters)


def test_state_of_another_shape_is_refused():
    state = ClippedAdam(torch.zeros(1, 2), 0.1, 1e-5, 10.0).state()
    with pytest.raises(ValueError, match=r"first_moment: found shape \[1, 2\], expected \[1, 3\]"):
        ClippedAdam(torch.zeros(1, 3), 0.1, 1e-5, 10.0).load_state(state)
