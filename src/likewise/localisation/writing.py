"""Files of a localisation: masks, boxes in COCO's JSON, and a sheet of some images with both."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from likewise.data.decoding.decoded import Pixels
from likewise.files import write_aside

SHOWN = 24
"""Images on the sheet."""
TILE, COLUMNS, GAP = 128, 4, 6
"""Pixels of a tile's side; pairs of tiles in a row; pixels between pairs."""
_RED = (230, 40, 40)


class ImageObjects(NamedTuple):
    """One image with what was found in it."""

    name: str
    """As the data names it."""
    pixels: Pixels
    """(h, w, 3) uint8 as decoded."""
    mask: NDArray[np.uint8]
    """(h, w) uint8."""
    boxes: NDArray[np.float32]
    """(R, 4) top, left, height and width as shares of the decoded image."""
    size: tuple[int, int]
    """Height and width of the file's image, of which the middle was decoded, perhaps reduced."""


def whole_mask(found: ImageObjects) -> Image.Image:
    """The mask at the size of the file's image; 0 where a long side was cut."""
    (height, width), (tall, wide) = found.size, _middle(found)
    mask = Image.fromarray(found.mask).resize((round(wide), round(tall)), Image.Resampling.BILINEAR)
    if mask.size == (width, height):
        return mask
    whole = Image.new("L", (width, height))
    whole.paste(mask, ((width - mask.width) // 2, (height - mask.height) // 2))
    return whole


def pixel_boxes(found: ImageObjects) -> NDArray[np.float64]:
    """(R, 4) left, top, width and height in pixels of the file's image, as COCO has them."""
    (height, width), (tall, wide) = found.size, _middle(found)
    top, left, high, across = np.asarray(found.boxes, np.float64).reshape(-1, 4).T
    down, right = (height - tall) / 2, (width - wide) / 2
    return np.stack([right + left * wide, down + top * tall, across * wide, high * tall], 1)


def _middle(found: ImageObjects) -> tuple[float, float]:
    """Height and width, in pixels of the file's image, of its middle that was decoded."""
    height, width = found.size
    share = min(height / found.mask.shape[0], width / found.mask.shape[1])
    return share * found.mask.shape[0], share * found.mask.shape[1]


def mask_places(names: Sequence[str]) -> list[PurePosixPath]:
    """A file name for each mask: that of its image with the ending .png, a number where that is taken or leads away."""
    taken: set[str] = set()
    places = []
    for number, name in enumerate(names):
        path = PurePosixPath(name.replace("\\", "/"))
        odd = path.is_absolute() or ".." in path.parts or not path.stem
        place = PurePosixPath(f"{number}.png") if odd else path.with_suffix(".png")
        while str(place) in taken:
            place = place.with_name(f"{place.stem}-{number}.png")
        taken.add(str(place))
        places.append(place)
    return places


def coco(found: Sequence[ImageObjects]) -> dict[str, Any]:
    """Images and boxes as COCO's detection format has them; one category."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, one in enumerate(found, start=1):
        height, width = one.size
        images.append({"id": number, "file_name": one.name, "width": width, "height": height})
        for box in pixel_boxes(one).round(2).tolist():
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "bbox": box,
                    "area": round(box[2] * box[3], 2),
                    "iscrowd": 0,
                }
            )
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "object"}]}


def sheet(found: Sequence[ImageObjects]) -> Image.Image:
    """Each image with its boxes, and beside it where its mask is dark."""
    rows = -(-len(found) // COLUMNS)
    pair = 2 * TILE + GAP
    whole = Image.new("RGB", (COLUMNS * pair + GAP, rows * (TILE + GAP) + GAP), "white")
    for number, one in enumerate(found):
        left, top = GAP + (number % COLUMNS) * pair, GAP + (number // COLUMNS) * (TILE + GAP)
        height, width = one.mask.shape
        scale = TILE / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        image = Image.fromarray(np.asarray(one.pixels)).resize(size, Image.Resampling.BICUBIC)
        mask = Image.fromarray(one.mask).resize(size, Image.Resampling.BILINEAR)
        lit = Image.composite(image, image.point(lambda value: value // 4), mask)
        draw = ImageDraw.Draw(image)
        for y, x, high, across in np.asarray(one.boxes).tolist():
            corners = (x * size[0], y * size[1], (x + across) * size[0] - 1, (y + high) * size[1] - 1)
            draw.rectangle(corners, outline=_RED, width=2)
        whole.paste(image, (left, top))
        whole.paste(lit, (left + TILE, top))
    return whole


def write(found: Sequence[ImageObjects], folder: Path) -> None:
    """Write `masks/`, `boxes.json` and `sheet.png` into `folder`."""
    for one, place in zip(found, mask_places([one.name for one in found]), strict=True):
        path = folder / "masks" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        whole_mask(one).save(path)
    with write_aside(folder / "boxes.json") as file:
        file.write(json.dumps(coco(found), indent=1).encode())
    some = np.unique(np.linspace(0, len(found) - 1, min(SHOWN, len(found))).round().astype(int))
    sheet([found[at] for at in some]).save(folder / "sheet.png")
