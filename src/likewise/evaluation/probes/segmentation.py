"""Dense probes of the encoder's map by masks: a linear classifier and nearest neighbours of each cell.

Shapes: N images, C channels, h x w cells, S side of the view, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.nn.functional import interpolate

from likewise.data import Images
from likewise.encoders import Encoder
from likewise.encoders.embedding import batch_for, batches, evaluating, view_fraction
from likewise.errors import InputError
from likewise.evaluation.features import evaluation_view
from likewise.evaluation.probes import linear
from likewise.evaluation.probes.protocol import Features
from likewise.evaluation.scores import Score
from likewise.similarity import unit
from likewise.similarity.knn import weighted_scores
from likewise.views import make_views

IGNORED = 255
"""Value of mask pixels that belong to no class."""
MOST_CELLS = 100_000
"""Cells that the classifier is fitted on; of more, an even share."""
NEIGHBOURS = 20
"""Cells that vote on the class of another, with weights exp(similarity / 0.1)."""
MOST_NEIGHBOURS = 20_000
"""Cells that neighbours are looked for among; of more, an even share."""
_VOTE_TEMPERATURE = 0.1
_ENDINGS = (".png", ".bmp", ".gif", ".tif", ".tiff")


class Segmented(NamedTuple):
    """Agreement of predicted and true masks."""

    iou_K: NDArray[np.float64]
    """Intersection over union of each class; not a number where it occurs in neither."""
    accuracy: float
    """Share of right pixels."""


def maps(encoder: Encoder, images: Images) -> Tensor:
    """(N, C, h, w) the encoder's map of the centre of each image, in eval mode. Raises InputError without a map."""
    view, device = evaluation_view(encoder), next(encoder.parameters()).device
    found = []
    size = batch_for(view.size, 256, device)
    with evaluating(encoder), torch.no_grad():
        for _, (pixels, sizes) in batches(images, np.arange(len(images)), size):
            image = make_views({"centre": view}, pixels.to(device), sizes, seed=0, step=0)["centre"].image
            found.append(encoder.map(image).float().cpu())
    return torch.cat(found)


def read_masks(folder: Path, names: Sequence[str], size: int) -> Tensor:
    """(N, S, S) uint8 masks of the images, cut to the centre like them and resized by nearest neighbour.

    The mask of `a/b.jpg` is `a/b.png` below `folder`, or `b.png` right in it, with class numbers as grey values or as
    palette indices, 255 for none. Raises InputError where one is missing or cannot be read.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder of masks {folder}")
    return torch.from_numpy(np.stack([_mask(mask_path(folder, name), size) for name in names]))


def mask_path(folder: Path, name: str) -> Path:
    """The mask of the image `name` below `folder`, as `read_masks` says. Raises InputError where there is none."""
    stem = Path(name).with_suffix("")
    for place in (folder / stem, folder / stem.name):
        for ending in _ENDINGS:
            path = place.with_name(place.name + ending)
            if path.is_file():
                return path
    raise InputError(f"{name} has no mask: {folder / stem}.png does not exist")


def _mask(path: Path, size: int) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as file:
            if file.mode not in {"P", "L", "1"}:
                raise InputError(
                    f"the mask {path} has mode {file.mode}: class numbers as grey values or a palette are needed"
                )
            side = round(view_fraction(size) * min(file.size))
            left, top = (file.width - side) // 2, (file.height - side) // 2
            box = (left, top, left + side, top + side)
            return np.asarray(file.resize((size, size), Image.Resampling.NEAREST, box=box), np.uint8)
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(f"the mask {path} cannot be read: {error}") from error


def fit(maps_NChw: Tensor, masks_NSS: Tensor, *, seed: int = 0) -> linear.LinearProbe:
    """The linear probe of the cells, each with the class of the mask at its middle. Raises InputError as the probe."""
    return linear.fit(*known_cells(maps_NChw, masks_NSS, MOST_CELLS), seed=seed)


def known_cells(maps_NChw: Tensor, masks_NSS: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """(M, C) cells whose middle has a class, at most `most`, and (M,) their classes. Raises InputError for none."""
    cells_NC = maps_NChw.permute(0, 2, 3, 1).flatten(0, 2)
    labels_N = at_cells(masks_NSS, maps_NChw.shape[-2], maps_NChw.shape[-1]).flatten().long()
    known = (labels_N != IGNORED).nonzero().flatten()
    if len(known) > most:
        known = known[torch.linspace(0, len(known) - 1, most).long()]
    if not len(known):
        raise InputError("the masks name no class anywhere: every value is 255")
    return cells_NC[known], labels_N[known]


def at_cells(masks_NSS: Tensor, height: int, width: int) -> Tensor:
    """(N, h, w) the value of each mask at the middle of each cell."""
    side = masks_NSS.shape[-1]
    rows, columns = (((torch.arange(count) + 0.5) * side / count).long() for count in (height, width))
    return masks_NSS[:, rows][:, :, columns]


def predict(probe: linear.LinearProbe, maps_NChw: Tensor, size: int) -> Tensor:
    """(N, S, S) uint8 class of each pixel: logits of the cells, enlarged bilinearly."""
    found = []
    for part_BChw in torch.split(maps_NChw, 32):
        cells_BhwC = (unit(part_BChw.permute(0, 2, 3, 1).flatten(0, 2)) - probe.mean_F) / probe.scale_F
        logits_NK = torch.addmm(probe.bias_C, cells_BhwC, probe.weight_CF.T)
        logits_BKhw = logits_NK.view(len(part_BChw), *part_BChw.shape[-2:], -1).permute(0, 3, 1, 2)
        large_BKSS = interpolate(logits_BKhw, (size, size), mode="bilinear", align_corners=False)
        found.append(large_BKSS.argmax(1).to(torch.uint8))
    return torch.cat(found)


def predict_by_neighbours(bank_MC: Tensor, labels_M: Tensor, maps_NChw: Tensor, size: int, k: int) -> Tensor:
    """(N, S, S) uint8 class of each pixel: votes of the `k` most similar cells of the bank, enlarged bilinearly."""
    classes = int(labels_M.max()) + 1
    found = []
    for part_BChw in torch.split(maps_NChw, 32):
        cells_MC = part_BChw.permute(0, 2, 3, 1).flatten(0, 2)
        votes_MK = weighted_scores(cells_MC, bank_MC, labels_M, min(k, len(bank_MC)), _VOTE_TEMPERATURE, classes)
        votes_MK = votes_MK / votes_MK.sum(1, keepdim=True)
        votes_BKhw = votes_MK.view(len(part_BChw), *part_BChw.shape[-2:], -1).permute(0, 3, 1, 2)
        large_BKSS = interpolate(votes_BKhw, (size, size), mode="bilinear", align_corners=False)
        found.append(large_BKSS.argmax(1).to(torch.uint8))
    return torch.cat(found)


def agreement(predicted_NSS: Tensor, masks_NSS: Tensor) -> Segmented:
    """Intersection over union by class and pixel accuracy, over all pixels of all images that have a class."""
    known = masks_NSS != IGNORED
    said, true = predicted_NSS[known].long(), masks_NSS[known].long()
    if not len(true):
        raise InputError("the masks to be judged by name no class anywhere: every value is 255")
    classes = int(max(said.max(), true.max())) + 1
    table_KK = torch.bincount(true * classes + said, minlength=classes**2).view(classes, classes).double().numpy()
    inside = np.diag(table_KK)
    union = table_KK.sum(0) + table_KK.sum(1) - inside
    iou_K = np.divide(inside, union, out=np.full(classes, np.nan), where=union > 0)
    return Segmented(iou_K, float(inside.sum() / table_KK.sum()))


def segmentation_scores(encoder: Encoder, bank: Images, query: Images, features: Features, masks: Path) -> list[Score]:
    """Mean IoU and pixel accuracy of a linear classifier of the map's cells, and of a vote of the nearest cells."""
    size = encoder.spec.image_size
    truth_NSS, truth_QSS = read_masks(masks, bank.names, size), read_masks(masks, query.names, size)
    known, seen = maps(encoder, bank), maps(encoder, query)
    grid = f"{seen.shape[-2]} x {seen.shape[-1]} cells of the last map"
    probe = fit(known, truth_NSS, seed=features.seed)
    how = linear.settings_text(probe, features.seed)
    words = f"linear segmentation, {grid}, logits enlarged bilinearly to {size} px, {how}"
    by_line = agreement(predict(probe, seen, size), truth_QSS)
    cells_MC, labels_M = known_cells(known, truth_NSS, MOST_NEIGHBOURS)
    near = agreement(predict_by_neighbours(cells_MC, labels_M, seen, size, NEIGHBOURS), truth_QSS)
    result = (
        f"kNN segmentation, {grid}, k={NEIGHBOURS} of {len(cells_MC):,} cells vote by exp(similarity / "
        f"{_VOTE_TEMPERATURE:g}), votes enlarged bilinearly to {size} px"
    )
    return [*_two_scores(features, by_line, None, "", words), *_two_scores(features, near, NEIGHBOURS, "knn", result)]


def _two_scores(features: Features, found: Segmented, k: int | None, variant: str, words: str) -> list[Score]:
    present = int(np.isfinite(found.iou_K).sum())
    mean = f"{words}; mean over {present} classes of intersection over union"
    value = float(np.nanmean(found.iou_K))
    return [
        features.measured("segmentation", k, value, mean, measure="mIoU", variant=variant),
        features.measured(
            "segmentation", k, found.accuracy, f"{words}; share of pixels", measure="pixel accuracy", variant=variant
        ),
    ]
