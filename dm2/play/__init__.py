"""Playing battles: rollouts, evaluation, policies from files or scripts, experts and their demonstrations."""
