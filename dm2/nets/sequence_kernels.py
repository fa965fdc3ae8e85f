"""Gradients of a recurrent network of `dm2.nets.actor_critic` over sequences, with back-propagation through time.

As in `dm2.nets.kernels`, matrix products are those of `dm2.nets.products` and all else is one numba kernel per layer;
here the GRU's state goes from step to step (`dm2.nets.recurrence`). Sequences are taken through in blocks, forward and
back, so that what lies between stays in the processor's cache. Rows with one and the same input share all layers before
the GRU's state. `forward_block` under automatic differentiation is the plain twin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dm2.core.jit import njit
from dm2.nets.actor_critic import Folded, normalise
from dm2.nets.kernels import FAST, LAYER_NORM_EPSILON, LayerKernels, layer_kernels
from dm2.nets.products import add_product, linear, product
from dm2.nets.recurrence import GRUWeights, gru, pack, states_before, unroll, unroll_backward

SEQUENCES_PER_BLOCK = 128
"""Measured best with 64 units and chunks of 10 steps, fewer cost more calls than they save."""

Array = np.ndarray


@dataclass(frozen=True)
class SequenceBlock:
    """Some sequences, packed (see `dm2.nets.recurrence`), and what the loss reads of their rows.

    Attributes:
        inputs: normalised inputs, no two rows alike by intent, float32 [different inputs, inputs].
        source: which of the inputs each row sees, int64 [rows]; 0, 1, 2, ... if there is one for each.
        counts: sequences at each step, int64 [steps].
        hidden: the GRU's state before each sequence's first step, float32 [sequences, hidden].
        data: one entry per row each.
    """

    inputs: Tensor
    source: Tensor
    counts: Tensor
    hidden: Tensor
    data: tuple[Tensor, ...]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.source)


def forward_block(net: Folded, block: SequenceBlock) -> tuple[Tensor, Tensor]:
    """Apply one network to the sequences of a block; differentiable.

    Args:
        net: folded parameters of one learner, with the leading axis of length 1.
        block: the sequences.

    Returns:
        Outputs [rows, outputs] and the GRU's states after each step [rows, hidden].
    """
    own = one_network(net)
    layer1 = normalise(linear(block.inputs, own.weight1, own.bias1).relu())
    layer2 = normalise(linear(layer1, own.weight2, own.bias2).relu())
    weights = GRUWeights(own.gru_input_weight.t(), own.gru_hidden_weight.t(), own.gru_input_bias, own.gru_hidden_bias)
    states = gru(layer2[block.source], block.counts, block.hidden, weights)
    return linear(normalise(states), own.head_weight, own.head_bias), states


def one_network(net: Folded) -> Folded:
    """The only learner's parameters without the learner axis.

    Raises:
        ValueError: there is more than one learner.
    """
    if net.head_bias.shape[0] != 1:
        raise ValueError(f"sequences: found networks of {net.head_bias.shape[0]} learners, expected one that all share")
    return Folded(*(parameter[0] for parameter in net))


def make_blocks(
    starts: Tensor, lengths: Tensor, inputs: Tensor, source: Tensor, hidden: Tensor, data: tuple[Tensor, ...]
) -> list[SequenceBlock]:
    """Pack sequences into blocks, the longest sequences first.

    Args:
        starts: first row of each sequence, int64 [sequences].
        lengths: number of its rows, int64 [sequences].
        inputs: [all rows, inputs].
        source: the first row with the same input as each row, or itself, int64 [all rows].
        hidden: state before each sequence's first step, [sequences, hidden].
        data: each [all rows, ...].
    """
    blocks = []
    for members in lengths.argsort(descending=True, stable=True).split(SEQUENCES_PER_BLOCK):
        rows, counts, order = pack(starts[members], lengths[members])
        values = tuple(values[rows] for values in data)
        different, own_source = source[rows].unique(return_inverse=True)
        if len(different) == len(rows):
            different, own_source = rows, torch.arange(len(rows))
        blocks.append(SequenceBlock(inputs[different], own_source, counts, hidden[members[order]], values))
    return blocks


def sequence_gradients(
    net: Folded, blocks: Sequence[SequenceBlock], loss: Callable[[SequenceBlock, Array], None]
) -> Folded:
    """Gradients of a loss by one network's folded parameters.

    Args:
        net: folded parameters of one learner, with the leading axis of length 1; not differentiated through here.
        blocks: the sequences.
        loss: called with a block and the outputs of its rows [rows, outputs], which it replaces by the gradient of the
            loss by them.
    """
    with torch.no_grad():
        gradients = Folded(*(torch.zeros_like(parameter) for parameter in net))
        own, own_gradients = one_network(net), one_network(gradients)
        for block in blocks:
            _add_gradients(own, own_gradients, block, loss)
    return gradients


def _add_gradients(
    net: Folded, gradients: Folded, block: SequenceBlock, loss: Callable[[SequenceBlock, Array], None]
) -> None:
    """Add the gradients of one block; d is the gradient by whatever was computed last."""
    layer, sequence = layer_kernels(net.weight2.shape[0]), row_kernels(net.weight2.shape[0])
    counts = block.counts.tolist()
    z1, y1, rstd1 = _relu_norm(layer, block.inputs, net.weight1, net.bias1)
    z2, y2, rstd2 = _relu_norm(layer, y1, net.weight2, net.bias2)
    from_input = linear(y2, net.gru_input_weight, net.gru_input_bias)
    shared = len(block.inputs) < block.rows
    gates = from_input.index_select(0, block.source) if shared else from_input
    from_hidden = torch.empty_like(gates)
    history = unroll(gates, from_hidden, counts, block.hidden, net.gru_hidden_weight, net.gru_hidden_bias)
    states = history[counts[0] :]
    y3, rstd3 = torch.empty_like(states), torch.empty(len(states))
    sequence.norm(states.numpy(), y3.numpy(), rstd3.numpy())
    out = linear(y3, net.head_weight, net.head_bias)

    loss(block, out.numpy())

    add_product(gradients.head_weight, y3.t(), out)
    gradients.head_bias.add_(out.sum(0))
    d = product(out, net.head_weight.t())
    sequence.norm_backward(d.numpy(), y3.numpy(), rstd3.numpy())
    unroll_backward(d, gates, from_hidden, history, counts, net.gru_hidden_weight)
    add_product(gradients.gru_hidden_weight, states_before(history, counts).t(), from_hidden)
    gradients.gru_hidden_bias.add_(from_hidden.sum(0))
    if shared:
        sequence.gather_sums(gates.numpy(), block.source.numpy(), from_input.numpy())
    add_product(gradients.gru_input_weight, y2.t(), from_input)
    gradients.gru_input_bias.add_(from_input.sum(0))
    d = product(from_input, net.gru_input_weight.t())
    layer.relu_norm_backward(d.numpy(), y2.numpy(), rstd2.numpy(), z2.numpy(), gradients.bias2.numpy())
    add_product(gradients.weight2, y1.t(), d)
    d = product(d, net.weight2.t())
    layer.relu_norm_backward(d.numpy(), y1.numpy(), rstd1.numpy(), z1.numpy(), gradients.bias1.numpy())
    add_product(gradients.weight1, block.inputs.t(), d)


def _relu_norm(layer: LayerKernels, inputs: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Before the ReLU, after the normalisation, and one over the standard deviation of each row."""
    z = product(inputs, weight)
    y, rstd = torch.empty_like(z), torch.empty(len(z))
    layer.relu_norm(z.numpy(), bias.numpy(), y.numpy(), rstd.numpy())
    return z, y, rstd


class RowKernels(NamedTuple):
    """Compiled loops over rows for one number of units."""

    norm: Callable[..., None]
    norm_backward: Callable[..., None]
    gather_sums: Callable[..., None]


@lru_cache
def row_kernels(units: int) -> RowKernels:
    """Compile for this number of units (a constant, so that it vectorises)."""
    share, gate_units = np.float32(1.0 / units), 3 * units
    zero, one = np.float32(0.0), np.float32(1.0)

    @njit(fastmath=FAST, error_model="numpy", cache=True)
    def norm(x: Array, y: Array, rstd: Array) -> None:
        """Normalised rows of x [R, H] in y, one over their standard deviations in rstd [R]."""
        for i in range(x.shape[0]):
            xi, yi = x[i], y[i]
            mean, squares = zero, zero
            for j in range(units):
                mean += xi[j] * share
            for j in range(units):
                squares += (xi[j] - mean) * (xi[j] - mean)
            rstd[i] = one / np.sqrt(squares * share + LAYER_NORM_EPSILON)
            for j in range(units):
                yi[j] = (xi[j] - mean) * rstd[i]

    @njit(fastmath=FAST, error_model="numpy", cache=True)
    def norm_backward(d: Array, y: Array, rstd: Array) -> None:
        """The gradient d [R, H] by y becomes that by x."""
        for i in range(d.shape[0]):
            di, yi = d[i], y[i]
            mean, along = zero, zero
            for j in range(units):
                mean += di[j] * share
                along += di[j] * yi[j] * share
            for j in range(units):
                di[j] = rstd[i] * (di[j] - mean - along * yi[j])

    @njit(fastmath=FAST, error_model="numpy", cache=True)
    def gather_sums(rows: Array, source: Array, sums: Array) -> None:
        """Row k of sums [different, 3 H] becomes the sum of those rows [R, 3 H] whose source is k."""
        sums[:] = zero
        for i in range(rows.shape[0]):
            row, total = rows[i], sums[source[i]]
            for j in range(gate_units):
                total[j] += row[j]

    return RowKernels(norm, norm_backward, gather_sums)
