"""A stand-in for a GPU, where there is none: tensors that claim another device and hold their numbers on the CPU.

Under `FarDevice` torch computes with them as ever, but as with a GPU an operation refuses tensors of two devices, numpy
gets none of them, and what is made on their device is one of them. The device they claim is "meta", which autograd
knows in every build of torch. What it cannot show: speed, and what CUDA's own kernels round.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

FAR = torch.device("meta")
MIXED = ("copy_", "index.Tensor", "index_put")
"""Operations that a GPU does with tensors of the CPU too: copies, and indices."""


class FarTensor(Tensor):
    """A tensor of that device; `near` has the numbers."""

    near: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, near: Tensor) -> FarTensor:
        layout = {"strides": near.stride(), "storage_offset": near.storage_offset(), "dtype": near.dtype}
        tensor = Tensor._make_wrapper_subclass(cls, near.size(), device=FAR, **layout)
        tensor.near = near
        return tensor

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(func, args, kwargs or {})

    def __repr__(self, **options: Any) -> str:
        return f"FarTensor({self.near!r})"


class FarDevice(TorchDispatchMode):
    """While open, the device can be used."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(func, args, kwargs or {})


def compute(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Do one of torch's operations."""
    tensors: list[Tensor] = []

    def near_one(tensor: Tensor) -> Tensor:
        tensors.append(tensor)
        return tensor.near if isinstance(tensor, FarTensor) else tensor

    args, kwargs = mapped(near_one, args), mapped(near_one, kwargs)
    far = [one for one in tensors if isinstance(one, FarTensor)]
    near = [one for one in tensors if not isinstance(one, FarTensor)]
    if far and any(one.dim() for one in near) and not func.__name__.startswith(MIXED):
        shapes = [list(one.shape) for one in far], [list(one.shape) for one in near]
        raise RuntimeError(f"{func}: found tensors {shapes[0]} of the device and {shapes[1]} of the CPU, expected one")
    asked = kwargs.get("device")
    result = func(*args, **(kwargs if asked is None else kwargs | {"device": "cpu"}))
    if func.__name__.startswith("copy_"):
        becomes_far = isinstance(tensors[0], FarTensor)
    else:
        becomes_far = bool(far) if asked is None else torch.device(asked) == FAR
    if not becomes_far:
        return result
    wrapped = {id(one.near): one for one in far}  # an operation in place gives back the very tensor
    return mapped(lambda one: wrapped[id(one)] if id(one) in wrapped else FarTensor(one), result)


def mapped(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """The value with every tensor in it replaced; torch's own tree_map takes most of the time of a small operation."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, (list, tuple)):
        return type(value)(mapped(function, one) for one in value)
    if isinstance(value, dict):
        return {key: mapped(function, one) for key, one in value.items()}
    return value
