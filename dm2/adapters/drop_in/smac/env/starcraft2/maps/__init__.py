"""Stands in for oxwhirl/smac's package of this name."""

from dm2.adapters.smac_maps import get_map_params

__all__ = ["get_map_params"]
