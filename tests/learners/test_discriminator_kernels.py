"""The hand-derived gradient against torch's automatic double backward on the plain padded rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from dm2.learners.discriminator import logits, parameter_shapes, parameter_views
from dm2.learners.discriminator_kernels import EpisodeRows, GradientEngine, Parameters, _tanh, episode_rows

EPISODE_LIMIT = 12


def random_episodes(generator: np.random.Generator, n: int, size: int, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Padded rows [n, EPISODE_LIMIT, size] whose zero tails differ, and a row of zeros inside the first episode."""
    padded = generator.standard_normal((n, EPISODE_LIMIT, size)).astype(dtype)
    kept = generator.integers(1, EPISODE_LIMIT + 1, n)
    kept[:2] = EPISODE_LIMIT
    padded[np.arange(EPISODE_LIMIT) >= kept[:, None]] = 0.0
    padded[0, 1] = 0.0
    return padded, kept


def compressed(padded: np.ndarray) -> EpisodeRows:
    return episode_rows(padded.reshape(-1, padded.shape[2]), np.arange(len(padded) + 1) * EPISODE_LIMIT)


def random_net(generator: np.random.Generator, size: int, hidden: int, dtype: torch.dtype) -> torch.Tensor:
    total = sum(int(np.prod(shape)) for shape in parameter_shapes(size, hidden).values())
    return torch.from_numpy(generator.standard_normal((1, total)) * 0.4).to(dtype)


def padded_loss(
    net: Parameters, expert: Tensor, own: Tensor, alpha: Tensor, takes_part: tuple[Tensor, Tensor], weight: float
) -> Tensor:
    """The loss L of each learner on padded rows.

    Args:
        net: parameters, with the learner axis.
        expert: [learners, rows, input_size].
        own: [learners, rows, input_size]; row k is mixed with expert row k.
        alpha: the expert's share in the mixture, [learners, rows].
        takes_part: True for rows that count, of the expert and of the learner, bool [learners, rows] each; a mixture
            counts where both its rows do.
        weight: of the gradient penalty.

    Returns:
        Cross-entropy on expert rows, cross-entropy on own rows and weighted penalty, [3, learners].
    """
    mixed = (alpha[..., None] * expert + (1.0 - alpha[..., None]) * own).requires_grad_()
    (slope,) = torch.autograd.grad(logits(net, mixed).sum(), mixed, create_graph=True)
    rows = (
        _cross_entropy(logits(net, expert), 1.0),
        _cross_entropy(logits(net, own), 0.0),
        weight * (torch.linalg.vector_norm(slope, dim=-1) - 1.0) ** 2,
    )
    counts = (*takes_part, takes_part[0] & takes_part[1])
    return torch.stack([(r * c).sum(dim=1) / c.sum(dim=1) for r, c in zip(rows, counts, strict=True)])


def _cross_entropy(logit: Tensor, label: float) -> Tensor:
    """-log of the probability that sigmoid(logit) gives to the label; same shape as logit."""
    return binary_cross_entropy_with_logits(logit, torch.full_like(logit, label), reduction="none")


def both_ways(
    absorbing: bool, dtype: torch.dtype, size: int = 5, hidden: int = 7, n: int = 9
) -> tuple[np.ndarray, Parameters, torch.Tensor, Parameters]:
    """Losses and gradients: the engine's, then the padded computation's, in float64."""
    generator = np.random.default_rng(7)
    numpy_dtype = np.float64 if dtype == torch.float64 else np.float32
    expert, expert_kept = random_episodes(generator, n, size, numpy_dtype)
    own, own_kept = random_episodes(generator, n, size, numpy_dtype)
    alpha = generator.random((n, EPISODE_LIMIT)).astype(numpy_dtype)
    expert_ids, own_ids = generator.permutation(n), generator.permutation(n)
    shapes = parameter_shapes(size, hidden)
    flat = random_net(generator, size, hidden, dtype)

    engine = GradientEngine(size, hidden, n, EPISODE_LIMIT, 10.0, absorbing, dtype)
    flat_gradient = torch.full_like(flat, 99.0)
    gradient = parameter_views(flat_gradient, shapes).of(0)
    net = parameter_views(flat, shapes).of(0)
    sums = engine.gradient(net, compressed(expert), expert_ids, compressed(own), own_ids, alpha, gradient)

    twin = flat.double().clone().requires_grad_()
    filled = [torch.from_numpy(np.arange(EPISODE_LIMIT) < kept[:, None]) for kept in (expert_kept, own_kept)]
    part = [torch.ones_like(f) if absorbing else f for f in filled]
    losses = padded_loss(
        parameter_views(twin, shapes),
        torch.from_numpy(expert[expert_ids]).double().reshape(1, -1, size),
        torch.from_numpy(own[own_ids]).double().reshape(1, -1, size),
        torch.from_numpy(alpha).double().reshape(1, -1),
        (part[0][expert_ids].reshape(1, -1), part[1][own_ids].reshape(1, -1)),
        10.0,
    )
    losses.sum().backward()
    assert twin.grad is not None
    return sums, gradient, losses.detach(), parameter_views(twin.grad, shapes).of(0)


@pytest.mark.usefixtures("each_library")
@pytest.mark.parametrize("absorbing", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 2e-5)])
@pytest.mark.parametrize("pairs_per_block", [3, 1_000_000])
def test_gradient_equals_padded_double_backward(
    absorbing: bool, dtype: torch.dtype, tolerance: float, pairs_per_block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dm2.learners.discriminator_kernels.PAIRS_PER_BLOCK", pairs_per_block)
    sums, gradient, losses, expected = both_ways(absorbing, dtype)
    assert sums[[0, 1, 4]] == pytest.approx(losses[:, 0].numpy(), rel=tolerance)
    for name in ("w1", "b1", "w2", "b2", "w3", "b3"):
        found, wanted = getattr(gradient, name).double(), getattr(expected, name)
        assert torch.linalg.vector_norm(found - wanted) <= tolerance * torch.linalg.vector_norm(wanted), name


def test_penalty_of_a_linear_net_by_hand() -> None:
    """With all rows zero and no biases both tanh have slope 1: the slope is w1 w2 w3 = 0.5 * 0.4 * 3 = 0.6."""
    engine = GradientEngine(1, 1, 1, EPISODE_LIMIT, 10.0, True, torch.float64)
    numbers = (torch.tensor(n, dtype=torch.float64) for n in ([[0.5]], [0.0], [[0.4]], [0.0], [3.0], [0.0]))
    net = Parameters(*numbers)
    gradient = Parameters(*(torch.empty_like(getattr(net, name)) for name in ("w1", "b1", "w2", "b2", "w3", "b3")))
    rows = EpisodeRows(np.zeros((1, 16)), np.array([0, 1]))
    first = np.array([0])
    sums = engine.gradient(net, rows, first, rows, first, np.full((1, EPISODE_LIMIT), 0.5), gradient)
    assert sums[4] == pytest.approx(10.0 * (0.6 - 1.0) ** 2)
    assert gradient.w1.item() == pytest.approx(10.0 * 2.0 * (0.6 - 1.0) * 0.4 * 3.0)
    assert gradient.w3.item() == pytest.approx(10.0 * 2.0 * (0.6 - 1.0) * 0.5 * 0.4)
    assert sums[[0, 1]] == pytest.approx([np.log(2.0), np.log(2.0)])


def test_a_flat_net_has_finite_gradients() -> None:
    engine = GradientEngine(2, 3, 1, EPISODE_LIMIT, 10.0, True, torch.float32)
    shapes = parameter_shapes(2, 3)
    flat = torch.zeros(1, sum(int(np.prod(shape)) for shape in shapes.values()))
    gradient = torch.empty_like(flat)
    rows = EpisodeRows(np.ones((2, 16), np.float32), np.array([0, 2]))
    alpha = np.zeros((1, EPISODE_LIMIT), np.float32)
    nets = parameter_views(flat, shapes).of(0), parameter_views(gradient, shapes).of(0)
    sums = engine.gradient(nets[0], rows, np.array([0]), rows, np.array([0]), alpha, nets[1])
    assert sums[4] == pytest.approx(10.0)
    assert bool(gradient.isfinite().all())


def test_episode_rows_cut_trailing_zeros_only() -> None:
    inputs = np.array([[1.0], [0.0], [2.0], [0.0], [0.0], [3.0], [0.0]])
    found = episode_rows(inputs, np.array([0, 4, 5, 7]))
    assert found.starts.tolist() == [0, 3, 3, 4]
    assert found.rows[:, 0].tolist() == [1.0, 0.0, 2.0, 3.0]
    assert found.rows.shape[1] % 16 == 0
    assert not found.rows[:, 1:].any()


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2.5e-7), (np.float64, 1e-7)])
def test_tanh(dtype: type, tolerance: float) -> None:
    x = np.linspace(-20.0, 20.0, 4001).astype(dtype)
    found = np.array([_tanh(value) for value in x])
    assert np.abs(found - np.tanh(x.astype(np.float64))).max() < tolerance
    assert np.abs(found).max() <= 1.0
