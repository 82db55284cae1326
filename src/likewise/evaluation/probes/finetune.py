"""Fine-tuning: the encoder itself and a linear layer are trained on labelled images, all of them or few.

The recipe is the common one of semi-supervised evaluation (SimCLR, SwAV): random crops and flips, SGD with momentum
0.9, cosine decay, a layer that learns ten times as fast as the encoder and starts at zero.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

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
from likewise.evaluation.probes.linear import draws
from likewise.evaluation.probes.protocol import Features, ProbeSettings
from likewise.evaluation.scores import Score
from likewise.training.watching.progress import ProgressDisplay
from likewise.views import ViewPolicy, make_views, weak

BATCH, MOMENTUM, DECAY, HEAD_RATE = 128, 0.9, 1e-4, 10.0
EPOCHS, LEAST_STEPS = 20, 200
"""Passes over the images where none are asked for, and updates at least: 20 passes over a few dozen would be few."""


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
        """(N,) the class of each image, seen by its centre."""
        return self.classify(extract(self.encoder, images))

    def classify(self, features_NF: Tensor) -> Tensor:
        """(N,) the class of each image from its features."""
        layer = self.layer
        with torch.no_grad():
            return torch.addmm(layer.bias, features_NF.to(layer.weight), layer.weight.T).argmax(1).cpu()


def finetune(
    encoder: Encoder,
    images: Images,
    labels: NDArray[np.int64],
    *,
    epochs: int | None = None,
    rate: float,
    flip: bool = True,
    seed: int = 0,
    progress: Callable[[int, int, float], None] | None = None,
) -> Tuned:
    """Train a copy of `encoder` on images with labels (none of them -1), where the encoder is.

    `epochs` passes are made, or `EPOCHS` and at least `LEAST_STEPS` updates where None. `rate` is the encoder's peak
    learning rate at batch 128; smaller batches get their share of it. `flip` mirrors half of the images. Which make a
    batch, and their crops, follow from `seed`. `progress` is called with updates made, updates to make, and the loss.
    Raises InputError for an encoder without weights to train, such as an ONNX file's, where there are fewer than two
    classes, and where the loss is not a number any more.
    """
    if not any(weight.requires_grad for weight in encoder.parameters()):
        raise InputError(f"{encoder.spec.name} has no weights that can be trained: name a run or a .safetensors file")
    if len(np.unique(labels)) < 2:
        raise InputError(f"fine-tuning needs at least two classes, and {images.name} has one")
    batch = min(BATCH, len(images))
    tuned, device = copy.deepcopy(encoder).train(), next(encoder.parameters()).device
    layer = nn.Linear(encoder.features, int(labels.max()) + 1)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    layer.to(device)
    sampler = Sampler(len(images), batch, seed)
    each = sampler.steps_per_epoch
    steps = max(LEAST_STEPS, EPOCHS * each) if epochs is None else epochs * each
    peak = rate * batch / BATCH
    groups = [
        {"params": list(tuned.parameters()), "share": 1.0},
        {"params": list(layer.parameters()), "share": HEAD_RATE},
    ]
    optimiser = torch.optim.SGD(groups, lr=peak, momentum=MOMENTUM, weight_decay=DECAY)
    view = _view(encoder, flip=flip)
    truth_N = torch.from_numpy(labels)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = group["share"] * peak * 0.5 * (1 + math.cos(math.pi * step / steps))
        index = sampler.batch(step)
        pixels, sizes = images.gather(index)
        seen = make_views({"finetune": view}, pixels.to(device), sizes, seed=seed, step=step)["finetune"].image
        loss = cross_entropy(layer(tuned(seen)), truth_N[index].to(device))
        if not bool(torch.isfinite(loss)):
            raise InputError(f"fine-tuning diverged in step {step} of {steps}: lower its rate, which is {rate:g}")
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        if progress is not None:
            progress(step + 1, steps, float(loss.detach()))
    return Tuned(tuned.eval(), layer.eval(), steps)


def finetune_scores(
    encoder: Encoder,
    bank: Images,
    query: Images,
    features: Features,
    settings: ProbeSettings,
    *,
    few: bool,
    quiet: bool = False,
) -> list[Score]:
    """Accuracy after fine-tuning on the whole bank, or (`few`) on each draw of few labels."""
    labels = features.bank_labels_N.cpu().numpy()
    drawn = [("", "the bank", np.arange(len(labels)))]
    if few:
        drawn = draws(labels, settings, features.seed)
    scores = []
    for variant, described, rows in drawn:
        with tuning(enabled=not quiet, label=f"finetune ({features.which})") as progress:
            tuned = finetune(
                encoder,
                bank.subset(rows),
                labels[rows],
                epochs=settings.finetune_epochs,
                rate=settings.finetune_rate,
                seed=features.seed,
                progress=progress,
            )
        words = protocol_of(tuned, described, len(rows), settings.finetune_rate, features.seed)
        predicted_Q = tuned.predict(query)
        scores.append(
            features.score("finetune-labels" if few else "finetune", None, predicted_Q, words, variant=variant)
        )
    return scores


def protocol_of(tuned: Tuned, described: str, count: int, rate: float, seed: int, *, flip: bool = True) -> str:
    """The protocol of `tuned` in words: `count` labels of the data `described`."""
    batch, scale = min(BATCH, count), _scale(tuned.encoder.spec.image_size)[0]
    return (
        f"fine-tuning of encoder and linear layer on {described}, {count:,} labels, {tuned.steps:,} steps of SGD at "
        f"batch {batch} ({tuned.steps * batch / count:.3g} passes), peak rate {rate:g} at batch {BATCH} (layer x10), "
        f"momentum {MOMENTUM}, weight decay {DECAY}, cosine, random crops of scale {scale:g} to 1"
        f"{' and flips' if flip else ''}, seed {seed}"
    )


@contextlib.contextmanager
def tuning(*, enabled: bool, label: str) -> Iterator[Callable[[int, int, float], None]]:
    """Shows how far fine-tuning is, and its loss; yields what to call with steps made, steps to make, and the loss."""
    with ProgressDisplay(enabled=enabled, label=label) as display:

        def show(step: int, steps: int, loss: float) -> None:
            display.advance(step, step / steps)
            if display.due() or step == steps:
                display.show({"loss": loss})

        yield show


def _view(encoder: Encoder, *, flip: bool) -> ViewPolicy:
    spec = encoder.spec
    view = weak(spec.image_size, mean=spec.mean, std=spec.std, scale=_scale(spec.image_size))
    return view if flip else replace(view, flip=0.0)


def _scale(image_size: int) -> tuple[float, float]:
    """Share of the image that a crop takes; small images have nothing to spare."""
    return (0.4, 1.0) if image_size <= WHOLE_UP_TO else (0.08, 1.0)
