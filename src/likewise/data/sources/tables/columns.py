"""Detection of the image and label columns of Parquet files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

import pyarrow as pa

from likewise.data.decoding.decode import EXTENSIONS, is_image
from likewise.data.labels import LABEL_COLUMNS, TEXTS, find_column
from likewise.data.sources.lists import path_column
from likewise.data.sources.tables.shards import Shards
from likewise.errors import InputError

_LIKELY = ("image", "img", "picture", "jpg", "jpeg", "png", "bytes")
_LOOKED_AT = 4


class ImageColumn(NamedTuple):
    """The column that holds the images of one file."""

    data: str | None
    """Path of the encoded images in the schema: `image.bytes`, or a binary column of its own."""
    names: str | None
    """Path of the file names in the schema: `image.path`."""


# Images ------------------------------------------------------------------------------------------------------------


def image_columns(shards: Shards) -> tuple[ImageColumn, ...] | None:
    """The image columns of each file, or None where it has none.

    The column is one that the Hugging Face metadata declare, else one of structs {bytes, path}, else one of bytes; of
    several the one with the likelier name. What is not declared is looked at: its first values should be images.
    Raises InputError, which names both files, where a file has no such column.
    """
    found = [dict(_forms(schema)) for schema in shards.schemas]
    name = _image_name(shards, found)
    if name is None:
        return None
    columns = []
    for file, forms in enumerate(found):
        own = shards.own(file, name)
        form = forms.get(own or "") or _other_form(shards.schemas[file], own)
        if form is None:
            holder = next(path for path, held in zip(shards.paths, found, strict=True) if name in held)
            raise InputError(f"{shards.paths[file]} has no column {name!r} of images, which {holder} has")
        columns.append(form)
    return tuple(columns)


def _image_name(shards: Shards, found: Sequence[Mapping[str, ImageColumn]]) -> str | None:
    """The column of the images."""
    every = dict.fromkeys(name for forms in found for name in forms)
    declared = {name for schema in shards.schemas for name, kind in _declared(schema) if kind.get("_type") == "Image"}
    struct = {name for forms in found for name, form in forms.items() if form.data != name}

    def rank(name: str) -> tuple[bool, bool, int]:
        last = name.rsplit(".", 1)[-1].lower()
        return name not in declared, name not in struct, _LIKELY.index(last) if last in _LIKELY else len(_LIKELY)

    candidates = sorted(every, key=rank)
    for name in candidates:
        held = [(file, forms[name]) for file, forms in enumerate(found) if name in forms]
        if name in declared or any(_shows_images(shards, file, form) for file, form in held):
            return name
    if path_column(text_columns(shards)) is not None:
        return None  # the bytes are something else: a hash, a mask
    return next(iter(candidates), None)


def _forms(fields: pa.Schema | pa.StructType, prefix: str = "") -> Iterator[tuple[str, ImageColumn]]:
    """Columns that may hold images, with structs inside structs."""
    for field in fields:
        path, kind = prefix + field.name, _plain(field.type)
        if _is_binary(kind):
            yield path, ImageColumn(path, None)
        if not pa.types.is_struct(kind):
            continue
        inner = {part.name: _plain(part.type) for part in kind}
        names = f"{path}.path" if "path" in inner and _is_text(inner["path"]) else None
        if "bytes" in inner and _is_binary(inner["bytes"]):
            yield path, ImageColumn(f"{path}.bytes", names)
        elif names and set(inner) <= {"bytes", "path"} and pa.types.is_null(inner.get("bytes", pa.null())):
            yield path, ImageColumn(None, names)
        else:
            yield from _forms(kind, f"{path}.")


def _other_form(schema: pa.Schema, own: str | None) -> ImageColumn | None:
    """A column of images of which a file has the names only, or nothing; None where it has something else."""
    if own is None or own not in schema.names:
        return None
    kind = _plain(schema.field(own).type)
    if _is_text(kind):
        return ImageColumn(None, own)
    kinds = {part.name: part.type for part in kind} if pa.types.is_struct(kind) else {"bytes": kind}
    is_nothing = kinds.keys() <= {"bytes", "path"} and all(map(pa.types.is_null, kinds.values()))
    return ImageColumn(None, None) if is_nothing else None


def _shows_images(shards: Shards, file: int, form: ImageColumn) -> bool:
    """Whether one of the first values of a column is an image, or is called like one."""
    if form.data is not None and any(map(is_image, shards.first_values(file, form.data, _LOOKED_AT))):
        return True
    names = () if form.names is None else shards.first_values(file, form.names, _LOOKED_AT)
    return any(PurePath(str(name)).suffix.lower() in EXTENSIONS for name in names)


def text_columns(shards: Shards) -> list[str]:
    """Columns of words, of any of the files."""
    fields = [field for schema in shards.schemas for field in schema]
    return list(dict.fromkeys(field.name for field in fields if _is_text(_plain(field.type))))


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type of the values, however they are stored."""
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(kind.storage_type)
    return _plain(kind.value_type) if pa.types.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_text_list(kind: pa.DataType) -> bool:
    plain = _plain(kind)
    if not (pa.types.is_list(plain) or pa.types.is_large_list(plain) or pa.types.is_fixed_size_list(plain)):
        return False
    entry = _plain(plain.value_type)
    if pa.types.is_struct(entry):
        return any(part.name in TEXTS and _is_text(_plain(part.type)) for part in entry)
    return _is_text(entry)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


# Labels ------------------------------------------------------------------------------------------------------------


def class_columns(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Columns that the Hugging Face metadata declare as classes, with the classes' names."""
    found = {}
    for name, kind in _declared(schema):
        names = kind.get("names")
        if isinstance(names, Mapping):  # by number
            names = [names[key] for key in sorted(names, key=int)]
        if isinstance(names, list) and names:
            found[name] = tuple(map(str, names))
    return found


def _declared(schema: pa.Schema) -> list[tuple[str, Mapping[str, Any]]]:
    """Columns that the Hugging Face metadata speak of, and what they say; structs inside by their path."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):  # none, or not in the form that is known: the columns still say enough
        return []
    return list(_flat(features, schema)) if isinstance(features, Mapping) else []


def _flat(
    features: Mapping[str, Any], fields: pa.Schema | pa.StructType, prefix: str = ""
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    kinds = {field.name: field.type for field in fields}
    for name, kind in features.items():
        if name not in kinds or not isinstance(kind, Mapping):
            continue
        yield f"{prefix}{name}", kind
        if "_type" not in kind and pa.types.is_struct(kinds[name]):
            yield from _flat(kind, kinds[name], f"{prefix}{name}.")


def label_column(shards: Shards, wanted: str | None, taken: Sequence[str | None], what: str) -> str | None:
    """The column with the labels: as asked for, else a declared class, else a likely name, else None.

    `taken` are the columns of the images and of the splits; `what` names the data in errors. Raises InputError where
    the column asked for does not exist.
    """
    declared = [name for schema in shards.schemas for name in class_columns(schema) if name not in taken]
    if wanted is None and declared:
        return next((name for name in LABEL_COLUMNS if name in declared), declared[0])
    every = [name for schema in shards.schemas for name in _single(schema)] + list(shards.said_by_folders)
    plain = [name for name in dict.fromkeys(every) if name not in taken]
    if wanted is not None:
        lists = [field.name for schema in shards.schemas for field in schema if _is_text_list(field.type)]
        return find_column([*plain, *(name for name in lists if name not in taken)], wanted, what)
    column = find_column(plain, wanted, what)
    if column is None:
        inside = {name.rsplit(".", 1)[-1]: name for name in reversed(plain) if "." in name}
        column = inside.get(find_column(list(inside), None, what) or "")
    kinds = [kind for schema in shards.schemas for name, kind in _single(schema).items() if name == column]
    return None if any(map(pa.types.is_temporal, kinds)) else column  # found by its name alone


def _single(fields: pa.Schema | pa.StructType, prefix: str = "") -> dict[str, pa.DataType]:
    """Columns of single values, those in structs by their path."""
    found: dict[str, pa.DataType] = {}
    for field in fields:
        kind = _plain(field.type)
        if pa.types.is_struct(kind) and not {"bytes", "path"} & {part.name for part in kind}:
            found |= _single(kind, f"{prefix}{field.name}.")
        elif not pa.types.is_nested(kind) and not _is_binary(kind):
            found[prefix + field.name] = kind
    return found
