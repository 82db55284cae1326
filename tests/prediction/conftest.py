"""Folders of images of a few colours, and a small encoder."""

from tests.colour_fixtures import encoder, own_cache, photos

__all__ = ["encoder", "own_cache", "photos"]
