"""`likewise search`: the images of an index most similar to an image, or to one of its rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from likewise.errors import InputError
from likewise.files import check_file, write_aside
from likewise.index import Index, open_index
from likewise.index.answers import Answer, answer, by_words
from likewise.index.index import Address


def search(
    index: Index | Address,
    query: Any = None,
    *,
    text: str | None = None,
    run: str | Path | None = None,
    k: int = 10,
    where: str | None = None,
    recall: float | None = None,
    exact: bool = False,
    html: str | Path | None = None,
) -> Answer:
    """The `k` images of `index` most like `query`: an image (path or PIL), or `id:ROW` for a row of the index.

    With `text` in place of a query: the images nearest to words, where the index was made with a run that learned
    captions (`run` names it where the index does not). `where` is a condition on columns; with `recall` the index is
    tuned to find that share of the true nearest, and searched exactly where that cannot be had faster. `html` writes a
    page with the images. Raises InputError for an index, an id, a condition or an image that is none.
    """
    if (query is None) == (text is None):
        raise InputError("search needs one of a query (an image, or id: and the id of a row) and text")
    if text is not None and (recall is not None or exact):
        raise InputError("a search by text compares all rows: leave recall and exact out")
    if html is not None:
        check_file(Path(html))
    opened = index if isinstance(index, Index) else open_index(index)
    if text is not None:
        found = by_words(opened, text, run=run, k=k, where=where)
    else:
        found = answer(opened, query, k=k, where=where, recall=recall, exact=exact)
    if html is not None:
        from likewise.serving.pages import search_page

        with write_aside(Path(html)) as file:
            file.write(search_page(found, opened.path).encode("utf-8", "replace"))
    return found
