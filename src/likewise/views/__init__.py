"""What a method looks at.

A `ViewPolicy` says what a view looks like; `strong`, `weak`, `centre` and `multi_crop` are the usual ones. `make_views`
makes the views of a whole batch. Methods that work on the pictures between crop and colours take the three parts
themselves: `draw`, `crop_and_flip`, `photometric`.
"""

from __future__ import annotations

from likewise.views.drawing import Draw, Geometry, Look, draw
from likewise.views.making import make_views
from likewise.views.photometry import photometric
from likewise.views.policy import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Blur,
    Centre,
    Colour,
    Crop,
    Solarise,
    ViewPolicy,
)
from likewise.views.presets import centre, from_callable, multi_crop, strong, weak
from likewise.views.spatial import crop_and_flip, crop_and_flip_flow, crop_and_flip_mask
from likewise.views.view import View

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Blur",
    "Centre",
    "Colour",
    "Crop",
    "Draw",
    "Geometry",
    "Look",
    "Solarise",
    "View",
    "ViewPolicy",
    "centre",
    "crop_and_flip",
    "crop_and_flip_flow",
    "crop_and_flip_mask",
    "draw",
    "from_callable",
    "make_views",
    "multi_crop",
    "photometric",
    "strong",
    "weak",
]
