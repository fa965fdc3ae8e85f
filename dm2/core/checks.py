"""Checks of array shapes with errors that say what was found and what was expected."""

from __future__ import annotations

from typing import Protocol


class Shaped(Protocol):
    """Anything with a shape: a torch tensor or a numpy array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""


def check_shape(name: str, array: Shaped, expected: tuple[int | None, ...]) -> None:
    """Refuse an array of another shape.

    Args:
        name: what the array is called in the error.
        array: tensor or array to look at.
        expected: size of each axis, None where any size will do.

    Raises:
        ValueError: the number of axes or the size of one differs.
    """
    found = tuple(array.shape)
    fits = len(found) == len(expected) and all(e is None or f == e for f, e in zip(found, expected, strict=True))
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in expected)
        raise ValueError(f"{name}: found shape {list(found)}, expected [{wanted}]")
