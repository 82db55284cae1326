"""Shared parts of the stores on servers: rows as plain dictionaries, and search without a lock of our own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from likewise.errors import InputError
from likewise.index.stores.columns import column
from likewise.index.stores.protocol import OWN, Rows


def facts_of(rows: Rows) -> list[dict[str, Any]]:
    """What is stored of each row beside id, version, norm and vector. Raises InputError for columns that do not fit."""
    if len(set(map(str, rows.ids))) < len(rows):
        raise InputError("an id is given twice: nothing was written")
    held: dict[str, Sequence[Any]] = {name: rows.facts.get(name) or [""] * len(rows) for name in OWN}
    columns = {name: column(name, values, len(rows)).to_pylist() for name, values in rows.columns.items()}
    held |= {name: [_plain(one) for one in values] for name, values in columns.items()}
    return [dict(zip(held, values, strict=True)) for values in zip(*held.values(), strict=True)]


def table_of(rows: Sequence[Mapping[str, Any]], kinds: Mapping[str, pa.DataType]) -> pa.Table:
    """Rows as a table: id, facts, version, norm, and columns."""
    base = {"version": pa.int32(), "norm": pa.float32(), "id": pa.string(), **dict.fromkeys(OWN, pa.string())}
    names = {**base, **{name: kind for name, kind in kinds.items() if name not in base}}
    return pa.table({name: _array([row.get(name) for row in rows], kind) for name, kind in names.items()})


def _plain(value: Any) -> Any:
    """A value as JSON has it: dates and other kinds as text, none for what is no number."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, str | int) else str(value)


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Values of a kind; numbers that are all whole as whole numbers, of which fractions hold not all."""
    if not pa.types.is_floating(kind):
        return pa.array(values, kind)
    if {type(one) for one in values if one is not None} == {int}:
        return pa.array(values, pa.int64())
    return pa.array([None if one is None else float(one) for one in values], kind)
