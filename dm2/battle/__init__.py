"""The built-in battle simulator: StarCraft II's mechanics behind SMAC's interface, many battles at once."""
