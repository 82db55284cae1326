"""Shared parts of methods that learn from videos: the clips that are drawn, and the encoder's evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from likewise.data.batches.clips import Law
from likewise.data.batches.orders import apart
from likewise.data.batches.streams import MAIN, Stream, clips
from likewise.encoders import Encoder
from likewise.errors import InputError
from likewise.methods.parts.checks import at_least, positive


@dataclass(frozen=True, kw_only=True)
class ClipSettings:
    """Settings of methods that look at two clips of each video."""

    frames: int = 8
    """Frames of a clip."""
    stride: int = 2
    """Distance of these frames in the video."""
    law: Law = "decreasing"
    """How the gap between the two clips of a video is drawn: `decreasing` makes clips far apart rarer, `uniform` all
    gaps equally likely, `increasing` far ones likelier, `none` takes the same clip twice, `power` is 1 - gap^power."""
    power: float = 2.0
    """The exponent of the law `power`; 1 is `decreasing`."""
    video: str = "video"
    """Column that says which video a frame is of."""
    frame: str = "frame"
    """Column with the place of a frame in its video, a whole number."""

    def __post_init__(self) -> None:
        at_least("frames", self.frames, 1)
        at_least("stride", self.stride, 1)
        positive("power", self.power)
        if self.video == self.frame:
            raise InputError(f"video and frame are both the column {self.video!r}: two are needed")

    def idle(self) -> dict[str, str]:
        """The exponent of a law that has none, and the distance of frames where there is one."""
        exponent = {} if self.law == "power" else {"power": "law=power"}
        return exponent | ({"stride": "frames=2 or more"} if self.frames == 1 else {})


def clip_columns(settings: ClipSettings) -> tuple[str, ...]:
    """The columns that clips are drawn by."""
    return settings.video, settings.frame


def clip_streams(settings: ClipSettings) -> Mapping[str, Stream]:
    """Two clips of every video, videos once an epoch."""
    law = apart(settings.law, settings.power)
    order = clips(
        settings.video, settings.frame, count=2, frames=settings.frames, stride=settings.stride, law=law
    )  # fmt: skip
    return {MAIN: Stream(draw=order)}


def judged_by_clips(encoder: Encoder, settings: ClipSettings) -> Encoder:
    """The encoder, which from now on says of itself that clips like these are what it is judged by."""
    encoder.spec = replace(encoder.spec, frames=settings.frames, stride=settings.stride)
    return encoder
