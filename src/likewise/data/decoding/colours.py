"""Colours of images with an embedded ICC profile: brought to sRGB, which all other images are taken to be in.

Phones write Display P3 and cameras Adobe RGB: the same numbers stand for more saturated colours there. Most files have
no profile, or one that says sRGB, and stay as they are.
"""

from __future__ import annotations

import functools
import io
from itertools import product

import numpy as np
from PIL import Image, ImageCms

_SAME = 2
"""Levels of 255 that the colours of a profile may be away from sRGB and count as it: profiles of sRGB round, too."""
_STEPS = (0, 64, 128, 192, 255)
_KEPT = 64


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """An RGB or CMYK image in RGB, by its profile to sRGB; the image itself where no profile asks for that."""
    transform = _transform(profile, image.mode) if profile and image.mode in {"RGB", "CMYK"} else None
    if transform is None:
        return image
    turned = ImageCms.applyTransform(image, transform)
    assert turned is not None  # it is None in place only
    return turned


@functools.lru_cache(maxsize=_KEPT)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From a profile to sRGB; None for one that is sRGB or of images of another mode, and for a damaged one."""
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if own.profile.xcolor_space.strip() != mode:
            return None
        made = ImageCms.buildTransform(own, ImageCms.createProfile("sRGB"), mode, "RGB")
        return None if mode == "RGB" and _changes_little(made) else made
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError, ImportError):  # the last without LittleCMS
        return None


def _changes_little(transform: ImageCms.ImageCmsTransform) -> bool:
    before = np.array(list(product(_STEPS, repeat=3)), np.uint8)[None]
    after = ImageCms.applyTransform(Image.fromarray(before), transform)
    return bool(np.abs(np.asarray(after, np.int16) - before).max() <= _SAME)
