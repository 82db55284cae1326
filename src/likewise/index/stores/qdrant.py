"""A Qdrant server by its client: `qdrant://host:port/collection`; `qdrant:///folder#collection` is its local mode.

Each space has a collection, `COLLECTION_0` and so on, `COLLECTION_spaces` describes them, and `COLLECTION_kept` holds
encoders and, of an upgrade, the old vectors, as files in parts. Qdrant has no transactions over collections and no
locks: a row that is replaced by one of another space is written there first and then removed here, so that it is found
at every moment; what a crash leaves in both counts as of the newer, and the next writer removes the other. Who writes
is for its users to settle. Searches ask for exact results.
"""

from __future__ import annotations

import base64
import contextlib
import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from likewise.errors import InputError, missing
from likewise.index.space import Space
from likewise.index.stores.kept import Kept, OnServer
from likewise.index.stores.protocol import Hit, Hits, Row, Rows, unit_rows
from likewise.index.stores.remote import facts_of, table_of
from likewise.index.where import Among, Both, Compare, Condition, Either, Like, Not, Null

_ADDRESS = re.compile(
    r"qdrant://(?:(?P<host>[^/:]+)(?::(?P<port>\d+))?/(?P<name>\w+)|(?P<folder>/[^#]+)#(?P<local>\w+))"
)
_AT_ONCE = 1000
_TOGETHER = 256
"""Vectors of a request, which a server takes up to 32 MB of."""
_EXACT = 2**53
"""Largest whole number below which fractions, as ranges have them, hold every one."""
_KINDS: dict[type, pa.DataType] = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


class QdrantStore:
    """Collections of a Qdrant server. Raises InputError without the extra `qdrant`, and where there are none."""

    def __init__(self, address: str, client: Any = None) -> None:
        self.address = address
        self.client, self.name = (client, _name(address)) if client is not None else _connect(address)
        self.local = "#" in address
        """Whether the collections lie in a folder, and not in a server."""
        self.kept: Kept = _KeptInCollection(self.client, self.name, self.where)
        self._writing = 0
        if not self.client.collection_exists(f"{self.name}_spaces"):
            raise InputError(f"there is no collection {self.name} in {address}: `likewise embed --to` makes it")

    @classmethod
    def create(cls, address: str, space: Space) -> QdrantStore:
        """New collections for vectors of `space`. Raises InputError where they exist."""
        from qdrant_client import models

        client, name = _connect(address)
        if client.collection_exists(f"{name}_spaces"):
            raise InputError(f"the collection {name} exists: open it, or choose another name")
        one = models.VectorParams(size=1, distance=models.Distance.DOT)
        client.create_collection(f"{name}_spaces", vectors_config=one)
        made = cls(address, client)
        made.add_space(space)
        return made

    @property
    def where(self) -> str:
        """The address."""
        return self.address

    @property
    def version(self) -> str:
        """Drawn after every change, since Qdrant counts none; kept with the first space."""
        found = self.client.retrieve(f"{self.name}_spaces", [0], with_payload=["version"])
        return str((found[0].payload or {}).get("version", "")) if found else ""

    def _changed(self) -> None:
        """Who looked before has to look again."""
        drawn = {"version": uuid.uuid4().hex}
        self.client.set_payload(f"{self.name}_spaces", drawn, points=[0], wait=True)

    @property
    def spaces(self) -> tuple[Space, ...]:
        """All of them, oldest first."""
        found = sorted(self._scrolled(f"{self.name}_spaces"), key=lambda point: int(point.id))
        return tuple(Space.from_json(point.payload["described"], self.where) for point in found)

    def __len__(self) -> int:
        return sum(self.client.count(self._of(number)).count for number in range(len(self.spaces)))

    def add_space(self, space: Space) -> int:
        """Allow vectors of another space."""
        from qdrant_client import models

        held = [one.fingerprint for one in self.spaces]
        if space.fingerprint in held:
            return held.index(space.fingerprint)
        params = models.VectorParams(size=space.dimensions, distance=models.Distance.COSINE)
        self.client.create_collection(self._of(len(held)), vectors_config=params)
        point = models.PointStruct(id=len(held), vector=[1.0], payload={"described": space.to_json()})
        self.client.upsert(f"{self.name}_spaces", [point], wait=True)
        self._changed()
        return len(held)

    def columns(self) -> dict[str, pa.DataType]:
        """Columns that conditions may name, by the first rows."""
        found: dict[str, pa.DataType] = {}
        for number in range(len(self.spaces)):
            for point in self.client.scroll(self._of(number), limit=_AT_ONCE, with_payload=True)[0]:
                found |= {name: _KINDS[type(one)] for name, one in point.payload.items() if type(one) in _KINDS}
        hidden = {"bytes", "pixels", "stamp", "row", "norm", "version"}
        return {name: kind for name, kind in sorted(found.items()) if name not in hidden}

    def table(self) -> pa.Table:
        """All rows without their vectors."""
        return table_of([point.payload for point in self._rows(vectors=False)], self.columns())

    def vectors(self, space: int | None = None) -> NDArray[np.float32]:
        """(N, D) unit vectors in the order of `table`."""
        rows = [one for one in self._rows(vectors=True) if space is None or one.payload["version"] == space]
        if len({len(one.vector) for one in rows}) > 1:
            raise InputError(f"{self.where} holds vectors of several dimensions: say which space, 0 is the oldest")
        return np.array([one.vector for one in rows], np.float32)

    def row(self, row: str) -> Row | None:
        """The row with this id; None where there is none."""
        for number in reversed(range(len(self.spaces))):
            for point in self.client.retrieve(self._of(number), [_point(row)], with_vectors=True):
                return Row(point.payload["path"], number, np.array(point.vector, np.float32))
        return None

    def held(self) -> tuple[int, ...]:
        """Spaces that rows are of, oldest first."""
        return tuple(number for number in range(len(self.spaces)) if self.client.count(self._of(number)).count)

    def nearest(
        self, queries_QD: NDArray[np.float32], k: int, *, space: int, where: Condition | None, exact: bool
    ) -> Hits:
        """The k rows of a space most similar to each unit query."""
        from qdrant_client import models

        chosen = None if where is None else models.Filter(must=[_filter(where)])
        hits = []
        params = None if self.local else models.SearchParams(exact=True)  # the local mode knows no other search
        for query in queries_QD:
            found = self.client.query_points(
                self._of(space),
                query=query.tolist(),
                limit=k,
                query_filter=chosen,
                search_params=params,
                with_payload=["id", "path"],
            ).points
            hits.append([Hit(one.payload["id"], one.payload["path"], float(one.score), space) for one in found])
        return Hits(hits, True, 1.0)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Qdrant has no locks: nothing is held. What a writer before left in two spaces is settled first."""
        if not self._writing:
            self._settle()
        self._writing += 1
        try:
            yield
        finally:
            self._writing -= 1

    def _settle(self) -> None:
        """Remove rows that are in a newer space as well."""
        held, newer = self.held(), set[Any]()
        for number in reversed(held) if len(held) > 1 else ():
            points = {point.id for point in self._scrolled(self._of(number))}
            if points & newer:
                self._delete(number, [*(points & newer)])
                self._changed()
            newer |= points

    def write(self, rows: Rows, space: int) -> None:
        """Add rows, or replace those of the same id."""
        unit, norms = self._checked(rows.vectors_ND, len(rows), space)
        known = self._known(rows.ids)
        numbers = [known[str(one)]["row"] if str(one) in known else None for one in rows.ids]
        following = 1 + max((point.payload["row"] for point in self._rows(vectors=False)), default=-1)
        payloads = []
        for one, fact, norm, number in zip(rows.ids, facts_of(rows), norms, numbers, strict=True):
            row = following if number is None else number
            following += number is None
            payloads.append({**fact, "id": str(one), "version": space, "norm": float(norm), "row": row})
        self._put(payloads, unit, space)

    def replace(self, ids: Sequence[str], vectors_ND: NDArray[np.floating[Any]], space: int) -> None:
        """Give rows other vectors, keeping all else."""
        unit, norms = self._checked(vectors_ND, len(ids), space)
        known = self._known(ids)
        lost = [str(one) for one in ids if str(one) not in known]
        if lost:
            raise InputError(f"{self.where} has no row {lost[0]!r} to replace: nothing was written")
        pairs = zip(ids, norms, strict=True)
        self._put([{**known[str(one)], "version": space, "norm": float(norm)} for one, norm in pairs], unit, space)

    def remove(self, ids: Sequence[str]) -> None:
        """Take rows out."""
        for number in range(len(self.spaces)):
            self._delete(number, [_point(one) for one in ids])
        self._changed()

    def _put(self, payloads: Sequence[dict[str, Any]], unit_ND: NDArray[np.float32], space: int) -> None:
        from qdrant_client import models

        points = [
            models.PointStruct(id=_point(payload["id"]), vector=vector.tolist(), payload=payload)
            for payload, vector in zip(payloads, unit_ND, strict=True)
        ]
        try:
            for start in range(0, len(points), _TOGETHER):
                self.client.upsert(self._of(space), points[start : start + _TOGETHER], wait=True)
            for number in range(len(self.spaces)):
                if number != space:
                    self._delete(number, [point.id for point in points])
        finally:  # of a part, too
            self._changed()

    def _delete(self, number: int, points: Sequence[Any]) -> None:
        for start in range(0, len(points), _AT_ONCE):
            self.client.delete(self._of(number), [*points[start : start + _AT_ONCE]], wait=True)

    def _of(self, number: int) -> str:
        return f"{self.name}_{number}"

    def _known(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        points = [_point(one) for one in ids]
        found = (self.client.retrieve(self._of(number), points) for number in range(len(self.spaces)))
        return {point.payload["id"]: point.payload for some in found for point in some}

    def _rows(self, *, vectors: bool) -> list[Any]:
        """All rows in their order, each once."""
        held: dict[str, Any] = {}
        for number in range(len(self.spaces)):
            held |= {point.payload["id"]: point for point in self._scrolled(self._of(number), vectors=vectors)}
        return sorted(held.values(), key=lambda point: int(point.payload["row"]))

    def _scrolled(self, collection: str, *, vectors: bool = False) -> list[Any]:
        found: list[Any] = []
        following = None
        while True:
            some, following = self.client.scroll(
                collection, limit=_AT_ONCE, offset=following, with_payload=True, with_vectors=vectors
            )
            found += some
            if following is None:
                return found

    def _checked(
        self, vectors: NDArray[np.floating[Any]], count: int, space: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        unit, norms = unit_rows(vectors, self.where)
        dimensions = self.spaces[space].dimensions
        if unit.shape != (count, dimensions):
            raise InputError(f"{self.where} holds vectors of {dimensions} dimensions, and was given {unit.shape}")
        return unit, norms


class _KeptInCollection(OnServer):
    """Files in a collection of their own. The point of a name says which parts are its file, and is written last."""

    def __init__(self, client: Any, name: str, where: str) -> None:
        super().__init__(where)
        self._client, self._collection = client, f"{name}_kept"

    def replace(self, name: str, parts: Iterable[bytes]) -> None:
        """As `OnServer.replace`."""
        from qdrant_client import models

        if not self._client.collection_exists(self._collection):
            one = models.VectorParams(size=1, distance=models.Distance.DOT)
            self._client.create_collection(self._collection, vectors_config=one)
        before, fresh = self._named(name), []
        for content in parts:
            fresh.append(str(uuid.uuid4()))
            self._upsert(fresh[-1], {"content": base64.b64encode(content).decode()})
        self._upsert(_point(name), {"parts": fresh})
        if before:
            self._client.delete(self._collection, before, wait=True)

    def parts(self, name: str) -> Iterator[bytes]:
        """As `OnServer.parts`."""
        for part in self._named(name) or ():
            yield base64.b64decode(self._client.retrieve(self._collection, [part])[0].payload["content"])

    def has(self, name: str) -> bool:
        """As `Kept.has`."""
        return self._named(name) is not None

    def drop(self, name: str) -> None:
        """As `Kept.drop`."""
        before = self._named(name)
        if before is not None:
            self._client.delete(self._collection, [_point(name)], wait=True)
            if before:
                self._client.delete(self._collection, before, wait=True)

    def _named(self, name: str) -> list[str] | None:
        """The points of a file's parts, in their order; None where there is no such file."""
        if not self._client.collection_exists(self._collection):
            return None
        found = self._client.retrieve(self._collection, [_point(name)])
        return list(found[0].payload["parts"]) if found else None

    def _upsert(self, point: str, payload: dict[str, Any]) -> None:
        from qdrant_client import models

        self._client.upsert(self._collection, [models.PointStruct(id=point, vector=[1.0], payload=payload)], wait=True)


def _point(one: object) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, str(one)))


def _name(address: str) -> str:
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise InputError(f"{address!r}: write qdrant://host:6333/collection or qdrant:///folder#collection")
    return str(found["name"] or found["local"])


def _connect(address: str) -> tuple[Any, str]:
    try:
        from qdrant_client import QdrantClient
    except ImportError as error:
        raise missing("qdrant-client", "qdrant", "an index in Qdrant") from error
    name, found = _name(address), _ADDRESS.fullmatch(address)
    assert found is not None
    try:
        if found["folder"]:
            return QdrantClient(path=found["folder"]), name
        client = QdrantClient(host=found["host"], port=int(found["port"] or 6333), timeout=30)
        client.get_collections()
    except Exception as error:  # the client raises what its transport does, of many kinds
        raise InputError(f"{address} cannot be used: {' '.join(str(error).split())[:160]}") from error
    return client, name


def _filter(condition: Condition) -> Any:
    """A condition as Qdrant has it. A column without a value meets none but `is null`."""
    from qdrant_client import models

    if isinstance(condition, Both | Either):
        parts = [_filter(part) for part in condition.of]
        return models.Filter(must=parts) if isinstance(condition, Both) else models.Filter(should=parts)
    if isinstance(condition, Not):
        return _contrary(condition.of)
    if isinstance(condition, Null):
        return _null(condition.column)
    if isinstance(condition, Like):
        raise InputError("Qdrant has no like: use = or in")
    if isinstance(condition, Among):
        return _filter(Either(tuple(Compare(condition.column, "=", value) for value in condition.values)))
    if condition.sign == "!=":
        return _filter(Not(Compare(condition.column, "=", condition.value)))
    return _compared(condition)


def _contrary(condition: Condition) -> Any:
    """Not this condition, as SQL has it: a column without a value meets neither a test nor its contrary."""
    from qdrant_client import models

    if isinstance(condition, Both | Either):
        parts = tuple(Not(part) for part in condition.of)
        return _filter(Either(parts) if isinstance(condition, Both) else Both(parts))
    if isinstance(condition, Not):
        return _filter(condition.of)
    there = [] if isinstance(condition, Null) else [_null(condition.column)]
    return models.Filter(must_not=[_filter(condition), *there])


def _compared(condition: Compare) -> Any:
    """A comparison by anything but !=. Numbers are compared by ranges, since 2 does not match 2.0 in Qdrant."""
    from qdrant_client import models

    given = condition.value
    matched = not isinstance(given, float) and (isinstance(given, str | bool) or abs(given) > _EXACT)
    if condition.sign == "=" and matched:
        assert not isinstance(given, float)
        return models.FieldCondition(key=condition.column, match=models.MatchValue(value=given))
    if isinstance(given, str | bool):
        raise InputError(f"Qdrant compares texts by = and in alone, not by {condition.sign}")
    value = float(given)
    bounds = {"<": {"lt": value}, "<=": {"lte": value}, ">": {"gt": value}, ">=": {"gte": value}}
    chosen = bounds.get(condition.sign, {"gte": value, "lte": value})
    return models.FieldCondition(key=condition.column, range=models.Range(**chosen))


def _null(column: str) -> Any:
    from qdrant_client import models

    return models.IsEmptyCondition(is_empty=models.PayloadField(key=column))  # none, or none ever given
