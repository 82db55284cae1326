"""Search results: the images of an index most similar to an image, or to one of its rows."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from likewise.encoders import Encoder
from likewise.errors import InputError, nearest
from likewise.index.index import MOST, Index
from likewise.index.recall import Promise, promise
from likewise.index.stores.protocol import Hit, Hits
from likewise.index.weights import weights_of
from likewise.index.where import mask, parse
from likewise.methods.words import images_of, nearest_texts, texts_of, with_words

_AT_ONCE = 16384
"""Rows that a run is shown together."""


@dataclass(frozen=True)
class Answer:
    """The result of one query."""

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
        described = {
            "results": [{"id": hit.id, "path": hit.path, "similarity": round(hit.similarity, 6)} for hit in self.hits],
            "recall": self.recall,
            "exact": self.exact,
            "fingerprint": self.fingerprint,
        }
        if self.promise is not None:
            described["interval"] = [self.promise.low, self.promise.high]
        return described

    def to_text(self) -> str:
        """A line for each hit, and how it was searched."""
        width = max((len(hit.id) for hit in self.hits), default=0)
        lines = [f"{hit.similarity:.4f}  {hit.id:<{width}}  {hit.path}".rstrip() for hit in self.hits]
        how = "all rows compared" if self.exact else f"not all rows compared, recall {self.recall:.4f}"
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
    row = _row_of(query)
    if row is None and isinstance(query, str | Path) and not Path(query).expanduser().is_file():
        raise InputError(f"there is no image {str(query)!r}: give the path of one, or id: and the id of a row")
    found = answers(index, [query], k=k, where=where, exact=exact)[0]
    if found is None:
        near = nearest(str(row), index.ids[:10_000])
        raise InputError(f"{index.path} has no row {row!r}" + (f": did you mean {near!r}?" if near else ""))
    return replace(found, promise=promised)


def answers(
    index: Index, queries: Sequence[Any], *, k: int = 10, where: str | None = None, exact: bool = False
) -> list[Answer | None]:
    """`answer` for several queries at once, which costs less than one by one; None for an id of no row.

    Queries are all of one kind: `id:ROW`, or images. A row is not found for itself. Raises InputError as `answer`.
    """
    found: dict[int, tuple[Hits, list[Hit]]] = {}
    rows = [_row_of(query) for query in queries]
    if rows and rows[0] is not None:
        found = _by_rows(index, [str(row) for row in rows], k, where=where, exact=exact)
    elif queries:
        images = [str(Path(one).expanduser()) if isinstance(one, str | Path) else one for one in queries]
        every = index.search(images, k, where=where, exact=exact)
        found = {at: (every, hits) for at, hits in enumerate(every.hits)}
    fingerprint = index.fingerprint
    result: list[Answer | None] = []
    for at, query in enumerate(queries):
        if at not in found:
            result.append(None)
            continue
        every, hits = found[at]
        name = str(query) if isinstance(query, str | Path) else "an image"
        result.append(Answer(name, hits, 1.0 if every.recall is None else every.recall, every.exact, fingerprint))
    return result


def _row_of(query: Any) -> str | None:
    """The id in `id:ROW`; None for an image."""
    return query[3:] if isinstance(query, str) and query.startswith("id:") else None


def _by_rows(
    index: Index, rows: Sequence[str], k: int, *, where: str | None, exact: bool
) -> dict[int, tuple[Hits, list[Hit]]]:
    """What is found for rows of the index, by their place in `rows`, without themselves; nothing for ids of no row.

    Their vectors are searched with; while the index has some that cannot be compared with these, their images are.
    """
    held = {at: one for at, row in enumerate(rows) if (one := index.row(row)) is not None}
    how: dict[str, Any] = {"k": min(k + 1, MOST), "where": where, "exact": exact}
    found: dict[int, tuple[Hits, list[Hit]]] = {}

    def take(places: Sequence[int], every: Hits) -> None:
        for at, hits in zip(places, every.hits, strict=True):
            found[at] = every, [hit for hit in hits if hit.id != rows[at]][:k]

    for version in sorted({one.version for one in held.values()}):
        places = [at for at, one in held.items() if one.version == version]
        if not index.comparable(version):
            for at in places:
                with contextlib.suppress(InputError):  # no encoder, or no image that can be read
                    take([at], index.search(Path(held[at].path), **how))
            places = [at for at in places if at not in found]
        if places:
            take(places, index.search(np.stack([held[at].vector for at in places]), space=version, **how))
    return found


def by_words(
    index: Index, text: str, *, run: str | Path | None = None, k: int = 10, where: str | None = None
) -> Answer:
    """The `k` images of `index` nearest to a text: `WordSearch` for one."""
    return WordSearch(index, run).answer(text, k=k, where=where)


class WordSearch:
    """Search of an index by words, by the run whose encoder made its vectors and that learned captions.

    `run` is that run, by default where the index says that its encoder lay. All rows that a condition allows are
    compared, in the space of images and texts. What the run makes of the rows is kept until the index changes.
    """

    def __init__(self, index: Index, run: str | Path | None = None) -> None:
        self.index, self.run = index, run
        self._kept: _Worded | None = None

    def possible(self) -> bool:
        """Whether there is a run beside the index that reads texts."""
        try:
            with_words(_run_of(self.index, self.run))
        except InputError:
            return False
        return True

    def answer(self, text: str, *, k: int = 10, where: str | None = None) -> Answer:
        """The `k` images nearest to a text.

        Raises InputError for an index of another run's encoder, for a run that reads no texts, for an empty text, a
        condition that does not fit, and `k` outside 1 to 10,000.
        """
        if not 1 <= k <= MOST:
            raise InputError(f"k={k} neighbours: allowed are 1 to {MOST:,}")
        index, place = self.index, _run_of(self.index, self.run)
        text_1D = texts_of(place, [text])
        if self._kept is None or self._kept.version != index.store.version:
            self._kept = None  # both at once would take twice the memory
            self._kept = _Worded.of(index, place)
        kept, within = self._kept, np.arange(len(self._kept.row_N))
        if where is not None:
            allowed = mask(parse(where, [*index.store.columns()]), kept.table)
            within = np.flatnonzero(allowed.to_numpy(zero_copy_only=False)[kept.row_N])
        if not len(within):
            return Answer(text, [], 1.0, True, index.fingerprint)
        image_ND = kept.image_ND if where is None else kept.image_ND[within]
        products, places = nearest_texts(text_1D, image_ND, k)
        hits = [
            Hit(kept.ids[at], kept.paths[at], float(product), index.current)
            for product, at in zip(products[0], within[places[0].numpy()].tolist(), strict=True)
        ]
        return Answer(text, hits, 1.0, True, index.fingerprint)


@dataclass(frozen=True)
class _Worded:
    """Rows of one version of an index in the space of images and texts."""

    version: str
    table: pa.Table
    """All rows, without their vectors."""
    row_N: NDArray[np.int64]
    """(N,) places in it of the rows that are of the index's current space."""
    image_ND: torch.Tensor
    """(N, D) unit vectors."""
    ids: list[str]
    paths: list[str]

    @classmethod
    def of(cls, index: Index, place: Path) -> _Worded:
        """Of the index as it is. Raises InputError where its vectors are of another encoder than the run's."""
        method = with_words(place)
        encoder = cast("Encoder", method.encoders()[method.card.deploy])
        if weights_of(encoder) != index.space.weights:
            raise InputError(
                f"{index.path} holds vectors of {index.space.name} with other weights than those of {place}: name the "
                "run that it was made with, or embed the images again"
            )
        version, table = index.store.version, index.store.table()  # what is written meanwhile is read the next time
        row_N = np.flatnonzero(table["version"].to_numpy() == index.current)
        vectors, norms = index.vectors(index.current), table["norm"].to_numpy()[row_N]
        parts = [
            images_of(place, torch.from_numpy(vectors[at : at + _AT_ONCE] * norms[at : at + _AT_ONCE, None]))
            for at in range(0, len(row_N), _AT_ONCE)
        ]
        ids, paths = (table[name].take(pa.array(row_N)).to_pylist() for name in ("id", "path"))
        return cls(version, table, row_N, torch.cat(parts) if parts else torch.zeros(0, 1), ids, paths)


def _run_of(index: Index, run: str | Path | None) -> Path:
    """The directory of the run that an index was made with. Raises InputError where that is not known."""
    noted = Path(run) if run is not None else index.run()
    if noted is None:
        raise InputError(f"{index.path} does not say which run its encoder is of: name it with --run")
    if not noted.exists():
        raise InputError(f"the run that {index.path} was made with, {noted}, is not there: --run says where it is now")
    return noted
