"""Monitoring of a run in progress: progress, curves, health."""
