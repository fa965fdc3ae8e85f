"""One learner's network out of torch's own modules: the oracle of the stacked ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dm2.nets.actor_critic import NetShape, named_parameters


class SeparateNet(nn.Module):
    """LayerNorm, Linear, ReLU, LayerNorm, Linear, ReLU, LayerNorm, GRUCell, LayerNorm, Linear."""

    def __init__(self, flat: Tensor, shape: NetShape, learner: int) -> None:
        """Take the parameters of one learner out of `flat` [L, P]."""
        super().__init__()
        self.shape = shape
        hidden = shape.hidden
        self.input_norm, self.linear1 = nn.LayerNorm(shape.inputs), nn.Linear(shape.inputs, hidden)
        self.norm1, self.linear2 = nn.LayerNorm(hidden), nn.Linear(hidden, hidden)
        self.norm2, self.gru = nn.LayerNorm(hidden), nn.GRUCell(hidden, hidden)
        self.gru_norm, self.head = nn.LayerNorm(hidden), nn.Linear(hidden, shape.outputs)
        self.to(flat.dtype)
        with torch.no_grad():
            for name, value in named_parameters(flat, shape).items():
                own = self.by_name()[name]
                own.copy_(value[learner].T if value.dim() == 3 else value[learner])

    def by_name(self) -> dict[str, nn.Parameter]:
        """Own parameters under the names of dm2.nets.actor_critic."""
        gru = {
            "gru.input_weight": self.gru.weight_ih,
            "gru.input_bias": self.gru.bias_ih,
            "gru.hidden_weight": self.gru.weight_hh,
            "gru.hidden_bias": self.gru.bias_hh,
        }
        others = {name: value for name, value in self.named_parameters() if not name.startswith("gru.")}
        return gru | others

    def flat(self, gradients: bool = False) -> Tensor:
        """Parameters, or their gradients, in the order of dm2.nets.actor_critic, [P]."""
        own = self.by_name()
        values = [own[name].grad if gradients else own[name].detach() for name in self.shape.parameters()]
        return torch.cat([(value.T if value.dim() == 2 else value).flatten() for value in values])

    def forward(self, inputs: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs and new hidden state of inputs that are not normalised, [R, inputs], and hidden [R, hidden]."""
        layer1 = self.norm1(self.linear1(self.input_norm(inputs)).relu())
        layer2 = self.norm2(self.linear2(layer1).relu())
        new_hidden = self.gru(layer2, hidden)
        return self.head(self.gru_norm(new_hidden)), new_hidden
