"""The engines that battles can be played on: the simulator, or StarCraft II through SMAC."""
