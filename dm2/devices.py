"""Where networks are trained: on the CPU, or on a GPU by CUDA. Battles are played on the CPU either way.

A device says how a run is carried out, not what it computes: it is no setting of the run but stands in its record, and
a run may go on on another one. Its numbers then differ by rounding, from which trainings drift apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch

from dm2.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

DEVICES = ("auto", "cpu", "cuda")
AUTO_SEEDS = 2
"""Seeds of a group from which on `auto` takes a GPU: the networks are too small to fill one with a single team."""


def choose_device(wanted: str, n_seeds: int, learner_on_gpu: bool) -> torch.device:
    """The device to train on.

    `auto` takes a GPU where there is one, the learner can use it and at least `AUTO_SEEDS` seeds train together; else
    the CPU, on which a run has the same numbers every time.

    Args:
        wanted: one of `DEVICES`.
        n_seeds: runs that train together.
        learner_on_gpu: whether the learner can train on one.

    Raises:
        UserError: no such device, or one that this machine or this learner lacks.
    """
    if wanted not in DEVICES:
        raise UserError(f"device: found {wanted!r}, expected one of {', '.join(DEVICES)}")
    missing = None if wanted == "cpu" else why_no_cuda(learner_on_gpu)
    if wanted == "cuda" and missing is not None:
        raise UserError(f"device cuda: {missing}, or take --device cpu")
    if wanted == "cpu" or missing is not None or (wanted == "auto" and n_seeds < AUTO_SEEDS):
        return torch.device("cpu")
    torch.set_float32_matmul_precision("highest")  # no TF32: its 10 bits of mantissa are another training
    return torch.device("cuda")


def why_no_cuda(learner_on_gpu: bool) -> str | None:
    """Why a GPU cannot be used, and how to mend it; None where one can."""
    if not learner_on_gpu:
        return "found a learner that trains on the CPU alone, expected one that trains on a GPU: leave the device out"
    if torch.version.cuda is None:
        return f"found torch {torch.__version__}, a build without CUDA, expected one with: install it from pytorch.org"
    if not torch.cuda.is_available():
        return f"found no GPU that CUDA {torch.version.cuda} can use, expected one: see what nvidia-smi says"
    return None


def default_device(device: torch.device) -> AbstractContextManager[object]:
    """While open, torch makes tensors there; on the CPU nothing changes, and no call is slowed down."""
    return nullcontext() if device.type == "cpu" else device


def device_name(device: torch.device) -> str:
    """For a record: "cpu", or the GPU's model."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors where files are written from."""
    return {name: tensor.cpu() for name, tensor in tensors.items()}
