"""The plan of a run: requested settings, the machine, resolved settings, and resuming."""
