"""Ways round corners, by hand and against a search over the cells."""

from __future__ import annotations

import numpy as np
import pytest

from dm2.battle.paths import IN_SIGHT, next_turns
from dm2.settings.maps import map_data


def test_round_a_wall_by_its_end() -> None:
    walkable = np.ones((6, 6), dtype=np.bool_)
    walkable[0:4, 2:4] = False  # from the west edge to x = 4
    turns = next_turns(walkable)
    south, north = 1 * 6 + 0, 1 * 6 + 5
    assert turns[south, north] == 4 * 6 + 1
    assert turns[4 * 6 + 1, north] == 4 * 6 + 4
    assert turns[4 * 6 + 4, north] == IN_SIGHT
    assert turns[south, 5 * 6 + 0] == IN_SIGHT


def test_no_way_leads_through_a_corner() -> None:
    walkable = np.zeros((4, 4), dtype=np.bool_)
    walkable[:2, :2] = walkable[2:, 2:] = True  # two rooms that touch at (2, 2)
    assert (next_turns(walkable) == IN_SIGHT).all()


@pytest.mark.parametrize("arena", [name for name, arena in map_data().arenas.items() if arena.has_corners])
def test_every_place_is_reached_by_turning(arena: str) -> None:
    size = map_data().map_size
    walkable = map_data().arenas[arena].walkable(size)
    turns = next_turns(walkable)
    cells = np.argwhere(walkable) @ [size, 1]
    generator = np.random.default_rng(0)
    for start, goal in generator.choice(cells, (500, 2)):
        here, turned = start, 0
        while turns[here, goal] != IN_SIGHT:
            here = turns[here, goal]
            turned += 1
            assert walkable[here // size, here % size]
            assert turned < 10
