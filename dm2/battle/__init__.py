"""The built-in battle simulator: StarCraft II's mechanics behind SMAC's interface, many battles at once."""

from dm2.battle.env import BattleEnv, simulator_spec

__all__ = ["BattleEnv", "simulator_spec"]
