"""Methods that stand for those to come: each uses what no method of the package uses yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from likewise.distributed import gather, positions
from likewise.methods.method import Batch, Method, Views
from likewise.views import CutOut, Solarise, padded, random_magnitudes


class Mixed(Method):
    """Views of FixMatch and PAWS, the first of them mixed with another image of the whole batch."""

    composes = True

    def __init__(self, side: int) -> None:
        super().__init__()
        self.network = nn.Linear(1, 1)
        light = replace(padded(side, pad=2, mean=(0.5,) * 3, std=(0.25,) * 3), shared_flip=True)
        hard = replace(light, operations=random_magnitudes(2), cut_out=CutOut(side=0.5))
        self.views = {"first": light, "second": replace(hard, solarise=Solarise(threshold=(0.0, 1.0)))}

    def compose(self, crops: Views, batch: Batch, generator: torch.Generator) -> Mapping[str, Tensor]:
        """The first view is four fifths of the image and a fifth of another."""
        image = crops["first"].image
        everyone = gather(image)
        other = torch.randperm(len(everyone), generator=generator)[positions(image)]
        return {"first": 0.8 * image + 0.2 * everyone[other]}
