"""The gradient of the discriminator's loss on a CPU: derived by hand, zero rows computed once, few passes over memory.

For one learner, h1 = tanh(W1 x + b1), h2 = tanh(W2 h1 + b2), logit = w3 . h2 + b3 and s = 1 - h^2. The gradient penalty
needs the length n of the logit's gradient with respect to its input:

    u2 = w3 * s2,    t = W2^T u2,    u1 = t * s1,    grad_x logit = W1^T u1,    n^2 = u1 . G u1  with  G = W1 W1^T.

The derivative of weight * (n - 1)^2 by u1 is k G u1 with k = 2 weight (n - 1) / n. From there backwards, a bar meaning
the derivative of the loss:

    W1_bar = (sum k u1 u1^T) W1,      t_bar = s1 * k G u1,      s1_bar = t * k G u1,
    W2_bar = sum u2 t_bar^T,          u2_bar = W2 t_bar,        w3_bar = sum s2 * u2_bar,     s2_bar = w3 * u2_bar,

and with a for the pre-activations, where the binary cross-entropies join in (there a2_bar = (sigmoid - label) u2):

    a2_bar = -2 h2 s2 * s2_bar,                       W2_bar += sum a2_bar h1^T,
    a1_bar = s1 * (W2^T a2_bar - 2 h1 * s1_bar),      W1_bar += sum a1_bar x^T.

A mixed row x = alpha e + (1 - alpha) o has a1 = alpha a1(e) + (1 - alpha) a1(o), so its first layer costs no product in
either direction: it reads what the rows e and o have computed, and hands its a1_bar back to them.

The matrix products are those of `dm2.nets.products`; everything between two products is one numba kernel. Rows go
through in blocks of a few episode pairs, so that the arrays of a block stay in a core's cache.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dm2.core.jit import njit
from dm2.nets.products import add_product, multiply

PAIRS_PER_BLOCK = 1000
COLUMNS_MULTIPLE = 16

# typed: with a plain 1.0 a kernel's float32 would become float64
_ZERO, _ONE, _TWO = np.float32(0.0), np.float32(1.0), np.float32(2.0)

_jit = njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "arcp", "nsz"}, error_model="numpy")


@dataclass(frozen=True)
class EpisodeRows:
    """What one learner's discriminator reads of a set of episodes, without the zero rows at an episode's end.

    Attributes:
        rows: inputs, episode after episode, each episode cut after its last row that is not all zeros,
            [rows, columns]; columns is the input size rounded up, the surplus columns hold zeros.
        starts: first row of each episode and the number of rows at the end, int64 [episodes + 1].
    """

    rows: np.ndarray
    starts: np.ndarray

    @cached_property
    def steps(self) -> np.ndarray:
        """Rows of each episode, int64 [episodes]."""
        return np.diff(self.starts)


def episode_rows(inputs: np.ndarray, starts: np.ndarray) -> EpisodeRows:
    """Cut the zero rows off the end of each episode.

    Args:
        inputs: rows of all episodes, [rows, input_size].
        starts: first row of each episode and the number of rows at the end, int64 [episodes + 1].
    """
    lengths = np.diff(starts)
    step = np.arange(len(inputs)) - np.repeat(starts[:-1], lengths)
    kept = np.maximum.reduceat(np.where(inputs.any(axis=1), step + 1, 0), starts[:-1])  # [episodes]
    rows = np.zeros((int(kept.sum()), _columns(inputs.shape[1])), inputs.dtype)
    rows[:, : inputs.shape[1]] = inputs[step < np.repeat(kept, lengths)]
    return EpisodeRows(rows, np.concatenate(([0], np.cumsum(kept))))


def _columns(input_size: int) -> int:
    """The input size rounded up: odd sizes slow the product that gives W1's gradient by a third."""
    return input_size + -input_size % COLUMNS_MULTIPLE


@dataclass(frozen=True)
class Parameters:
    """Parameters of discriminators, or their gradients; a leading learner axis is left out for one learner.

    Attributes:
        w1: [hidden, input_size].
        b1: [hidden].
        w2: [hidden, hidden].
        b2: [hidden].
        w3: [hidden].
        b3: [1].
    """

    w1: Tensor
    b1: Tensor
    w2: Tensor
    b2: Tensor
    w3: Tensor
    b3: Tensor

    def of(self, learner: int) -> Parameters:
        """Views of one learner's parameters."""
        return Parameters(*(getattr(self, field.name)[learner] for field in fields(self)))


@njit(inline="always")
def _tanh(x: Any) -> Any:
    """Hyperbolic tangent; the absolute error is below 2e-7 in float32 and 1e-7 in float64.

    Lambert's continued fraction for tanh(x / 2), cut after x^7, is a quotient p / q; tanh(x) = 2 p q / (p^2 + q^2). One
    division and no branch, so that the compiler can turn a loop of it into vector instructions.
    """
    y = min(max(x, np.float32(-8.5)), np.float32(8.5)) * np.float32(0.5)
    y2 = y * y
    p = y * (np.float32(135135.0) + y2 * (np.float32(17325.0) + y2 * (np.float32(378.0) + y2)))
    q = np.float32(135135.0) + y2 * (np.float32(62370.0) + y2 * (np.float32(3150.0) + np.float32(28.0) * y2))
    return _TWO * p * q / (p * p + q * q)


@_jit
def _gather(
    expert_rows: Any,
    expert_starts: Any,
    expert_ids: Any,
    own_rows: Any,
    own_starts: Any,
    own_ids: Any,
    alpha: Any,
    absorbing: bool,
    x: Any,
    pair_expert: Any,
    pair_own: Any,
    pair_alpha: Any,
    pair_count: Any,
) -> tuple[int, int, int]:
    """Copy the rows of paired episodes into x: the expert's, the own ones, one zero row; list the pairs to mix.

    Args:
        expert_rows: [rows, columns].
        expert_starts: int64 [episodes + 1].
        expert_ids: expert episodes of this block, int64 [n].
        own_rows: like expert_rows.
        own_starts: like expert_starts.
        own_ids: own episodes; number i pairs with expert episode i, step t with step t.
        alpha: the expert's share in each mixture, [n, rows_per_episode].
        absorbing: an episode that is over goes on with zero rows; otherwise only pairs of two rows are mixed.
        x: output, [>= rows, columns].
        pair_expert: output, the expert's row of x in each pair, int64 [>= pairs].
        pair_own: output, like pair_expert.
        pair_alpha: output, [>= pairs].
        pair_count: output, how many pairs this one stands for: 1, but for the pair of two zero rows, which is listed
            once and last, [>= pairs].

    Returns:
        Number of expert rows, of rows in all (the last of them is the zero row), and of pairs.
    """
    n_expert = n_own = pairs = 0
    for i in range(expert_ids.shape[0]):
        n_expert += expert_starts[expert_ids[i] + 1] - expert_starts[expert_ids[i]]
        n_own += own_starts[own_ids[i] + 1] - own_starts[own_ids[i]]
    zero = n_expert + n_own
    e, o = 0, n_expert
    for i in range(expert_ids.shape[0]):
        e_begin, e_end = expert_starts[expert_ids[i]], expert_starts[expert_ids[i] + 1]
        o_begin, o_end = own_starts[own_ids[i]], own_starts[own_ids[i] + 1]
        e_steps, o_steps = e_end - e_begin, o_end - o_begin
        x[e : e + e_steps] = expert_rows[e_begin:e_end]
        x[o : o + o_steps] = own_rows[o_begin:o_end]
        for t in range(max(e_steps, o_steps) if absorbing else min(e_steps, o_steps)):
            pair_expert[pairs] = e + t if t < e_steps else zero
            pair_own[pairs] = o + t if t < o_steps else zero
            pair_alpha[pairs] = alpha[i, t]
            pair_count[pairs] = _ONE
            pairs += 1
        e += e_steps
        o += o_steps
    x[zero] = _ZERO
    if absorbing:
        pair_expert[pairs] = pair_own[pairs] = zero
        pair_alpha[pairs] = _ZERO
        pair_count[pairs] = alpha.size - pairs
        pairs += 1
    return n_expert, zero + 1, pairs


@_jit
def _first_layer(a1: Any, b1: Any, pair_expert: Any, pair_own: Any, alpha: Any, h1: Any) -> None:
    """h1 = tanh(a1 + b1) of the rows and, behind them, of the mixed rows.

    Args:
        a1: W1 x, [rows, hidden].
        b1: [hidden].
        pair_expert: int64 [pairs].
        pair_own: int64 [pairs].
        alpha: [pairs].
        h1: output, [rows + pairs, hidden].
    """
    rows, hidden = a1.shape
    for r in range(rows):
        for j in range(hidden):
            h1[r, j] = _tanh(a1[r, j] + b1[j])
    for p in range(alpha.shape[0]):
        e, o, share, m = pair_expert[p], pair_own[p], alpha[p], rows + p
        for j in range(hidden):
            h1[m, j] = _tanh(share * a1[e, j] + (_ONE - share) * a1[o, j] + b1[j])


@_jit
def _second_layer(
    a2: Any,
    b2: Any,
    w3: Any,
    b3: Any,
    n_expert: int,
    rows: int,
    weights: Any,
    u2: Any,
    grad_b2: Any,
    grad_w3: Any,
    grad_b3: Any,
    sums: Any,
) -> None:
    """Second layer; logits, cross-entropies and their gradient for the rows, u2 for the mixed rows.

    Args:
        a2: W2 h1, [rows + pairs, hidden]; becomes a2_bar for the rows and h2 for the mixed rows.
        b2: [hidden].
        w3: [hidden].
        b3: [1].
        n_expert: the first n_expert rows are the expert's; the last one is the zero row, for expert and learner.
        rows: number of rows that are not mixed.
        weights: of one expert row, of one own row, of all the expert's zero rows, of all own zero rows, [>= 4].
        u2: output, w3 * s2 of the mixed rows, [pairs, hidden].
        grad_b2: added to, [hidden].
        grad_w3: added to, [hidden].
        grad_b3: added to, [1].
        sums: added to: loss on expert rows, loss on own rows, expert rows told right, own rows told right; the last two
            without the zero row, [>= 4].
    """
    hidden = a2.shape[1]
    for r in range(rows):
        logit = b3[0]
        for j in range(hidden):
            h2 = _tanh(a2[r, j] + b2[j])
            a2[r, j] = h2
            logit += w3[j] * h2
        tail = math.exp(-abs(logit))
        sigmoid = (_ONE if logit > _ZERO else tail) / (_ONE + tail)
        softplus = max(logit, _ZERO) + math.log1p(tail)  # log(1 + e^logit)
        expert_weight = weights[0] if r < n_expert else weights[2] if r == rows - 1 else _ZERO
        own_weight = weights[3] if r == rows - 1 else weights[1] if r >= n_expert else _ZERO
        sums[0] += expert_weight * (softplus - logit)
        sums[1] += own_weight * softplus
        sums[2] += r < n_expert and logit > _ZERO
        sums[3] += n_expert <= r < rows - 1 and logit < _ZERO
        delta = expert_weight * (sigmoid - _ONE) + own_weight * sigmoid
        grad_b3[0] += delta
        for j in range(hidden):
            h2 = a2[r, j]
            bar = delta * w3[j] * (_ONE - h2 * h2)
            grad_w3[j] += delta * h2
            grad_b2[j] += bar
            a2[r, j] = bar
    for p in range(u2.shape[0]):
        for j in range(hidden):
            h2 = _tanh(a2[rows + p, j] + b2[j])
            a2[rows + p, j] = h2
            u2[p, j] = w3[j] * (_ONE - h2 * h2)


@_jit
def _input_gradient(t: Any, h1: Any) -> None:
    """Turn t into u1 = t * s1 in place; both of the mixed rows, [pairs, hidden]."""
    for p in range(t.shape[0]):
        for j in range(t.shape[1]):
            t[p, j] *= _ONE - h1[p, j] * h1[p, j]


@_jit
def _penalty(u1: Any, gu1: Any, h1: Any, pair_count: Any, weights: Any, ku1: Any, through_s1: Any, sums: Any) -> None:
    """Gradient penalty weight * (n - 1)^2 of each mixed row and its derivatives; where n is 0 they are 0.

    Args:
        u1: [pairs, hidden].
        gu1: G u1, [pairs, hidden]; becomes t_bar.
        h1: [pairs, hidden].
        pair_count: how many mixed rows each one stands for, [pairs].
        weights: number 4 is the weight of one mixed row, [5].
        ku1: output, k u1, [pairs, hidden].
        through_s1: output, the part -2 h1 s1 * s1_bar of a1_bar, [pairs, hidden].
        sums: the penalty is added to number 4, [>= 5].
    """
    hidden = u1.shape[1]
    for p in range(u1.shape[0]):
        square = u1[p, 0] * gu1[p, 0]
        for j in range(1, hidden):
            square += u1[p, j] * gu1[p, j]
        length = math.sqrt(max(square, _ZERO))
        weight = weights[4] * pair_count[p]
        sums[4] += weight * (length - _ONE) * (length - _ONE)
        k = _TWO * weight * (length - _ONE) / length if length > _ZERO else _ZERO * weight
        for j in range(hidden):
            k_gu1 = k * gu1[p, j]
            ku1[p, j] = k * u1[p, j]
            gu1[p, j] = k_gu1 * (_ONE - h1[p, j] * h1[p, j])
            through_s1[p, j] = -_TWO * h1[p, j] * u1[p, j] * k_gu1


@_jit
def _second_layer_backward(h2: Any, u2_bar: Any, w3: Any, grad_b2: Any, grad_w3: Any) -> None:
    """Turn h2 of the mixed rows into a2_bar in place; h2 and u2_bar are [pairs, hidden], the others [hidden]."""
    for p in range(h2.shape[0]):
        for j in range(h2.shape[1]):
            inner = (_ONE - h2[p, j] * h2[p, j]) * u2_bar[p, j]
            bar = -_TWO * h2[p, j] * w3[j] * inner
            grad_w3[j] += inner
            grad_b2[j] += bar
            h2[p, j] = bar


@_jit
def _first_layer_backward(
    h1_bar: Any, h1: Any, through_s1: Any, pair_expert: Any, pair_own: Any, alpha: Any, a1_bar: Any, grad_b1: Any
) -> None:
    """a1_bar of the rows, with what each mixed row hands back to the two rows that it mixes.

    Args:
        h1_bar: W2^T a2_bar, [rows + pairs, hidden].
        h1: [rows + pairs, hidden].
        through_s1: [pairs, hidden].
        pair_expert: int64 [pairs].
        pair_own: int64 [pairs].
        alpha: [pairs].
        a1_bar: output, [rows, hidden].
        grad_b1: added to, [hidden].
    """
    rows, hidden = a1_bar.shape
    for r in range(rows):
        for j in range(hidden):
            bar = h1_bar[r, j] * (_ONE - h1[r, j] * h1[r, j])
            a1_bar[r, j] = bar
            grad_b1[j] += bar
    for p in range(alpha.shape[0]):
        e, o, share, m = pair_expert[p], pair_own[p], alpha[p], rows + p
        for j in range(hidden):
            bar = h1_bar[m, j] * (_ONE - h1[m, j] * h1[m, j]) + through_s1[p, j]
            grad_b1[j] += bar
            a1_bar[e, j] += share * bar
            a1_bar[o, j] += (_ONE - share) * bar


class GradientEngine:
    """Computes one learner's loss and gradient; owns the memory for it, so that nothing is allocated per step.

    Args:
        input_size: columns of an input that are not padding.
        hidden_size: units per layer.
        batch_episodes: expert episodes, and own episodes, per step.
        rows_per_episode: rows of an episode, the absorbing zero rows at its end included.
        gradient_penalty: weight of the gradient penalty.
        absorbing_zeros: an episode that is over goes on with zero rows until it has so many.
        dtype: of parameters and inputs.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        batch_episodes: int,
        rows_per_episode: int,
        gradient_penalty: float,
        absorbing_zeros: bool,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.input_size = input_size
        self.gradient_penalty = gradient_penalty
        self.absorbing_zeros = absorbing_zeros
        columns = _columns(input_size)
        pairs = batch_episodes * (rows_per_episode + 1)  # and a pair of zero rows per block
        rows = 2 * batch_episodes * rows_per_episode + 1
        sizes: dict[str, tuple[int, ...]] = {"x": (rows, columns), "w1_bar": (hidden_size, columns), "weights": (5,)}
        sizes |= {name: (rows, hidden_size) for name in ("a1", "a1_bar")}
        sizes |= {name: (rows + pairs, hidden_size) for name in ("h1", "a2", "h1_bar")}
        sizes |= {name: (pairs, hidden_size) for name in ("u1", "u2", "gu1", "ku1", "u2_bar", "through_s1")}
        sizes |= {"gram": (hidden_size, hidden_size), "ku1_u1": (hidden_size, hidden_size)}
        sizes |= {"pair_alpha": (pairs,), "pair_count": (pairs,)}
        self.tensors = {name: torch.empty(size, dtype=dtype) for name, size in sizes.items()}  # most is never touched
        self.arrays = {name: tensor.numpy() for name, tensor in self.tensors.items()}
        self.arrays |= {name: np.empty(pairs, np.int64) for name in ("pair_expert", "pair_own")}

    def gradient(
        self,
        net: Parameters,
        expert: EpisodeRows,
        expert_ids: np.ndarray,
        own: EpisodeRows,
        own_ids: np.ndarray,
        alpha: np.ndarray,
        gradient: Parameters,
    ) -> np.ndarray:
        """Loss of one minibatch and its gradient.

        Args:
            net: one learner's parameters.
            expert: the demonstrations' rows.
            expert_ids: episodes drawn, int64 [batch].
            own: the learner's own rows.
            own_ids: episodes drawn, int64 [batch]; number i pairs with expert episode i.
            alpha: the expert's share in the mixture of each pair of rows, [batch, rows_per_episode].
            gradient: output, overwritten.

        Returns:
            Cross-entropy on expert rows, cross-entropy on own rows, share of the expert's rows told right, share of
            the own rows told right (both without zero rows), weighted gradient penalty; float64 [5].
        """
        expert_steps, own_steps = expert.steps[expert_ids], own.steps[own_ids]
        self._weigh(expert_steps, own_steps, alpha.size)
        for tensor in (gradient.b1, gradient.w2, gradient.b2, gradient.w3, gradient.b3):
            tensor.zero_()
        for name in ("w1_bar", "ku1_u1"):
            self.tensors[name].zero_()
        multiply(net.w1, net.w1.T, out=self.tensors["gram"])
        sums = np.zeros(5)
        size = max(1, PAIRS_PER_BLOCK * len(own_ids) // int(own_steps.sum()))
        for first in range(0, len(own_ids), size):
            block = slice(first, first + size)
            counts = self._gather(expert, expert_ids[block], own, own_ids[block], alpha[block])
            self._add_block(net, gradient, sums, *counts)
        w1_bar = self.tensors["w1_bar"][:, : self.input_size]
        multiply(self.tensors["ku1_u1"], net.w1, out=gradient.w1, plus=w1_bar)
        sums[2:4] /= expert_steps.sum(), own_steps.sum()
        return sums

    def _weigh(self, expert_steps: np.ndarray, own_steps: np.ndarray, padded_rows: int) -> None:
        """Weights that turn sums over rows into means over all rows that take part."""
        if self.absorbing_zeros:
            shares = [padded_rows, padded_rows, padded_rows]
        else:
            shares = [expert_steps.sum(), own_steps.sum(), np.minimum(expert_steps, own_steps).sum()]
        self.arrays["weights"][[0, 1]] = 1.0 / shares[0], 1.0 / shares[1]
        self.arrays["weights"][4] = self.gradient_penalty / shares[2]

    def _gather(
        self, expert: EpisodeRows, expert_ids: np.ndarray, own: EpisodeRows, own_ids: np.ndarray, alpha: np.ndarray
    ) -> tuple[int, int, int]:
        """Fetch a block's rows; number of expert rows, of rows in all, of pairs."""
        a = self.arrays
        counts = _gather(
            expert.rows, expert.starts, expert_ids, own.rows, own.starts, own_ids, alpha, self.absorbing_zeros,
            a["x"], a["pair_expert"], a["pair_own"], a["pair_alpha"], a["pair_count"],
        )  # fmt: skip
        n_expert, rows, _ = counts
        zeros = alpha.size - n_expert, alpha.size - (rows - 1 - n_expert)
        a["weights"][2:4] = a["weights"][:2] * zeros if self.absorbing_zeros else 0.0
        return counts

    def _add_block(
        self, net: Parameters, gradient: Parameters, sums: np.ndarray, n_expert: int, rows: int, pairs: int
    ) -> None:
        """Add the loss and gradient of the block that was gathered; the module's docstring has the equations."""
        t, a, both = self.tensors, self.arrays, rows + pairs
        b1, b2, w3, b3 = (tensor.numpy() for tensor in (net.b1, net.b2, net.w3, net.b3))
        grad_b1, grad_b2, grad_w3, grad_b3 = (
            tensor.numpy() for tensor in (gradient.b1, gradient.b2, gradient.w3, gradient.b3)
        )
        mix = a["pair_expert"][:pairs], a["pair_own"][:pairs], a["pair_alpha"][:pairs]
        h1, a2, u1, u2, gu1 = t["h1"][:both], t["a2"][:both], t["u1"][:pairs], t["u2"][:pairs], t["gu1"][:pairs]
        h1_mixed, a2_mixed, through_s1 = a["h1"][rows:both], a["a2"][rows:both], a["through_s1"][:pairs]

        multiply(t["x"][:rows, : self.input_size], net.w1.T, out=t["a1"][:rows])
        _first_layer(a["a1"][:rows], b1, *mix, a["h1"][:both])
        multiply(h1, net.w2.T, out=a2)
        _second_layer(
            a["a2"][:both], b2, w3, b3, n_expert, rows, a["weights"], a["u2"][:pairs], grad_b2, grad_w3, grad_b3, sums
        )
        multiply(u2, net.w2, out=u1)
        _input_gradient(a["u1"][:pairs], h1_mixed)
        multiply(u1, t["gram"], out=gu1)
        _penalty(
            a["u1"][:pairs], a["gu1"][:pairs], h1_mixed, a["pair_count"][:pairs], a["weights"], a["ku1"][:pairs],
            through_s1, sums,
        )  # fmt: skip
        add_product(t["ku1_u1"], t["ku1"][:pairs].T, u1)
        add_product(gradient.w2, u2.T, gu1)
        multiply(gu1, net.w2.T, out=t["u2_bar"][:pairs])
        _second_layer_backward(a2_mixed, a["u2_bar"][:pairs], w3, grad_b2, grad_w3)
        add_product(gradient.w2, a2.T, h1)
        multiply(a2, net.w2, out=t["h1_bar"][:both])
        _first_layer_backward(a["h1_bar"][:both], a["h1"][:both], through_s1, *mix, a["a1_bar"][:rows], grad_b1)
        add_product(t["w1_bar"], t["a1_bar"][:rows].T, t["x"][:rows])
