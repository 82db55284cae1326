"""Sections on places in the images: similar patches, attention, and the masks that a method used in training."""

from __future__ import annotations

from likewise.report.places.looking import PlaceFeatures, look
from likewise.report.places.section import masks, patches

__all__ = ["PlaceFeatures", "look", "masks", "patches"]
