"""What is seen of a run while it goes on: progress, curves, health."""
