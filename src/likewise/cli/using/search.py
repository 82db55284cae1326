"""`likewise search`: the images most similar to a query."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

import tyro
from tyro.conf import Positional


@dataclass(frozen=True, kw_only=True)
class Search:
    """Arguments of `likewise search`."""

    index: Annotated[Positional[str], tyro.conf.arg(metavar="INDEX")]
    """What `likewise embed` wrote, or the address of a server."""
    query: Annotated[Positional[str | None], tyro.conf.arg(metavar="QUERY")] = None
    """An image, or id: and the id of a row; left out where --text is given."""
    text: str | None = None
    """Words, such as "a red car": for an index made with a run that learned captions."""
    run: str | None = None
    """That run, where the index does not say."""
    k: Annotated[int, tyro.conf.arg(aliases=["-k"])] = 10
    """How many."""
    where: str | None = None
    """Condition on columns, such as "label = 'cat' and split in ('train', 'val')"."""
    recall: float | None = None
    """Find at least this share of the true nearest; tuned and measured once, exact where that is as fast."""
    exact: bool = False
    """Compare all rows."""
    html: str | None = None
    """Write a page with the images."""
    json: bool = False
    """Print one JSON object."""
    quiet: bool = False
    """Print the ids and nothing else."""


def run(words: list[str]) -> None:
    """Do what the words after the verb ask for."""
    from likewise.parsing import parse

    parsed = parse(Search, words, "likewise search", "The images of an index that are most like one.")
    from likewise.verbs.using.search import search

    answer = search(
        parsed.index,
        parsed.query,
        text=parsed.text,
        run=parsed.run,
        k=parsed.k,
        where=parsed.where,
        recall=parsed.recall,
        exact=parsed.exact,
        html=parsed.html,
    )
    if parsed.json:
        print(json.dumps(answer.to_json(), indent=2))
    elif parsed.quiet:
        print("\n".join(hit.id for hit in answer.hits))
    else:
        print(answer.to_text())
        if parsed.html is not None:
            print(f"page    {parsed.html}")
