"""Gradients of `dm2.nets.actor_critic`, many times faster than automatic differentiation, equal to it up to rounding.

Rows are independent (the GRU's stored state is an input), so a learner's rows are passed through its network, forward
and back, in chunks small enough that everything in between stays in the processor's caches; only the sums over rows,
the gradients, leave them. Matrix products are those of `dm2.nets.products`; all else (normalisation, ReLU, GRU gates
and their derivatives) is one numba kernel per layer, whose loops over the hidden units the compiler turns into SIMD
instructions: for that the number of units has to be a constant to it.

`dm2.nets.actor_critic.forward` under automatic differentiation is the plain twin, oracle of the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dm2.core.jit import njit
from dm2.nets.actor_critic import Folded
from dm2.nets.products import add_product, multiply

ROWS_PER_CHUNK = 512
"""Measured best with 64 units, some 4 KB of intermediate results per row; fewer rows cost more calls than they save."""

LAYER_NORM_EPSILON = np.float32(1e-5)
FAST = {"reassoc", "contract", "nsz", "arcp"}
"""Float liberties that vectorise sums; nan and infinity keep their meaning."""

f32 = np.float32
Scalar = Any  # float32 in a kernel, where numba infers it


@njit(inline="always", fastmath=FAST)
def exp(x: Scalar) -> Scalar:
    """e^x for float32 to 3e-7, by 2^k times a polynomial on [-ln(2)/2, ln(2)/2]; clamped to x in [-87, 87]."""
    x = min(max(x, f32(-87.0)), f32(87.0))
    k = np.floor(x * f32(1.4426950408889634) + f32(0.5))
    r = (x - k * f32(0.693359375)) + k * f32(2.12194440e-4)  # ln(2) in two parts, so that r is exact
    p = f32(1 / 5040) * r + f32(1 / 720)
    p = p * r + f32(1 / 120)
    p = p * r + f32(1 / 24)
    p = p * r + f32(1 / 6)
    p = p * r + f32(1 / 2)
    p = (p * r + f32(1.0)) * r + f32(1.0)
    return p * np.int32((np.int32(k) + np.int32(127)) << np.int32(23)).view(np.float32)


@njit(inline="always", fastmath=FAST)
def sigmoid(x: Scalar) -> Scalar:
    """1 / (1 + e^-x)."""
    return f32(1.0) / (f32(1.0) + exp(-x))


class LayerKernels(NamedTuple):
    """Compiled layers for one number of hidden units."""

    relu_norm: Callable[..., None]
    relu_norm_backward: Callable[..., None]
    gru_norm: Callable[..., None]
    gru_norm_backward: Callable[..., None]


@lru_cache
def layer_kernels(hidden: int) -> LayerKernels:
    """Compile the layers for this number of hidden units (a constant lets the compiler vectorise)."""
    h1, h2, h3 = hidden, 2 * hidden, 3 * hidden
    share = f32(1.0 / hidden)

    @njit(fastmath=FAST, error_model="numpy", cache=True)
    def relu_norm(z: np.ndarray, bias: np.ndarray, y: np.ndarray, rstd: np.ndarray) -> None:
        """Normalised relu(z + bias); z becomes z + bias. z, y [R, H]; bias [H]; rstd [R]."""
        for i in range(z.shape[0]):
            zi, yi = z[i], y[i]
            total = f32(0.0)
            for j in range(h1):
                zi[j] += bias[j]
                yi[j] = max(zi[j], f32(0.0))
                total += yi[j]
            mean = total * share
            squares = f32(0.0)
            for j in range(h1):
                squares += (yi[j] - mean) * (yi[j] - mean)
            rstd[i] = f32(1.0) / np.sqrt(squares * share + LAYER_NORM_EPSILON)
            for j in range(h1):
                yi[j] = (yi[j] - mean) * rstd[i]

    @njit(fastmath=FAST, error_model="numpy", cache=True)
    def relu_norm_backward(
        d: np.ndarray, y: np.ndarray, rstd: np.ndarray, z: np.ndarray, bias_gradient: np.ndarray
    ) -> None:
        """d: gradient of the loss by y, becomes that by z; its sum over rows is added to bias_gradient."""
        for i in range(d.shape[0]):
            di, yi, zi = d[i], y[i], z[i]
            mean, along = f32(0.0), f32(0.0)
            for j in range(h1):
                mean += di[j] * share
                along += di[j] * yi[j] * share
            for j in range(h1):
                di[j] = rstd[i] * (di[j] - mean - along * yi[j]) if zi[j] > f32(0.0) else f32(0.0)
                bias_gradient[j] += di[j]

    @njit(fastmath=FAST, error_model="numpy", cache=True)
    def gru_norm(
        from_input: np.ndarray,
        from_hidden: np.ndarray,
        input_bias: np.ndarray,
        hidden_bias: np.ndarray,
        hidden: np.ndarray,
        y: np.ndarray,
        rstd: np.ndarray,
    ) -> None:
        """Normalised new state y [R, H] of the GRU; the gates r, z, n replace from_input [R, 3 H]."""
        for i in range(hidden.shape[0]):
            a, b, h, yi = from_input[i], from_hidden[i], hidden[i], y[i]
            for j in range(h2):
                a[j] = sigmoid(a[j] + b[j] + input_bias[j] + hidden_bias[j])
            for j in range(h2, h3):
                b[j] += hidden_bias[j]
            total = f32(0.0)
            for j in range(h1):
                x = a[h2 + j] + input_bias[h2 + j] + a[j] * b[h2 + j]
                n = f32(2.0) * sigmoid(f32(2.0) * x) - f32(1.0)  # tanh
                a[h2 + j] = n
                yi[j] = n + a[h1 + j] * (h[j] - n)
                total += yi[j]
            mean = total * share
            squares = f32(0.0)
            for j in range(h1):
                squares += (yi[j] - mean) * (yi[j] - mean)
            rstd[i] = f32(1.0) / np.sqrt(squares * share + LAYER_NORM_EPSILON)
            for j in range(h1):
                yi[j] = (yi[j] - mean) * rstd[i]

    @njit(fastmath=FAST, error_model="numpy", cache=True)
    def gru_norm_backward(
        d: np.ndarray,
        y: np.ndarray,
        rstd: np.ndarray,
        gates: np.ndarray,
        from_hidden: np.ndarray,
        hidden: np.ndarray,
        input_bias_gradient: np.ndarray,
        hidden_bias_gradient: np.ndarray,
    ) -> None:
        """d: gradient by y. Those by from_input and from_hidden replace gates and from_hidden; biases' are added."""
        one = f32(1.0)
        for i in range(d.shape[0]):
            a, b, h, di, yi = gates[i], from_hidden[i], hidden[i], d[i], y[i]
            mean, along = f32(0.0), f32(0.0)
            for j in range(h1):
                mean += di[j] * share
                along += di[j] * yi[j] * share
            for j in range(h1):
                dh = rstd[i] * (di[j] - mean - along * yi[j])
                r, z, n = a[j], a[h1 + j], a[h2 + j]
                dn = dh * (one - z) * (one - n * n)
                dz = dh * (h[j] - n) * z * (one - z)
                dr = dn * b[h2 + j] * r * (one - r)
                a[j], a[h1 + j], a[h2 + j] = dr, dz, dn
                b[j], b[h1 + j], b[h2 + j] = dr, dz, dn * r
            for j in range(h3):
                input_bias_gradient[j] += a[j]
                hidden_bias_gradient[j] += b[j]

    return LayerKernels(relu_norm, relu_norm_backward, gru_norm, gru_norm_backward)


class ChunkLoss(NamedTuple):
    """A loss on rows of one learner, for `loss_gradients`.

    Attributes:
        inputs: normalised inputs, float32 [R, inputs].
        hidden: the GRU's stored state, float32 [R, hidden].
        gradient: called with a range of rows (first, last) and the outputs of these rows [last - first, outputs], which
            it replaces by the gradient of the loss by them.
    """

    inputs: Tensor
    hidden: Tensor
    gradient: Callable[[int, int, np.ndarray], None]


def loss_gradients(net: Folded, losses: list[ChunkLoss]) -> Folded:
    """Gradients of the learners' losses by their folded parameters.

    Args:
        net: folded parameters of L learners on the CPU; not differentiated through here.
        losses: one per learner; numbers of rows may differ.
    """
    with torch.no_grad():
        gradients = Folded(*(torch.zeros_like(parameter) for parameter in net))
        chunk = _Chunk(net)
        for learner, loss in enumerate(losses):
            own = Folded(*(parameter[learner].detach() for parameter in net))
            own_gradients = Folded(*(gradient[learner] for gradient in gradients))
            for first in range(0, len(loss.inputs), ROWS_PER_CHUNK):
                last = min(first + ROWS_PER_CHUNK, len(loss.inputs))
                chunk.add_gradients(own, own_gradients, loss, first, last)
    return gradients


class _Chunk:
    """The intermediate results of one chunk, overwritten by the next."""

    def __init__(self, net: Folded) -> None:
        hidden, outputs = net.head_weight.shape[1:]
        self.kernels = layer_kernels(hidden)
        self.z1, self.y1, self.z2, self.y2, self.y3, self.d = torch.empty(6, ROWS_PER_CHUNK, hidden)
        self.from_input, self.from_hidden = torch.empty(2, ROWS_PER_CHUNK, 3 * hidden)
        self.out = torch.empty(ROWS_PER_CHUNK, outputs)
        self.rstd1, self.rstd2, self.rstd3 = torch.empty(3, ROWS_PER_CHUNK)

    def add_gradients(self, net: Folded, gradients: Folded, loss: ChunkLoss, first: int, last: int) -> None:
        """Add the gradients of rows first to last of the loss to `gradients`."""
        rows = last - first
        x, h = loss.inputs[first:last], loss.hidden[first:last]
        z1, y1, z2, y2, y3, d = (b[:rows] for b in (self.z1, self.y1, self.z2, self.y2, self.y3, self.d))
        from_input, from_hidden, out = self.from_input[:rows], self.from_hidden[:rows], self.out[:rows]
        n_h, n_y3, n_rstd3 = h.numpy(), y3.numpy(), self.rstd3.numpy()
        n_from_input, n_from_hidden = from_input.numpy(), from_hidden.numpy()

        multiply(x, net.weight1, out=z1)
        self.kernels.relu_norm(z1.numpy(), net.bias1.numpy(), y1.numpy(), self.rstd1.numpy())
        multiply(y1, net.weight2, out=z2)
        self.kernels.relu_norm(z2.numpy(), net.bias2.numpy(), y2.numpy(), self.rstd2.numpy())
        multiply(y2, net.gru_input_weight, out=from_input)
        multiply(h, net.gru_hidden_weight, out=from_hidden)
        biases = net.gru_input_bias.numpy(), net.gru_hidden_bias.numpy()
        self.kernels.gru_norm(n_from_input, n_from_hidden, *biases, n_h, n_y3, n_rstd3)
        multiply(y3, net.head_weight, out=out, plus=net.head_bias)

        loss.gradient(first, last, out.numpy())

        add_product(gradients.head_weight, y3.t(), out)
        gradients.head_bias.add_(out.sum(0))
        multiply(out, net.head_weight.t(), out=d)
        bias_gradients = gradients.gru_input_bias.numpy(), gradients.gru_hidden_bias.numpy()
        self.kernels.gru_norm_backward(d.numpy(), n_y3, n_rstd3, n_from_input, n_from_hidden, n_h, *bias_gradients)
        add_product(gradients.gru_hidden_weight, h.t(), from_hidden)
        add_product(gradients.gru_input_weight, y2.t(), from_input)
        multiply(from_input, net.gru_input_weight.t(), out=d)
        self.kernels.relu_norm_backward(d.numpy(), y2.numpy(), self.rstd2.numpy(), z2.numpy(), gradients.bias2.numpy())
        add_product(gradients.weight2, y1.t(), d)
        multiply(d, net.weight2.t(), out=y3)
        self.kernels.relu_norm_backward(y3.numpy(), y1.numpy(), self.rstd1.numpy(), z1.numpy(), gradients.bias1.numpy())
        add_product(gradients.weight1, x.t(), y3)
