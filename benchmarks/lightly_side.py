"""lightly's methods as its CIFAR-10 benchmark trains them, on the encoder that likewise trains.

Transforms, heads, losses and momentum are lightly's; the sizes and the optimiser are those of its published benchmark
(batch 128, rate 0.06, momentum 0.9, decay 5e-4, memory of 4,096, temperature 0.1 for MoCo and 0.5 for SimCLR, both
directions), the cosine runs over the budget at hand, and two worker processes make the views. The encoder and its batch
norm are likewise's: MoCo's batch norm in eight splits is left out. lightly has no ISD: that one is put together of its
parts and the loss as one writes it down.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import normalize

from benchmarks.similarity import plain
from likewise.encoders import Encoder

RATE, RATE_BATCH, MOMENTUM, DECAY = 0.06, 128, 0.9, 5e-4
MEMORY, TEACHER_MOMENTUM = 4096, 0.99
WORKERS = 2
AHEAD = 2 * WORKERS
"""Batches that the workers make before anyone asks for them."""


class ImageSet(torch.utils.data.Dataset[Any]):
    """Decoded images in memory, given to a transform as PIL images: what lightly's own data set does for files."""

    def __init__(self, pixels_NHWC: NDArray[np.uint8], transform: Callable[[Image.Image], Any]) -> None:
        self.pixels_NHWC, self.transform = pixels_NHWC, transform

    def __len__(self) -> int:
        return len(self.pixels_NHWC)

    def __getitem__(self, position: int) -> Any:
        return self.transform(Image.fromarray(self.pixels_NHWC[position]))


def transform_of(size: int) -> Callable[[Image.Image], Any]:
    """The one transform that lightly's CIFAR-10 benchmark of 2022 gives all three methods, BYOL too, without blur."""
    from lightly.transforms import SimCLRTransform

    return SimCLRTransform(input_size=size, cj_strength=0.5, gaussian_blur=0.0)


class Peer(nn.Module):
    """One of lightly's methods: `forward` gives the loss of two views."""

    def __init__(self, encoder: Encoder, method: str) -> None:
        super().__init__()
        from lightly.loss import NegativeCosineSimilarity, NTXentLoss
        from lightly.models.modules import heads

        features = encoder.features
        self.method = method
        predictor: nn.Module = nn.Identity()
        self.criterion: Callable[[Tensor, Tensor], Tensor] = NegativeCosineSimilarity()
        if method == "byol":
            projector: nn.Module = heads.BYOLProjectionHead(features, 2 * features, 256)
            predictor = heads.BYOLPredictionHead(256, 2 * features, 256)
        elif method == "isd":
            projector = heads.BYOLProjectionHead(features, 2 * features, 64)
            predictor = heads.BYOLPredictionHead(64, 2 * features, 64)
            self.register_buffer("memory", normalize(torch.randn(MEMORY, 64), dim=1))
            self.position = 0
        elif method == "moco_v2":
            projector = heads.MoCoProjectionHead(features, features, 128)
            self.criterion = NTXentLoss(temperature=0.1, memory_bank_size=(MEMORY, 128))
        else:
            projector = heads.SimCLRProjectionHead(features, features, 128)
            self.criterion = NTXentLoss(temperature=0.5)
        self.student, self.predictor = nn.Sequential(encoder, projector), predictor
        self.teacher = None if method == "simclr" else copy.deepcopy(self.student).requires_grad_(requires_grad=False)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """The loss; for MoCo and BYOL the mean of both directions."""
        from lightly.models import utils

        if self.teacher is None:
            return self.criterion(self.student(first), self.student(second))
        utils.update_momentum(self.student, self.teacher, TEACHER_MOMENTUM)
        if self.method == "isd":
            return self._distilled(first, second)
        return 0.5 * (self._one_way(first, second) + self._one_way(second, first))

    def _one_way(self, first: Tensor, second: Tensor) -> Tensor:
        return self.criterion(self.predictor(self.student(first)), self._taught(second))

    @torch.no_grad()
    def _taught(self, view: Tensor) -> Tensor:
        assert self.teacher is not None
        return self.teacher(view)  # type: ignore[no-any-return]

    def _distilled(self, first: Tensor, second: Tensor) -> Tensor:
        k_BD = self._taught(second)
        loss = plain(self.predictor(self.student(first)), k_BD, self.memory.clone())
        slots = (self.position + torch.arange(len(k_BD))) % MEMORY
        self.memory[slots] = normalize(k_BD, dim=1)
        self.position = (self.position + len(k_BD)) % MEMORY
        return loss


class Training:
    """A peer in training, step by step."""

    def __init__(self, encoder: Encoder, method: str, pixels_NHWC: NDArray[np.uint8], batch: int) -> None:
        torch.manual_seed(0)
        self.peer = Peer(encoder, method).train()
        data = ImageSet(pixels_NHWC, transform_of(pixels_NHWC.shape[1]))
        self.loader = torch.utils.data.DataLoader(
            data,
            batch,
            shuffle=True,
            drop_last=True,
            num_workers=WORKERS,
            persistent_workers=True,
            prefetch_factor=AHEAD // WORKERS,
        )
        self.rate = RATE * batch / RATE_BATCH
        trained = [weight for weight in self.peer.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.SGD(trained, self.rate, momentum=MOMENTUM, weight_decay=DECAY)
        self.batch = batch
        self._views = self._endless()

    def _endless(self) -> Generator[tuple[Tensor, Tensor], None, None]:
        while True:
            yield from self.loader

    def close(self) -> None:
        """End the worker processes; the next step starts others."""
        self._views.close()
        self.loader._iterator = None
        self._views = self._endless()

    def step(self) -> None:
        """One update of the weights."""
        loss = self.peer(*next(self._views))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def train(self, minutes: float) -> int:
        """Train for so long, the rate falling as a cosine over the time; returns the images that were seen."""
        began, steps = time.monotonic(), 0
        while (used := (time.monotonic() - began) / 60 / minutes) < 1:
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate * 0.5 * (1 + math.cos(math.pi * used))
            self.step()
            steps += 1
        return steps * self.batch
