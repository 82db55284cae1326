"""Decoded frames gathered by video: a position is a video, and the gathered samples are clips.

Shapes: V videos, C clips of each, F frames of a clip.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from likewise.data.fingerprints import digest, digest_array
from likewise.data.images import Images
from likewise.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Watch:
    """The clips of a video that are used."""

    clips: int = 4
    """Clips, evenly spaced over the video."""
    frames: int = 1
    """Frames of each."""
    stride: int = 1
    """Distance of these in the video."""
    video: str = "video"
    """Column that says which video a frame is of."""
    frame: str = "frame"
    """Column with the place of a frame in its video."""

    def __post_init__(self) -> None:
        for name in ("clips", "frames", "stride"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} must be at least 1")

    def __str__(self) -> str:
        """In words, for the protocol of a score."""
        if self.frames == 1:
            return f"mean over {self.clips} frames of each video"
        apart = "" if self.stride == 1 else f", {self.stride} apart"
        return f"mean over {self.clips} clips of {self.frames} frames{apart} of each video"


class Videos(Images):
    """Videos as positions: each stands for its first frame, and `clips` gives the input of an encoder."""

    def __init__(self, frames: Images, places_VCF: NDArray[np.int64], first_V: NDArray[np.int64], watch: Watch) -> None:
        """Made by `of`."""
        shown = frames.subset(first_V)
        self.__dict__.update(shown.__dict__)
        self.frames, self.places_VCF, self.watch = frames, places_VCF, watch
        self.fingerprint = digest(frames.fingerprint, "clips", digest_array(places_VCF))
        self.digests = np.array([_digest(frames.digests[row]) for row in places_VCF.reshape(len(first_V), -1)])
        self._first_V = first_V

    @classmethod
    def of(cls, frames: Images, watch: Watch) -> Videos:
        """The videos of decoded frames, by their columns.

        Raises InputError where these are missing or say nothing of some frames, and for places that are no numbers.
        """
        for name in (watch.video, watch.frame):
            if name not in frames.columns:
                raise InputError(f"{frames.name} has no column {name!r}, which clips are made by")
        video, frame = (frames.columns[name].complete(name) for name in (watch.video, watch.frame))
        video_N, frame_N = video.values, frame.numbers()
        _, number_N, length_V = np.unique(video_N, return_inverse=True, return_counts=True)
        sorted_N = np.lexsort((frame_N, number_N))
        first_V = np.cumsum(length_V) - length_V
        within_F = watch.stride * np.arange(watch.frames)
        room_V = np.where(length_V > within_F[-1], length_V - within_F[-1], length_V)
        starts_VC = np.rint(np.linspace(0, room_V - 1, watch.clips, axis=1)).astype(np.int64)
        if watch.clips == 1:
            starts_VC = (room_V[:, None] - 1) // 2
        places_VCF = (starts_VC[:, :, None] + within_F) % length_V[:, None, None]
        return cls(frames, sorted_N[first_V[:, None, None] + places_VCF], sorted_N[first_V], watch)

    def clips(self, index: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Pixels (B, C, F, H, W, 3) and sizes (B, C, F, 2) of the clips of the videos at positions `index`."""
        places = self.places_VCF[np.asarray(index, np.int64)]
        pixels, sizes = self.frames.gather(places.reshape(-1))
        return pixels.reshape(*places.shape, *pixels.shape[1:]), sizes.reshape(*places.shape, 2)

    def subset(self, index: NDArray[np.int64]) -> Videos:
        """Some of the videos, with the labels that they have here."""
        index = np.asarray(index, np.int64)
        part = Videos(self.frames, self.places_VCF[index], self._first_V[index], self.watch)
        part.labels = None if self.labels is None else self.labels[index]
        return part


def frames_each(images: object) -> int:
    """Images that one position of a data set stands for: those of all clips of a video, else 1."""
    return int(np.prod(images.places_VCF.shape[1:])) if isinstance(images, Videos) else 1


def _digest(digests_F: NDArray[np.uint64]) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(digests_F.tobytes(), digest_size=8).digest(), "little"))
