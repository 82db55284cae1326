"""Foreground masks of small images without weights or labels: minimum barrier distance and border colour.

After Zhang et al., "Minimum Barrier Salient Object Detection at 80 FPS" (ICCV 2015), with the centre and the contrast
steps that background augmentations (arXiv 2103.12719) leave to their mask source. All arrays are float64.

Shapes: B images, C channels in 0..1, H x W pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SEPARATION = 1e-3
"""Added to the diagonal of a strip's covariance: strips of one colour have none."""


def border_width(height: int) -> int:
    """Rows and columns at the edge that are taken for background: a tenth of the height, at least one."""
    return max(1, round(0.1 * height))


def barrier_distance(images_BCHW: Array, width: int, passes: int = 3) -> Array:
    """(B, H, W) distance to the frame of `width` pixels: the smallest range of values on a path there, over channels.

    `passes` raster scans, forward (looking up, then left) and backward (down, then right) in turn. All images go
    through a pixel together.
    """
    height, columns = images_BCHW.shape[2:]
    distance = np.full(images_BCHW.shape, np.inf)
    distance[:, :, :width], distance[:, :, -width:] = 0.0, 0.0
    distance[:, :, :, :width], distance[:, :, :, -width:] = 0.0, 0.0
    highest, lowest = images_BCHW.copy(), images_BCHW.copy()
    for number in range(passes):
        step = 1 if number % 2 == 0 else -1
        rows, across = range(height)[::step], range(columns)[::step]
        for y in rows:
            for x in across:
                here = (slice(None), slice(None), y, x)
                for beside_y, beside_x in ((y - step, x), (y, x - step)):
                    if 0 <= beside_y < height and 0 <= beside_x < columns:
                        beside = (slice(None), slice(None), beside_y, beside_x)
                        top = np.maximum(highest[beside], images_BCHW[here])
                        bottom = np.minimum(lowest[beside], images_BCHW[here])
                        better = top - bottom < distance[here]
                        distance[here] = np.where(better, top - bottom, distance[here])
                        highest[here] = np.where(better, top, highest[here])
                        lowest[here] = np.where(better, bottom, lowest[here])
    total: Array = distance.sum(1)
    return total


def border_sides(images_BCHW: Array, width: int) -> Array:
    """(B, 4, H, W) Mahalanobis distance of each pixel to the top, bottom, left and right strip's colours; at most 1."""
    pixels = np.moveaxis(images_BCHW, 1, -1)
    strips = (pixels[:, :width], pixels[:, -width:], pixels[:, :, :width], pixels[:, :, -width:])
    sides = []
    for strip in strips:
        colours = strip.reshape(len(pixels), -1, pixels.shape[-1])
        mean = colours.mean(1)
        centred = colours - mean[:, None]
        spread = centred.transpose(0, 2, 1) @ centred / colours.shape[1] + _SEPARATION * np.eye(pixels.shape[-1])
        apart = pixels - mean[:, None, None]
        squared = np.einsum("bhwc,bcd,bhwd->bhw", apart, np.linalg.inv(spread), apart)
        distance = np.sqrt(np.maximum(squared, 0.0))
        sides.append(distance / np.maximum(distance.max((1, 2), keepdims=True), np.finfo(float).tiny))
    return np.stack(sides, 1)


def border_distance(sides_B4HW: Array) -> Array:
    """(B, H, W) the sum of the four less the largest: a side that the object touches does not count."""
    total: Array = sides_B4HW.sum(1) - sides_B4HW.max(1)
    return total


def saliency(barrier_BHW: Array, border_BHW: Array) -> Array:
    """(B, H, W) 0..1: both maps, weighted by nearness to the centre, stretched, and pushed to the ends."""
    height, width = barrier_BHW.shape[1:]
    tiny = np.finfo(float).tiny

    def scaled(x: Array) -> Array:
        found: Array = x / np.maximum(x.max((1, 2), keepdims=True), tiny)
        return found

    y, x = np.mgrid[:height, :width]
    apart = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2)
    found = (scaled(barrier_BHW) + scaled(border_BHW)) / 2 * (1 - apart / max(apart.max(), tiny))
    low, high = found.min((1, 2), keepdims=True), found.max((1, 2), keepdims=True)
    found = (found - low) / np.maximum(high - low, tiny)
    pushed: Array = 1 / (1 + np.exp(-10 * (found - 0.5)))
    return pushed


def binary(saliency_BHW: Array) -> NDArray[np.bool_]:
    """(B, H, W) at least twice the image's mean, but .9 at most."""
    at = np.minimum(2 * saliency_BHW.mean((1, 2), keepdims=True), 0.9)
    mask: NDArray[np.bool_] = saliency_BHW >= at
    return mask


def soft_masks(images_BCHW: Array) -> Array:
    """(B, H, W) foreground masks of images in 0..1: `saliency` of both maps."""
    width = border_width(images_BCHW.shape[2])
    return saliency(barrier_distance(images_BCHW, width), border_distance(border_sides(images_BCHW, width)))
