"""Losses between images and texts: captions, tags, narration."""
