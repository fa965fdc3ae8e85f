"""Stands in for oxwhirl/smac's module of this name."""

from dm2.adapters.smac import Direction, StarCraft2Env

__all__ = ["Direction", "StarCraft2Env"]
