"""Localisation of objects without labels, by a trained encoder: masks, boxes and a sheet of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from likewise.data import Images, cached_side, open_source, prepare, split_names, training_split
from likewise.data.labels import NONE
from likewise.data.source import Source
from likewise.encoders.build import has_width
from likewise.encoders.files.chosen import choose
from likewise.encoders.files.store import read_description
from likewise.encoders.spec import EncoderSpec
from likewise.errors import InputError, nearest
from likewise.evaluation.objects import Localisation, localisation
from likewise.files import check_folder
from likewise.localisation.boxes import boxes
from likewise.localisation.crf import refined
from likewise.localisation.masks import Masks
from likewise.localisation.sources import MBD_SIDE, NAMES, ROUNDS, MaskInput, squares, stretched
from likewise.localisation.writing import ImageObjects, write
from likewise.runs import RunDirectory
from likewise.training.planning.machine import detect
from likewise.views.policies.pair import SMALL_IMAGE

SIDE = 128
"""Pixels of the short side that images are kept at for masks that no encoder makes."""
_TOGETHER = 256


@dataclass(frozen=True)
class Localised:
    """The result of `localise`."""

    path: Path
    """The folder."""
    images: int
    """Images looked at."""
    boxes: int
    """Boxes found."""
    without: int
    """Images in which nothing was found."""
    scores: Localisation | None
    """Held to true masks, where there were any."""

    def __str__(self) -> str:
        """A few lines for people."""
        lines = [f"wrote   {self.path}: masks, boxes.json, sheet.png"]
        some = f", none in {self.without}" if self.without else ""
        lines.append(f"found   {self.boxes:,} boxes in {self.images:,} images{some}")
        if self.scores is not None:
            words = f"CorLoc {self.scores.corloc:.1%}, box IoU {self.scores.box_iou:.3f}, "
            lines.append(f"score   {words}mask IoU {self.scores.mask_iou:.3f} on {self.scores.images:,} images")
        return "\n".join(lines)


def localise(
    run: str | Path | RunDirectory,
    data: Any,
    *,
    out: str | Path,
    split: str | None = None,
    rounds: int = ROUNDS,
    expand: int | None = None,
    refine: bool = False,
    truth: str | None = None,
    device: Literal["cpu", "cuda", "mps"] | None = None,
    overwrite: bool = False,
) -> Localised:
    """Masks and boxes of the objects in `data`, as files in the folder `out`.

    `run` is a run directory or weights file, whose encoder is asked by ContraCAM (arXiv 2108.00049), or the name of
    another source of masks (`mbd`, `grabcut`, `center`, `onnx:FILE`, ...). ContraCAM compares images with each other,
    64 together, in `rounds` rounds; `expand` keeps the last map of a ResNet 2 or 4 times as fine, by default 2 for
    inputs up to 64 px. `refine` draws masks to edges by a dense CRF, on at most 64 px. `truth`, a folder of masks, or
    `given` where the data knows them, gives scores.

    Writes `masks/`, grey values 0 to 255 at the size of each image, which `--masks given:OUT/masks` takes;
    `boxes.json`, in COCO's format; and `sheet.png`, some images with both. Raises InputError for whatever cannot be
    read or used, and where `out` is there and not empty, without `overwrite`.
    """
    folder = Path(out)
    check_folder(folder)
    if rounds < 1:
        raise InputError(f"rounds={rounds}: allowed is 1 or more")
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        raise InputError(f"{folder} is not empty: name another folder, or allow it with --overwrite")
    place = run.path if isinstance(run, RunDirectory) else run
    where = detect(device).device
    text, side = _masks_by(str(place), rounds, expand)
    source = open_source(data, split=split or training_split(split_names(data)), labels=NONE)
    images = prepare(source, short_side=side)
    if len(images) < 2 and text.startswith("contracam"):
        raise InputError(f"{images.name} holds one image: ContraCAM compares images, two are the least")
    found = _found(source, images, Masks(images, text, device=where), refine=refine)
    scores = None if truth is None else _scores(found, images, truth)
    folder.mkdir(parents=True, exist_ok=True)
    write(found, folder)
    counts = [len(one.boxes) for one in found]
    return Localised(folder, len(found), sum(counts), counts.count(0), scores)


def _masks_by(run: str, rounds: int, expand: int | None) -> tuple[str, int]:
    """The source of masks, and the short side that images are kept at for it."""
    if run.partition(":")[0] in NAMES and not Path(run).exists():
        return run, SIDE
    if not Path(run).exists() and (near := nearest(run, NAMES)) is not None:
        raise InputError(f"{run} does not exist: did you mean {near!r}? else name a run directory or a weights file")
    spec = EncoderSpec.from_mapping(read_description(choose(Path(run), None).path))
    fine = expand
    if fine is None:
        fine = 2 if spec.image_size <= SMALL_IMAGE and has_width(spec.name) else 1
    return f"contracam:{run}:{rounds}:{fine}", cached_side(spec.image_size)


def _found(source: Source, images: Images, masks: Masks, *, refine: bool) -> list[ImageObjects]:
    """Every image with its mask, its boxes, and its size before it was decoded."""
    at = {name: position for position, name in enumerate(source.names)}
    found = []
    for start in range(0, len(images), _TOGETHER):
        index = np.arange(start, min(start + _TOGETHER, len(images)))
        pixels, sizes = images.gather(index)
        marks_BHW = masks.gather(index, *pixels.shape[1:3])
        if refine:
            marks_BHW = _refined(
                marks_BHW, MaskInput(pixels, sizes, [images.names[position] for position in index.tolist()])
            )
        for row, (height, width) in enumerate(sizes.tolist()):
            name, mask = images.names[int(index[row])], marks_BHW[row, :height, :width].numpy()
            look = source.look(at[name])
            part = pixels[row, :height, :width].numpy()
            found.append(ImageObjects(name, part, mask, boxes(mask, margin=0.0), (look.height, look.width)))
    return found


def _refined(marks_BHW: Tensor, shown: MaskInput) -> Tensor:
    """The masks drawn to edges, on squares of at most `MBD_SIDE` pixels."""
    side = min(MBD_SIDE, int(shown.sizes.max()))
    images_B3SS = squares(shown, side)
    rough_B3SS = squares(shown._replace(pixels=marks_BHW.unsqueeze(3).expand(-1, -1, -1, 3)), side)
    fine = [refined(rough, image) for rough, image in zip(rough_B3SS[:, 0], images_B3SS, strict=True)]
    return (255 * stretched(torch.stack(fine).unsqueeze(1), shown)).round().to(torch.uint8)


def _scores(found: list[ImageObjects], images: Images, truth: str) -> Localisation:
    """The masks held to those of another source."""
    source = Masks(images, f"given:{truth}" if Path(truth).is_dir() else truth)
    height, width = (int(side) for side in images.sizes.max(0))
    true = source.gather(np.arange(len(images)), height, width).numpy()
    masks = [mask[: one.mask.shape[0], : one.mask.shape[1]] for mask, one in zip(true, found, strict=True)]
    tight = [boxes(mask, margin=0.0) for mask in masks]
    return localisation([one.boxes for one in found], tight, [one.mask for one in found], masks)
