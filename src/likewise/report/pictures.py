"""What a report shows of the pictures: queries with nearest neighbours, the map, the classes.

It is computed once, when pictures and features are at hand, and kept beside the report, so that a report made anew
later (when there are scores, say) shows it still.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from likewise.report import mosaic
from likewise.training.files import write_aside

if TYPE_CHECKING:
    from torch import Tensor

    from likewise.data import Images

Index = NDArray[np.int64]
Floats = NDArray[np.float64]

KEPT = "pictures.json.gz"
VERSION = 1
QUERIES, NEIGHBOURS = 10, 8
THUMBNAIL = 128
"""Side of a thumbnail in pixels."""
COUNTED = 2000
"""Pictures whose neighbours are compared with their class."""
COLOURS = (
    *("#7aa2f7", "#f7a072", "#8bd49c", "#e78ac3", "#e5d352", "#9d8df1"),
    *("#6fd6d6", "#d98880", "#b5c96a", "#c0a58a", "#f2b5d4", "#8fa3ad"),
)
"""One per class on the map; with more classes than colours none is coloured."""


# Kept beside the report --------------------------------------------------------------------------------------------


def keep(run: Path, shown: dict[str, Any]) -> None:
    """Write what `show` made into the run."""
    packed = gzip.compress(json.dumps(shown, ensure_ascii=True).encode(), compresslevel=6, mtime=0)
    with write_aside(run / KEPT) as file:
        file.write(packed)


def kept(run: Path) -> dict[str, Any] | None:
    """What an earlier report showed; None where there is nothing, or nothing that this version can read."""
    path = run / KEPT
    if not path.is_file():
        return None
    try:
        found = json.loads(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, ValueError, zlib.error):
        return None
    return found if isinstance(found, dict) and found.get("version") == VERSION else None


# Made --------------------------------------------------------------------------------------------------------------


def show(images: Images, features: Tensor | None) -> dict[str, Any]:
    """Everything the page needs of N pictures and their features (N, F), as plain JSON."""
    found: dict[str, Any] = {
        "version": VERSION,
        "shown": len(images),
        "rows": [],
        "agreement": None,
        "map": None,
        "classes": class_counts(images),
    }
    if features is None or len(images) < 2:
        return found
    unit_NF = unit_rows(features.detach().cpu().double().numpy())
    return {
        **found,
        "rows": neighbour_rows(images, unit_NF),
        "agreement": agreement(images, unit_NF),
        "map": picture_map(images, unit_NF),
    }


def unit_rows(features_NF: Floats) -> Floats:
    """Rows of length 1; what is no number counts as 0."""
    clean_NF = np.nan_to_num(features_NF, nan=0.0, posinf=0.0, neginf=0.0)
    unit: Floats = clean_NF / np.maximum(np.linalg.norm(clean_NF, axis=1, keepdims=True), 1e-12)
    return unit


def label_of(images: Images, position: int) -> str | None:
    """Class of a picture in words, or None where it is unknown."""
    if images.labels is None or (label := int(images.labels[position])) < 0:
        return None
    return class_name(images, label)


def class_name(images: Images, label: int) -> str:
    """Name of a class, or its number where it has none."""
    names = images.class_names or ()
    return str(names[label]) if label < len(names) else str(label)


def class_counts(images: Images) -> list[list[Any]]:
    """[name, pictures] of each class that occurs, in the order of their numbers."""
    if images.labels is None:
        return []
    labels, counts = np.unique(images.labels[images.labels >= 0], return_counts=True)
    return [[class_name(images, int(label)), int(count)] for label, count in zip(labels, counts, strict=True)]


def queries(images: Images, wanted: int = QUERIES) -> list[int]:
    """Positions spread evenly over the classes, or over the data; chosen without looking at any result."""
    total = len(images)
    if images.labels is None or not (images.labels >= 0).any():
        return sorted({round(place) for place in np.linspace(0, total - 1, min(wanted, total)).tolist()})
    present = np.unique(images.labels[images.labels >= 0])
    classes = present[np.unique(np.linspace(0, len(present) - 1, min(wanted, len(present))).astype(np.int64))]
    share = -(-wanted // len(classes))
    chosen: list[int] = []
    for label in classes:
        members = np.flatnonzero(images.labels == label)
        take = min(share, len(members), wanted - len(chosen))
        places = ((np.arange(take) + 0.5) / max(take, 1) * len(members)).astype(np.int64)
        chosen += members[places].tolist()
    return chosen


def nearest(unit_NF: Floats, positions: Index, k: int) -> tuple[Index, Floats]:
    """The k most similar other pictures of each position and their cosines, both (Q, k), nearest first."""
    cosine_QN = unit_NF[positions] @ unit_NF.T
    cosine_QN[np.arange(len(positions)), positions] = -np.inf
    order_Qk = np.argsort(-cosine_QN, axis=1, kind="stable")[:, :k]
    return order_Qk, np.take_along_axis(cosine_QN, order_Qk, axis=1)


def neighbour_rows(images: Images, unit_NF: Floats) -> list[dict[str, Any]]:
    """One row a query: itself and its nearest neighbours."""
    positions = np.array(queries(images), dtype=np.int64)
    near_Qk, cosine_Qk = nearest(unit_NF, positions, min(NEIGHBOURS, len(images) - 1))
    rows = []
    for position, near_k, cosine_k in zip(positions.tolist(), near_Qk.tolist(), cosine_Qk.tolist(), strict=True):
        own = label_of(images, position)
        cards = []
        for other, cosine in zip(near_k, cosine_k, strict=True):
            label = label_of(images, other)
            agrees = None if own is None or label is None else own == label
            cards.append({**_card(images, other), "similarity": cosine, "agrees": agrees})
        rows.append({"query": _card(images, position), "near": cards})
    return rows


def _card(images: Images, position: int) -> dict[str, Any]:
    source = data_uri(thumbnail(images.picture(position), THUMBNAIL))
    return {"src": source, "name": str(images.names[position]), "label": label_of(images, position)}


def agreement(images: Images, unit_NF: Floats) -> dict[str, Any] | None:
    """How often neighbours share the class, and how often pictures drawn by chance would; None without labels."""
    if images.labels is None:
        return None
    known = np.flatnonzero(images.labels >= 0)
    if len(known) < 2:
        return None
    labels = images.labels[known]
    k = min(NEIGHBOURS, len(known) - 1)
    asked = np.unique(np.linspace(0, len(known) - 1, min(COUNTED, len(known))).astype(np.int64))
    near_Qk = np.concatenate(
        [nearest(unit_NF[known], part, k)[0] for part in np.array_split(asked, -(-len(asked) // 256))]
    )
    same = float((labels[near_Qk] == labels[asked][:, None]).mean())
    counts = np.unique(labels, return_counts=True)[1].astype(np.float64)
    chance = float((counts * (counts - 1)).sum() / (len(known) * (len(known) - 1)))
    return {"share": same, "chance": chance, "k": k, "of": len(known)}


def picture_map(images: Images, unit_NF: Floats) -> dict[str, Any]:
    """The composed map, what lies in its cells, and the colours of the classes."""
    index = np.unique(np.linspace(0, len(images) - 1, min(mosaic.MOST, len(images))).astype(np.int64))
    grid = mosaic.grid_for(len(index))
    cells_N2 = mosaic.snap(mosaic.layout(unit_NF[index]), grid)
    names = [label_of(images, position) for position in index.tolist()]
    present = [name for name, _ in class_counts(images)]
    colours = dict(zip(present, COLOURS, strict=False)) if 1 < len(present) <= len(COLOURS) else {}
    thumbnails = [thumbnail(images.picture(position), grid.cell) for position in index.tolist()]
    sheet = mosaic.compose(thumbnails, cells_N2, grid, [colours.get(name or "") for name in names])
    titles = [
        f"{name} · {images.names[place]}" if name else str(images.names[place])
        for name, place in zip(names, index.tolist(), strict=True)
    ]
    return {
        "src": data_uri(sheet, quality=80),
        "columns": grid.columns,
        "rows": grid.rows,
        "width": sheet.width,
        "height": sheet.height,
        "pictures": len(index),
        "cells": mosaic.described(cells_N2, titles),
        "legend": [[name, colour] for name, colour in colours.items()],
    }


def thumbnail(pixels: NDArray[np.uint8], side: int) -> Image.Image:
    """The centre square of a picture (H, W, 3), `side` pixels wide: about what the encoder was shown."""
    height, width = pixels.shape[:2]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    square = np.ascontiguousarray(pixels[top : top + short, left : left + short])
    return Image.fromarray(square).resize((side, side), Image.Resampling.LANCZOS)


def data_uri(picture: Image.Image, quality: int = 84) -> str:
    """A picture inside the page."""
    packed = io.BytesIO()
    picture.save(packed, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(packed.getvalue()).decode("ascii")
