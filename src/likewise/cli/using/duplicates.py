"""`likewise duplicates`: find equal bytes, equal pixels and near duplicates."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

import tyro
from tyro.conf import Positional


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """Arguments of `likewise duplicates`."""

    data: Annotated[Positional[str], tyro.conf.arg(metavar="INDEX|DATA")]
    """An index, or a folder, list, Parquet or NumPy file of images."""
    encoder: str | None = None
    """For data: the run or file to find near duplicates with; without, only equal bytes and pixels are found."""
    split: str | None = None
    """For data: one split; by default all, so that images in two splits are found."""
    false_pairs: float = 0.5
    """Wrong pairs that are expected among all."""
    deny: tuple[str, ...] = ()
    """Ids of images of which no two are duplicates; the index remembers it."""
    html: str | None = None
    """Write a contact sheet."""
    json: bool = False
    """Print one JSON object."""
    quiet: bool = False
    """Print the ids of each group in a line, and nothing else."""


def run(words: list[str]) -> None:
    """Do what the words after the verb ask for."""
    from likewise.parsing import parse

    parsed = parse(Duplicates, words, "likewise duplicates", "Images that are there more than once.")
    from likewise.training.watching.progress import decoding
    from likewise.verbs.using.duplicates import find_duplicates

    with decoding(parsed.data, enabled=not parsed.quiet, verb="compare") as progress:
        found = find_duplicates(
            parsed.data,
            encoder=parsed.encoder,
            split=parsed.split,
            false_pairs=parsed.false_pairs,
            deny=parsed.deny,
            html=parsed.html,
            progress=progress,
        )
    if parsed.json:
        print(json.dumps(found.to_json(), indent=2))
    elif parsed.quiet:
        print("\n".join("\t".join(item.id for item in group.items) for group in found.groups))
    else:
        print(found.to_text())
        if parsed.html is not None:
            print(f"\npage    {parsed.html}")
