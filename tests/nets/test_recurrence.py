import pytest
import torch

from dm2.nets.recurrence import GRUWeights, gru, gru_step, pack, running_counts


def weights(inputs: int, hidden: int, seed: int = 0) -> GRUWeights:
    draws = torch.Generator().manual_seed(seed)
    shapes = [(3 * hidden, inputs), (3 * hidden, hidden), (3 * hidden,), (3 * hidden,)]
    return GRUWeights(*(torch.randn(shape, generator=draws).mul_(0.5).requires_grad_() for shape in shapes))


def packed(lengths: list[int], inputs: int) -> tuple[torch.Tensor, torch.Tensor]:
    counts = running_counts(torch.tensor(lengths))
    return torch.randn(int(counts.sum()), inputs, generator=torch.Generator().manual_seed(1)), counts


def test_counts_fall_as_sequences_end():
    assert running_counts(torch.tensor([1, 4, 2, 2])).tolist() == [4, 3, 1, 1]


def test_packing_takes_sequences_from_anywhere():
    packing = pack(starts=torch.tensor([10, 20, 30]), lengths=torch.tensor([1, 3, 3]))
    assert packing.rows.tolist() == [20, 30, 10, 21, 31, 22, 32]
    assert packing.counts.tolist() == [3, 2, 2]
    assert packing.order.tolist() == [1, 2, 0]


def torch_gru(inputs: torch.Tensor, counts: list[int], hidden: torch.Tensor, own: GRUWeights) -> torch.Tensor:
    return torch.gru(inputs, torch.tensor(counts), hidden[None], list(own), True, 1, 0.0, True, False)[0]


def by_hand(inputs: torch.Tensor, counts: list[int], hidden: torch.Tensor, own: GRUWeights) -> torch.Tensor:
    return gru(inputs, torch.tensor(counts), hidden, own)


def test_values_and_gradients_equal_torchs_own():
    inputs, counts = packed([6, 4, 4, 1], 3)
    start = torch.randn(4, 5, generator=torch.Generator().manual_seed(2))
    cotangent = torch.randn(15, 5, generator=torch.Generator().manual_seed(3))
    results = []
    for unroll in (torch_gru, by_hand):
        own, x = weights(3, 5), inputs.clone().requires_grad_()
        states = unroll(x, counts.tolist(), start, own)
        results.append([states, *torch.autograd.grad(states, [x, *own], cotangent)])
    for theirs, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("each_library")
def test_a_step_of_several_networks_equals_each_alone():
    nets, x = [weights(3, 5, seed) for seed in (0, 1)], packed([6, 4, 4, 1], 3)[0].view(3, 5, 3)[:2]
    together = GRUWeights(*map(torch.stack, zip(*nets, strict=True)))
    start = torch.randn(2, 5, 5, generator=torch.Generator().manual_seed(2))
    step = gru_step(x, start, together)
    for n, own in enumerate(nets):
        torch.testing.assert_close(step[n], torch.gru_cell(x[n], start[n], *own), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(gru_step(x[n], start[n], own), step[n], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(step[0], step[1])


def test_unroll_equals_step_by_step():
    inputs, counts = packed([5, 3, 2], 4)
    own = weights(4, 6)
    start = torch.randn(3, 6, generator=torch.Generator().manual_seed(2))
    states = gru(inputs, counts, start, own)
    hidden, row = start, 0
    for count in counts.tolist():
        hidden = torch.gru_cell(inputs[row : row + count], hidden[:count], *own)
        torch.testing.assert_close(states[row : row + count], hidden, rtol=1e-5, atol=1e-6)
        row += count


def test_a_sequence_does_not_depend_on_its_companions():
    inputs, counts = packed([4, 4, 2], 3)
    own, start = weights(3, 5), torch.zeros(3, 5)
    together = gru(inputs, counts, start, own)
    rows = torch.tensor([1, 4, 7, 9])  # of the second sequence
    alone = gru(inputs[rows], torch.ones(4, dtype=torch.int64), start[:1], own)
    torch.testing.assert_close(together[rows], alone, rtol=1e-5, atol=1e-6)


def test_wrong_number_of_rows_is_refused():
    inputs, counts = packed([3, 2], 3)
    with pytest.raises(ValueError, match=r"inputs: found shape \[4, 3\], expected \[5, 3\]"):
        gru(inputs[:-1], counts, torch.zeros(2, 5), weights(3, 5))
    with pytest.raises(ValueError, match=r"hidden: found shape \[3, 5\], expected \[2, 5\]"):
        gru(inputs, counts, torch.zeros(3, 5), weights(3, 5))
