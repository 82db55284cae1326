"""`likewise methods`: list the methods an encoder can be trained by."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from likewise.cli.shared import print_next

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, kw_only=True)
class Methods:
    """Arguments of `likewise methods`."""

    json: bool = False
    """Print one JSON array."""
    quiet: bool = False
    """Print the result and nothing else."""


def run(words: list[str]) -> None:
    """Do what the words after the verb ask for."""
    from likewise.parsing import parse

    parsed = parse(Methods, words, "likewise methods", "What an encoder can be learned by.")
    from likewise.methods.listing import as_json, as_text

    print(json.dumps(as_json(), indent=2) if parsed.json else as_text())
    if not parsed.json and not parsed.quiet:
        print_next("likewise train --method isd --help")
