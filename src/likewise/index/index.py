"""Vectors of images, searchable: what `open_index` and `create` return.

Shapes: N rows, D dimensions, Q queries.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from likewise.data import cached_side, open_source
from likewise.data.decoding.pixels import Range
from likewise.data.decoding.ranges import Spans
from likewise.encoders import Encoder
from likewise.encoders.embedding import rows as rows_of
from likewise.encoders.embedding import view_of
from likewise.errors import InputError
from likewise.index import encoders
from likewise.index.embedding.streaming import Stream
from likewise.index.space import Space
from likewise.index.stores.addresses import is_address, remote
from likewise.index.stores.columns import as_numpy
from likewise.index.stores.local import LocalStore
from likewise.index.stores.protocol import RESERVED, Hit, Hits, Row, Rows, Store, unit_rows
from likewise.index.where import parse

Address = str | Path
_TIMES = 5
"""Searches at most of an index whose spaces change meanwhile."""
MOST = 10_000
"""Neighbours that can be asked for."""


def create(path: Address, space: Space, *, encoder: Encoder | None = None, dtype: str = "float32") -> Index:
    """A new, empty index for vectors of `space`, with a copy of the `encoder` that makes them, so that it takes images.

    `path` is a folder that does not exist yet, or the address of a server (`open_index`). `dtype` is float32, or
    float16 for half the bytes and similarities that are right to about 0.001. Raises InputError where it exists.
    """
    there = remote(str(path), space)  # one without rows counts as false
    made = Index(LocalStore.create(Path(path), space, dtype=dtype) if there is None else there)
    if encoder is not None:
        made.keep_encoder(encoder, 0)
    return made


def open_index(path: Address) -> Index:
    """The index at `path`: a folder, `postgresql://.../database#table`, or `qdrant://host:port/collection`.

    Raises InputError, in one line, where there is none, where it is damaged, and where it is of a newer format.
    """
    there = remote(str(path), None)
    return Index(LocalStore(Path(path)) if there is None else there)


def is_index(path: Address) -> bool:
    """Whether `path` names an index, whole or not."""
    return is_address(path) or (Path(path) / "manifest.json").is_file() or str(path).endswith(".index")


class Index:
    """Rows of id, path, columns and a vector each, all in one embedding space, or in several while it is upgraded."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._encoders: dict[str, Encoder] = {}
        """By the fingerprint of their space: another index may come in the place of this one."""
        self._samples: dict[int, tuple[str, NDArray[np.float32]]] = {}
        """Of spaces that are not compared with each other: version of the index, and some vectors."""
        self._embedding = threading.Lock()

    def __len__(self) -> int:
        return len(self.store)

    def __repr__(self) -> str:
        return f"Index({self.store.where}, {len(self):,} rows)"

    # What it holds ---------------------------------------------------------------------------------------------

    @property
    def path(self) -> str:
        """Folder or address."""
        return self.store.where

    @property
    def spaces(self) -> tuple[Space, ...]:
        """All spaces that vectors are or were of, oldest first; a row's `version` is a place in it."""
        return self.store.spaces

    @property
    def space(self) -> Space:
        """The space that queries are of (`current`)."""
        return self.spaces[self.current]

    @property
    def current(self) -> int:
        """Number of the newest space that a row is of; while there are no rows, of the newest.

        So it is the old one before the first vector of an upgrade, and after a rollback of it.
        """
        held = self.held_spaces()
        return held[-1] if held else len(self.spaces) - 1

    @property
    def fingerprint(self) -> str:
        """Of that space."""
        return self.space.fingerprint

    @property
    def ids(self) -> list[str]:
        """(N,) in the order that rows were added, which a replaced vector does not change."""
        return list(self.store.table()["id"].to_pylist())

    @property
    def paths(self) -> list[str]:
        """(N,) where the image of each row is; empty where that is not known."""
        return list(self.store.table()["path"].to_pylist())

    @property
    def versions(self) -> NDArray[np.int64]:
        """(N,) number of the space that each vector is of."""
        return np.asarray(self.store.table()["version"].to_numpy(), np.int64)

    @property
    def norms(self) -> NDArray[np.float32]:
        """(N,) length that each vector had before it was brought to length 1."""
        return np.asarray(self.store.table()["norm"].to_numpy(), np.float32)

    @property
    def columns(self) -> dict[str, NDArray[Any]]:
        """(N,) of each column beside id and path, by name; None, and NaN among fractions, where a row has no value."""
        table = self.store.table()
        return {name: as_numpy(table[name]) for name in table.column_names if name not in RESERVED}

    def vectors(self, space: int | None = None) -> NDArray[np.float32]:
        """(N, D) unit vectors in the order of `ids`, memory-mapped where all lie in one file; not to be written to.

        `space` takes only rows of that version. Raises InputError where spaces differ in dimensions and none is named.
        """
        return self.store.vectors(space)

    def row(self, row: str) -> Row | None:
        """Path, version and unit vector of the row with this id; None where there is none."""
        return self.store.row(row)

    # Search ----------------------------------------------------------------------------------------------------

    def search(
        self,
        queries: Any,
        k: int = 10,
        *,
        where: str | None = None,
        exact: bool = False,
        space: int | None = None,
    ) -> Hits:
        """The `k` rows most similar to each query by cosine, nearest first.

        `queries` are vectors (Q, D) or (D,) of `space`, by default the current; or images, in any form that `train`
        takes (a path, a PIL image, a list of them), which are embedded as the rows were. `where` is a condition on
        columns (`likewise.index.where`). A search by a graph is used where there is one, its recall is stated in what
        is returned, and `exact` and `where` do without. While an index holds vectors of several spaces all of them are
        searched: vectors of an older space with the same query where the newer is compatible with it, else with the
        query embedded by each space's own encoder, and by how far each similarity stands out in its own space. Where
        `space` is named, only what is comparable with it is searched: not `exact` then, and `recall` is at most the
        share of rows that were compared.

        Raises InputError for `k` outside 1 to 10,000, for conditions and queries that do not fit.
        """
        if not 1 <= k <= MOST:
            raise InputError(f"k={k} neighbours: allowed are 1 to {MOST:,}")
        condition = None if where is None else parse(where, [*self.store.columns()])
        held = self.held_spaces()
        for _ in range(_TIMES):
            by_space = self._queries(queries, held, space) if held else {}
            parts = {
                number: self.store.nearest(query_QD, k, space=number, where=condition, exact=exact)
                for number, query_QD in by_space.items()
            }
            if (now := self.held_spaces()) == held:
                break
            held = now  # on a server rows may have gone to a space that was not looked at
        if not parts:
            return Hits([[] for _ in range(self._count(queries))], True, 1.0)
        found = next(iter(parts.values())) if len(parts) == 1 else self._united(parts, by_space, k)
        if len(parts) == len(held):
            return found
        share = float(np.isin(self.versions, [*parts]).mean())
        return Hits(found.hits, False, share * (1.0 if found.recall is None else found.recall))

    def held_spaces(self) -> list[int]:
        """Numbers of the spaces that rows are of now, oldest first."""
        return [*self.store.held()]

    def embed(self, images: Any, space: int | None = None) -> NDArray[np.float32]:
        """(Q, D) unit vectors of images, by the encoder that the index keeps. Raises InputError where it has none."""
        number = self.current if space is None else space
        encoder = self.encoder(number)
        source = open_source([images] if isinstance(images, Image.Image | Path) else images)
        if ranges := self.ranges(number):  # as the rows are shown, also what holds but a corner of their range
            source = source.shown_by(ranges)
            source = replace(source, spans=(source.spans or Spans(dict)).settled(ranges))
        view = view_of(encoder.spec)
        with Stream(source, cached_side(view.size)) as stream, self._embedding:
            found = [rows.float().cpu() for _, rows in rows_of(encoder, stream, np.arange(len(source)), view)]
        if stream.broken:
            first = min(stream.broken.items())[1]
            raise InputError(f"{first.name} cannot be read: {first.reason}")
        return unit_rows(torch.cat(found).numpy(), "the query")[0]

    def encoder(self, space: int | None = None) -> Encoder:
        """The encoder of a space, by default the current. Raises InputError where it is gone or was never given."""
        number = self.current if space is None else space
        wanted = self.spaces[number]
        if wanted.fingerprint not in self._encoders:
            self._encoders[wanted.fingerprint] = encoders.load(self.store.kept, number, wanted, self.path)
        return self._encoders[wanted.fingerprint]

    def keep_encoder(self, encoder: Encoder, space: int, run: Path | None = None) -> None:
        """Keep a copy of the encoder of a space in the index, and the name of its run, where that is a folder."""
        encoders.keep(encoder, self.store.kept, space, run)
        self._encoders[self.spaces[space].fingerprint] = encoder

    def run(self, space: int | None = None) -> Path | None:
        """Where the run lay that a space's encoder is of; None where that is not known."""
        return encoders.run_of(self.store.kept, self.current if space is None else space)

    def ranges(self, space: int) -> dict[str, Range]:
        """What was black and white, by unit, in images of more than 8 bits that rows of a space were made of."""
        return encoders.ranges_of(self.store.kept, space)

    def keep_ranges(self, ranges: Mapping[str, Range], space: int) -> None:
        """Keep these beside what is known of other units, so that queries are shown alike."""
        encoders.keep_ranges(ranges, self.store.kept, space)

    def _count(self, queries: Any) -> int:
        if (vectors := _as_vectors(queries)) is not None:
            return len(vectors)
        return len(queries) if isinstance(queries, list | tuple) else 1

    def _queries(self, queries: Any, held: Sequence[int], space: int | None) -> dict[int, NDArray[np.float32]]:
        """The queries as each of the spaces wants them."""
        if (vectors := _as_vectors(queries)) is None:
            return self._image_queries(queries, held)
        number, spaces = self.current if space is None else space, self.spaces
        if not 0 <= number < len(spaces):
            raise InputError(f"space {number} of {self.path}: allowed are 0 to {len(spaces) - 1}")
        wanted = spaces[number]
        if vectors.shape[1] != wanted.dimensions:
            raise InputError(
                f"a query of {vectors.shape[1]} dimensions: {self.path} holds vectors of {wanted.dimensions}"
            )
        unit_QD = unit_rows(vectors, "the query")[0]
        reached = [one for one in held if self._alike(wanted, spaces[one])]
        if len(reached) < len(held) and space is None:
            raise InputError(
                f"{self.path} holds vectors of {len(held)} spaces that are not compatible: search with an image, or "
                "name the space that the query is of"
            )
        return dict.fromkeys(reached, unit_QD)

    def comparable(self, space: int) -> bool:
        """Whether vectors of this space can be compared with those of all rows."""
        return all(self._alike(self.spaces[space], self.spaces[one]) for one in self.held_spaces())

    def _alike(self, one: Space, other: Space) -> bool:
        return one.fingerprint == other.fingerprint or self._compatible(one, other) or self._compatible(other, one)

    @staticmethod
    def _compatible(newer: Space, older: Space) -> bool:
        return older.fingerprint in newer.compatible and older.dimensions == newer.dimensions

    def _image_queries(self, images: Any, held: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        newest = self.current
        new_QD = self.embed(images, newest)
        return {
            one: new_QD
            if one == newest or self._compatible(self.spaces[newest], self.spaces[one])
            else self.embed(images, one)
            for one in held
        }

    def _united(self, parts: Mapping[int, Hits], queries: Mapping[int, NDArray[np.float32]], k: int) -> Hits:
        """One list of the hits in several spaces; a row that went from one to the next meanwhile is of the newer."""
        comparable = len({id(query) for query in queries.values()}) == 1
        scales = {} if comparable else {number: self._scale(number, queries[number]) for number in parts}

        def standing(hit: Hit, at: int) -> float:
            if comparable:
                return hit.similarity
            middle_Q, width_Q = scales[hit.version]
            return float((hit.similarity - middle_Q[at]) / width_Q[at])

        hits = []
        for at, lists in enumerate(zip(*(part.hits for part in parts.values()), strict=True)):
            every = {hit.id: hit for one in lists for hit in one}.values()
            hits.append(sorted(every, key=partial(standing, at=at), reverse=True)[:k])
        recalls = [part.recall for part in parts.values() if part.recall is not None]
        return Hits(hits, all(part.exact for part in parts.values()), min(recalls) if recalls else None)

    def _scale(self, number: int, queries_QD: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
        """(Q,) mean and deviation of each query's similarities to a sample of the vectors of a space."""
        version = self.store.version
        if number not in self._samples or self._samples[number][0] != version:
            vectors = self.vectors(number)
            self._samples[number] = version, np.array(vectors[:: max(1, len(vectors) // 1000)])
        values_QS = queries_QD @ self._samples[number][1].T
        if not values_QS.shape[1]:  # its last rows have just gone to another space
            return np.zeros(len(queries_QD)), np.ones(len(queries_QD))
        return values_QS.mean(1), np.maximum(values_QS.std(1), 1e-6)

    # Writing ---------------------------------------------------------------------------------------------------

    def writing(self) -> AbstractContextManager[None]:
        """Be the only writer over several changes. Raises InputError where another is."""
        return self.store.writing()

    def append(
        self,
        ids: Sequence[str],
        vectors: NDArray[np.floating[Any]],
        *,
        space: Space | None = None,
        paths: Sequence[str] | None = None,
        columns: Mapping[str, Any] | None = None,
    ) -> None:
        """Add rows, or replace those of the same id; all or none, and on the disk when this returns.

        `vectors` are (N, D), of `space`, which has to be a space of the index (`Space.check`); by default they are
        taken to be of its current. The first rows decide which columns there are. Raises InputError for what does not
        fit and where another process writes; DiskFull, with the index as it was.
        """
        facts = {} if paths is None else {"path": [str(path) for path in paths]}
        for name, values in {"ids": ids, "paths": paths}.items():
            if values is not None and len(values) != len(vectors):
                raise InputError(f"{len(vectors)} vectors and {len(values)} {name}: one each")
        with self.store.writing():
            number = self.current if space is None else self.number_of(space)
            self.store.write(Rows(ids=ids, vectors_ND=vectors, facts=facts, columns=columns or {}), number)

    def number_of(self, space: Space) -> int:
        """Which of its spaces `space` is. Raises InputError, which says what differs, where it is none of them."""
        for number, one in enumerate(self.spaces):
            if not one.differences(space):
                return number
        self.space.check(space, self.path)
        raise AssertionError("a space that differs from none of these is one of them")

    def replace(
        self, ids: Sequence[str], vectors: NDArray[np.floating[Any]], space: Space, *, encoder: Encoder | None = None
    ) -> None:
        """Give rows vectors of `space`, which may be new here, keeping ids, paths and columns; all or none.

        This is the only way for vectors of a second space into an index. Where the new space is compatible with the
        old (`Space.following`), a query of the new one is compared with both. Raises InputError as `append` does, and
        for ids that are not there.
        """
        with self.store.writing():
            fresh = space.fingerprint not in {one.fingerprint for one in self.spaces}
            number = self.store.add_space(space)
            if not fresh:
                self.spaces[number].check(space, self.path)
            if encoder is not None and space.fingerprint not in self._encoders and space.encoder is None:
                self.keep_encoder(encoder, number)
            self.store.replace(ids, vectors, number)

    def remove(self, ids: Sequence[str]) -> None:
        """Take rows out; ids that are not there are passed over."""
        with self.store.writing():
            self.store.remove(ids)

    def compact(self) -> None:
        """Give back the room of what was replaced and removed."""
        if isinstance(self.store, LocalStore):
            self.store.compact()

    def refresh(self) -> bool:
        """Look at the newest version of a folder, which another process may have changed; whether it is another."""
        return self.store.refresh() if isinstance(self.store, LocalStore) else False


def _as_vectors(queries: Any) -> NDArray[np.float32] | None:
    """Queries that are vectors, (Q, D); None for images. Arrays of three axes and more, and of bytes, are images."""
    if hasattr(queries, "detach"):
        queries = queries.detach().cpu().float().numpy()
    if isinstance(queries, np.ndarray) and queries.dtype.kind == "f" and queries.ndim <= 2:
        return np.atleast_2d(queries).astype(np.float32, copy=False)
    return None
