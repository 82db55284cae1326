"""The flow of every frame of a data set, as one derived array.

A row is (3, G, G) float16: motion to the right and down to the next frame of the video, in cells of a grid that is laid
over the whole frame, and 1 where it can be relied on. The last frame of a video has the flow that leads to it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from likewise.data.caching.cache import Progress
from likewise.data.caching.derived import derive
from likewise.data.fingerprints import digest, digest_array
from likewise.data.flow.estimating import Estimate, estimator, reliable, without_camera
from likewise.data.images import Images
from likewise.data.videos.synthetic import known_of
from likewise.errors import InputError

FlowSource = Literal["exact", "dis", "farneback", "lk"]
FINEST = 64
"""Cells of a side of the grid at most; frames of fewer pixels have one a pixel."""
_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class FlowPlan:
    """The settings of flow estimation."""

    source: FlowSource = "dis"
    """`exact`, which drawn videos know; OpenCV's `dis` or `farneback`; or `lk`, Lucas and Kanade without OpenCV."""
    check: bool = True
    """Whether flow that does not lead back is marked as unreliable."""
    camera: bool = True
    """Whether the affine motion of the whole frame is taken off."""
    video: str = "video"
    """Column that says which video a frame is of."""
    frame: str = "frame"
    """Column with the place of a frame in its video."""


def flow_fields(
    images: Images, plan: FlowPlan, *, cache_dir: Path | None = None, progress: Progress | None = None
) -> NDArray[np.float16]:
    """(N, 3, G, G) the flow of all frames, from the cache or computed now.

    Raises InputError where a column is missing or says nothing of some frames, for `exact` flow of videos that know
    none, and without OpenCV where it is wanted.
    """
    for name in (plan.video, plan.frame):
        if name not in images.columns:
            raise InputError(f"{images.name} has no column {name!r}, which flow needs: it is between frames of a video")
    if plan.source == "exact" and known_of(images.names[0]) is None:
        raise InputError(f"flow='exact': {images.name} does not know its flow; allowed are dis, farneback and lk")
    video, frame = (images.columns[name].complete(name) for name in (plan.video, plan.frame))
    first_N, second_N = pairs(video.values, frame.numbers())
    side = int(min(FINEST, images.sizes.max()))
    fields = _Fields(images, plan, first_N, second_N, side)
    order = digest_array(np.stack([first_N, second_N]))
    key = digest(_VERSION, sorted(asdict(plan).items()), order, side)
    return derive(images, f"flow-{plan.source}", key, fields.of, cache_dir=cache_dir, progress=progress)


def pairs(video_N: NDArray[np.int64], frame_N: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(N,) the two frames that the flow of each frame is between; twice itself in a video of one frame."""
    order = np.lexsort((frame_N, video_N))
    same = video_N[order][1:] == video_N[order][:-1]
    first, second = order.copy(), order.copy()
    second[:-1][same] = order[1:][same]
    ends = np.append(~same, True)
    begins = np.insert(~same, 0, True)
    lone_end = np.flatnonzero(ends & ~begins)
    first[lone_end] = order[lone_end - 1]
    found_first, found_second = np.empty_like(order), np.empty_like(order)
    found_first[order], found_second[order] = first, second
    return found_first, found_second


class _Fields:
    """Computes the rows of some frames."""

    def __init__(
        self, images: Images, plan: FlowPlan, first_N: NDArray[np.int64], second_N: NDArray[np.int64], side: int
    ) -> None:
        self.images, self.plan, self.side = images, plan, side
        self.first_N, self.second_N = first_N, second_N
        self.estimate: Estimate | None = None if plan.source == "exact" else estimator(plan.source)

    def of(self, positions: NDArray[np.int64]) -> NDArray[np.float16]:
        """(B, 3, G, G) the flow of the frames at these positions."""
        rows = np.empty((len(positions), 3, self.side, self.side), np.float16)
        sizes = self.images.sizes[self.first_N[positions]]
        for size in np.unique(sizes, axis=0):
            chosen = np.flatnonzero((sizes == size).all(1))
            flow, known = self._found(positions[chosen], int(size[0]), int(size[1]))
            if self.plan.camera:
                flow = without_camera(flow, known)
            rows[chosen] = self._on_grid(flow, known)
        return rows

    def _found(self, positions: NDArray[np.int64], height: int, width: int) -> tuple[Any, Any]:
        """Flow (P, H, W, 2) in pixels and what of it is reliable (P, H, W)."""
        first, second = self.first_N[positions], self.second_N[positions]
        if self.estimate is None:
            flow: NDArray[Any] = np.stack([self._exact(self.images.names[position]) for position in first])
            scale = np.array([width, height], np.float32) / np.array([flow.shape[2], flow.shape[1]], np.float32)
            flow = _resized(flow, height, width) * scale
            return flow, np.ones(flow.shape[:3], bool)
        frames = [self._frames(each, height, width) for each in (first, second)]
        flow = self.estimate(*frames)
        known = reliable(flow, self.estimate(*frames[::-1])) if self.plan.check else np.ones(flow.shape[:3], bool)
        return flow, known

    def _frames(self, positions: NDArray[np.int64], height: int, width: int) -> NDArray[np.uint8]:
        """(P, H, W, 3) frames; one of another size than the first of its pair is cut, or filled up with zeros."""
        pixels = self.images.gather(positions)[0].numpy()[:, :height, :width]
        lacking = height - pixels.shape[1], width - pixels.shape[2]
        return np.pad(pixels, ((0, 0), (0, lacking[0]), (0, lacking[1]), (0, 0))) if any(lacking) else pixels

    def _exact(self, name: str) -> NDArray[np.float32]:
        found = known_of(name)
        if found is None:
            raise InputError(f"flow='exact': {name} is not a drawn frame; allowed are dis, farneback and lk")
        return found[0]

    def _on_grid(self, flow: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float16]:
        height, width = flow.shape[1:3]
        cells = flow * np.array([self.side / width, self.side / height], np.float32)
        whole = np.concatenate([cells, known[..., None].astype(np.float32)], 3)
        return _resized(whole, self.side, self.side).transpose(0, 3, 1, 2).astype(np.float16)


def _resized(maps_PHWC: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    if maps_PHWC.shape[1:3] == (height, width):
        return maps_PHWC
    maps = torch.from_numpy(np.ascontiguousarray(maps_PHWC)).permute(0, 3, 1, 2)
    found = F.interpolate(maps, (height, width), mode="bilinear", align_corners=False, antialias=True)
    return np.asarray(found.permute(0, 2, 3, 1).numpy())
