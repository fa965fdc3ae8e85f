"""Floating-point operations of matrix products, counted while code runs, and how fast this machine does them.

A product of [m, k] by [k, n] counts as 2 m k n, whatever else the operation does with the result. What is between them
(normalisation, gates, losses) is not counted.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from dm2.core.errors import UserError
from dm2.nets import products

aten = torch.ops.aten


def counted(work: Callable[[], Any]) -> int:
    """Floating-point operations of the matrix products in this piece of work, done by torch while they are counted."""
    formulas = {aten.addmm_: _of_added_product, aten.baddbmm_: _of_added_product}  # torch counts all but these
    with products.using("torch"), FlopCounterMode(display=False, custom_mapping=formulas) as counter:
        work()
    return int(counter.get_total_flops())


def _of_added_product(_: torch.Size, left: torch.Size, right: torch.Size, **__: Any) -> int:
    """2 m k n, times the size of a batch."""
    return 2 * left.numel() * right[-1]


def best_rate(m: int, k: int, n: int, repeats: int = 9) -> float:
    """Rate of float32 products [m, k] by [k, n] by the fastest library of `dm2.nets.products`, see `rate`."""
    rates = []
    for name in ("torch", "numpy"):
        try:
            with products.using(name):
                rates.append(rate(m, k, n, repeats))
        except UserError as error:  # numpy has no OpenBLAS here
            print(f"not measured: {error}", file=sys.stderr)
    return max(rates)


def rate(m: int, k: int, n: int, repeats: int = 9) -> float:
    """Median rate of float32 products [m, k] by [k, n] on one thread, in 10^9 operations per processor second."""
    left, right, result = torch.randn(m, k), torch.randn(k, n), torch.empty(m, n)
    operations = 2 * m * k * n
    count = max(1, 10**9 // operations)
    rates = []
    for _ in range(repeats):
        started = time.process_time()
        for _ in range(count):
            products.multiply(left, right, out=result)
        rates.append(count * operations / (time.process_time() - started) / 1e9)
    return statistics.median(rates)
