"""One query and its answer: the images of an index that are most like an image, or like a row of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from likewise.encoders import Encoder
from likewise.errors import InputError, nearest
from likewise.index.index import MOST, Index
from likewise.index.recall import Promise, promise
from likewise.index.stores.protocol import Found, Hit
from likewise.index.weights import weights_of
from likewise.index.where import mask, parse
from likewise.methods.words import images_of, nearest_texts, texts_of, with_words


@dataclass(frozen=True)
class Answer:
    """What was found for one query."""

    query: str
    """Path of the image, or `id:...`."""
    hits: list[Hit]
    """Nearest first."""
    recall: float
    """Share of the true nearest that such a search finds, as measured; 1 where all were compared."""
    exact: bool
    """Whether all were compared."""
    fingerprint: str
    """Of the space that was searched."""
    promise: Promise | None = None
    """What tuning for a recall came to."""

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        told = {
            "results": [{"id": hit.id, "path": hit.path, "similarity": round(hit.similarity, 6)} for hit in self.hits],
            "recall": self.recall,
            "exact": self.exact,
            "fingerprint": self.fingerprint,
        }
        if self.promise is not None:
            told["interval"] = [self.promise.low, self.promise.high]
        return told

    def to_text(self) -> str:
        """A line for each hit, and how it was searched."""
        width = max((len(hit.id) for hit in self.hits), default=0)
        lines = [f"{hit.similarity:.4f}  {hit.id:<{width}}  {hit.path}".rstrip() for hit in self.hits]
        how = "all rows compared" if self.exact else f"by a graph, recall {self.recall:.4f}"
        if self.promise is not None:
            how = str(self.promise)
        return "\n".join([*lines, "", f"search  {how}; space {self.fingerprint}"])


def answer(
    index: Index,
    query: Any,
    *,
    k: int = 10,
    where: str | None = None,
    recall: float | None = None,
    exact: bool = False,
) -> Answer:
    """The `k` images of `index` most like `query`: an image (path or PIL), or `id:ROW` for a row of the index.

    `where` is a condition on columns; with `recall` the index is tuned to find that share of the true nearest, and
    searched exactly where that cannot be had faster. Raises InputError for an id, a condition or an image that is none.
    """
    promised = None if recall is None else promise(index, recall, k=k)
    exact = exact or (promised is not None and promised.exact)
    row = str(query)[3:] if isinstance(query, str) and query.startswith("id:") else None
    if row is None:
        if isinstance(query, str | Path) and not Path(query).expanduser().is_file():
            raise InputError(f"there is no image {str(query)!r}: give the path of one, or id: and the id of a row")
        found = index.search(_one(query), k, where=where, exact=exact)
        hits = found.hits[0]
    else:
        found, hits = by_row(index, row, k, where=where, exact=exact)
    return Answer(
        query if isinstance(query, str) else str(query) if isinstance(query, Path) else "an image",
        hits,
        1.0 if found.recall is None else found.recall,
        found.exact,
        index.fingerprint,
        promised,
    )


def by_row(index: Index, row: str, k: int, *, where: str | None = None, exact: bool = False) -> tuple[Found, list[Hit]]:
    """What is found for a row of the index, without itself. Raises InputError where there is none of that id."""
    held = index.row(row)
    if held is None:
        near = nearest(row, index.ids[:10_000])
        raise InputError(f"{index.path} has no row {row!r}" + (f": did you mean {near!r}?" if near else ""))
    found = index.search(held.vector, min(k + 1, 10_000), where=where, exact=exact, space=held.version)
    return found, [hit for hit in found.hits[0] if hit.id != row][:k]


def by_words(
    index: Index, text: str, *, run: str | Path | None = None, k: int = 10, where: str | None = None
) -> Answer:
    """The `k` images of `index` nearest to a text, by the run whose encoder made its vectors and that learned captions.

    `run` is that run, by default where the index says that its encoder lay. All rows that `where` allows are compared,
    in the space of images and texts. Raises InputError for an index of another run's encoder, for a run that reads no
    texts, and for an empty text.
    """
    if not 1 <= k <= MOST:
        raise InputError(f"k={k} neighbours: allowed are 1 to {MOST:,}")
    place = _run_of(index, run)
    method = with_words(place)
    encoder = cast("Encoder", method.encoders()[method.card.deploy])
    if weights_of(encoder) != index.space.weights:
        raise InputError(
            f"{index.path} holds vectors of {index.space.name} with other weights than those of {place}: name the run "
            "that it was made with, or embed the images again"
        )
    held = np.flatnonzero(index.versions == index.current)
    if where is not None:
        table = index.store.table()
        held = held[mask(parse(where, [*index.store.columns()]), table).to_numpy(zero_copy_only=False)[held]]
    text_1D = texts_of(place, [text])
    if not len(held):
        return Answer(text, [], 1.0, True, index.fingerprint)
    lengths, within = index.norms, np.cumsum(index.versions == index.current) - 1
    rows_ND = index.vectors(index.current)[within[held]] * lengths[held, None]
    products, places = nearest_texts(text_1D, images_of(place, torch.from_numpy(np.array(rows_ND))), k)
    ids, paths = index.ids, index.paths
    hits = [
        Hit(ids[at], paths[at], float(product), index.current)
        for product, at in zip(products[0], held[places[0].numpy()].tolist(), strict=True)
    ]
    return Answer(text, hits, 1.0, True, index.fingerprint)


def _run_of(index: Index, run: str | Path | None) -> Path:
    """The directory of the run that an index was made with. Raises InputError where that is not known."""
    noted = Path(run) if run is not None else index.run()
    if noted is None:
        raise InputError(f"{index.path} does not say which run its encoder is of: name it with --run")
    if not noted.exists():
        raise InputError(f"the run that {index.path} was made with, {noted}, is not there: --run says where it is now")
    return noted


def _one(query: Any) -> Any:
    """An image as something that can be embedded."""
    return [str(Path(query).expanduser())] if isinstance(query, str | Path) else query
