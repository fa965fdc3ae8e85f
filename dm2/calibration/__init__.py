"""The simulator beside logs of the real game."""
