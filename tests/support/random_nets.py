"""Networks and inputs of random numbers."""

import numpy as np
import torch

from dm2.nets.actor_critic import NetShape, initial_parameters

SHAPE = NetShape(inputs=7, hidden=12, outputs=5)


def random_parameters(learners=3, shape=SHAPE, seed=0):
    """Initial parameters with all biases and norms moved, so that a forgotten one shows."""
    generator = np.random.default_rng(seed)
    flat = initial_parameters(shape, learners, 1.0, generator)
    return flat + 0.3 * torch.from_numpy(generator.standard_normal(flat.shape)).float()


def random_data(learners=3, rows=9, shape=SHAPE, seed=1):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(learners, rows, shape.inputs, generator=generator)
    return inputs, 0.5 * torch.randn(learners, rows, shape.hidden, generator=generator)
