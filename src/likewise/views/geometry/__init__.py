"""The half of a view that chooses pixels: crop, flip, resize, shift."""
