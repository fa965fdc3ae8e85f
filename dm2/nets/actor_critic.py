"""Recurrent networks of independent learners, stacked along a leading axis.

One learner's network, as in the paper's code:

    LayerNorm(input) -> Linear, ReLU, LayerNorm -> Linear, ReLU, LayerNorm -> GRU -> LayerNorm -> Linear

L learners (the agents of a team, or the one that they share) have parameters of their own: each parameter is one tensor
[L, ...] and a layer is one batched matrix product. Nothing is shared, so each learner's result is that of a separate
network.

A LayerNorm's weight g and bias b sit in front of a linear layer (W, c) and merge with it exactly:

    (g * x + b) W + c = x (diag(g) W) + (b W + c)

`fold` does that once per set of parameters. What is left of a LayerNorm is the normalisation, which has no parameters;
that of the input therefore depends on data alone and is computed once, however often the network is applied.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from dm2.core.checks import check_shape
from dm2.nets.products import linear

if TYPE_CHECKING:
    from dm2.core.interface import EnvSpec

RELU_GAIN = math.sqrt(2.0)


@dataclass(frozen=True)
class NetShape:
    """Sizes of one learner's network: numbers of inputs, of units per hidden layer and in the GRU, of outputs."""

    inputs: int
    hidden: int
    outputs: int

    def parameters(self) -> dict[str, tuple[int, ...]]:
        """Shape of each parameter by name; weights are [in, out], the GRU's gates are reset, update, new."""
        inputs, hidden, outputs = self.inputs, self.hidden, self.outputs
        return {
            "input_norm.weight": (inputs,),
            "input_norm.bias": (inputs,),
            "linear1.weight": (inputs, hidden),
            "linear1.bias": (hidden,),
            "norm1.weight": (hidden,),
            "norm1.bias": (hidden,),
            "linear2.weight": (hidden, hidden),
            "linear2.bias": (hidden,),
            "norm2.weight": (hidden,),
            "norm2.bias": (hidden,),
            "gru.input_weight": (hidden, 3 * hidden),
            "gru.input_bias": (3 * hidden,),
            "gru.hidden_weight": (hidden, 3 * hidden),
            "gru.hidden_bias": (3 * hidden,),
            "gru_norm.weight": (hidden,),
            "gru_norm.bias": (hidden,),
            "head.weight": (hidden, outputs),
            "head.bias": (outputs,),
        }

    def n_parameters(self) -> int:
        """P, the number of parameters of one learner."""
        return sum(math.prod(shape) for shape in self.parameters().values())


def named_parameters(flat: Tensor, shape: NetShape) -> dict[str, Tensor]:
    """View parameters [L, P] as named tensors [L, ...]; writing to a view writes to `flat`.

    Raises:
        ValueError: P is not the number of parameters of such a network.
    """
    check_shape("parameters", flat, (None, shape.n_parameters()))
    shapes = shape.parameters()
    parts = flat.split([math.prod(size) for size in shapes.values()], dim=1)
    return {name: part.unflatten(1, size) for (name, size), part in zip(shapes.items(), parts, strict=True)}


def flat_parameters(named: Mapping[str, Tensor], shape: NetShape, n_learners: int, prefix: str = "") -> Tensor:
    """Put named tensors [L, ...] together as parameters [L, P]; the prefix stands before their names in errors.

    Raises:
        ValueError: a tensor is missing, has another shape, or no network has it.
    """
    shapes = shape.parameters()
    if set(named) != set(shapes):
        missing = [prefix + name for name in sorted(shapes.keys() - named.keys())]
        unknown = [prefix + name for name in sorted(named.keys() - shapes.keys())]
        raise ValueError(f"parameters: found {unknown} in the place of {missing}, which is expected")
    for name, size in shapes.items():
        check_shape(f"{prefix}{name}", named[name], (n_learners, *size))
    return torch.cat([named[name].flatten(1) for name in shapes], dim=1)


def initial_parameters(shape: NetShape, n_learners: int, head_gain: float, generator: np.random.Generator) -> Tensor:
    """Draw parameters [L, P]: orthogonal weights with gain sqrt(2) before a ReLU, 1 in the GRU; biases 0; plain norms.

    Args:
        shape: sizes of one network.
        n_learners: L.
        head_gain: gain of the output layer, 0.01 for an actor and 1 for a critic.
        generator: the stream of the initial numbers.
    """
    gains = {"linear1.weight": RELU_GAIN, "linear2.weight": RELU_GAIN, "head.weight": head_gain}
    gains |= {"gru.input_weight": 1.0, "gru.hidden_weight": 1.0}
    flat = torch.zeros(n_learners, shape.n_parameters())
    for name, parameter in named_parameters(flat, shape).items():
        if name in gains:
            rows, columns = parameter.shape[1:]
            for learner in range(n_learners):
                parameter[learner] = torch.from_numpy(gains[name] * orthogonal(rows, columns, generator))
        elif "norm" in name and name.endswith("weight"):
            parameter.fill_(1.0)
    return flat


def orthogonal(rows: int, columns: int, generator: np.random.Generator) -> np.ndarray:
    """Draw a matrix with orthonormal rows or columns, whichever are fewer, uniformly (Saxe et al. 2014)."""
    gaussian = generator.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(gaussian)
    q *= np.sign(np.diag(r))  # makes the distribution uniform (Mezzadri 2007)
    return (q if rows >= columns else q.T).astype(np.float32)


class Folded(NamedTuple):
    """Weights [L, in, out] and biases [L, out] with the LayerNorms' weights and biases merged in."""

    weight1: Tensor
    bias1: Tensor
    weight2: Tensor
    bias2: Tensor
    gru_input_weight: Tensor
    gru_input_bias: Tensor
    gru_hidden_weight: Tensor
    gru_hidden_bias: Tensor
    head_weight: Tensor
    head_bias: Tensor


def fold(flat: Tensor, shape: NetShape) -> Folded:
    """Merge each LayerNorm's weight and bias into the linear layer behind it; differentiable."""
    p = named_parameters(flat, shape)

    def merge(norm: str, weight: str, bias: str) -> tuple[Tensor, Tensor]:
        merged_bias = linear(p[f"{norm}.bias"][:, None], p[weight], p[bias])[:, 0]
        return p[f"{norm}.weight"][:, :, None] * p[weight], merged_bias

    return Folded(
        *merge("input_norm", "linear1.weight", "linear1.bias"),
        *merge("norm1", "linear2.weight", "linear2.bias"),
        *merge("norm2", "gru.input_weight", "gru.input_bias"),
        p["gru.hidden_weight"],
        p["gru.hidden_bias"],
        *merge("gru_norm", "head.weight", "head.bias"),
    )


def folded_nets(spec: EnvSpec, tensors: Mapping[str, Tensor], n_learners: int, owner: str = "actor") -> Folded:
    """The actors, or the critics, of a policy file, for playing.

    Args:
        spec: sizes of the map.
        tensors: among others the owner, a dot and each name of `NetShape.parameters`, [n_learners, ...].
        n_learners: networks of the owner in the file.
        owner: "actor" or "critic".

    Raises:
        KeyError: the owner's last norm is missing.
        ValueError: the tensors are of other networks, or of another map.
    """
    named = entries_of(tensors, owner)
    last_norm = tensors[f"{owner}.gru_norm.bias"]  # tells the hidden size
    check_shape(f"{owner}.gru_norm.bias", last_norm, (n_learners, None))
    inputs = input_size(spec.obs_size, spec.n_actions, spec.n_agents)
    shape = NetShape(inputs, last_norm.shape[1], spec.n_actions if owner == "actor" else 1)
    return fold(flat_parameters(named, shape, n_learners, f"{owner}."), shape)


def entries_of(tensors: Mapping[str, Tensor], owner: str) -> dict[str, Tensor]:
    """The entries "owner.name", under their names."""
    prefix = f"{owner}."
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def normalise(x: Tensor) -> Tensor:
    """LayerNorm without weight and bias over the last axis."""
    return layer_norm(x, x.shape[-1:])


def forward(net: Folded, inputs: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Apply the networks to independent rows, one time step each.

    Args:
        net: folded parameters.
        inputs: normalised inputs, [L, R, inputs].
        hidden: the GRU's state before the step, [L, R, hidden].

    Returns:
        Outputs [L, R, outputs] and the GRU's state after the step [L, R, hidden].
    """
    layer1 = normalise(linear(inputs, net.weight1, net.bias1).relu())
    layer2 = normalise(linear(layer1, net.weight2, net.bias2).relu())
    from_input = linear(layer2, net.gru_input_weight, net.gru_input_bias)
    from_hidden = linear(hidden, net.gru_hidden_weight, net.gru_hidden_bias)
    new_hidden = gru_cell(from_input, from_hidden, hidden)
    outputs = linear(normalise(new_hidden), net.head_weight, net.head_bias)
    return outputs, new_hidden


def gru_cell(from_input: Tensor, from_hidden: Tensor, hidden: Tensor) -> Tensor:
    """Gated recurrent unit (Cho et al. 2014, in the variant of torch.nn.GRUCell).

        r = sigmoid(i_r + h_r),  z = sigmoid(i_z + h_z),  n = tanh(i_n + r h_n),  h' = n + z (h - n)

    Args:
        from_input: i_r, i_z, i_n side by side, [..., 3 * hidden].
        from_hidden: h_r, h_z, h_n side by side, [..., 3 * hidden].
        hidden: h, [..., hidden].
    """
    size = hidden.shape[-1]
    gates = torch.sigmoid(from_input[..., : 2 * size] + from_hidden[..., : 2 * size])
    reset, update = gates[..., :size], gates[..., size:]
    new = torch.tanh(torch.addcmul(from_input[..., 2 * size :], reset, from_hidden[..., 2 * size :]))
    return torch.lerp(new, hidden, update)


def build_inputs(obs: Tensor, last_actions: Tensor, n_actions: int) -> Tensor:
    """Own observation, last action one-hot (zeros if none yet), agent one-hot; the one input of acting and training.

    Args:
        obs: of a team's agents, [A, R, obs_size], or of several teams' side by side, [teams, A, R, obs_size].
        last_actions: int64 [..., A, R]; -1 if there was none.
        n_actions: number of actions.

    Returns:
        Not yet normalised inputs, [..., A, R, obs_size + n_actions + A].
    """
    agents, _, obs_size = obs.shape[-3:]
    inputs = obs.new_zeros(*obs.shape[:-1], input_size(obs_size, n_actions, agents))
    inputs[..., :obs_size] = obs
    inputs[..., obs_size : obs_size + n_actions] = last_actions[..., None] == torch.arange(n_actions)
    inputs[..., obs_size + n_actions :] = torch.eye(agents)[:, None]
    return inputs


def input_size(obs_size: int, n_actions: int, n_agents: int) -> int:
    """Number of inputs that `build_inputs` makes."""
    return obs_size + n_actions + n_agents
