"""Stands in for oxwhirl/smac's module of this name."""

from dm2.adapters.smac import MultiAgentEnv

__all__ = ["MultiAgentEnv"]
