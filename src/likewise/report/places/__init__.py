"""Where in the images: patches that are alike, attention, and the masks that a method learned with."""

from __future__ import annotations

from likewise.report.places.looking import Looked, look
from likewise.report.places.section import masks, patches

__all__ = ["Looked", "look", "masks", "patches"]
