"""`likewise discover`: known and new classes among unlabelled images."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from tyro.conf import Positional

from likewise.cli.shared import Looking, print_next

if TYPE_CHECKING:
    from likewise.discovery.result import Discovery


@dataclass(frozen=True, kw_only=True)
class Discover(Looking):
    """Arguments of `likewise discover`."""

    data: Annotated[Positional[str | None], tyro.conf.arg(metavar="DATA", help_behavior_hint="")] = None
    """Images, some of them labelled; by default what the run was trained on."""
    labelled: str | None = None
    """Table (CSV) with path and label of the labelled images."""
    subset: str | None = None
    """Draw that keeps some of the labels, such as gcd:0.5 or labels:perclass:4."""
    subset_seed: int = 0
    """What the draw follows from."""
    classes: Annotated[str, tyro.conf.arg(metavar="K|auto")] = "auto"
    """Number of all classes, named and new; auto estimates it."""
    most: int | None = None
    """Largest number of classes that auto tries; by default four times the named ones, at least 100."""
    seeding: Literal["greedy", "published"] = "greedy"
    """First centres of new classes: drawn one by one as published, or each the best of several drawn."""
    sure: float = 0.7
    """Confidence below which an image is not sure: the share of labelled images as clear as it that are right."""
    captions: str | None = None
    """Column of captions that new classes are called by, or `caption` for the usual ones; the run has to read texts."""
    out: str | None = None
    """Table (CSV) to write, with a page of the classes beside it."""
    labels: str | None = None
    """Label column, or `folders` where sub-folders are the classes; what is not known is for scores alone."""
    split: str | None = None
    """Split to look at; by default `train` where the data has one."""


def run(words: list[str]) -> None:
    """Do what the words after the verb ask for."""
    from likewise.errors import InputError
    from likewise.parsing import parse

    parsed = parse(Discover, words, "likewise discover", "Sort images into named classes and new ones.")
    from likewise.runs import plain
    from likewise.verbs.labelling.discover import discover
    from likewise.verbs.labelling.discover_text import as_text

    if parsed.classes != "auto" and not parsed.classes.isdecimal():
        raise InputError(f"--classes is given {parsed.classes!r}: allowed is a whole number from 1, or auto")
    classes: int | Literal["auto"] = "auto" if parsed.classes == "auto" else int(parsed.classes)
    found = discover(parsed.run, parsed.data, classes=classes, **parsed.keywords("data", "classes"))
    if parsed.json:
        print(json.dumps(plain(found.to_json()), indent=2))
        return
    print(as_text(found, brief=parsed.quiet))
    if not parsed.quiet:
        print()
        _after(parsed, found)


def _after(parsed: Discover, found: Discovery) -> None:
    """Where the files are, and what to do with them."""
    from likewise.commands import command, free_name
    from likewise.index.embedding.held import is_held

    if parsed.out is None:
        same = {name: getattr(parsed, name) for name in ("labelled", "subset", "labels", "split", "seeding")}
        same |= {name: getattr(parsed, name) for name in ("captions", "which", "pretrained", "image_size")}
        named = {"classes": len(found.classes), "subset_seed": parsed.subset_seed or None, "seed": parsed.seed or None}
        print_next(
            command("discover", parsed.run, parsed.data or found.data, **same, **named, out=free_name("found", "csv"))
        )
        return
    print(f"table   {parsed.out}")
    print(f"page    {parsed.out.removesuffix('.csv')}.html")
    if all(place is not None for place in found.places):
        is_start = Path(parsed.run).exists() and not is_held(parsed.run)
        print_next(command("train", parsed.out, method="gcd", start=parsed.run if is_start else None))
