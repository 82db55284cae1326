"""Views: augmented versions of images, the input of a method.

A `ViewPolicy` says what a view looks like; `strong`, `weak`, `centre` and `multi_crop` are the usual ones. `make_views`
makes the views of a whole batch; what works on the images between crop and colours is its `compose`. Its three parts
can be taken alone: `draw`, `crop_and_flip`, `photometric`.
"""

from __future__ import annotations

from likewise.views.clips import make_clip_views
from likewise.views.colours.photometry import photometric
from likewise.views.drawing import Draw, Geometry, Look, draw
from likewise.views.geometry.spatial import crop_and_flip, crop_and_flip_flow, crop_and_flip_mask
from likewise.views.making import Compose, make_views
from likewise.views.policies.operations import Operation, Operations, rand_augment, random_magnitudes
from likewise.views.policies.pair import teacher_student
from likewise.views.policies.policy import (
    CIFAR10_MEAN,
    CIFAR10_STD,
    CIFAR100_MEAN,
    CIFAR100_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Blur,
    Centre,
    Colour,
    Crop,
    CutOut,
    Shift,
    Solarise,
    ViewPolicy,
)
from likewise.views.policies.presets import centre, from_callable, multi_crop, padded, strong, weak
from likewise.views.view import View

__all__ = [
    "CIFAR10_MEAN",
    "CIFAR10_STD",
    "CIFAR100_MEAN",
    "CIFAR100_STD",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Blur",
    "Centre",
    "Colour",
    "Compose",
    "Crop",
    "CutOut",
    "Draw",
    "Geometry",
    "Look",
    "Operation",
    "Operations",
    "Shift",
    "Solarise",
    "View",
    "ViewPolicy",
    "centre",
    "crop_and_flip",
    "crop_and_flip_flow",
    "crop_and_flip_mask",
    "draw",
    "from_callable",
    "make_clip_views",
    "make_views",
    "multi_crop",
    "padded",
    "photometric",
    "rand_augment",
    "random_magnitudes",
    "strong",
    "teacher_student",
    "weak",
]
