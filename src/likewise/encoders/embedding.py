"""Embeds images with an encoder in eval mode: the centre of each, in batches.

Shapes: N images, F features, B images in a batch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from likewise.data import Images, cached_side, open_source, prepare
from likewise.data.decoding.decode import from_pil
from likewise.data.decoding.pixels import fit
from likewise.data.videos.watching import Videos, frames_each
from likewise.encoders.spec import EncoderSpec
from likewise.errors import InputError
from likewise.views import ViewPolicy, centre, make_clip_views, make_views

Autocast = Callable[[], contextlib.AbstractContextManager[object]]

BATCH = 256
"""Small images that go through an encoder together; of large ones fewer (`batch_for`)."""
WHOLE_UP_TO = 64
"""Up to this side in pixels the whole middle square is looked at, above it a share of `FRACTION` (256 -> 224)."""
FRACTION = 0.875


class Preprocess(nn.Module):
    """A torchvision transform: what an encoder is shown of one image, to the last bit as in evaluation.

    Takes a PIL image and returns (3, S, S) float32, S the side of the encoder's input: upright, in RGB, the middle
    square, resized with antialiasing, normalised. A large JPEG file that was loaded before (`image.load()`, `convert`)
    is the exception: evaluation decodes it at a fraction of its size, which shows at sharp edges, by up to a dozen of
    255 levels.

    Raises InputError for anything else than a PIL image, and BrokenImage for one that cannot be decoded.
    """

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self.view = view_of(spec)

    def forward(self, image: Image.Image) -> Tensor:
        """One image -> (3, S, S)."""
        if not isinstance(image, Image.Image):
            raise InputError(f"preprocess takes a PIL image, not a {type(image).__name__}: use embed for other data")
        side = cached_side(self.view.size)
        pixels_1HW3 = torch.tensor(fit(from_pil(image, short_side=side), side)).unsqueeze(0)
        sizes_12 = torch.tensor([pixels_1HW3.shape[1:3]])
        return make_views({"centre": self.view}, pixels_1HW3, sizes_12, seed=0, step=0)["centre"].image[0].contiguous()

    def extra_repr(self) -> str:
        """What stands between the brackets when it is printed."""
        return f"{self.view.size} px, mean {self.view.mean}, std {self.view.std}"


def embed(network: nn.Module, spec: EncoderSpec, data: Any, *, batch_size: int = BATCH) -> Tensor:
    """`Encoder.embed`: features (N, F) of the images in `data`, in their order, on the device of the network.

    Raises InputError as `likewise.data.open_source` and `prepare` do, and where an image cannot be read.
    """
    if isinstance(data, Image.Image):
        data = [data]
    view = view_of(spec)
    images = data if isinstance(data, Images) else prepare(open_source(data), short_side=cached_side(view.size))
    if images is not data and images.broken:
        first = images.broken[0]
        raise InputError(
            f"{len(images.broken)} of {len(images) + len(images.broken)} images cannot be read, the first "
            f"{first.name} ({first.reason}): likewise.data.prepare(likewise.data.open_source(...), short_side="
            f"{cached_side(view.size)}) leaves them out and names the others"
        )
    return torch.cat([rows_BF for _, rows_BF in rows(network, images, np.arange(len(images)), view, batch_size)])


def rows(
    network: nn.Module,
    images: ImageSet,
    positions: NDArray[np.int64],
    view: ViewPolicy,
    batch_size: int = BATCH,
    *,
    device: torch.device | None = None,
    autocast: Autocast = contextlib.nullcontext,
) -> Iterator[tuple[int, Tensor]]:
    """Number of images before, and the network's output for each batch, without gradient, on `device`.

    Of videos (`likewise.data.videos.watching`) that is the mean over their clips.

    `device` is by default the network's. It is in eval mode meanwhile, and every part of it in its own mode afterwards.
    One batch of pixels is held at a time and one is fetched ahead.
    """
    weight = next(network.parameters())
    where = weight.device if device is None else device
    with evaluating(network):
        together = max(1, batch_for(view.size, batch_size, where) // frames_each(images))
        for start, (pixels, sizes) in batches(images, positions, together):
            with torch.no_grad():
                shown = _shown(pixels.to(where), sizes, view)
                with autocast():
                    each = [network(image.to(weight.dtype)) for image in shown]
            yield start, each[0] if len(each) == 1 else torch.stack(each).mean(0)


def _shown(pixels: Tensor, sizes: Tensor, view: ViewPolicy) -> list[Tensor]:
    """What the network sees: the images, or one clip after the other of each video."""
    if pixels.dim() == 4:
        return [make_views({"centre": view}, pixels, sizes, seed=0, step=0)["centre"].image]
    roles = {f"clip {number}": view for number in range(pixels.shape[1])}
    return [clip.image for clip in make_clip_views(roles, pixels, sizes, seed=0, step=0).values()]


def view_of(spec: EncoderSpec) -> ViewPolicy:
    """The view of images for an encoder in evaluation: the middle square, resized, normalised."""
    size = spec.image_size
    return centre(size, mean=spec.mean, std=spec.std, fraction=view_fraction(size))


def view_fraction(image_size: int) -> float:
    """Share of the short side that the middle square takes."""
    return 1.0 if image_size <= WHOLE_UP_TO else FRACTION


def batch_for(image_size: int, batch_size: int, device: torch.device) -> int:
    """Images that go through the encoder together: on a processor fewer large ones, so that memory stays small."""
    if device.type != "cpu" or image_size <= WHOLE_UP_TO:
        return batch_size
    return max(1, min(batch_size, max(8, batch_size * WHOLE_UP_TO**2 // image_size**2)))


class ImageSet(Protocol):
    """A source of pixels; `likewise.data.Images` is one."""

    def __len__(self) -> int:
        """Number of images."""
        ...

    def gather(self, index: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Pixels (B, H, W, 3) and true sizes (B, 2) of the images at positions `index`."""
        ...


def batches(
    images: ImageSet, positions: NDArray[np.int64], batch_size: int
) -> Iterator[tuple[int, tuple[Tensor, Tensor]]]:
    """Number of images before, and pixels with sizes, of each batch; the next is fetched while one is used.

    Of videos the pixels are those of their clips.
    """
    starts = range(0, len(positions), batch_size)
    with ThreadPoolExecutor(1, thread_name_prefix="likewise-gather") as pool:
        take = images.clips if isinstance(images, Videos) else images.gather

        def fetch(start: int) -> tuple[Tensor, Tensor]:
            return take(positions[start : start + batch_size])

        waiting = pool.submit(fetch, 0)
        for start in starts:
            ready = waiting.result()
            if start + batch_size < len(positions):
                waiting = pool.submit(fetch, start + batch_size)
            yield start, ready


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode inside; afterwards every part is in the mode it was in, which need not be the same for all."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:  # from the outside in; some parts forget in `train` what they kept while evaluating
            part.train(mode)
