"""The one door of matrix products: which library multiplies float32 matrices is decided here.

torch does, except where it is known to waste half of the processor: on AMD processors whose arithmetic units are 512
bits wide (family 26 on, Zen 5), torch's MKL multiplies at the rate of 256 bits, the OpenBLAS that numpy brings at that
of 512. There numpy multiplies. The rule reads the processor and the library and measures nothing, so that a run and its
resumption come to the same answer however busy the machine is. The answer stands in run.json, and a run goes on under
the same one alone (`dm2.training.run`), for sums are rounded otherwise by another library.

The environment variable DM2_PRODUCTS overrules it: `numpy`, `torch`, or `auto`, which is the rule.

numpy's library is asked to use one thread, as torch is; products of other types than float32 are torch's.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dm2.core.errors import UserError

VARIABLE = "DM2_PRODUCTS"
NAMES = ("auto", "numpy", "torch")
FULL_WIDTH_FAMILY = 26
"""AMD's processor family from which on 512-bit multiply-adds take one cycle, not two."""
WIDE_KERNELS = ("SkylakeX", "Cooperlake", "SapphireRapids")
"""OpenBLAS's names of kernels with 512-bit vectors."""
_CPU_INFO = Path("/proc/cpuinfo")
_CHECKED_SHAPES = ((512, 64, 192), (33, 90, 64), (5, 64, 12), (160, 64, 1), (64, 700, 64))
_TOLERANCE = 1e-5
"""Of an entry, in units of the largest one; float32 products of such sizes differ by a tenth of that."""


@dataclass(frozen=True)
class Library:
    """What multiplies.

    Attributes:
        name: "numpy" or "torch".
        kernels: of numpy's OpenBLAS, named after a processor; empty for torch, which tells nothing of the kind.
        remark: one line for the run's log: what was found wrong, or what would be faster; None if nothing.
    """

    name: str
    kernels: str = ""
    remark: str | None = None

    def __str__(self) -> str:
        """As records have it: "torch", or "numpy" and the kernels."""
        return f"{self.name} ({self.kernels})" if self.kernels else self.name


class UnusableLibraryError(Exception):
    """numpy's library cannot multiply here; the message is why."""


@cache
def library() -> Library:
    """The library of this process.

    Raises:
        UserError: the environment variable has no known value, or asks for a library that cannot be used.
    """
    wanted = os.environ.get(VARIABLE, "auto")
    if wanted not in NAMES:
        raise UserError(f"environment variable {VARIABLE}: found {wanted!r}, expected one of {', '.join(NAMES)}")
    if wanted == "torch" or (wanted == "auto" and not is_full_width_amd(_processor())):
        return Library("torch")
    try:
        kernels = prepare_openblas()
    except UnusableLibraryError as error:
        if wanted == "numpy":
            raise UserError(f"environment variable {VARIABLE}: found 'numpy', but {error}; unset it") from None
        return Library("torch", remark=f"matrix products: torch's, though numpy's are faster here; {error}")
    if wanted == "auto" and kernels not in WIDE_KERNELS:
        why = f"its OpenBLAS uses kernels for {kernels}, expected one of {', '.join(WIDE_KERNELS)}"
        return Library("torch", remark=f"matrix products: torch's; numpy's would be faster here, but {why}{_mend()}")
    return Library("numpy", kernels)


def _mend() -> str:
    asked = os.environ.get("OPENBLAS_CORETYPE")
    return f": unset OPENBLAS_CORETYPE, which is {asked!r}" if asked else ": install a newer numpy"


def _processor() -> str:
    """What Linux tells of the first processor; empty elsewhere."""
    return _CPU_INFO.read_text(errors="replace").partition("\n\n")[0] if _CPU_INFO.exists() else ""


def is_full_width_amd(processor: str) -> bool:
    """Whether /proc/cpuinfo describes an AMD processor that multiplies 512 bits at once."""
    family = re.search(r"^cpu family\s*: (\d+)$", processor, re.MULTILINE)
    is_amd = re.search(r"^vendor_id\s*: AuthenticAMD$", processor, re.MULTILINE) is not None
    wide = re.search(r"^flags\s*:.* avx512f\b", processor, re.MULTILINE) is not None
    return is_amd and wide and family is not None and int(family[1]) >= FULL_WIDTH_FAMILY


def prepare_openblas() -> str:
    """Bring numpy's OpenBLAS to one thread and try it; the name of its kernels.

    Raises:
        UnusableLibraryError: numpy has another library, or one that does not multiply as torch does.
    """
    extension = importlib.import_module("numpy._core._multiarray_umath").__file__
    loaded = ctypes.CDLL(extension)  # finds the functions of the libraries that it is linked to, too
    for prefix, suffix in (("scipy_", "64_"), ("scipy_", ""), ("", "64_"), ("", "")):
        set_threads = getattr(loaded, f"{prefix}openblas_set_num_threads{suffix}", None)
        core_name = getattr(loaded, f"{prefix}openblas_get_corename{suffix}", None)
        if set_threads is not None and core_name is not None:
            break
    else:
        raise UnusableLibraryError("numpy's matrix products are not by an OpenBLAS")
    set_threads(1)
    core_name.restype = ctypes.c_char_p
    check_products()
    return str(core_name().decode())


def check_products() -> None:
    """Compare numpy's products with torch's, in some of the learners' shapes.

    Raises:
        UnusableLibraryError: they differ by more than rounding.
    """
    generator = np.random.default_rng(0)
    for m, k, n in _CHECKED_SHAPES:
        left, right = (generator.standard_normal(shape).astype(np.float32) for shape in ((m, k), (n, k)))
        found = np.empty((m, n), np.float32)
        np.dot(left, right.T, out=found)
        expected = torch.mm(torch.from_numpy(left), torch.from_numpy(right).t()).numpy()
        difference = np.abs(found - expected).max() / np.abs(expected).max()
        if not difference <= _TOLERANCE:  # nan is no better
            raise UnusableLibraryError(
                f"a product [{m}, {k}] by [{k}, {n}] differs from torch's by {difference:.1g} of its largest entry,"
                f" expected at most {_TOLERANCE:.0e}"
            )


@contextmanager
def using(name: str) -> Iterator[None]:
    """Multiply by "numpy" or "torch" meanwhile, for tests and benchmarks."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = name
    library.cache_clear()
    try:
        library()
        yield
    finally:
        os.environ.pop(VARIABLE)
        if before is not None:
            os.environ[VARIABLE] = before
        library.cache_clear()


def _by_numpy(tensor: Tensor) -> bool:
    return library().name == "numpy" and tensor.dtype == torch.float32


def multiply(left: Tensor, right: Tensor, out: Tensor, plus: Tensor | None = None) -> None:
    """Write left [m, k] right [k, n] into out [m, n], which is contiguous; not differentiable.

    Args:
        left: [m, k].
        right: [k, n].
        out: [m, n], contiguous, overwritten.
        plus: added to the product, broadcasts to [m, n].
    """
    if _by_numpy(out):
        array = out.numpy()
        np.dot(left.numpy(), right.numpy(), out=array)
        if plus is not None:
            array += plus.numpy()
    elif plus is None:
        torch.mm(left, right, out=out)
    else:
        torch.addmm(plus, left, right, out=out)


def add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add left [m, k] right [k, n] to total [m, n]; not differentiable."""
    if _by_numpy(total):
        array = total.numpy()
        array += np.dot(left.numpy(), right.numpy())
    else:
        total.addmm_(left, right)


def product(left: Tensor, right: Tensor) -> Tensor:
    """Multiply left [..., m, k] by right [..., k, n] into a new tensor; differentiable."""
    if not _by_numpy(left):
        return left @ right
    if torch.is_grad_enabled() and (left.requires_grad or right.requires_grad):
        return _Product.apply(left, right)
    return torch.from_numpy(np.matmul(left.detach().numpy(), right.detach().numpy()))


class _Product(torch.autograd.Function):
    """numpy's product, its gradients too, of any order."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor) -> Tensor:
        ctx.save_for_backward(left, right)
        return product(left, right)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        left, right = ctx.saved_tensors
        by_left, by_right = ctx.needs_input_grad
        return product(gradient, right.mT) if by_left else None, product(left.mT, gradient) if by_right else None


def linear(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A layer, or as many as there are leading entries: inputs weight + bias, differentiable.

    Args:
        inputs: [m, k], or [layers, m, k].
        weight: [k, n], or [layers, k, n].
        bias: [n], or [layers, n].

    Returns:
        [m, n], or [layers, m, n].
    """
    if not _by_numpy(inputs):
        return torch.addmm(bias, inputs, weight) if weight.dim() == 2 else torch.baddbmm(bias[:, None], inputs, weight)
    return product(inputs, weight) + bias[..., None, :]
