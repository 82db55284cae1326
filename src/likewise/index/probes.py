"""Vectors of a few fixed images, which verify that two encoders are the same, whatever their descriptions say.

Shapes: P probes, D dimensions. Distances between two sets of probe vectors are root mean squares over the probes, as a
share of how far the probes are from their own mean: features of an encoder may all lie close together, and a change
has to be judged by what tells images apart.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.data import cached_side
from likewise.data.decoding.decoded import Pixels
from likewise.data.decoding.pixels import fit
from likewise.encoders import Encoder
from likewise.encoders.embedding import rows, view_of

COUNT = 6
"""Probe images."""
MARGIN = 4.0
"""Probe vectors may differ by so many times the largest numeric noise that was measured on the encoder's machine."""
FLOOR = 1e-4
"""Noise that is assumed at least: other processors add up float32 in another order."""


class Probes:
    """The probe images as an encoder is shown them (`likewise.encoders.embedding.ImageSet`)."""

    def __init__(self, short_side: int) -> None:
        self._pixels = [fit(image, short_side) for image in images(short_side)]

    def __len__(self) -> int:
        return len(self._pixels)

    def gather(self, index: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Pixels (B, H, W, 3) and sizes (B, 2)."""
        chosen = np.stack([self._pixels[position] for position in index])
        return torch.from_numpy(chosen), torch.tensor([image.shape[:2] for image in chosen])


def images(short_side: int) -> list[Pixels]:
    """`COUNT` images of 1.6 times the side that is kept, the same on every machine: gratings, blocks and noise.

    They are full of detail near the limit of what survives, so that another way to reduce them gives other pixels.
    """
    side = int(1.6 * short_side) + 1
    y, x = np.mgrid[:side, :side].astype(np.int64)
    found = []
    for number in range(COUNT):
        mixed = (x * (73 + 20 * number) + y * (151 - 14 * number) + number * 977) * 2654435761 % 2**32
        noise = np.stack([mixed >> shift & 255 for shift in (3, 11, 19)], axis=-1)
        blocks = ((x // (3 + 2 * number)) + (y // (2 + number))) % 2 * 170
        slope = (x * (number + 1) + y * (COUNT - number)) * 255 // (side * (COUNT + 1))
        flat = np.stack([blocks, slope, 255 - blocks], axis=-1)
        share = number % 3  # all noise, half of it, a little
        found.append(((noise * (3 - share) + flat * (1 + 2 * share)) // (4 + share)).clip(0, 255).astype(np.uint8))
    return found


def vectors(encoder: Encoder, *, batch_size: int = COUNT, bf16: bool = False) -> NDArray[np.float32]:
    """(P, D) features of the probes in float32, as `encoder` would give them for images of a data set."""
    view = view_of(encoder.spec)
    where = next(encoder.parameters()).device

    def autocast() -> torch.autocast:
        return torch.autocast(where.type, torch.bfloat16, enabled=bf16)

    probes = Probes(cached_side(encoder.spec.image_size))
    found = rows(encoder, probes, np.arange(len(probes)), view, batch_size, autocast=autocast)
    return torch.cat([part.float().cpu() for _, part in found]).numpy()


def noise(encoder: Encoder, exact_PD: NDArray[np.float32]) -> float:
    """The largest distance from `exact_PD` among other ways to compute the same: one by one, one thread, bfloat16."""
    ways = [vectors(encoder, batch_size=1), vectors(encoder, bf16=True)]
    with _one_thread():
        ways.append(vectors(encoder))
    return max(FLOOR, *(distance(exact_PD, way) for way in ways))


def distance(one_PD: NDArray[np.float32], other_PD: NDArray[np.float32]) -> float:
    """Root mean square difference, as a share of the deviation of `one_PD` from its mean. 0: the same space."""
    one, other = one_PD.astype(np.float64), other_PD.astype(np.float64)
    spread = np.sqrt(((one - one.mean(0)) ** 2).sum(1).mean())
    apart = np.sqrt(((one - other) ** 2).sum(1).mean())
    return float(apart / max(spread, 1e-12 * (1.0 + np.abs(one).max())))


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
