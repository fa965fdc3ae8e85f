"""dm2.nets.sequence_kernels: gradients through time by hand equal those of automatic differentiation."""

import numpy as np
import pytest
import torch

from dm2.core.randomness import stream
from dm2.nets import sequence_kernels
from dm2.nets.actor_critic import Folded, NetShape, fold, forward, initial_parameters, normalise
from dm2.nets.recurrence import running_counts
from dm2.nets.sequence_kernels import SequenceBlock, forward_block, make_blocks, sequence_gradients

SHAPE = NetShape(inputs=5, hidden=8, outputs=3)


def net(seed: int = 0, learners: int = 1) -> Folded:
    flat = initial_parameters(SHAPE, learners, 1.0, stream(seed, "initialisation"))
    return fold(
        flat + 0.1 * torch.from_numpy(stream(seed, "bias").standard_normal(flat.shape).astype(np.float32)), SHAPE
    )


def rows(count: int, width: int, name: str) -> torch.Tensor:
    return torch.from_numpy(stream(0, name).standard_normal((count, width)).astype(np.float32))


def sequences(lengths: list[int]):
    size = torch.tensor(lengths)
    total = int(size.sum())
    hidden = rows(len(lengths), SHAPE.hidden, "hidden").tanh()
    return size.cumsum(0) - size, size, normalise(rows(total, 5, "inputs")), hidden, (rows(total, 3, "data"),)


def test_forward_equals_one_step_after_the_other():
    own, counts = net(), running_counts(torch.tensor([3, 2, 1]))
    inputs, hidden = normalise(rows(6, 5, "inputs")), rows(3, 8, "hidden").tanh()
    outputs, states = forward_block(own, SequenceBlock(inputs, torch.arange(6), counts, hidden, ()))
    row = 0
    for count in counts.tolist():
        expected, hidden = forward(own, inputs[None, row : row + count], hidden[None, :count])
        hidden = hidden[0]
        torch.testing.assert_close(outputs[row : row + count], expected[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(states[row : row + count], hidden, rtol=1e-4, atol=1e-5)
        row += count


@pytest.mark.usefixtures("each_library")
def test_gradients_equal_automatic_differentiation(monkeypatch):
    monkeypatch.setattr(sequence_kernels, "SEQUENCES_PER_BLOCK", 3)
    starts, lengths, inputs, hidden, data = sequences([4, 1, 7, 7, 2, 3, 5])
    source = torch.arange(len(inputs))
    source[[5, 11, 20]] = 2
    inputs = inputs[source]
    blocks = make_blocks(starts, lengths, inputs, source, hidden, data)
    assert len(blocks) == 3
    assert sum(len(block.inputs) for block in blocks) < len(inputs) == sum(block.rows for block in blocks)

    def loss(block, outputs):
        outputs[:] = np.cos(outputs) * block.data[0].numpy()

    found = sequence_gradients(net(), blocks, loss)
    leaves = Folded(*(parameter.clone().requires_grad_() for parameter in net()))
    total = torch.zeros(())
    for n in range(len(lengths)):  # one sequence after the other, in its own order
        own = slice(int(starts[n]), int(starts[n] + lengths[n]))
        steps = torch.arange(int(lengths[n]))
        block = SequenceBlock(inputs[own], steps, torch.ones_like(steps), hidden[n : n + 1], ())
        outputs, _ = forward_block(leaves, block)
        total = total + (outputs.sin() * data[0][own]).sum()
    expected = torch.autograd.grad(total, leaves)
    for name, ours, theirs in zip(Folded._fields, found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}")


def test_blocks_hold_every_row_once():
    starts, lengths, inputs, hidden, _ = sequences([2] * 150 + [5] * 50)
    number = torch.arange(len(inputs))
    blocks = make_blocks(starts, lengths, inputs, number, hidden, (number,))
    assert sorted(torch.cat([block.data[0] for block in blocks]).tolist()) == number.tolist()
    for block in blocks:
        assert torch.equal(block.inputs[block.source], inputs[block.data[0]])
        assert torch.equal(block.hidden, hidden[torch.searchsorted(starts, block.data[0][: int(block.counts[0])])])


def test_networks_of_several_learners_are_refused():
    with pytest.raises(ValueError, match="found networks of 2 learners"):
        step = torch.zeros(1, dtype=torch.int64)
        forward_block(net(learners=2), SequenceBlock(torch.zeros(1, 5), step, step + 1, torch.zeros(1, 8), ()))
