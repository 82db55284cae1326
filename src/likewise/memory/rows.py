"""Memories: embeddings of other images from earlier steps, which a view is compared with.

`Queue` forgets the oldest rows, `Bank` has one slot per image, `History` two. All are modules whose whole state,
write positions included, lies in buffers, so checkpoints resume exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from likewise.errors import InputError
from likewise.similarity.members import sums_of_members


class Column(NamedTuple):
    """A side column of a memory: something remembered with each row."""

    fill: float = -1
    """Value of rows that were never written."""
    width: int | None = None
    """None for one number a row, else the length of a vector."""
    dtype: torch.dtype = torch.int64
    """Type of the entries."""


LABEL = Column()
"""A label or image index: one int64 a row, -1 where never written."""


class Queue(nn.Module):
    """A ring of the last `size` embeddings, any length, for batches of any length.

    `rows` is (K, D). Until they are overwritten the rows hold Gaussian noise of unit norm, as MoCo, ISD and MSF start;
    `noise="columns"` reproduces the official ResNet-18 code of ISD, which normalises the noise along the other axis;
    `noise="uniform"` is that of CompRess, uniform within 1/sqrt(D/3) and so of about unit norm.
    Columns are read as `queue.column("label")`. A batch that reaches past the end goes on at the beginning; with
    `end="slide"` it is written over the last rows instead, as the cache of labelled images of CMSF does, and with
    `end="cut"` what reaches past the end is dropped and the next batch begins at the front, as t-ReX's memory does.
    """

    rows: Tensor
    position: Tensor
    filled: Tensor

    def __init__(
        self,
        size: int,
        dim: int,
        *,
        columns: Mapping[str, Column] | None = None,
        noise: Literal["rows", "columns", "uniform"] = "rows",
        end: Literal["wrap", "slide", "cut"] = "wrap",
    ) -> None:
        super().__init__()
        if size < 1:
            raise InputError(f"queue of {size} rows: it needs at least 1")
        self.size = size
        self.end = end
        self.columns = dict(columns or {})
        if noise == "uniform":
            rows = (2.0 * torch.rand(size, dim) - 1.0) * (3.0 / dim) ** 0.5
        else:
            rows = normalize(torch.randn(size, dim), dim=1 if noise == "rows" else 0)
        self.register_buffer("rows", rows)
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))
        for name, column in self.columns.items():
            shape = (size,) if column.width is None else (size, column.width)
            self.register_buffer(f"column_{name}", torch.full(shape, column.fill, dtype=column.dtype))

    def column(self, name: str) -> Tensor:
        """Side column `name`, (K,) or (K, width), row for row beside `rows`."""
        return self.get_buffer(f"column_{name}")

    @torch.no_grad()
    def push(self, rows_BD: Tensor, **columns: Tensor | None) -> None:
        """Write a batch over the oldest rows, wrapping around; of a batch longer than the ring the end stays.

        Columns that are not given, or given as None, get their fill value back in the written rows.
        """
        if self.end == "cut":
            self._push_cut(rows_BD, columns)
            return
        batch = len(rows_BD)
        kept = min(batch, self.size)
        # Slots are computed on the device: reading the position back would stall an accelerator at every step.
        first = self.position + (batch - kept)
        if self.end == "slide":
            first = self.position.clamp(max=self.size - kept)
        slots = (first + torch.arange(kept, device=self.rows.device)) % self.size
        self.rows.index_copy_(0, slots, rows_BD[batch - kept :].to(self.rows.dtype))
        for name in self.columns:
            self._write_column(name, slots, columns.pop(name, None))
        self._check_all_taken(columns)
        self.position.copy_((first + kept) % self.size)
        self.filled.add_(batch).clamp_(max=self.size)

    def _push_cut(self, rows_BD: Tensor, columns: dict[str, Tensor | None]) -> None:
        """Write what fits before the end. How much that is only the device knows, so every row asks for its source."""
        batch = len(rows_BD)
        source_K = torch.arange(self.size, device=self.rows.device) - self.position
        written_K = (source_K >= 0) & (source_K < batch)
        source_K = source_K.clamp(0, batch - 1)
        self.rows.copy_(torch.where(written_K.unsqueeze(1), rows_BD[source_K].to(self.rows.dtype), self.rows))
        for name, column in self.columns.items():
            values, kept = columns.pop(name, None), self.column(name)
            new = torch.full_like(kept, column.fill) if values is None else values[source_K].to(kept.dtype)
            kept.copy_(torch.where(written_K.view(-1, *[1] * (kept.ndim - 1)), new, kept))
        self._check_all_taken(columns)
        end = self.position + batch
        self.filled.copy_(torch.maximum(self.filled, end.clamp(max=self.size)))
        self.position.copy_(torch.where(end >= self.size, 0, end))

    def _check_all_taken(self, columns: Mapping[str, Tensor | None]) -> None:
        if columns:
            raise InputError(f"queue has no column {', '.join(columns)}: it has {', '.join(self.columns) or 'none'}")

    def _write_column(self, name: str, slots: Tensor, values: Tensor | None) -> None:
        column = self.column(name)
        if values is None:
            column.index_fill_(0, slots, self.columns[name].fill)
        else:
            column.index_copy_(0, slots, values[len(values) - len(slots) :].to(column.dtype))

    def unwritten(self, start: int, stop: int) -> Tensor:
        """(1, stop - start) bool, True for rows that are still noise: what `similarity.read` takes as `exclude`.

        As negatives such rows teach to map all images to one vector, which is unlike noise and like every key; a short
        run does not recover from that. Rows are written from the first on.
        """
        return torch.arange(start, stop, device=self.rows.device).unsqueeze(0) >= self.filled

    def __len__(self) -> int:
        """Rows written so far, at most the size. Reads a buffer: not for use inside a training step."""
        return int(self.filled)


class Bank(nn.Module):
    """One embedding per image of the data set, (N, D), moved towards each new one.

    A first write stores the row as it is; later ones store normalise(m old + (1 - m) new).
    """

    rows: Tensor
    written: Tensor

    def __init__(self, count: int, dim: int, *, momentum: float = 0.0) -> None:
        super().__init__()
        if count < 1 or not 0.0 <= momentum < 1.0:
            raise InputError(f"bank of {count} images with momentum {momentum}: needs 1 or more, and 0 <= m < 1")
        self.momentum = momentum
        self.register_buffer("rows", normalize(torch.randn(count, dim), dim=1))
        self.register_buffer("written", torch.zeros(count, dtype=torch.bool))

    @torch.no_grad()
    def write(self, index_B: Tensor, rows_BD: Tensor) -> None:
        """Move the slots of the images `index_B` towards `rows_BD`."""
        new = rows_BD.to(self.rows.dtype)
        moved = normalize(torch.lerp(self.rows[index_B], new, 1.0 - self.momentum), dim=1)
        seen = self.written[index_B].unsqueeze(1)
        self.rows.index_copy_(0, index_B, torch.where(seen, moved, new))
        self.written.index_fill_(0, index_B, True)

    @torch.no_grad()
    def centroids(self, assignment_N: Tensor, clusters: int) -> Tensor:
        """Unit mean of the written members of each cluster, (clusters, D); zero rows for clusters without members."""
        member_N = torch.where(self.written, assignment_N, -1)
        return normalize(sums_of_members(self.rows, member_N, clusters), dim=1)


class History(nn.Module):
    """The last two embeddings of every image of the data set, (2, N, D): this epoch's and that of the one before.

    Until they are overwritten the rows hold Gaussian noise, not normalised, as CMSF starts.
    """

    rows: Tensor
    slot: Tensor
    written: Tensor

    def __init__(self, count: int, dim: int) -> None:
        super().__init__()
        if count < 1:
            raise InputError(f"history of {count} images: it needs at least 1")
        self.register_buffer("rows", torch.randn(2, count, dim))
        self.register_buffer("slot", torch.zeros(count, dtype=torch.int64))
        self.register_buffer("written", torch.zeros(2, count, dtype=torch.bool))

    @torch.no_grad()
    def write(self, index_B: Tensor, rows_BD: Tensor) -> None:
        """Write over the older embedding of the images `index_B`; what was the newer one is then the older."""
        slot_B = self.slot[index_B]
        self.rows[slot_B, index_B] = rows_BD.to(self.rows.dtype)
        self.written[slot_B, index_B] = True
        self.slot[index_B] = 1 - slot_B

    def older(self, index_B: Tensor) -> Tensor:
        """(B, D) the older embedding of the images `index_B`."""
        return self.rows[self.slot[index_B], index_B]

    def has_older(self, index_B: Tensor) -> Tensor:
        """(B,) bool, whether that was ever written and is not the noise of the beginning."""
        return self.written[self.slot[index_B], index_B]
