"""Features that the probes are timed on: of CIFAR-10 by a random network where the images are, otherwise made up."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.images import cifar10
from likewise.data import Images
from likewise.encoders import Encoder, EncoderSpec, build
from likewise.errors import InputError
from likewise.evaluation.features import cached_features


class Features(NamedTuple):
    """Two labelled tables."""

    bank_ND: Tensor
    bank_labels_N: Tensor
    query_QD: Tensor
    query_labels_Q: Tensor
    origin: str


def features(*, quick: bool) -> Features:
    """50,000 and 10,000 features of 512 dimensions; a few thousand made-up ones of 64 where it has to be quick."""
    if quick:
        return made_up(2000, 400, 64)
    try:
        bank, query = cifar10("train"), cifar10("test")
    except InputError:
        return made_up(50_000, 10_000, 512)
    encoder = build(EncoderSpec(name="resnet18", width=64, stem="imagenet", image_size=32), seed=0)

    def of(images: Images) -> tuple[Tensor, Tensor]:
        assert images.labels is not None
        return cached_features(settled(encoder, bank), images).clone(), torch.from_numpy(images.labels).long()

    return Features(*of(bank), *of(query), "CIFAR-10 by a random ResNet-18 with settled batch norms")


def settled(encoder: Encoder, images: Images) -> Encoder:
    """The encoder with running statistics of these images: without them random features are all but the same."""
    import numpy as np

    from likewise.views import IMAGENET_MEAN, IMAGENET_STD, centre, make_views

    if getattr(encoder, "is_settled", False):
        return encoder
    pixels, sizes = images.gather(np.arange(2048) * (len(images) // 2048))
    view = make_views({"all": centre(32, mean=IMAGENET_MEAN, std=IMAGENET_STD)}, pixels, sizes, seed=0, step=0)["all"]
    for norm in encoder.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum = None  # the mean over all batches
            norm.reset_running_stats()
    encoder.train()
    with torch.no_grad():
        for part in view.image.split(256):
            encoder(part)
    encoder.eval()
    encoder.is_settled = True
    return encoder


def made_up(bank: int, queries: int, width: int, classes: int = 10) -> Features:
    """Noisy classes: directions of unequal spread, not negative, as after a rectifier."""
    generator = torch.Generator().manual_seed(0)
    centres_CD = torch.randn(classes, width, generator=generator)
    spread_D = torch.logspace(0.5, -1.5, width)
    turn_DD = torch.linalg.qr(torch.randn(width, width, generator=generator)).Q

    def table(count: int) -> tuple[Tensor, Tensor]:
        labels = torch.randint(classes, (count,), generator=generator)
        noise_ND = (torch.randn(count, width, generator=generator) * spread_D) @ turn_DD
        return (0.12 * centres_CD[labels] + noise_ND + 0.5).relu_(), labels

    return Features(*table(bank), *table(queries), f"{classes} made-up classes")
