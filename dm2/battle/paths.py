"""Ways round corners: where a walker has to turn next on its shortest way to a place that it cannot see.

A shortest way over a flat floor with obstacles turns at corners of the obstacles only (Lozano-Pérez and Wesley 1979),
so the table needs the sight lines between cells and the distances between the corners, once per map.
"""

from __future__ import annotations

import functools

import numpy as np

IN_SIGHT = -1
CLEARANCE = 0.25  # map units on either side of a sight line that must be free, so that no way leads through a corner
_SAMPLES_PER_UNIT = 8


def next_turns(walkable: np.ndarray) -> np.ndarray:
    """For every pair of cells the cell at which the shortest way from the first to the second turns next.

    Cells are numbered x * size + y. A place that is not walkable counts as the walkable cell nearest to it.

    Args:
        walkable: bool [size, size], [x, y].

    Returns:
        int16 [size * size, size * size]: a cell's number; IN_SIGHT where the way is straight, or where there is none.
    """
    return _next_turns(walkable.tobytes(), len(walkable))


@functools.cache
def _next_turns(ground: bytes, size: int) -> np.ndarray:
    walkable = np.frombuffer(ground, dtype=np.bool_).reshape(size, size)
    cells = np.argwhere(walkable)  # [N, 2]
    sees = _sight(walkable, cells)
    corners = np.flatnonzero(_is_corner(walkable)[cells[:, 0], cells[:, 1]])
    apart = np.hypot(*(cells[:, None] - cells[None]).transpose(2, 0, 1))
    hop = np.where(sees, apart, np.inf)
    between = hop[np.ix_(corners, corners)]
    for k in range(len(corners)):  # Floyd and Warshall
        between = np.minimum(between, between[:, k, None] + between[None, k])
    onward = np.full((len(corners), len(cells)), np.inf)  # from a corner to a cell
    for k in range(len(corners)):
        onward = np.minimum(onward, between[:, k, None] + hop[None, corners[k]])
    turns = np.full((len(cells), len(cells)), IN_SIGHT, dtype=np.int16)
    for start in range(len(cells) if len(corners) else 0):
        lengths = np.where(corners == start, np.inf, hop[start, corners])[:, None] + onward
        best = lengths.argmin(axis=0)
        known = np.isfinite(lengths.min(axis=0)) & ~sees[start]
        x, y = cells[corners[best]].T
        turns[start, known] = (x * size + y)[known]
    nearest = _nearest_cell(size, cells)
    return turns[np.ix_(nearest, nearest)]


def _sight(walkable: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Which cells' centres see each other with clearance, bool [N, N]."""
    centres = cells + 0.5
    sees = np.eye(len(cells), dtype=np.bool_)
    for start, centre in enumerate(centres):
        way = centres[start + 1 :] - centre  # [M, 2]
        length = np.hypot(*way.T)
        steps = np.linspace(0.0, 1.0, int(_SAMPLES_PER_UNIT * length.max(initial=1.0)) + 1)
        aside = np.stack([-way[:, 1], way[:, 0]], axis=1) / length[:, None] * CLEARANCE
        free = np.ones(len(way), dtype=np.bool_)
        for side in (-1, 1):
            points = (centre + side * aside)[:, None] + steps[None, :, None] * way[:, None]
            x, y = points.astype(np.int64).transpose(2, 0, 1)
            free &= walkable[x, y].all(axis=1)
        sees[start, start + 1 :] = sees[start + 1 :, start] = free
    return sees


def _is_corner(walkable: np.ndarray) -> np.ndarray:
    """Walkable cells that touch an obstacle at its corner and nowhere near on either side, bool [size, size]."""
    free = np.pad(walkable, 1)
    middle = free[1:-1, 1:-1]
    corner = np.zeros_like(walkable)
    size = len(walkable)
    for dx in (0, 2):
        for dy in (0, 2):
            diagonal = free[dx : dx + size, dy : dy + size]
            corner |= middle & ~diagonal & free[dx : dx + size, 1:-1] & free[1:-1, dy : dy + size]
    return corner


def _nearest_cell(size: int, cells: np.ndarray) -> np.ndarray:
    """For every cell of the map the row in `cells` of the nearest one, int64 [size * size]."""
    everywhere = np.argwhere(np.ones((size, size), dtype=np.bool_))
    squared = ((everywhere[:, None] - cells[None]) ** 2).sum(axis=2)
    return squared.argmin(axis=1)
