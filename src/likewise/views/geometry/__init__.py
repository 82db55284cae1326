"""The half of a view that chooses pixels: which part of the image, mirrored, resized, shifted."""
