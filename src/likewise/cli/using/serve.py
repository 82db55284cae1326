"""`likewise serve`: serve an index over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro
from tyro.conf import Positional


@dataclass(frozen=True, kw_only=True)
class Serve:
    """Arguments of `likewise serve`."""

    index: Annotated[Positional[str], tyro.conf.arg(metavar="INDEX")]
    """What `likewise embed` wrote."""
    host: str = "127.0.0.1"
    """Address to listen on; any but that of this machine itself needs a token."""
    port: int = 8000
    """Port to listen on; 0 takes a free one."""
    token: str | None = None
    """What requests have to show; `new` makes one and prints it."""
    run: str | None = None
    """The run that reads words, where the index does not say."""
    quiet: bool = False
    """Print the address and nothing else."""


def run(words: list[str]) -> None:
    """Do what the words after the verb ask for."""
    from likewise.parsing import parse

    parsed = parse(Serve, words, "likewise serve", "Serve an index over HTTP, with a page.")
    from likewise.verbs.using.serve import serve

    serve(parsed.index, host=parsed.host, port=parsed.port, token=parsed.token, run=parsed.run, quiet=parsed.quiet)
