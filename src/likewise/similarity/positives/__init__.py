"""Positives among other images, selected without labels: by neighbours, graphs, clusters."""
