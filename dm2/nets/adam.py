"""Adam with gradient norm clipping for stacked learners, each on its own."""

from __future__ import annotations

import torch
from torch import Tensor

from dm2.core.checks import check_shape

BETA1 = 0.9
BETA2 = 0.999


class ClippedAdam:
    """Adam (Kingma and Ba 2015) after scaling down gradients longer than a limit, learner by learner.

        g <- g min(1, max_norm / (|g| + 1e-6))
        m <- beta1 m + (1 - beta1) g;    v <- beta2 v + (1 - beta2) g^2
        parameters <- parameters - lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon)

    Attributes:
        parameters: [L, P], updated in place.
        first_moment: m, [L, P].
        second_moment: v, [L, P].
        steps: t, the updates done so far.
    """

    def __init__(self, parameters: Tensor, learning_rate: float, epsilon: float, max_gradient_norm: float) -> None:
        self.parameters = parameters
        self.learning_rate = learning_rate
        self.epsilon = epsilon
        self.max_gradient_norm = max_gradient_norm
        self.first_moment = torch.zeros_like(parameters)
        self.second_moment = torch.zeros_like(parameters)
        self.steps = 0

    def step(self, gradient: Tensor) -> Tensor:
        """Update the parameters.

        Args:
            gradient: [L, P].

        Returns:
            Each learner's gradient norm before clipping, [L].
        """
        check_shape("gradient", gradient, tuple(self.parameters.shape))
        norm = gradient.norm(dim=1)
        clipped = gradient * (self.max_gradient_norm / (norm + 1e-6)).clamp(max=1.0)[:, None]
        self.steps += 1
        self.first_moment.lerp_(clipped, 1.0 - BETA1)
        self.second_moment.mul_(BETA2).addcmul_(clipped, clipped, value=1.0 - BETA2)
        scale = (self.second_moment / (1.0 - BETA2**self.steps)).sqrt_().add_(self.epsilon)
        self.parameters.addcdiv_(self.first_moment, scale, value=-self.learning_rate / (1.0 - BETA1**self.steps))
        return norm

    def state(self) -> dict[str, Tensor]:
        """Copies of the moments and the number of steps, for a checkpoint; the parameters are stored by their owner."""
        return {
            "first_moment": self.first_moment.clone(),
            "second_moment": self.second_moment.clone(),
            "steps": torch.tensor(self.steps),
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take over what `state` returned.

        Raises:
            ValueError: the moments are of another shape.
        """
        for name in ("first_moment", "second_moment"):
            check_shape(name, state[name], tuple(self.parameters.shape))
        self.first_moment.copy_(state["first_moment"])
        self.second_moment.copy_(state["second_moment"])
        self.steps = int(state["steps"])
