"""GRU over many sequences of unequal lengths, with back-propagation through time.

Sequences are packed: sorted by length, the longest first, and stored step by step, so that the sequences that still
run at step t are a prefix of those that ran at step t - 1 and no padding is ever computed. With counts[t] sequences at
step t, row sum(counts[:t]) + k is step t of sequence k (the layout of torch's PackedSequence).

The gates are torch.nn.GRU's (Cho et al. 2014), their order in the weights too:

    r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)
    z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
    n = tanh(W_in x + b_in + r * (W_hn h + b_hn))
    h' = (1 - z) * n + z * h

The gradient of `gru` is by hand. `gru_step` takes several networks at once too: their weights, inputs and states have a
leading axis then.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dm2.core.checks import check_shape
from dm2.core.jit import njit
from dm2.nets.actor_critic import gru_cell
from dm2.nets.kernels import FAST, sigmoid
from dm2.nets.products import add_product, library, linear, multiply, product

Array = np.ndarray


class GRUWeights(NamedTuple):
    """Weights of one GRU layer, H units over D inputs, in the order that torch's own functions take.

    Those of several networks have a leading axis.
    """

    input_weight: Tensor  # [..., 3 H, D]
    hidden_weight: Tensor  # [..., 3 H, H]
    input_bias: Tensor  # [..., 3 H]
    hidden_bias: Tensor  # [..., 3 H]


def running_counts(lengths: Tensor) -> Tensor:
    """Number of sequences that have a step t, for t = 0, 1, ...: the shape of a packed layout.

    Args:
        lengths: steps of each sequence in any order, int64 [sequences], each at least 1.

    Returns:
        int64 [longest], falling.
    """
    return (lengths[:, None] > torch.arange(int(lengths.max()))).sum(0)


class Packing(NamedTuple):
    """Where packed rows come from: row r of the packed array is row rows[r] of the unpacked one."""

    rows: Tensor  # int64 [rows]
    counts: Tensor  # int64 [steps], sequences at each step
    order: Tensor  # int64 [sequences], the longest first


def pack(starts: Tensor, lengths: Tensor) -> Packing:
    """Packed order of sequences that lie anywhere in an array of rows, each in consecutive rows.

    Args:
        starts: first row of each sequence, int64 [sequences].
        lengths: number of its rows, int64 [sequences], each at least 1.
    """
    order = lengths.argsort(descending=True, stable=True)
    counts = running_counts(lengths)
    step = torch.repeat_interleave(counts)  # of each packed row
    place = torch.arange(len(step)) - (counts.cumsum(0) - counts)[step]  # of the row's sequence in the order
    return Packing(starts[order][place] + step, counts, order)


def gru(inputs: Tensor, counts: Tensor, hidden: Tensor, weights: GRUWeights) -> Tensor:
    """Unroll a GRU over packed sequences.

    Args:
        inputs: float32 [rows, D], packed.
        counts: sequences at each step, falling, int64 [steps]; rows = sum of counts.
        hidden: state before each sequence's first step, float32 [counts[0], H]; no gradient flows into it.
        weights: the layer's weights, of one network.

    Returns:
        State after each step, float32 [rows, H], packed.

    Raises:
        ValueError: a shape differs from the ones above.
    """
    sizes = counts.tolist()
    check_shape("inputs", inputs, (sum(sizes), weights.input_weight.shape[1]))
    check_shape("hidden", hidden, (sizes[0], weights.hidden_weight.shape[1]))
    return _Unroll.apply(inputs, sizes, hidden, *weights)


def gru_step(inputs: Tensor, hidden: Tensor, weights: GRUWeights) -> Tensor:
    """The state after one step of as many sequences as there are rows.

    Args:
        inputs: float [..., rows, D].
        hidden: state before the step, float [..., rows, H].
        weights: the layer's weights.

    Returns:
        float [..., rows, H].
    """
    if weights.input_weight.dim() == 2 and library().name == "torch":
        return torch.gru_cell(inputs, hidden, *weights)
    from_input = product(inputs, weights.input_weight.mT) + weights.input_bias[..., None, :]
    from_hidden = product(hidden, weights.hidden_weight.mT) + weights.hidden_bias[..., None, :]
    return gru_cell(from_input, from_hidden, hidden)


class _Unroll(torch.autograd.Function):
    """The GRU, its gradient by hand.

    Only the product with the hidden state is inside the loops; the input's product before them and the gradients of
    inputs and weights after them are single matrix products over all rows. Between two products is one kernel.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, counts: list[int], hidden: Tensor, *weights: Tensor) -> Tensor:
        input_weight, hidden_weight, input_bias, hidden_bias = (weight.detach() for weight in weights)
        history = unroll(
            gates := linear(inputs, input_weight.t(), input_bias),
            from_hidden := torch.empty_like(gates),
            counts,
            hidden,
            hidden_weight.t().contiguous(),
            hidden_bias,
        )
        ctx.save_for_backward(inputs, input_weight, hidden_weight, gates, from_hidden, history)
        ctx.counts = counts
        return history[counts[0] :]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_states: Tensor) -> tuple[Tensor | None, ...]:
        inputs, input_weight, hidden_weight, gates, from_hidden, history = ctx.saved_tensors
        unroll_backward(grad_states.clone(), gates, from_hidden, history, ctx.counts, hidden_weight.t())
        return (
            product(gates, input_weight) if ctx.needs_input_grad[0] else None,
            None,
            None,
            product(gates.t(), inputs),
            product(from_hidden.t(), states_before(history, ctx.counts)),
            gates.sum(0),
            from_hidden.sum(0),
        )


def unroll(
    gates: Tensor, from_hidden: Tensor, counts: list[int], hidden: Tensor, hidden_weight: Tensor, hidden_bias: Tensor
) -> Tensor:
    """Run through packed sequences, float32, without automatic differentiation.

    Args:
        gates: the input's part of the gates, [rows, 3 H]; becomes the gates r, z, n.
        from_hidden: room for the hidden state's part of the gates, [rows, 3 H].
        counts: sequences at each step.
        hidden: state before each sequence's first step, [counts[0], H].
        hidden_weight: transposed, [H, 3 H].
        hidden_bias: [3 H].

    Returns:
        History: state before each sequence's first step, then that after each step, [counts[0] + rows, H].
    """
    history = torch.cat([hidden, gates.new_empty(gates.shape[0], hidden.shape[1])])
    step = gru_kernels(hidden.shape[1]).step
    n_gates, n_from_hidden, n_history, n_bias = (x.numpy() for x in (gates, from_hidden, history, hidden_bias))
    before, start = 0, 0  # row of the history with the first sequence's state, row of its step
    for count, step_from_hidden in zip(counts, from_hidden.split(counts), strict=True):
        multiply(history.narrow(0, before, count), hidden_weight, out=step_from_hidden)
        end, after = start + count, start + counts[0]
        step(
            n_gates[start:end],
            n_from_hidden[start:end],
            n_bias,
            n_history[before : before + count],
            n_history[after : after + count],
        )
        before, start = after, end
    return history


def unroll_backward(
    grad: Tensor, gates: Tensor, from_hidden: Tensor, history: Tensor, counts: list[int], hidden_weight: Tensor
) -> None:
    """Run back through what `unroll` ran through.

    Args:
        grad: gradient of a loss by the states as it reads them, [rows, H]; overwritten.
        gates: as `unroll` left them, [rows, 3 H]; becomes the gradient by the input's part of the gates.
        from_hidden: as `unroll` left it, [rows, 3 H]; becomes the gradient by the hidden state's part.
        history: what `unroll` returned, [counts[0] + rows, H].
        counts: sequences at each step.
        hidden_weight: transposed, [H, 3 H].
    """
    step, first = gru_kernels(history.shape[1]).step_backward, counts[0]
    n_grad, n_gates, n_from_hidden, n_history = (x.numpy() for x in (grad, gates, from_hidden, history))
    by_from_hidden, weight, end = from_hidden.split(counts), hidden_weight.t(), grad.shape[0]
    for t in range(len(counts) - 1, 0, -1):
        count, start = counts[t], end - counts[t]
        before = start - counts[t - 1]
        states, by_before = n_history[first + before : first + before + count], n_grad[before : before + count]
        step(n_grad[start:end], n_gates[start:end], n_from_hidden[start:end], states, by_before)
        add_product(grad.narrow(0, before, count), by_from_hidden[t], weight)
        end = start
    nowhere = np.empty((first, history.shape[1]), np.float32)
    step(n_grad[:end], n_gates[:end], n_from_hidden[:end], n_history[:first], nowhere)


def states_before(history: Tensor, counts: list[int]) -> Tensor:
    """State before each packed step, from what `unroll` returned, [rows, H]; not to be written to."""
    rows = len(history) - counts[0]
    if counts[0] == counts[-1]:  # all sequences are of one length: they never change places
        return history[:rows]
    before = [history[: counts[0]]]
    start = counts[0]
    for count, count_earlier in zip(counts[1:], counts[:-1], strict=True):
        before.append(history[start : start + count])
        start += count_earlier
    return torch.cat(before)


class GRUKernels(NamedTuple):
    """Compiled steps for one number of units."""

    step: Callable[..., None]
    step_backward: Callable[..., None]


@lru_cache
def gru_kernels(units: int) -> GRUKernels:
    """Compile one step of the GRU, forward and back, for this number of units (a constant, so that it vectorises)."""
    h1, h2 = units, 2 * units
    one, two = np.float32(1.0), np.float32(2.0)

    @njit(fastmath=FAST, error_model="numpy", cache=True)
    def step(gates: Array, from_hidden: Array, hidden_bias: Array, before: Array, after: Array) -> None:
        """One step of all sequences: gates [R, 3 H] become r, z, n; after [R, H] becomes the new state."""
        for i in range(gates.shape[0]):
            a, b, h, new_h = gates[i], from_hidden[i], before[i], after[i]
            for j in range(h2):
                a[j] = sigmoid(a[j] + b[j] + hidden_bias[j])
            for j in range(h1):
                b[h2 + j] += hidden_bias[h2 + j]
                x = a[h2 + j] + a[j] * b[h2 + j]
                n = two * sigmoid(two * x) - one  # tanh
                a[h2 + j] = n
                new_h[j] = n + a[h1 + j] * (h[j] - n)

    @njit(fastmath=FAST, error_model="numpy", cache=True)
    def step_backward(grad: Array, gates: Array, from_hidden: Array, before: Array, grad_before: Array) -> None:
        """Gradients by both parts of the gates replace these; what goes straight to the state before is added there."""
        for i in range(grad.shape[0]):
            d, a, b, h, d_before = grad[i], gates[i], from_hidden[i], before[i], grad_before[i]
            for j in range(h1):
                r, z, n = a[j], a[h1 + j], a[h2 + j]
                dn = d[j] * (one - z) * (one - n * n)
                dz = d[j] * (h[j] - n) * z * (one - z)
                dr = dn * b[h2 + j] * r * (one - r)
                d_before[j] += d[j] * z
                a[j], a[h1 + j], a[h2 + j] = dr, dz, dn
                b[j], b[h1 + j], b[h2 + j] = dr, dz, dn * r

    return GRUKernels(step, step_backward)
