"""The training loop and its parts: resolving, optimisers, schedules, checkpoints, health, the run directory."""
