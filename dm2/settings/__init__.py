"""What can be set: a run's settings, the files of `config/`, the experiment matrix, units and maps."""
