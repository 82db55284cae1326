"""Fine-tuning: the encoder itself and a linear layer are trained on labelled pictures, all of them or few.

The recipe is the common one of semi-supervised evaluation (SimCLR, SwAV): random crops and flips, SGD with momentum
0.9, cosine decay, a layer that learns ten times as fast as the encoder and starts at zero.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from likewise.data import Images, Sampler
from likewise.encoders import Encoder
from likewise.encoders.embedding import WHOLE_UP_TO
from likewise.errors import InputError
from likewise.evaluation.features import extract
from likewise.evaluation.given import Features, ProbeSettings
from likewise.evaluation.labels import draws
from likewise.evaluation.scores import Score
from likewise.views import make_views, weak

BATCH, MOMENTUM, DECAY, HEAD_RATE = 128, 0.9, 1e-4, 10.0
LEAST_STEPS = 200
"""Updates that are made at least: a budget in passes over a few dozen pictures would be none."""


@dataclass(frozen=True)
class Tuned:
    """A fine-tuned encoder with its classifier."""

    encoder: Encoder
    """A copy; the one that was given is as it was."""
    layer: nn.Linear
    """From features to classes."""
    steps: int
    """Updates that were made."""

    def predict(self, images: Images) -> Tensor:
        """(N,) the class of each picture, seen by its centre."""
        with torch.no_grad():
            layer = self.layer
            features_NF = extract(self.encoder, images).to(layer.weight)
            return torch.addmm(layer.bias, features_NF, layer.weight.T).argmax(1).cpu()


def finetune(
    encoder: Encoder, images: Images, labels: NDArray[np.int64], *, epochs: int, rate: float, seed: int = 0
) -> Tuned:
    """Train a copy of `encoder` on pictures with labels (none of them -1), where the encoder is.

    `rate` is the encoder's peak learning rate at batch 128; smaller batches get their share of it. Which pictures make
    a batch, and their crops, follow from `seed`. Raises InputError where there are fewer than two classes, and where
    the loss is not a number any more.
    """
    if len(np.unique(labels)) < 2:
        raise InputError(f"fine-tuning needs at least two classes, and {images.name} has one")
    batch = min(BATCH, len(images))
    tuned, device = copy.deepcopy(encoder).train(), next(encoder.parameters()).device
    layer = nn.Linear(encoder.features, int(labels.max()) + 1)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    layer.to(device)
    sampler = Sampler(len(images), batch, seed)
    steps = max(LEAST_STEPS, epochs * sampler.steps_per_epoch)
    peak = rate * batch / BATCH
    groups = [
        {"params": list(tuned.parameters()), "share": 1.0},
        {"params": list(layer.parameters()), "share": HEAD_RATE},
    ]
    optimiser = torch.optim.SGD(groups, lr=peak, momentum=MOMENTUM, weight_decay=DECAY)
    spec = encoder.spec
    view = weak(spec.image_size, mean=spec.mean, std=spec.std, scale=_scale(spec.image_size))
    truth_N = torch.from_numpy(labels)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = group["share"] * peak * 0.5 * (1 + math.cos(math.pi * step / steps))
        index = sampler.batch(step)
        pixels, sizes = images.gather(index)
        seen = make_views({"finetune": view}, pixels.to(device), sizes, seed=seed, step=step)["finetune"].image
        loss = cross_entropy(layer(tuned(seen)), truth_N[index].to(device))
        if not bool(torch.isfinite(loss)):
            raise InputError(f"fine-tuning diverged in step {step} of {steps}: lower finetune_rate, which is {rate:g}")
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    return Tuned(tuned.eval(), layer.eval(), steps)


def finetune_scores(
    encoder: Encoder, bank: Images, query: Images, features: Features, settings: ProbeSettings, *, few: bool
) -> list[Score]:
    """Accuracy after fine-tuning on the whole bank, or (`few`) on each draw of few labels."""
    labels = features.bank_labels_N.cpu().numpy()
    drawn = [("", "the bank", np.arange(len(labels)))]
    if few:
        drawn = draws(labels, settings, features.seed)
    scores = []
    for variant, described, rows in drawn:
        tuned = finetune(
            encoder,
            bank.subset(rows),
            labels[rows],
            epochs=settings.finetune_epochs,
            rate=settings.finetune_rate,
            seed=features.seed,
        )
        words = (
            f"fine-tuning of encoder and linear layer on {described}, {len(rows):,} labels, {tuned.steps:,} steps of "
            f"SGD at batch {min(BATCH, len(rows))}, peak rate {settings.finetune_rate:g} at batch {BATCH} (layer x10), "
            f"momentum {MOMENTUM}, weight decay {DECAY}, cosine, random crops of scale "
            f"{_scale(encoder.spec.image_size)[0]:g} to 1 and flips, seed {features.seed}"
        )
        predicted_Q = tuned.predict(query)
        scores.append(
            features.score("finetune-labels" if few else "finetune", None, predicted_Q, words, variant=variant)
        )
    return scores


def _scale(image_size: int) -> tuple[float, float]:
    """Share of the picture that a crop takes; small pictures have nothing to spare."""
    return (0.4, 1.0) if image_size <= WHOLE_UP_TO else (0.08, 1.0)
