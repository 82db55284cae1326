"""Upgrades from one encoder to another while an index is in use: the expected change, and the refresh."""
