"""PostgreSQL with pgvector: `postgresql://user@host/database#table`.

One table holds the rows, with what varies in a JSON column; a second one, `TABLE_spaces`, their spaces; a third one,
`TABLE_kept`, encoders and, of an upgrade, the old vectors, as files in parts. A change is one transaction, and a writer
holds an advisory lock. Search compares all rows (pgvector without an index), so it is exact; an HNSW index that the
owner of the database makes is used by the server as it sees fit. Where the server has dropped the connection, such as
by being started anew, the next command makes another (`database.Database`).
"""

from __future__ import annotations

import contextlib
import json
import re
import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from likewise.errors import InputError, LikewiseError
from likewise.index.space import Space
from likewise.index.stores.database import Database
from likewise.index.stores.kept import Kept, OnServer
from likewise.index.stores.protocol import Hit, Hits, Row, Rows, unit_rows
from likewise.index.stores.remote import facts_of, table_of
from likewise.index.where import Among, Both, Compare, Condition, Either, Like, Not, Null

_KINDS = {"string": pa.string(), "number": pa.float64(), "boolean": pa.bool_()}


class PostgresStore:
    """A table of a PostgreSQL database. Raises InputError without the extra `postgres`, or where it is not there."""

    def __init__(self, address: str) -> None:
        self.address, self.name = _parts(address)
        self._database = Database(self.address)
        self.kept: Kept = _KeptInTable(self._database, self.name, self.where)
        weakref.finalize(self, self._database.close)
        if not self._one("SELECT to_regclass(%s) IS NOT NULL", (f"{self.name}_spaces",)):
            raise InputError(f"there is no table {self.name} in {self.where}: `likewise embed --to` makes it")

    @classmethod
    def create(cls, address: str, space: Space) -> PostgresStore:
        """New tables for vectors of `space`. Raises InputError where they exist."""
        plain, name = _parts(address)
        with contextlib.closing(Database(plain)) as database, database.changing() as connection:
            if connection.execute("SELECT to_regclass(%s) IS NOT NULL", (f"{name}_spaces",)).fetchone()[0]:
                raise InputError(f"the table {name} exists: open it, or choose another name")
            connection.execute(f"CREATE TABLE {name}_spaces (number int PRIMARY KEY, fingerprint text, described text)")
            connection.execute(
                f"CREATE TABLE {name} (row bigserial PRIMARY KEY, id text UNIQUE NOT NULL, version int NOT NULL, "
                "norm real NOT NULL, facts jsonb NOT NULL, vector vector NOT NULL)"
            )
            connection.execute(
                f"INSERT INTO {name}_spaces VALUES (0, %s, %s)",
                (space.fingerprint, space.to_json()),
            )
        return cls(address)

    @property
    def where(self) -> str:
        """The address without a password."""
        return f"{self._database.where}#{self.name}"

    @property
    def version(self) -> str:
        """Transactions of the server that have ended, and those under way: another with every change."""
        return str(self._one("SELECT txid_current_snapshot()::text"))

    @property
    def spaces(self) -> tuple[Space, ...]:
        """All of them, oldest first."""
        rows = self._all(f"SELECT described FROM {self.name}_spaces ORDER BY number")
        return tuple(Space.from_json(row[0], self.where) for row in rows)

    def __len__(self) -> int:
        return int(self._one(f"SELECT count(*) FROM {self.name}"))

    def columns(self) -> dict[str, pa.DataType]:
        """Columns that conditions may name."""
        query = f"SELECT DISTINCT key, jsonb_typeof(value) FROM {self.name}, jsonb_each(facts)"
        found = {key: _KINDS[kind] for key, kind in self._all(query) if kind in _KINDS}
        hidden = {"bytes", "pixels", "stamp"}
        return {"id": pa.string(), **{name: kind for name, kind in sorted(found.items()) if name not in hidden}}

    def table(self) -> pa.Table:
        """All rows without their vectors."""
        rows = self._all(f"SELECT id, version, norm, facts FROM {self.name} ORDER BY row")
        return table_of(
            [{**facts, "id": id_, "version": version, "norm": norm} for id_, version, norm, facts in rows],
            self.columns(),
        )

    def vectors(self, space: int | None = None) -> NDArray[np.float32]:
        """(N, D) unit vectors in the order of `table`."""
        chosen = "" if space is None else " WHERE version = %s"
        rows = self._all(f"SELECT vector FROM {self.name}{chosen} ORDER BY row", () if space is None else (space,))
        if len({len(row[0].to_list()) for row in rows}) > 1:
            raise InputError(f"{self.where} holds vectors of several dimensions: say which space, 0 is the oldest")
        return np.array([row[0].to_list() for row in rows], np.float32)

    def row(self, row: str) -> Row | None:
        """The row with this id; None where there is none."""
        found = self._all(f"SELECT facts->>'path', version, vector FROM {self.name} WHERE id = %s", (row,))
        return Row(found[0][0] or "", found[0][1], np.array(found[0][2].to_list(), np.float32)) if found else None

    def held(self) -> tuple[int, ...]:
        """Spaces that rows are of, oldest first."""
        return tuple(row[0] for row in self._all(f"SELECT DISTINCT version FROM {self.name} ORDER BY version"))

    def nearest(
        self, queries_QD: NDArray[np.float32], k: int, *, space: int, where: Condition | None, exact: bool
    ) -> Hits:
        """The k rows of a space most similar to each unit query."""
        from pgvector import Vector

        condition, values = _sql(where) if where is not None else ("TRUE", [])
        dimensions = self.spaces[space].dimensions
        query = (
            f"SELECT id, facts->>'path', 1 - (vector::vector({dimensions}) <=> %s), version FROM {self.name} "
            f"WHERE version = %s AND ({condition}) ORDER BY 3 DESC, row LIMIT %s"
        )
        hits = [
            [Hit(id_, path or "", float(value), version) for id_, path, value, version in self._all(query, given)]
            for given in ((Vector(one), space, *values, k) for one in queries_QD)
        ]
        return Hits(hits, True, 1.0)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only writer. Raises InputError where another is."""
        if not self._one("SELECT pg_try_advisory_lock(hashtext(%s))", (self.name,)):
            raise InputError(f"another process is busy with {self.where}: only one at a time writes to it")
        self._database.locks += 1
        try:
            yield
        finally:
            self._database.locks -= 1
            with contextlib.suppress(LikewiseError):  # a connection that is lost has taken its locks with it
                self._one("SELECT pg_advisory_unlock(hashtext(%s))", (self.name,))

    def add_space(self, space: Space) -> int:
        """Allow vectors of another space."""
        held = [one.fingerprint for one in self.spaces]
        if space.fingerprint in held:
            return held.index(space.fingerprint)
        insert = f"INSERT INTO {self.name}_spaces VALUES (%s, %s, %s)"
        with self._database.changing() as connection:
            connection.execute(insert, (len(held), space.fingerprint, space.to_json()))
        return len(held)

    def write(self, rows: Rows, space: int) -> None:
        """Add rows, or replace those of the same id, all or none."""
        from pgvector import Vector

        unit, norms = self._checked(rows.vectors_ND, len(rows), space)
        query = (
            f"INSERT INTO {self.name} (id, version, norm, facts, vector) VALUES (%s, %s, %s, %s, %s) "
            "ON CONFLICT (id) DO UPDATE SET version = excluded.version, norm = excluded.norm, facts = excluded.facts, "
            "vector = excluded.vector"
        )
        facts = facts_of(rows)
        given = [
            (str(one), space, float(norm), json.dumps(fact), Vector(vector))
            for one, norm, fact, vector in zip(rows.ids, norms, facts, unit, strict=True)
        ]
        with self._database.changing() as connection, connection.cursor() as cursor:
            cursor.executemany(query, given)

    def replace(self, ids: Sequence[str], vectors_ND: NDArray[np.floating[Any]], space: int) -> None:
        """Give rows other vectors, keeping all else."""
        from pgvector import Vector

        unit, norms = self._checked(vectors_ND, len(ids), space)
        known = {row[0] for row in self._all(f"SELECT id FROM {self.name} WHERE id = ANY(%s)", (list(map(str, ids)),))}
        lost = [one for one in ids if str(one) not in known]
        if lost:
            raise InputError(f"{self.where} has no row {str(lost[0])!r} to replace: nothing was written")
        query = f"UPDATE {self.name} SET version = %s, norm = %s, vector = %s WHERE id = %s"
        given = [
            (space, float(norm), Vector(vector), str(one)) for one, norm, vector in zip(ids, norms, unit, strict=True)
        ]
        with self._database.changing() as connection, connection.cursor() as cursor:
            cursor.executemany(query, given)

    def remove(self, ids: Sequence[str]) -> None:
        """Take rows out."""
        with self._database.changing() as connection:
            connection.execute(f"DELETE FROM {self.name} WHERE id = ANY(%s)", (list(map(str, ids)),))

    def _checked(
        self, vectors: NDArray[np.floating[Any]], count: int, space: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        unit, norms = unit_rows(vectors, self.where)
        dimensions = self.spaces[space].dimensions
        if unit.shape != (count, dimensions):
            raise InputError(f"{self.where} holds vectors of {dimensions} dimensions, and was given {unit.shape}")
        return unit, norms

    def _all(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        return self._database.read(query, values)

    def _one(self, query: str, values: Sequence[Any] = ()) -> Any:
        return self._all(query, values)[0][0]


class _KeptInTable(OnServer):
    """Files in a table of their own, which is made with the first of them."""

    def __init__(self, database: Database, name: str, where: str) -> None:
        super().__init__(where)
        self._database, self._table = database, f"{name}_kept"

    def replace(self, name: str, parts: Iterable[bytes]) -> None:
        """As `OnServer.replace`, in one transaction."""
        with self._database.changing() as connection:
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {self._table} "
                "(name text, part int, content bytea NOT NULL, PRIMARY KEY (name, part))"
            )
            connection.execute(f"DELETE FROM {self._table} WHERE name = %s", (name,))
            for part, content in enumerate(parts):
                connection.execute(f"INSERT INTO {self._table} VALUES (%s, %s, %s)", (name, part, content))

    def parts(self, name: str) -> Iterator[bytes]:
        """As `OnServer.parts`."""
        query = f"SELECT content FROM {self._table} WHERE name = %s AND part = %s"
        part = 0
        while found := self._database.read(query, (name, part)):
            yield bytes(found[0][0])
            part += 1

    def has(self, name: str) -> bool:
        """As `Kept.has`."""
        query = f"SELECT 1 FROM {self._table} WHERE name = %s LIMIT 1"
        return self._made() and bool(self._database.read(query, (name,)))

    def drop(self, name: str) -> None:
        """As `Kept.drop`."""
        if self._made():
            with self._database.changing() as connection:
                connection.execute(f"DELETE FROM {self._table} WHERE name = %s", (name,))

    def _made(self) -> bool:
        return bool(self._database.read("SELECT to_regclass(%s) IS NOT NULL", (self._table,))[0][0])


def _parts(address: str) -> tuple[str, str]:
    """Address of the database, and name of the table. Raises InputError for a name that is none."""
    plain, _, name = address.partition("#")
    name = name or "images"
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,50}", name):
        raise InputError(f"{name!r} is no name for a table: small letters, digits and _ are")
    return plain, name


def _sql(condition: Condition) -> tuple[str, list[Any]]:
    """A condition as SQL with places for its values, which never become part of the text."""
    if isinstance(condition, Both | Either):
        parts = [_sql(part) for part in condition.of]
        word = " AND " if isinstance(condition, Both) else " OR "
        return "(" + word.join(text for text, _ in parts) + ")", [one for _, values in parts for one in values]
    if isinstance(condition, Not):
        text, values = _sql(condition.of)
        return f"(NOT {text})", values
    if isinstance(condition, Null):
        column, name = _column(condition.column, "")
        return f"({column} IS NULL)", name
    if isinstance(condition, Like):
        column, name = _column(condition.column, "")
        return f"({column} LIKE %s)", [*name, condition.pattern]
    if isinstance(condition, Among):
        parts = [_sql(Compare(condition.column, "=", value)) for value in condition.values]
        return "(" + " OR ".join(text for text, _ in parts) + ")", [one for _, values in parts for one in values]
    column, name = _column(condition.column, condition.value)
    sign = {"!=": "<>"}.get(condition.sign, condition.sign)
    return f"({column} {sign} %s)", [*name, condition.value]


def _column(name: str, value: Any) -> tuple[str, list[str]]:
    if name == "id":
        return "id", []
    cast = "::boolean" if isinstance(value, bool) else "::double precision" if isinstance(value, int | float) else ""
    return f"(facts->>%s){cast}", [name]
