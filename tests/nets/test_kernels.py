"""dm2.nets.kernels: gradients in chunks equal automatic differentiation."""

import numba
import numpy as np
import pytest
import torch
from support.random_nets import random_data, random_parameters

from dm2.nets.actor_critic import NetShape, fold, forward, normalise
from dm2.nets.kernels import ChunkLoss, exp, layer_kernels, loss_gradients, sigmoid


@pytest.mark.usefixtures("each_library")
@pytest.mark.parametrize("hidden", [12, 64])
@pytest.mark.parametrize("rows_per_chunk", [4, 512])
def test_gradients_equal_automatic_differentiation(monkeypatch, hidden, rows_per_chunk):
    monkeypatch.setattr("dm2.nets.kernels.ROWS_PER_CHUNK", rows_per_chunk)
    shape = NetShape(7, hidden, 5)
    flat = random_parameters(shape=shape)
    inputs, hidden_state = random_data(shape=shape)
    inputs = normalise(inputs)
    rows = [9, 3, 8]  # learners may have different numbers of rows

    exact = fold(flat.double(), shape)
    exact = type(exact)(*(parameter.requires_grad_() for parameter in exact))
    outputs, _ = forward(exact, inputs.double(), hidden_state.double())
    sum(outputs[i, :n].pow(2).sum() for i, n in enumerate(rows)).backward()

    def square(first, last, out):
        out *= 2.0

    losses = [ChunkLoss(inputs[i, :n], hidden_state[i, :n], square) for i, n in enumerate(rows)]
    gradients = loss_gradients(fold(flat, shape), losses)
    for name, gradient, parameter in zip(gradients._fields, gradients, exact, strict=True):
        scale = float(parameter.grad.abs().max())
        torch.testing.assert_close(gradient.double() / scale, parameter.grad / scale, rtol=0, atol=5e-6, msg=name)


def test_a_loss_is_told_which_rows_it_sees(monkeypatch):
    monkeypatch.setattr("dm2.nets.kernels.ROWS_PER_CHUNK", 4)
    shape = NetShape(7, 12, 5)
    flat, (inputs, hidden) = random_parameters(shape=shape), random_data(shape=shape)
    outputs, _ = forward(fold(flat, shape), inputs, hidden)
    seen = []

    def record(first, last, out):
        seen.append((first, last))
        np.testing.assert_allclose(out, outputs[1, first:last], rtol=1e-4, atol=1e-5)

    loss_gradients(fold(flat[1:2], shape), [ChunkLoss(inputs[1], hidden[1], record)])
    assert seen == [(0, 4), (4, 8), (8, 9)]


def test_exp_and_sigmoid_over_the_whole_range():
    @numba.njit
    def apply(x, exponential, logistic):
        for i in range(len(x)):
            exponential[i], logistic[i] = exp(x[i]), sigmoid(x[i])

    x = np.linspace(-86, 86, 100_001, dtype=np.float32)
    exponential, logistic = np.empty_like(x), np.empty_like(x)
    apply(x, exponential, logistic)
    exact = np.exp(x.astype(np.float64))
    np.testing.assert_allclose(exponential, exact, rtol=4e-7)
    np.testing.assert_allclose(logistic, exact / (1 + exact), rtol=6e-7)


def test_nan_in_an_input_is_not_hidden():
    bias, y, rstd = np.zeros(12, np.float32), np.zeros((1, 12), np.float32), np.zeros(1, np.float32)
    layer_kernels(12).relu_norm(np.full((1, 12), np.inf, np.float32), bias, y, rstd)
    assert np.isnan(y).all()
