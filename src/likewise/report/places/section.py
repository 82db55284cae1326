"""The sections on places: patches to click, with their numbers in the page, and masks."""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from likewise.report.markup import section, tag, text
from likewise.report.neighbours import label
from likewise.report.numbers import percent
from likewise.report.places.looking import PlaceFeatures
from likewise.report.thumbnails import data_uri

SIDE = 176
"""Pixels of a thumbnail; it is shown at most 3 quarters as wide."""
DIM = 0.22
"""Brightness that is left outside of a mask."""


def patches(looked: PlaceFeatures) -> str:
    """Images whose patches can be clicked: all patches are then coloured by their similarity to it."""
    height, width = looked.cells_NhwD.shape[1:3]
    figures = [_figure(looked, number) for number in range(len(looked.images))]
    attention = looked.attention_Nhw
    switch = tag("button", "attention of the class token", type="button", class_="look", aria_pressed="false")
    board = tag(
        "div",
        *figures,
        class_="patches",
        data_rows=height,
        data_columns=width,
        data_scale=f"{looked.scale:.6g}",
        data_cells=_base64(looked.cells_NhwD),
        data_attention=None if attention is None else _base64(attention),
    )
    lead = (
        f"The {height} x {width} patches of the encoder's last map, by cosine similarity. Click one: the more alike a "
        "patch is, the more it is coloured, from the median of all to 1; the nearest of each other image is outlined."
    )
    whole = looked.kept > 0.9995
    note = (
        ""
        if whole
        else tag(
            "p",
            f"The page holds the {looked.cells_NhwD.shape[3]} main directions of the vectors, with "
            f"{percent(looked.kept)} of their squared length.",
            class_="small",
        )
    )
    said = tag("p", class_="small said", aria_live="polite")
    chips = tag("div", switch, class_="chips") if attention is not None else ""
    return section("patches", "Where it sees the same", lead, chips, board, said, note)


def masks(looked: PlaceFeatures) -> str:
    """The same images with what their masks leave dark; nothing where there are no masks."""
    if looked.masks_NHW is None:
        return ""
    figures = []
    for number in range(len(looked.images)):
        pixels, mask_HW = _middle(looked, number)
        assert mask_HW is not None
        share = DIM + (1 - DIM) * mask_HW[..., None].astype(np.float32) / 255
        shown = Image.fromarray((pixels * share).round().astype(np.uint8)).resize((SIDE, SIDE))
        covered = percent(float(mask_HW.mean()) / 255, 0) if mask_HW.any() else "none"
        figures.append(tag("figure", _image(shown, _name(looked, number)), tag("figcaption", text(covered))))
    words = f"Of {looked.source}: what they leave dark is background, below is the share of the image that they mark."
    return section("masks", "The masks it learned with", words, tag("div", *figures, class_="tiles"))


def _figure(looked: PlaceFeatures, number: int) -> str:
    name = _name(looked, number)
    pixels, _ = _middle(looked, number)
    shown = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    inside = _image(shown, "") + tag("canvas", aria_hidden="true")
    said = f"patches of {name}: arrow keys choose one"
    return tag("div", inside, class_="patched", tabindex=0, role="button", aria_label=said, data_name=name, title=name)


def _name(looked: PlaceFeatures, number: int) -> str:
    return label(looked.images, number) or str(looked.images.names[number]).replace("\\", "/").rsplit("/", 1)[-1]


def _image(shown: Image.Image, said: str) -> str:
    return f'<img src="{data_uri(shown)}" width="{SIDE}" height="{SIDE}" alt="{text(said)}">'


def _middle(looked: PlaceFeatures, number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """What the encoder saw of an image, and of its mask."""
    pixels, sizes = looked.images.gather(np.array([number]))
    height, width = (int(value) for value in sizes[0])
    edge = max(1, round(looked.fraction * min(height, width)))
    top, left = (height - edge) // 2, (width - edge) // 2
    rows, columns = slice(top, top + edge), slice(left, left + edge)
    mask = None if looked.masks_NHW is None else looked.masks_NHW[number, rows, columns]
    return pixels[0, rows, columns].numpy(), mask


def _base64(values: NDArray[np.generic]) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")
