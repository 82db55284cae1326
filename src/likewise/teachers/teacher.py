"""A frozen teacher as methods use it: applied to views, or looked up in a table of its vectors.

Shapes: N images in the data, B in a batch, F dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from likewise.data import Images
from likewise.data.caching.cache import Progress
from likewise.data.caching.derived import BLOCK, derive, is_derived
from likewise.data.fingerprints import digest
from likewise.data.vectors import Table, places
from likewise.encoders import Encoder
from likewise.encoders.embedding import ImageSet, rows, view_of
from likewise.errors import InputError
from likewise.teachers.networks import Channels, Frozen, Refitted
from likewise.teachers.own_side import Larger

_ON_DEVICE = 1 << 30
"""Bytes of a table that is copied to an accelerator; a larger one is looked up on the processor."""
_BLOCK_ON_DEVICE = 1024


class Teacher(Frozen):
    """A network that was trained before, or a table of vectors; its own weights are not part of a run's method.

    A teacher that is looked up (`looks_up`) has to be filled before training: `fill` shows each image's centre to the
    network once, at its own size and normalisation, and keeps the vectors beside the decoded images, under the digest
    of the weights and of the images. They are not in checkpoints.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        name: str,
        key: str,
        features: int,
        encoder: Encoder | None = None,
        head: nn.Module | None = None,
        table: Table | None = None,
        cached: bool = False,
    ) -> None:
        super().__init__(network)
        self.name, self.key, self.features, self.table = name, key, features, table
        self.looks_up = cached or table is not None
        """Whether it is asked by the position of an image and not shown views."""
        self.rows: Tensor | NDArray[Any] | None = None
        """(N, F) its vectors, where they are looked up and there already."""
        self._whole = None if encoder is None else (encoder, head)

    @property
    def own_size(self) -> int | None:
        """Side of its own input in pixels; None for a table."""
        return None if self._whole is None else self._whole[0].spec.image_size

    @property
    def encoder(self) -> Encoder | None:
        """The encoder of the teacher without what comes behind it; None for a table."""
        return None if self._whole is None else self._whole[0]

    @torch.no_grad()
    def own(self, image_B3SS: Tensor) -> Tensor:
        """(B, F) of images that are at its own size and normalised as it was trained."""
        assert self._whole is not None
        encoder, head = self._whole
        features: Tensor = encoder(image_B3SS)
        return features if head is None else cast("Tensor", head(features))

    @property
    def missing(self) -> bool:
        """Whether vectors are looked up that are not there yet."""
        return self.looks_up and self.rows is None

    def see(self, image_B3HW: Tensor, index_B: Tensor) -> Tensor:
        """(B, F) of views, or of the images at these positions of the data where the teacher is looked up."""
        if not self.looks_up:
            found: Tensor = self(image_B3HW)
            return found
        return self.look_up(index_B)

    def look_up(self, index_B: Tensor) -> Tensor:
        """(B, F) vectors of the images at these positions. Raises InputError before they are there."""
        if self.rows is None:
            raise InputError(f"teacher={self.name!r} is looked up, and its vectors are not there yet")
        if isinstance(self.rows, Tensor):
            return self.rows[index_B.to(self.rows.device)].to(index_B.device)
        return torch.from_numpy(self.rows[index_B.cpu().numpy()]).float().to(index_B.device)

    def keep(self, rows_NF: Tensor) -> None:
        """Look up these vectors from now on."""
        self.rows = rows_NF.detach()

    def is_kept(self, images: Images, larger: Larger | None = None) -> bool:
        """Whether the vectors of all images are on this machine already; `larger` as in `fill`."""
        return is_derived(images, "teacher", self._key(larger))

    def fill(
        self,
        images: Images,
        device: torch.device,
        progress: Progress | None = None,
        *,
        larger: Larger | None = None,
    ) -> None:
        """Make the vectors of all images, or take those that were made before.

        `larger` are the same images with the pixels that the teacher's own side asks for, where `images` have fewer.
        Raises InputError where the table lacks images, a vector is not finite, or the disk has no room.
        """
        of_table = self.table is not None
        compute = self._from_table(images) if of_table else self._by_network(images, larger or images, device)
        block = BLOCK if device.type == "cpu" else _BLOCK_ON_DEVICE
        found = derive(images, "teacher", self._key(larger), compute, block=block, progress=progress)
        if device.type != "cpu" and found.nbytes <= _ON_DEVICE:
            self.rows = torch.from_numpy(np.array(found)).to(device)
        else:
            self.rows = found

    def _from_table(self, images: Images) -> Any:
        assert self.table is not None
        at_N, held = places(self.table, images.names, what=f"teacher={self.name!r}"), self.table.rows
        return lambda index: _finite(held[at_N[index]].astype(np.float32), index, self.name, images)

    def _key(self, larger: Larger | None) -> str:
        return self.key if larger is None else digest(self.key, "short side", larger.short_side)

    def _by_network(self, images: Images, shown: ImageSet, device: torch.device) -> Any:
        assert self._whole is not None
        encoder, head = self._whole
        whole = encoder if head is None else nn.Sequential(encoder, head)
        view = view_of(encoder.spec)

        def compute(index: NDArray[np.int64]) -> NDArray[np.float32]:
            parts = [made.float().cpu() for _, made in rows(whole, shown, index, view, device=device)]
            return _finite(torch.cat(parts).numpy(), index, self.name, images)

        return compute


def _finite(rows_BF: NDArray[np.float32], index: NDArray[np.int64], name: str, images: Images) -> NDArray[np.float32]:
    bad = np.flatnonzero(~np.isfinite(rows_BF).all(1))
    if len(bad):
        raise InputError(f"teacher={name!r} gives no finite vector for {images.names[int(index[bad[0]])]!r}")
    return rows_BF


def of_encoder(
    encoder: Encoder,
    *,
    name: str,
    key: str,
    image_size: int,
    mean: Channels,
    std: Channels,
    head: nn.Module | None = None,
    features: int | None = None,
    cached: bool = False,
) -> Teacher:
    """The teacher that an encoder is, with a head behind it or without, for views made for a student.

    `features` is the length of its vectors, by default the encoder's.
    """
    spec = encoder.spec
    fitted = Refitted(encoder, image_size=image_size, mean=mean, std=std, head=head, features=features)
    return Teacher(
        fitted,
        name=name,
        key=digest(key, spec, "head" if head is not None else ""),
        features=fitted.features,
        encoder=encoder,
        head=head,
        cached=cached,
    )


def of_table(table: Table, *, name: str, key: str) -> Teacher:
    """The teacher that a table of vectors is; `key` has to change with its contents."""
    return Teacher(nn.Identity(), name=name, key=digest("table", key), features=int(table.rows.shape[1]), table=table)


def teachers_in(method: nn.Module) -> Iterator[Teacher]:
    """The frozen teachers among the parts of a method."""
    return (part for part in method.modules() if isinstance(part, Teacher))
