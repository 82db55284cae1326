"""Where the objects of an image are, found by a trained encoder without labels."""
