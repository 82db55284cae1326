"""The description of an encoder in ten plain values: enough to build it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from likewise.errors import InputError, unknown

Stem = Literal["imagenet", "small"]
NeckForm = Literal["linear", "cut"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """The construction of an encoder and the form of its input. Raises `InputError` for values that cannot be."""

    name: str = "resnet18"
    """Name of a timm model, with or without a weight tag (`resnet50`, `resnet50.a1_in1k`)."""
    width: int = 64
    """Channels of the first stage of a ResNet; 16 makes every channel count a quarter of the usual. 64 for others."""
    stem: Stem = "imagenet"
    """`imagenet`: the model's own first layers. `small`: first layers that keep the detail of images up to 64 px."""
    image_size: int = 224
    """Side of the square input in pixels."""
    pretrained: bool = False
    """Whether training starts from timm's published weights."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Channel means (RGB, pixels scaled to 0..1) that the input is normalised with."""
    std: tuple[float, float, float] = IMAGENET_STD
    """Channel deviations that the input is normalised with."""
    neck: int = 0
    """Length of the vectors where it is not that of the pooled features; 0 leaves those as they are."""
    neck_form: NeckForm = "linear"
    """`linear`: a layer makes that length. `cut`: the first features do, zeros behind them where there are fewer."""
    frames: int = 1
    """Frames of the clips that it learned from, and is judged by; 1: images."""
    stride: int = 1
    """Distance of these frames in the video."""

    def __post_init__(self) -> None:
        """Refuse what no encoder can be made of."""
        if self.stem not in get_args(Stem):
            raise unknown("stem", self.stem, get_args(Stem))
        if self.neck_form not in get_args(NeckForm):
            raise unknown("neck form", self.neck_form, get_args(NeckForm))
        neck: object = self.neck
        if not isinstance(neck, int) or isinstance(neck, bool) or neck < 0:
            raise InputError(f"encoder neck must be a whole number from 0 (none), not {neck!r}")
        for field_name in ("width", "image_size", "frames", "stride"):
            value = getattr(self, field_name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"encoder {field_name} must be a whole number from 1, not {value!r}")
        for field_name in ("mean", "std"):
            value = getattr(self, field_name)
            if len(value) != 3:
                raise InputError(f"encoder {field_name} needs three values, one per channel, not {len(value)}")
        if min(self.std) <= 0:
            raise InputError(f"encoder std must be above 0 in every channel, not {self.std}")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> EncoderSpec:
        """The spec in a `model.json`, whose other entries are passed over. Raises `InputError` without a name."""
        if "name" not in values:
            raise InputError("the description of the encoder has no 'name'")
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        for key in ("mean", "std"):
            if key in known:
                known[key] = tuple(float(value) for value in known[key])
        return cls(**known)
