"""Stands in for oxwhirl/smac's package of this name."""
