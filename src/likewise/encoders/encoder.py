"""One encoder around any timm model: pooled features, the map before pooling, and the map as tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from likewise.encoders.passes.parts import in_parts
from likewise.encoders.spec import EncoderSpec
from likewise.errors import InputError
from likewise.similarity.compatible import fitted

if TYPE_CHECKING:
    from likewise.encoders.embedding import Preprocess

NECK = "neck."
"""What stands before the names of the neck's weights."""


class Encoder(nn.Module):
    """(B, 3, H, W) normalised images -> (B, F) features. Of clips (B, 3, frames, H, W), too: `forward` says how.

    `backbone` is the timm model without its classifier, with timm's own keys. `weights()` is what is saved and
    deployed: the backbone's, and where the spec names a neck, its layer's under `neck.`. Pooling is the model's own
    (average, class token, ...).
    """

    def __init__(self, spec: EncoderSpec, backbone: nn.Module) -> None:
        """Wrap a timm model made with `num_classes=0`; use `likewise.encoders.build` to make one."""
        super().__init__()
        self.spec = spec
        self.backbone = backbone
        self.pooled_features = int(cast("int", backbone.head_hidden_size))
        """Width of the pooled features."""
        self.features = spec.neck or self.pooled_features
        """F, the length of the vectors: that of the pooled features, or of the neck behind them."""
        self.neck = nn.Linear(self.pooled_features, spec.neck) if spec.neck and spec.neck_form == "linear" else None
        """The layer behind the pooled features, where there is one."""
        self.map_features = int(cast("int", backbone.num_features))
        """C, the channels of the map. Equal to F except where the model widens after pooling (MobileNetV3)."""
        self.parts = 1
        """Parts that `forward` cuts a batch into while it trains, to save memory: see
        `likewise.encoders.passes.parts`."""

    def forward(self, x_B3HW: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, F) pooled features, behind the neck where there is one.

        Clips (B, 3, frames, H, W) go through a 3D encoder (`r3d_tiny`) whole; those of an encoder of images are the
        means over their frames.
        """
        if x_B3HW.dim() == 5 and not self.takes_clips:
            frames = x_B3HW.shape[2]
            features: Tensor = self(x_B3HW.transpose(1, 2).flatten(0, 1))
            return features.view(-1, frames, features.shape[1]).mean(1)
        return in_parts(lambda part_B3HW: self._pool(self._last(part_B3HW)), self, x_B3HW, self.parts)

    def weights(self) -> dict[str, Tensor]:
        """All weights and running statistics by the names they are saved under; not copied."""
        own = {} if self.neck is None else self.neck.state_dict(prefix=NECK)
        return {**self.backbone.state_dict(), **own}

    def take_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Fill backbone and neck from `weights`, strictly. Raises RuntimeError, as torch does, for other keys."""
        neck = {} if self.neck is None else self.neck.state_dict(prefix=NECK)
        self.backbone.load_state_dict({key: value for key, value in weights.items() if key not in neck})
        if self.neck is not None:
            self.neck.load_state_dict({key.removeprefix(NECK): weights[key] for key in neck})

    @property
    def takes_clips(self) -> bool:
        """Whether the encoder looks at all frames of a clip together."""
        return bool(getattr(self.backbone, "takes_clips", False))

    @property
    def preprocess(self) -> Preprocess:
        """A torchvision transform from a PIL image to (3, H, W), what `forward` takes a batch of."""
        from likewise.encoders.embedding import Preprocess  # which reads images, as methods and networks need not

        return Preprocess(self.spec)

    def embed(self, data: Any, *, batch_size: int = 256) -> Tensor:
        """Features (N, F) of the images in `data`, in their order, without gradient, on the device of the encoder.

        `data` is anything that `train` takes (a folder, a list of PIL images or paths, a Parquet or NumPy file, ...),
        one PIL image, or `likewise.data.Images`. Each image is seen once, as by `preprocess`; decoded images are kept
        in the cache, as in training. The encoder computes in eval mode and is left in the mode it was in.

        Raises InputError where there are no images, and where one of them cannot be read, since a row would be missing.
        """
        from likewise.encoders.embedding import embed

        return embed(self, self.spec, data, batch_size=batch_size)

    def map(self, x_B3HW: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, C, h, w), the last features before pooling; those of a transformer's patches."""
        return self._as_map(self._last(x_B3HW), x_B3HW)

    def tokens(self, x_B3HW: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, N, C), the N = h * w positions of `map` in rows; class tokens are left out."""
        return self.map(x_B3HW).flatten(2).transpose(1, 2)

    def with_map(self, x_B3HW: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled features (B, F) and map (B, C, h, w) of one pass, for methods that compare both."""
        last = self._last(x_B3HW)
        return self._pool(last), self._as_map(last, x_B3HW)

    def pooled_from(self, map_BCHW: Tensor) -> Tensor:
        """Pooled features (B, F) of what `map` gave, for gradients in the map. Raises InputError for ViTs.

        Their pooled features need not come from the patches.
        """
        if getattr(self.backbone, "num_prefix_tokens", None) is not None:
            raise InputError(f"encoder {self.spec.name!r} does not pool its map: ResNets, ConvNeXts and Swins do")
        channels_last = str(getattr(self.backbone, "output_fmt", "NCHW")) == "NHWC"
        return self._pool(map_BCHW.permute(0, 2, 3, 1) if channels_last else map_BCHW)

    def stages(self, x_B3HW: Tensor) -> list[Tensor]:
        """The maps of all stages in one pass, from the first to the last: (B, C, h, w) each, h and w falling or equal.

        Each is what the next stage takes, so that a norm or activation after the last one is not in it. ResNets and
        wide ResNets have the first convolution's and one for each stage; ConvNeXts, `resnet12` and `convnet4` one for
        each stage; ViTs one for each block, of its patches. Raises InputError for models that timm gives none of.
        """
        return self.with_stages(x_B3HW)[1]

    def with_stages(self, x_B3HW: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Pooled features (B, F) and `stages` of one pass. Raises InputError as that does."""
        if not hasattr(self.backbone, "forward_intermediates"):
            raise InputError(f"encoder {self.spec.name!r} has no stages: ResNets, ConvNeXts and ViTs have some")
        last, stages = _call(self.backbone, "forward_intermediates", x_B3HW, norm=False, output_fmt="NCHW")
        return self._pool(last), stages

    def _last(self, x_B3HW: Tensor) -> Tensor:
        """What timm calls features: a map in the model's own layout, or tokens with class tokens first."""
        return cast("Tensor", _call(self.backbone, "forward_features", x_B3HW))

    def _pool(self, last: Tensor) -> Tensor:
        pooled = cast("Tensor", _call(self.backbone, "forward_head", last, pre_logits=True))
        if self.neck is not None:
            return cast("Tensor", self.neck(pooled))
        return fitted(pooled, self.features) if self.spec.neck else pooled

    def _as_map(self, last: Tensor, x_B3HW: Tensor) -> Tensor:
        """Bring maps in either layout, and tokens, to (B, C, h, w)."""
        if not isinstance(last, Tensor):
            raise InputError(f"encoder {self.spec.name!r} has no map: its last features are a {type(last).__name__}")
        if last.ndim == 4:
            channels_last = str(getattr(self.backbone, "output_fmt", "NCHW")) == "NHWC"
            return last.permute(0, 3, 1, 2) if channels_last else last
        if last.ndim != 3:
            raise InputError(f"encoder {self.spec.name!r} has no map: its last features have {last.ndim} axes")
        patches_BNC = last[:, int(getattr(self.backbone, "num_prefix_tokens", 0)) :]
        height, width = self._grid(patches_BNC.shape[1], x_B3HW.shape[-2], x_B3HW.shape[-1])
        return patches_BNC.transpose(1, 2).reshape(len(last), -1, height, width)

    def _grid(self, count: int, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of `count` patches of an input of this size."""
        down, across = patch_sides(self.backbone) or (1, 1)
        if (height // down) * (width // across) == count:
            return height // down, width // across
        side = math.isqrt(count)
        if side * side != count:
            raise InputError(f"encoder {self.spec.name!r} has no map: its {count} tokens are not a square")
        return side, side


def in_channels_last(module: nn.Module) -> None:
    """Lay out kernels and maps of images, with four axes, with their channels last, in place.

    What `Module.to(memory_format=torch.channels_last)` does, which refuses modules with kernels of clips.
    """
    for each in (*module.parameters(), *module.buffers()):
        if each.dim() == 4:
            each.data = each.data.contiguous(memory_format=torch.channels_last)


def patch_sides(backbone: nn.Module) -> tuple[int, int] | None:
    """Height and width in pixels of the patches that a model cuts its input into; None for those that do not."""
    sides = getattr(getattr(backbone, "patch_embed", None), "patch_size", None)
    if sides is None:
        return None
    return (sides, sides) if isinstance(sides, int) else (int(sides[0]), int(sides[1]))


def _call(module: nn.Module, name: str, *args: Any, **kwargs: Any) -> Any:
    """Call a method that every timm model has but `nn.Module` does not declare."""
    return getattr(module, name)(*args, **kwargs)
