"""Parts of a method that uses speech: the speech around each frame, its encoder, the curriculum, the order.

Shapes: N frames of the data, B a batch, W steps of 10 ms, M mel bands.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from likewise.data.batches import orders
from likewise.data.batches.orders import Order
from likewise.data.batches.streams import Drawing, Rows
from likewise.data.sound.spectrograms import FRAMES_A_SECOND, Recordings, recordings, spoken
from likewise.data.source import Column
from likewise.errors import InputError

STAGES = 4
"""Levels of affinity that negatives are drawn from, one more at each stage."""
PATIENCE, LEAST = 3, 0.01
"""The next stage begins where the loss fell by less than this share over as many epochs."""


class Speech(nn.Module):
    """The spectrograms of all recordings. It is made of the data and saved with nothing."""

    frames: Tensor
    first: Tensor
    count: Tensor

    def __init__(self, column: Column | None, bands: int, seconds: float) -> None:
        super().__init__()
        self.length = max(1, round(seconds * FRAMES_A_SECOND))
        made = recordings_of(column, bands)
        frames = made.frames if len(made.frames) else np.zeros((1, bands), np.float32)
        deviation = float(frames.std()) or 1.0
        for name, table in (
            ("frames", torch.from_numpy((frames - frames.mean()) / deviation)),
            ("first", torch.from_numpy(made.first)),
            ("count", torch.from_numpy(made.length)),
        ):
            self.register_buffer(name, table, persistent=False)

    def around(self, seconds_B: Tensor, code_B: Tensor) -> Tensor:
        """(B, 1, W, M) the spectrogram around each moment, moved into the recording at its ends."""
        start_B = (seconds_B * FRAMES_A_SECOND).round().long() - self.length // 2
        start_B = start_B.clamp_min(0).minimum((self.count[code_B] - self.length).clamp_min(0))
        step_BW = start_B.unsqueeze(1) + torch.arange(self.length, device=start_B.device)
        step_BW = step_BW.minimum(self.count[code_B].unsqueeze(1) - 1)  # a short recording's end is held
        return self.frames[self.first[code_B].unsqueeze(1) + step_BW].unsqueeze(1)


def recordings_of(column: Column | None, bands: int) -> Recordings:
    """The spectrograms of a column of sound files; none where there is no data.

    Raises InputError for numbers in place of files, and for files that cannot be read.
    """
    if column is not None and column.names is None:
        raise InputError(
            "the column of speech holds numbers: it names a .wav file for each image, one for a whole scan"
        )
    return recordings(column.names or () if column is not None else (), bands)


def has_speech(
    columns: Mapping[str, Column], speech: str, time: str, *, seconds: float, unit: float, bands: int, quiet: float
) -> NDArray[np.bool_]:
    """(N,) which frames have speech around them."""
    column = columns[speech]
    made, length = recordings_of(column, bands), max(1, round(seconds * FRAMES_A_SECOND))
    return spoken(np.asarray(columns[time].numbers() * unit, np.float64), column.values, length, made, quiet)


def scans_together(column: str, each: int, *, others: bool) -> Drawing:
    """`each` frames of one scan together, as many scans as fill the batch; fewer of each where two would not fit.

    With `others` a frame has nothing to be told from but other scans. Raises InputError where there is one scan only.
    """

    def drawing(rows: Rows, batch_size: int, seed: int) -> Order:
        scan_M = rows.column(column)
        counts = np.unique(scan_M, return_counts=True)[1]
        if others and len(counts) == 1:
            raise InputError(
                f"all frames with speech are of one scan by the column {column!r}, and at first only those of others "
                "are negatives, so nothing would be learned: allowed are two scans or more, or --no-curriculum"
            )
        fitting = max(1, min(each, batch_size // 2, int(counts.max())))
        return orders.Grouped(scan_M, max(1, batch_size // fitting), fitting, seed)

    return drawing


class Listener(nn.Module):
    """(B, 1, W, M) spectrograms to (B, 4 C): four convolutions that halve both sides, and the mean."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((1, width), (width, 2 * width), (2 * width, 4 * width), (4 * width, 4 * width)):
            halving = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
            layers += [halving, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.features = 4 * width

    def forward(self, x_B1WM: Tensor) -> Tensor:
        """Pooled features."""
        return cast("Tensor", self.layers(x_B1WM)).mean((2, 3))


class Curriculum(nn.Module):
    """Which stage is on: the next one where the loss stands still, and a quarter of the budget later at the latest."""

    stage: Tensor
    summed: Tensor
    steps: Tensor
    epoch: Tensor
    earlier: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("stage", torch.zeros((), dtype=torch.int64))
        self.register_buffer("summed", torch.zeros((), dtype=torch.float64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("epoch", torch.zeros((), dtype=torch.int64))
        self.register_buffer("earlier", torch.full((PATIENCE,), math.inf, dtype=torch.float64))

    @torch.no_grad()
    def begin(self, epoch: int, fraction: float) -> None:
        """Before a step of an epoch, at a share of the budget."""
        stage = int(self.stage)
        if epoch > int(self.epoch) and int(self.steps):
            mean = float(self.summed / self.steps)
            oldest = float(self.earlier[0])
            if math.isfinite(oldest) and mean > (1.0 - LEAST) * oldest:
                stage += 1
                self.earlier.fill_(math.inf)
            self.earlier.copy_(torch.cat([self.earlier[1:], self.earlier.new_tensor([mean])]))
            self.summed.zero_()
            self.steps.zero_()
        self.epoch.fill_(epoch)
        due = min(STAGES - 1, int(STAGES * fraction))
        if due > stage:
            self.earlier.fill_(math.inf)
        self.stage.fill_(min(STAGES - 1, max(stage, due)))

    @torch.no_grad()
    def watch(self, loss: Tensor) -> None:
        """After the loss of a step."""
        self.summed += loss.detach().to(self.summed.dtype)
        self.steps += 1


@torch.no_grad()
def negatives(level_BB: Tensor, stage: int, draws_BB: Tensor) -> tuple[Tensor, Tensor]:
    """(P,) frames that have an allowed negative, and (P,) the speech that is drawn as such.

    Of levels 0 to `stage`, with at least half of them from level `stage` wherever as many frames have one there.
    """
    allowed_BB = (level_BB >= 0) & (level_BB <= stage)
    hardest_BB = level_BB == stage
    some_B, hard_B = allowed_BB.any(1), hardest_BB.any(1)
    half = (int(some_B.sum()) + 1) // 2
    hard_B = hard_B & (hard_B.cumsum(0) <= half)
    pool_BB = torch.where(hard_B.unsqueeze(1), hardest_BB, allowed_BB)
    drawn_B = draws_BB.to(level_BB.device).masked_fill(~pool_BB, -1.0).argmax(1)
    return some_B.nonzero().flatten(), drawn_B[some_B]
