"""The loop and what it needs: resolving, optimisers, schedules, checkpoints, health, the run directory."""
