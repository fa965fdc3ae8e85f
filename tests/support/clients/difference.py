"""How far the numbers of two environments, played with one seed and the same actions, are apart."""

from typing import Any

import numpy as np

SEED = 5
FLOAT32 = 1.2e-7  # one unit in the last place of numbers about 1
REWARD = 1e-4  # SMAC adds up float32 healths that the game sends, the simulator its own


class Difference:
    """The largest difference so far of each kind of number."""

    def __init__(self) -> None:
        self.largest: dict[str, float] = {}

    def of(self, kind: str, theirs: Any, ours: Any, at_most: float) -> None:
        theirs, ours = np.asarray(theirs, dtype=np.float64), np.asarray(ours, dtype=np.float64)
        assert theirs.shape == ours.shape, f"{kind}: {theirs.shape} {ours.shape}"
        found = float(np.abs(theirs - ours).max())
        assert found <= at_most, f"{kind}: found a difference of {found}, expected at most {at_most}"
        self.largest[kind] = max(self.largest.get(kind, 0), found)
