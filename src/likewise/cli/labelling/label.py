"""`likewise label`: label images on a local page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro
from tyro.conf import Positional


@dataclass(frozen=True, kw_only=True)
class Label:
    """Arguments of `likewise label`."""

    images: Annotated[Positional[str], tyro.conf.arg(metavar="LIST")]
    """List of images (.csv, .tsv, .txt), as likewise select writes it, or a folder."""
    out: str | None = None
    """List with labels to write; by default LIST-labelled.csv beside it."""
    classes: tuple[str, ...] = ()
    """Class names, in the order of the keys 1 to 9 and 0; more are made at the page."""
    labels: str | None = None
    """Column with labels that the list has already; by default found by its name."""
    run: str | None = None
    """Run or weights file whose encoder says which images look alike; by default their colours do."""
    together: str | None = None
    """Column of the list: images of different values are shown apart, such as `cluster`."""
    port: int | None = None
    """Port of this machine; 0 takes any that is free."""
    browser: bool = True
    """Open the page in the browser."""


def run(words: list[str]) -> None:
    """Do what the words after the verb ask for."""
    from likewise.parsing import parse

    parsed = parse(Label, words, "likewise label", "Label images with the keyboard, at a page on this machine.")
    from functools import partial

    from likewise.verbs.labelling.label import label

    how = {name: value for name, value in vars(parsed).items() if name != "images"}
    label(parsed.images, say=partial(print, flush=True), **how)
