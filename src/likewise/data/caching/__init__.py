"""Decoded images and derived arrays on disk: made once, locked while written, listed, removed."""
