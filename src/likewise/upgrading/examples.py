"""The examples of an upgrade's page: queries whose results changed most, with images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from likewise.data.source import BrokenImage
from likewise.index import Index
from likewise.report.thumbnails import data_uri
from likewise.upgrading.images import RowImages
from likewise.upgrading.measures import nearest
from likewise.upgrading.order import RefreshPoint
from likewise.upgrading.page import SHOWN, QueryExample, RowNames, as_page
from likewise.upgrading.sheet import Sheet

QUERIES = 8
_SIDE = 88


@dataclass(frozen=True, kw_only=True)
class PageRows:
    """The data of the page: M images with both vectors."""

    sheet: Sheet
    rows: Tensor
    """(M,) their rows in the index."""
    old: Tensor
    new: Tensor
    labels: Tensor | None
    column: str
    """Whose values the labels are."""
    curve: tuple[RefreshPoint, ...]
    random: tuple[RefreshPoint, ...]


def page_of(index: Index, images: RowImages, shown: PageRows) -> str:
    """The page, with thumbnails read from the images now."""
    label = index.columns.get(shown.column)

    def image(row: int) -> str | None:
        position = int(images.position_N[row])
        if position < 0:
            return None
        try:
            found = Image.fromarray(images.source.read(position, 2 * _SIDE))
        except BrokenImage:
            return None
        edge = min(found.size)
        left, top = (found.width - edge) // 2, (found.height - edge) // 2
        square = found.resize(
            (2 * _SIDE, 2 * _SIDE), Image.Resampling.LANCZOS, box=(left, top, left + edge, top + edge)
        )
        return data_uri(square)

    named = RowNames(
        image,
        lambda row: "" if label is None or label[row] is None else str(label[row]),
        lambda row: images.ids[row],
    )
    title = f"upgrade of {index.path.rstrip('/').rsplit('/', 1)[-1]}"
    return as_page(title, shown.sheet, shown.curve, shown.random, examples(shown), named)


def examples(shown: PageRows) -> list[QueryExample]:
    """Queries whose five neighbours changed most between the encoders, spread over the sample; none where none did."""
    count = len(shown.rows)
    asked_Q = torch.arange(0, count, max(1, count // 200))
    before_Qk, after_Qk = (nearest(x[asked_Q], x, asked_Q, SHOWN) for x in (shown.old, shown.new))
    kept_Q = (before_Qk.unsqueeze(2) == after_Qk.unsqueeze(1)).any(2).sum(1)
    spread_Q = torch.randperm(len(asked_Q), generator=torch.Generator().manual_seed(0))  # among equally changed ones
    most = spread_Q[kept_Q[spread_Q].argsort(stable=True)[:QUERIES]].sort().values
    return [
        QueryExample(
            int(shown.rows[asked_Q[at]]),
            shown.rows[before_Qk[at]].tolist(),
            shown.rows[after_Qk[at]].tolist(),
        )
        for at in most.tolist()
        if int(kept_Q[at]) < SHOWN
    ]
