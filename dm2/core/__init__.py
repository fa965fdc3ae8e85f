"""What every room stands on: errors, checks, random streams, files, the compiler, the interface of an engine."""
