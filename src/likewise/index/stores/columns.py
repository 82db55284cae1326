"""Columns of rows as Arrow types: permitted names, and kinds that fit together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

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
    if pa.types.is_dictionary(made.type):  # rows are appended as a stream, which has no place for its words
        made = made.cast(made.type.value_type)
    if "dictionary<" in str(made.type):
        raise InputError(f"column {name!r} holds {made.type}, which rows cannot: take its values as they are")
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


def as_numpy(values: pa.ChunkedArray) -> NDArray[Any]:
    """A column as NumPy has it; of whole numbers, where some are missing, objects: not fractions that are rounded."""
    if values.null_count and pa.types.is_integer(values.type):
        found = np.empty(len(values), object)
        found[:] = values.to_pylist()
        return found
    return np.asarray(values.to_numpy(zero_copy_only=False))


def as_texts(values: pa.ChunkedArray) -> list[str | None]:
    """A column as texts that its kind can be read from again; None where there is no value."""
    try:
        return list(pc.cast(values, pa.string()).to_pylist())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # lists, bytes
        return [None if one is None else str(one) for one in values.to_pylist()]
