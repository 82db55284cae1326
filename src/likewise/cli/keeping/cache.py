"""`likewise cache`: list and remove decoded images and arrays derived from them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro
from tyro.conf import Positional

from likewise.cli.shared import print_next

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, kw_only=True)
class Cache:
    """Arguments of `likewise cache`."""

    names: Annotated[Positional[tuple[str, ...]], tyro.conf.arg(metavar="NAME")] = ()
    """Of caches or of data sets; by default all."""
    older_than: float | None = None
    """Only those that were not used for so many days."""
    clear: bool = False
    """Remove them. What a running process uses stays; the rest is made again when it is wanted."""
    json: bool = False
    """Print one JSON object."""
    quiet: bool = False
    """Print the result and nothing else."""


def run(words: list[str]) -> None:
    """Do what the words after the verb ask for."""
    from likewise.parsing import parse

    parsed = parse(
        Cache, words, "likewise cache", "Decoded images, and arrays made of them, that are kept on this machine."
    )
    from likewise.commands import command
    from likewise.data.caching.caches import manage

    result = manage(parsed.names, older_than=parsed.older_than, clear=parsed.clear)
    print(json.dumps(result.to_json(), indent=2) if parsed.json else result.to_text())
    if result.caches and not (parsed.clear or parsed.json or parsed.quiet):
        print_next(command("cache", older_than=30, clear=True))
