"""The style and script of the page, from the files in assets/. Nothing is fetched, no fonts either.

`page.css` has one palette for light and one for dark; `page.js` switches between them, shows values under the pointer
and larger images, picks single classes, and copies commands; `patches` colour patches of an image by a click.
"""

from __future__ import annotations

from importlib import resources

CLASS_COLOURS = (
    "#4c78a8",
    "#e07b39",
    "#3f9a76",
    "#c4504f",
    "#8a6bb1",
    "#97694f",
    "#d678a6",
    "#b9a13a",
    "#2f9bb3",
    "#7c8c2d",
    "#5b63b7",
    "#b05fa0",
    "#8b8b86",
)
"""Of the classes on the map; the last is that of all further ones."""


def _asset(name: str) -> str:
    """A file of the package."""
    return resources.files("likewise.report").joinpath("assets", name).read_text(encoding="utf-8")


_CLASSES = "".join(
    f".k{number}{{--k:{colour}}}.swatch.k{number}{{background:var(--k)}}\n"
    for number, colour in enumerate(CLASS_COLOURS)
)
STYLE = _asset("page.css") + _CLASSES
"""The content of the style element."""
SCRIPT = _asset("page.js")
"""The content of the script element."""
PATCHES_STYLE, PATCHES = _asset("patches.css"), _asset("patches.js")
"""The same for patches."""
