"""Images picked for labelling, as a page: one file that opens offline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from likewise.data import Images
from likewise.report.document import document
from likewise.report.markup import command, section, table, tag, text
from likewise.report.thumbnails import image

SIDE = 128
"""Points of a thumbnail."""


class SheetImage(NamedTuple):
    """One image of the sheet."""

    position: int
    """In the images."""
    name: str
    """Its path, as it stands in the list."""
    reason: str
    """Why it was picked."""
    cluster: int
    """What it stands for."""


def contact_sheet(
    images: Images,
    shown: Sequence[SheetImage],
    headline: str,
    lead: str,
    figures: tuple[Sequence[str], Sequence[Sequence[str]], str],
    following: str,
) -> str:
    """The page: `headline` and `lead` in words, a table (head, rows, what it rests on), and the next command."""
    head, rows, basis = figures
    title = tag("header", tag("h1", "selection"), tag("p", text(headline), class_="headline"))
    tiles = "".join(_tile(images, number, one) for number, one in enumerate(shown, 1))
    expected = table(map(text, head), (map(text, row) for row in rows), "compared") if rows else ""
    body = "".join(
        [
            title,
            section("worth", "What to expect", basis, expected),
            section("picks", "The picks", lead, tag("ul", tiles, class_="tiles")),
            section("next", "Next", "", command(following)),
        ]
    )
    return document("selection, likewise", body, tag("footer", text(f"likewise, {len(shown)} images of {images.name}")))


def _tile(images: Images, number: int, one: SheetImage) -> str:
    caption = f"{number} · {one.name.rsplit('/', 1)[-1]}"
    hint = f"{one.name}: {one.reason} (cluster {one.cluster})"
    return tag(
        "li", tag("figure", image(images, one.position, SIDE, hint), tag("figcaption", text(caption))), title=hint
    )
