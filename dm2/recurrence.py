"""GRU over many sequences of unequal lengths, with back-propagation through time.

Sequences are packed: sorted by length, the longest first, and stored step by step, so that the sequences that still
run at step t are a prefix of those that ran at step t - 1 and no padding is ever computed. With counts[t] sequences at
step t, row sum(counts[:t]) + k is step t of sequence k (the layout of torch's PackedSequence).

The gates are torch.nn.GRU's (Cho et al. 2014), their order in the weights too:

    r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)
    z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
    n = tanh(W_in x + b_in + r * (W_hn h + b_hn))
    h' = (1 - z) * n + z * h
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dm2.checks import check_shape


class GRUWeights(NamedTuple):
    """Weights of one GRU layer, H units over D inputs, in the order that torch's own functions take."""

    input_weight: Tensor  # [3 H, D]
    hidden_weight: Tensor  # [3 H, H]
    input_bias: Tensor  # [3 H]
    hidden_bias: Tensor  # [3 H]


def running_counts(lengths: Tensor) -> Tensor:
    """Number of sequences that have a step t, for t = 0, 1, ...: the shape of a packed layout.

    Args:
        lengths: steps of each sequence in any order, int64 [sequences], each at least 1.

    Returns:
        int64 [longest], falling.
    """
    return (lengths[:, None] > torch.arange(int(lengths.max()))).sum(0)


def gru(inputs: Tensor, counts: Tensor, hidden: Tensor, weights: GRUWeights) -> Tensor:
    """Unroll a GRU over packed sequences.

    Args:
        inputs: float [rows, D], packed.
        counts: sequences at each step, falling, int64 [steps] on the CPU; rows = sum of counts.
        hidden: state before each sequence's first step, float [counts[0], H]; no gradient flows into it.
        weights: the layer's weights.

    Returns:
        State after each step, float [rows, H], packed.

    Raises:
        ValueError: a shape differs from the ones above.
    """
    check_shape("inputs", inputs, (int(counts.sum()), weights.input_weight.shape[1]))
    check_shape("hidden", hidden, (int(counts[0]), weights.hidden_weight.shape[1]))
    if inputs.device.type == "cpu" and torch.is_grad_enabled():
        projected = torch.addmm(weights.input_bias, inputs, weights.input_weight.t())
        return _Unroll.apply(projected, counts.tolist(), hidden, weights.hidden_weight, weights.hidden_bias)
    return torch_gru(inputs, counts, hidden, weights)


def torch_gru(inputs: Tensor, counts: Tensor, hidden: Tensor, weights: GRUWeights) -> Tensor:
    """The same by torch's own packed GRU: for other devices, and the quicker one where no gradient is asked for."""
    return torch.gru(inputs, counts, hidden[None], list(weights), True, 1, 0.0, torch.is_grad_enabled(), False)[0]


class _Unroll(torch.autograd.Function):
    """The part of the GRU that must go step by step, with its gradient by hand.

    Only the product with the hidden state is inside the loops; the input's product before them and the weights'
    gradients after them are single matrix products over all rows. torch's own takes more than twice the time.
    """

    @staticmethod
    def forward(
        ctx: Any, projected: Tensor, counts: list[int], hidden: Tensor, hidden_weight: Tensor, hidden_bias: Tensor
    ) -> Tensor:
        size = hidden_weight.shape[1]
        gates = projected.clone()  # becomes r, z, n
        states = projected.new_empty(projected.shape[0], size)
        candidate = torch.empty_like(states)  # W_hn h + b_hn
        transposed = hidden_weight.t().contiguous()
        state, start = hidden, 0
        for count in counts:
            rows = slice(start, start + count)
            state = state[:count]
            from_hidden = torch.addmm(hidden_bias, state, transposed)
            reset_update, new = gates[rows, : 2 * size], gates[rows, 2 * size :]
            reset_update.add_(from_hidden[:, : 2 * size]).sigmoid_()
            candidate[rows] = from_hidden[:, 2 * size :]
            new.addcmul_(reset_update[:, :size], from_hidden[:, 2 * size :]).tanh_()
            state = torch.lerp(new, state, reset_update[:, size:], out=states[rows])
            start += count
        ctx.save_for_backward(gates, candidate, states, hidden, hidden_weight)
        ctx.counts = counts
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_states: Tensor) -> tuple[Tensor | None, ...]:
        gates, candidate, states, hidden, hidden_weight = ctx.saved_tensors
        size = states.shape[1]
        reset, update, new = gates.split(size, dim=1)
        before = _states_before(states, hidden, ctx.counts)
        # d h' / d (each gate's argument), for all rows at once
        slope_new = (1 - update) * (1 - new * new)
        slope_update = (before - new) * update * (1 - update)
        slope_reset = candidate * reset * (1 - reset)  # times d h' / d (n's argument)
        grad_projected, grad_hidden_side = torch.empty_like(gates), torch.empty_like(gates)
        carried, end = None, states.shape[0]
        for count in reversed(ctx.counts):
            rows = slice(end - count, end)
            grad_state = grad_states[rows].clone()
            if carried is not None:
                grad_state[: carried.shape[0]] += carried
            grad_new = torch.mul(grad_state, slope_new[rows], out=grad_projected[rows, 2 * size :])
            torch.mul(grad_state, slope_update[rows], out=grad_projected[rows, size : 2 * size])
            torch.mul(grad_new, slope_reset[rows], out=grad_projected[rows, :size])
            grad_hidden_side[rows, : 2 * size] = grad_projected[rows, : 2 * size]
            torch.mul(grad_new, reset[rows], out=grad_hidden_side[rows, 2 * size :])
            carried = torch.addmm(grad_state.mul_(update[rows]), grad_hidden_side[rows], hidden_weight)
            end -= count
        return grad_projected, None, None, grad_hidden_side.t() @ before, grad_hidden_side.sum(0)


def _states_before(states: Tensor, hidden: Tensor, counts: list[int]) -> Tensor:
    """State before each packed step: the start state, then the states one step back, [rows, H]."""
    before = torch.empty_like(states)
    before[: counts[0]] = hidden
    start, earlier = counts[0], 0
    for count, count_earlier in zip(counts[1:], counts[:-1], strict=True):
        before[start : start + count] = states[earlier : earlier + count]
        start, earlier = start + count, earlier + count_earlier
    return before
