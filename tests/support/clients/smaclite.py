"""EPyMARL imports SMAClite whatever it plays, and takes nothing from it for a map of SMAC."""
