"""Columns of rows as Arrow types: permitted names, and kinds that fit together."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from likewise.errors import InputError
from likewise.index.stores.protocol import RESERVED


def column(name: str, values: Any, count: int) -> pa.Array:
    """A column as Arrow has it."""
    if name in RESERVED or not name.isidentifier():
        raise InputError(
            f"{name!r} is no name for a column: letters, digits and _ are, but {', '.join(sorted(RESERVED))}"
        )
    try:
        made = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InputError(f"column {name!r} holds values of several kinds: {error}") from error
    if len(made) != count:
        raise InputError(f"column {name!r} has {len(made)} values for {count} rows")
    return made.cast(pa.string()) if pa.types.is_null(made.type) else made


def schema_of(base: pa.Schema, table: pa.Table) -> pa.Schema:
    """The fields of `base`, then those that only `table` has."""
    return pa.schema([*base, *(field for field in table.schema if field.name not in base.names)])


def fitting(values: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    """Values as the kind of a field. Raises InputError where they are none of it."""
    try:
        return pc.cast(values, field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"column {field.name!r} holds {field.type}, and {values.type} was given") from error
