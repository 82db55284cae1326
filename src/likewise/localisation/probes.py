"""Probes that need masks of objects: images on other backgrounds, and localisation of objects.

Shapes: N images of S x S pixels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from likewise.data import Images
from likewise.encoders import Encoder
from likewise.encoders.build import has_width
from likewise.encoders.embedding import batch_for, batches, evaluating
from likewise.errors import InputError
from likewise.evaluation.backgrounds import KINDS, recomposed
from likewise.evaluation.features import evaluation_view
from likewise.evaluation.objects import Localisation, localisation
from likewise.evaluation.probes import linear
from likewise.evaluation.probes.protocol import Features
from likewise.evaluation.scores import Score
from likewise.localisation.boxes import boxes
from likewise.localisation.masks import Masks
from likewise.localisation.sources import ROUNDS
from likewise.views import make_views
from likewise.views.backgrounds import usable
from likewise.views.policies.pair import SMALL_IMAGE

LEAST, MOST = 0.02, 0.95
"""Shares of an image that its object covers at least and at most; other images are left out."""
TOGETHER = 256
"""Images that lend each other backgrounds, drawn from all of them."""


def source_of(masks: str) -> str:
    """The source of masks that a person named: a folder, or a source as `sources.open_masks` takes it."""
    return f"given:{masks}" if Path(masks).expanduser().is_dir() else masks


def background_scores(encoder: Encoder, query: Images, features: Features, masks: str) -> list[Score]:
    """Accuracies of the linear probe of the bank on the queries with other backgrounds (arXiv 2006.09994), and the gap.

    Raises InputError where no mask can be used, and as `sources.open_masks` does.
    """
    probe = linear.fit(features.bank_NF, features.bank_labels_N, seed=features.seed)
    source = source_of(masks)
    right, known = _right_by_kind(encoder, query, features, Masks(query, source), probe)
    words = (
        f"{linear.settings_text(probe, features.seed)}; the {known:,} of {len(query):,} queries whose mask by {source} "
        f"covers {LEAST:.0%} to {MOST:.0%}, {TOGETHER} together lend backgrounds"
    )
    found = {kind: float(np.mean(right[kind])) for kind in KINDS}
    scores = [
        features.measured("backgrounds", None, found[kind], f"linear probe on {kind}; {words}", variant=kind)
        for kind in KINDS
    ]
    gap = found["mixed_same"] - found["mixed_rand"]
    protocol = f"mixed_same less mixed_rand; linear probe; {words}"
    return [*scores, features.measured("backgrounds", None, gap, protocol, measure="gap", unit="number")]


def _right_by_kind(
    encoder: Encoder, query: Images, features: Features, masks: Masks, probe: linear.LinearProbe
) -> tuple[dict[str, list[bool]], int]:
    """Whether each image was recognised, by its background."""
    spec, device = encoder.spec, next(encoder.parameters()).device
    view = {"centre": evaluation_view(encoder, mean=(0.0,) * 3, std=(1.0,) * 3)}
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (spec.mean, spec.std))
    right: dict[str, list[bool]] = {kind: [] for kind in KINDS}
    order = np.random.default_rng(features.seed).permutation(len(query))
    labels_Q = features.query_labels_Q.cpu()
    with evaluating(encoder), torch.no_grad():
        for start, (pixels, sizes) in batches(query, order, TOGETHER):
            index = order[start : start + len(pixels)]
            marks = masks.gather(index, *pixels.shape[1:3]).to(device)
            seen = make_views(view, pixels.to(device), sizes, seed=0, step=0, masks=marks)["centre"]
            assert seen.mask is not None
            used = usable(seen.mask, LEAST, MOST).cpu()
            image, mask, labels = seen.image[used], seen.mask[used], labels_Q[torch.from_numpy(index)][used]
            for kind in KINDS if len(image) else ():
                shown = recomposed(image, mask, labels, kind, seed=features.seed)
                said = probe.predict(_embedded(encoder, (shown - mean) / std).to(features.bank_NF)).cpu()
                right[kind] += (said == labels).tolist()
    if not right["original"]:
        raise InputError(f"no image has a mask that covers {LEAST:.0%} to {MOST:.0%} of it: backgrounds need some")
    return right, len(right["original"])


def _embedded(encoder: Encoder, image_N3SS: Tensor) -> Tensor:
    size = batch_for(encoder.spec.image_size, 256, image_N3SS.device)
    return torch.cat([encoder(part).float() for part in torch.split(image_N3SS, size)])


def localisation_scores(
    run: str | None, encoder: Encoder, query: Images, features: Features, truth: str
) -> list[Score]:
    """ContraCAM of a run or weights file, held to the masks `truth`: CorLoc, box IoU and mask IoU.

    Raises InputError for an encoder in memory, and as `sources.open_masks` does.
    """
    if run is None or not Path(run).exists():
        raise InputError("the probe localisation asks a run or a weights file; this encoder is neither")
    fine = 2 if encoder.spec.image_size <= SMALL_IMAGE and has_width(encoder.spec.name) else 1
    source = f"contracam:{run}:{ROUNDS}:{fine}"
    found = held_to(query, source, source_of(truth))
    words = (
        f"ContraCAM, {ROUNDS} round, map x{fine}, against {source_of(truth)}; {found.images:,} images with an object"
    )
    return [
        features.measured("localisation", None, found.corloc, f"first box overlaps by half; {words}", measure="CorLoc"),
        features.measured("localisation", None, found.box_iou, f"overlap of the first box; {words}", measure="box IoU"),
        features.measured("localisation", None, found.mask_iou, f"overlap of masks; {words}", measure="mask IoU"),
    ]


def held_to(images: Images, source: str, truth: str) -> Localisation:
    """The masks of `source` held to those of `truth`, with the boxes around both."""
    height, width = (int(side) for side in images.sizes.max(0))
    every = np.arange(len(images))
    said, true = (Masks(images, text).gather(every, height, width).numpy() for text in (source, truth))
    cut = [slice(0, int(side)) for side in images.sizes[:, 0]], [slice(0, int(side)) for side in images.sizes[:, 1]]
    masks = [one[rows, columns] for one, rows, columns in zip(said, *cut, strict=True)]
    right = [one[rows, columns] for one, rows, columns in zip(true, *cut, strict=True)]
    tight = [[boxes(mask, margin=0.0) for mask in each] for each in (masks, right)]
    return localisation(tight[0], tight[1], masks, right)
