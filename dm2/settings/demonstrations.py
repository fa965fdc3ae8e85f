"""Settings of a demonstration archive."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from dm2.settings.base import Count, Name, Settings
from dm2.settings.run import DemonstrationSource


class DemonstrationSettings(Settings):
    """What one demonstration archive is sampled from."""

    scale: Name
    """Scale of the expert's runs."""
    map_name: Name
    """Map of the expert's runs."""
    backend: Name = "simulator"
    """Engine that a policy that nobody trains plays on; trained experts play on that of their runs."""
    source: DemonstrationSource
    """Expert, checkpoint and noise."""
    greedy_episodes: Count = 1000
    """Episodes of greedy play by which the experts' win rate is told, beside that of the demonstrations."""

    @model_validator(mode="after")
    def _experts_are_named_or_chosen(self) -> Self:
        if not self.source.expert_seeds and not self.source.is_chosen:
            raise ValueError("source.expert_seeds: found none for experts that no rule chooses, expected one per team")
        return self

    @property
    def name(self) -> str:
        """File name of the archive, without suffix; it tells every key of the source."""
        source = self.source
        parts = [source.expert, f"{source.checkpoint_percent:03d}", f"episodes-{source.episodes}"]
        parts += [f"seed-{'-'.join(map(str, source.expert_seeds))}"] if source.expert_seeds else []
        parts += [f"epsilon-{source.epsilon:g}"] if source.epsilon else []
        parts += [] if source.concurrent else ["nonconcurrent"]
        parts += [] if source.joint else ["independent"]
        return "_".join(parts)
