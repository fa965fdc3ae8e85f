"""One training from start to end: the loop, checkpoints, records and the watch over it."""
