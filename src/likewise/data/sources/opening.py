"""From whatever a person gives as data to a source of pictures."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import torch

from likewise.data.decode import EXTENSIONS
from likewise.data.labels import NONE
from likewise.data.source import Source
from likewise.data.sources import arrays, files, lists, named, parquet, sequences
from likewise.data.splits import check_split
from likewise.errors import InputError

_ARRAYS = frozenset({".npz", ".npy"})


def open_source(data: Any, *, split: str | None = None, labels: str | None = None) -> Source:
    """Find the pictures in `data`. Nothing is decoded yet (entries of a Python sequence are read through once).

    `data` is one of
    - a folder of pictures, searched with its sub-folders; or of Parquet files;
    - a text file with a path a line, or a CSV, TSV or Parquet file with a column of paths, relative to that file;
    - a Parquet file with the pictures inside, as Hugging Face writes them;
    - a .npz or .npy file, an array or tensor, or a mapping of arrays like that of a .npz file;
    - a name: `digits`, or one of torchvision's (`cifar10`, `flowers102`, ...), which is downloaded; where a file or
      folder has the same name, write `torchvision:cifar10`;
    - a sequence of pictures, arrays or paths, alone or in pairs with labels; or a map-style torch Dataset;
    - a Source, which comes back as it is.

    `split` takes one split of data that has them (see `split_names`), None all of it. `labels` is the column or array
    that holds the labels, where it should not be found by itself; "folders" makes the first level of sub-folders the
    classes; "none" leaves labels out.

    Raises InputError where there are no pictures, and for splits and labels that do not exist.
    """
    if isinstance(data, Source):
        check_split(split, (), data.name)
        return data
    if isinstance(data, str | PathLike):
        return _open_text(fspath(data), split, labels)
    if isinstance(data, torch.Tensor):
        data = data.detach().cpu().numpy()
    if isinstance(data, np.ndarray) and data.dtype.kind in "biuf":
        data = {"images": data}
    if isinstance(data, Mapping):
        return arrays.open_arrays(data, name="arrays", split=split, labels=labels)
    check_split(split, (), "a Python sequence")
    return sequences.open_sequence(data, labels=labels)


def split_names(data: Any) -> tuple[str, ...]:
    """Splits of `data`, train first; empty where it has none. Raises InputError as `open_source` does."""
    if isinstance(data, Source):
        return data.splits
    if isinstance(data, str | PathLike):
        return _text_splits(fspath(data))
    return arrays.array_splits(list(data)) if isinstance(data, Mapping) else ()


def _text_splits(text: str) -> tuple[str, ...]:
    """Splits of the data behind a path or a name, without looking at each picture wherever that can be avoided."""
    path = Path(text).expanduser()
    name = None if text and path.exists() else named.plain_name(text)
    if name is not None:
        return named.named_splits(name)
    if path.is_dir() and text:
        return _open_folder(path, None, NONE).splits if files.holds_shards(path) else files.folder_splits(path)
    ending = path.suffix.lower()
    if path.is_file() and ending in _ARRAYS:
        return arrays.array_splits(arrays.array_names(path))
    if path.is_file() and ending in lists.TEXT | lists.SEPARATED:
        return lists.list_splits(lists.read_list(path))
    return _open_text(text, None, None).splits


def _open_text(text: str, split: str | None, labels: str | None) -> Source:
    """The source behind a path or a name."""
    path = Path(text).expanduser()
    if not text or not path.exists():
        name = named.plain_name(text)
        if name is None:
            raise _nowhere(text)
        return named.open_named(name, split=split, labels=labels)
    if path.is_dir():
        return _open_folder(path, split, labels)
    ending = path.suffix.lower()
    if labels == files.FOLDERS:
        raise InputError(f"labels='folders' needs a folder with sub-folders, and {path} is a file")
    if ending in EXTENSIONS:
        return files.open_file(path, split=split, labels=labels)
    if ending in lists.TEXT | lists.SEPARATED:
        return lists.open_list(path, lists.read_list(path), split=split, labels=labels)
    if ending in _ARRAYS:
        return arrays.open_array_file(path, split=split, labels=labels)
    if ending == files.PARQUET:
        return parquet.open_parquet(path, [path], split=split, labels=labels)
    raise InputError(
        f"{path} is no data that can be read: a folder, a picture, .parquet, .csv, .tsv, .txt, .npz and .npy are"
    )


def _open_folder(path: Path, split: str | None, labels: str | None) -> Source:
    tree = files.walk(path)
    if tree.tables and not tree.pictures:
        return parquet.open_parquet(path, [path / file.name for file in tree.tables], split=split, labels=labels)
    return files.open_folder(path, tree, split=split, labels=labels)


def _nowhere(text: str) -> InputError:
    """The error for a path that does not exist, with the known name that is nearest to it."""
    near = difflib.get_close_matches(text.lower(), [*named.NAMED, *named.DIGITS], n=1, cutoff=0.6)
    hint = f"did you mean the data set {near[0]!r}?" if near else "give a folder, a file, or a name such as 'digits'"
    return InputError(f"there is no file or folder {text!r}: {hint}")
