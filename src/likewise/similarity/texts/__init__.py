"""Losses between images and what is said of them: captions, tags, narration."""
