"""Stands in for oxwhirl/smac's package of this name."""

from dm2.adapters.smac import MultiAgentEnv, StarCraft2Env

__all__ = ["MultiAgentEnv", "StarCraft2Env"]
