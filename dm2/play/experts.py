"""Which run is the expert behind demonstrations: of a condition's runs on a map the one that wins most in the end.

"In the end" is the mean win rate of the last 5 % of training, `final` in the tables; of equals it is the run with the
lower seed. The paper's experts were the best of its five seeds too, whose numbers mean nothing in another engine.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from dm2.settings.base import Name, Probability, Seed, Settings


class Candidate(Settings):
    """A run that an expert is chosen from."""

    seed: Seed
    """Seed of the run."""
    final_win_rate: Probability
    """Mean win rate of the last 5 % of its training."""


class ExpertChoice(Settings):
    """The run that demonstrates on a map, and what it was chosen from."""

    scale: Name
    """Scale of the runs."""
    map_name: Name
    """Map of the runs."""
    condition: Name
    """Condition of the runs."""
    seed: Seed
    """Seed of the run that was chosen."""
    candidates: tuple[Candidate, ...] = Field(min_length=1)
    """All runs that it was chosen from, by seed."""


def best_seed(final_win_rates: Mapping[int, float]) -> int:
    """The seed with the highest final win rate, of equals the lowest.

    Args:
        final_win_rates: by seed; at least one.
    """
    return max(sorted(final_win_rates), key=lambda seed: final_win_rates[seed])
