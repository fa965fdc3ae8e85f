"""Stands in for oxwhirl/smac's module of this name."""

from dm2.adapters.smac_maps import get_smac_map_registry

map_param_registry = get_smac_map_registry()

__all__ = ["get_smac_map_registry", "map_param_registry"]
