"""Which battles one game plays, one after the other.

In StarCraft II the battles after a game's first depend on all that was played before, so games of one seed part as soon
as they are played differently. The simulator's battles have numbers; here a later battle's number is drawn from the
seed and the actions played so far.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from dm2.core.interface import EnvSpec
from dm2.core.randomness import stream

if TYPE_CHECKING:
    from dm2.viewer.recording import Recording

N_NUMBERS = 2**63


class BattleSequence:
    """The numbers of a seed's battles: the same seed and the same actions give the same battles.

    Attributes:
        started: battles begun.
        number: of the last one begun.
        actions: what was played in it so far, int64 [A] per step.
    """

    def __init__(self, seed: int, follows_history: bool) -> None:
        """Nothing is begun; without `follows_history` the battles are 0, 1, 2, ... whatever is played."""
        self.seed, self.follows_history = seed, follows_history
        self.started, self.number = 0, 0
        self.actions: list[np.ndarray] = []
        self._history = b""

    def begin_next(self) -> int:
        """The number of the next battle; the first one is 0."""
        if self.actions:
            self._history = blake2b(self._history + np.stack(self.actions).tobytes(), digest_size=16).digest()
        drawn = self.follows_history and self.started > 0
        self.number = self._drawn() if drawn else self.started
        self.started += 1
        self.actions = []
        return self.number

    def recording(self, spec: EnvSpec) -> Recording:
        """The last battle begun, which has ended and in which available actions were taken alone."""
        from dm2.viewer.recording import RecordedBattle, Recording

        return Recording(
            map_name=spec.map_name,
            backend=spec.backend,
            seed=self.seed,
            regeneration_pays=True,
            battles=(RecordedBattle(episode=self.number, actions=np.stack(self.actions).tolist()),),
        )

    def _drawn(self) -> int:
        return int(stream(self.seed, "battle", self.started, self._history.hex()).integers(N_NUMBERS))
