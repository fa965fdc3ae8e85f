"""Actions as clients hand them over: numpy arrays, tensors, lists of either, with or without a last axis of one."""

from __future__ import annotations

import numpy as np


def whole_actions(actions: object, n_axes: int) -> np.ndarray:
    """Actions as integers.

    Args:
        actions: an array, a tensor (on any device) or nested sequences; a last axis of one is dropped.
        n_axes: axes that the result shall have.

    Returns:
        int64, a copy, as clients write the next actions over the last ones; whether its shape and numbers are right is
        for the battle to say.

    Raises:
        ValueError: they are no numbers, no array, or would lose something as integers.
    """
    found = _array(actions)
    if found.ndim == n_axes + 1 and found.shape[-1] == 1:
        found = found[..., 0]
    if found.dtype.kind in "iuf" and np.isfinite(found).all():
        whole = found.astype(np.int64)
        if np.array_equal(whole, found):
            return whole
    raise ValueError(f"actions: found {found.dtype} {found.tolist()!r}, expected whole numbers")


def _array(actions: object) -> np.ndarray:
    if isinstance(actions, np.ndarray):
        return actions
    if hasattr(actions, "tolist"):  # a tensor, on whatever device
        return np.array(actions.tolist())
    if not isinstance(actions, list | tuple):
        raise ValueError(f"actions: found {type(actions).__name__}, expected an array or a sequence of numbers")
    plain = [one.tolist() if hasattr(one, "tolist") else one for one in actions]
    try:
        return np.array(plain)
    except ValueError as error:  # rows of unequal length
        raise ValueError(f"actions: found {plain!r}, expected one action per agent") from error
