"""Data from Python: tables of pandas and the like, data sets of torch and Hugging Face, arrays, sequences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from likewise.data.labels import NONE, FractionError, as_labels, find_column
from likewise.data.source import Part, Source
from likewise.data.sources import arrays, hub, lists, sequences
from likewise.data.splitting.split_finding import column_splits
from likewise.data.splitting.splits import check_split, counts_of, in_order, pick_split, rows_of
from likewise.errors import InputError

_FRAME = "the table"
_STREAMS = {"IterableDataset", "IterableDatasetDict"}


def open_object(data: Any, *, split: str | None = None, labels: str | None = None) -> Source:
    """The images in an object that is no path and no name; see `open_source`. Raises InputError."""
    data = _taken(data)
    if hub.is_dataset(data):
        return hub.open_parts(hub.parts_of(data), _named(data), split=split, labels=labels)
    columns = _columns(data)
    if columns is not None:
        return _open_columns(columns, split, labels)
    if isinstance(data, Mapping):
        return arrays.open_arrays(data, name="arrays", split=split, labels=labels)
    check_split(split, (), "a Python sequence")
    return sequences.open_sequence(data, labels=labels)


def object_splits(data: Any) -> tuple[str, ...]:
    """The splits of the same, train first; empty where it has none."""
    data = _taken(data)
    if hub.is_dataset(data):
        return hub.split_names(hub.parts_of(data))
    columns = _columns(data)
    if columns is not None:
        return lists.list_splits(columns)
    if not isinstance(data, Mapping):
        return ()
    return arrays.splits_of(list(data), lambda: arrays.open_arrays(data, name="arrays", labels=NONE))


def _taken(data: Any) -> Any:
    """Tensors and columns as arrays and lists. Raises InputError for what gives images in batches or in a stream."""
    if isinstance(data, DataLoader):
        raise InputError(
            "a DataLoader cannot be used as data, since it gives batches: give the data set that it reads, "
            "loader.dataset, without random transforms"
        )
    root, name = _kind(data)
    if root == "datasets" and name in _STREAMS:
        raise InputError(f"a {name} cannot be used as data, since it is a stream: load it without streaming=True")
    if (root, name) in {("pandas", "Series"), ("polars", "Series")}:
        data = data.to_list()
    if isinstance(data, torch.Tensor):
        data = sequences.as_array(data)
    return {"images": data} if isinstance(data, np.ndarray) and data.dtype.kind in "biuf" else data


def _kind(data: Any) -> tuple[str, str]:
    """The package that the class of an object is from, and its name there."""
    for base in type(data).__mro__:
        root = base.__module__.partition(".")[0]
        if root in {"pandas", "polars", "pyarrow", "datasets"}:
            return root, base.__name__
    return "", type(data).__name__


def _named(data: Any) -> str:
    """The name under which the hub has an object, or what it is."""
    first = next(iter(hub.parts_of(data).values()))
    known = getattr(getattr(first, "info", None), "dataset_name", None)
    return str(known or "dataset")


# Tables ------------------------------------------------------------------------------------------------------------


def _columns(data: Any) -> Mapping[str, Sequence[Any]] | None:
    """The columns of a table of pandas, polars or pyarrow; None for other objects."""
    root, name = _kind(data)
    if root == "pandas" and name == "DataFrame":
        return {str(column): values.to_list() for column, values in data.items()}
    if root == "polars" and name in {"DataFrame", "LazyFrame"}:
        whole = data.collect() if name == "LazyFrame" else data
        return dict(whole.to_dict(as_series=False))
    return dict(data.to_pydict()) if root == "pyarrow" and name == "Table" else None


def _open_columns(columns: Mapping[str, Sequence[Any]], split: str | None, labels: str | None) -> Source:
    """The images that a table lists by their paths, relative to the working folder, or holds.

    Raises InputError where it does neither.
    """
    lower = {column.lower(): column for column in reversed(list(columns))}
    held = next((lower[name] for name in sequences.IMAGE_KEYS if name in lower and _holds(columns[lower[name]])), None)
    if held is None:
        return lists.open_list(Path(_FRAME), columns, split=split, labels=labels)
    marked = column_splits(list(columns), columns.__getitem__)
    words = marked.words if marked else None
    rows = rows_of(split, words, len(columns[held]), _FRAME)
    column = find_column([name for name in columns if name not in {held, marked and marked.column}], labels, _FRAME)
    try:
        found = as_labels(list(columns[column]), f"column {column!r} of {_FRAME}") if column else None
    except FractionError:
        if labels is not None:
            raise
        found = None  # a measurement, found by its name alone
    source = sequences.open_sequence(list(columns[held]), labels="none")
    source = replace(
        source,
        name="table",
        labels=found.values if found else None,
        class_names=found.names if found else None,
        splits=in_order(words or ()),
        split=pick_split(split, in_order(words or ()), _FRAME),
        split_counts=counts_of(words),
    )
    return source if split is None else Part.of(source, rows)


def _holds(values: Sequence[Any]) -> bool:
    """Whether a column holds images, not the paths of files."""
    first = next((value for value in values if value is not None and not isinstance(value, float)), None)
    return first is not None and not isinstance(first, str | PathLike)
