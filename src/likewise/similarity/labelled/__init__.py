"""Losses that use labels: of some images, of small tasks, or pseudo-labels."""
