"""Floating-point operations of matrix products, counted while code runs, and how fast this machine does them.

A product of [m, k] by [k, n] counts as 2 m k n, whatever else the operation does with the result; all learners'
products go through torch. What is between them (normalisation, gates, losses) is not counted.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

aten = torch.ops.aten


def counted(work: Callable[[], Any]) -> int:
    """Floating-point operations of the matrix products in this piece of work."""
    formulas = {aten.addmm_: _of_added_product, aten.baddbmm_: _of_added_product}  # torch counts all but these
    with FlopCounterMode(display=False, custom_mapping=formulas) as counter:
        work()
    return int(counter.get_total_flops())


def _of_added_product(_: torch.Size, left: torch.Size, right: torch.Size, **__: Any) -> int:
    """2 m k n, times the size of a batch."""
    return 2 * left.numel() * right[-1]


def rate(m: int, k: int, n: int, repeats: int = 9) -> float:
    """Median rate of float32 products [m, k] by [k, n] on torch's threads, in 10^9 operations per processor second."""
    left, right, result = torch.randn(m, k), torch.randn(k, n), torch.empty(m, n)
    operations = 2 * m * k * n
    products = max(1, 10**9 // operations)
    rates = []
    for _ in range(repeats):
        started = time.process_time()
        for _ in range(products):
            torch.mm(left, right, out=result)
        rates.append(products * operations / (time.process_time() - started) / 1e9)
    return statistics.median(rates)
