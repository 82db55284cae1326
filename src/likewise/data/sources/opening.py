"""Opening of any kind of data as a source of images."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from likewise.data.decoding.decode import EXTENSIONS
from likewise.data.decoding.formats import HEIC
from likewise.data.labels import NONE, FractionError
from likewise.data.sound import synthetic as narrated
from likewise.data.source import Column, Source
from likewise.data.sources import arrays, files, hub, levels, lists, named, objects, scenes, sidecars, tars, walking
from likewise.data.sources.tables import parquet
from likewise.data.splitting.splits import check_split
from likewise.data.videos import files as videos
from likewise.data.videos import places, synthetic
from likewise.errors import InputError

_ARRAYS = frozenset({".npz", ".npy"})


def open_source(
    data: Any, *, split: str | None = None, labels: str | None = None, columns: Sequence[str] = ()
) -> Source:
    """Find the images in `data`. Nothing is decoded yet (entries of a Python sequence are read through once).

    `data` is one of
    - a folder of images, searched with its sub-folders; or of Parquet files; or of videos, a frame an image;
    - a video, or `video:8:PATH` for 8 frames a second of one or of a folder;
    - a text file with a path a line, or a CSV, TSV or Parquet file with a column of paths, relative to that file;
    - a Parquet file with the images inside, as Hugging Face writes them;
    - a .tar file with samples as WebDataset writes them, or a folder of these (`sources.tars`);
    - a .npz or .npy file, an array or tensor, or a mapping of arrays like that of a .npz file;
    - a name: `digits`, or one of torchvision's (`cifar10`, `flowers102`, ...), which is downloaded; where a file or
      folder has the same name, write `torchvision:cifar10`;
    - `synthetic:ultrasound`, composed scans with narration (`likewise.data.sound.synthetic`);
    - `synthetic:scenes` or `synthetic:mosaics`, objects with known masks on drawn backgrounds (`scenes`);
    - `synthetic:clips`, drawn videos whose motion is known, a frame an image (`likewise.data.videos`);
    - `hf:owner/name`, a data set of the Hugging Face hub, or `hf:owner/name:config`; or a folder that `save_to_disk` of
      the library `datasets` wrote;
    - a sequence of images, arrays or paths, alone or in pairs with labels; or a map-style torch Dataset;
    - a table of pandas, polars or pyarrow with a column of paths or of images; a `Dataset` or `DatasetDict` of Hugging
      Face;
    - a Source, which comes back as it is.

    `split` takes one split of data that has them (see `split_names`), None all of it. `labels` is the column or array
    that holds the labels, where it should not be found by itself; "folders" makes the sub-folders the classes, where
    there is one level of them, else "folders:1" (the first), "folders:2", ..., or "folders:last"; "none" leaves labels
    out. `columns` are further ones that are wanted beside the labels (`Source.columns`), named in the same ways.

    Raises InputError where there are no images, and for splits, labels and columns that do not exist.
    """
    return with_columns(_opened(data, split, labels), data, columns)


def with_columns(source: Source, data: Any, columns: Sequence[str]) -> Source:
    """The images of `source`, which `data` was opened as, with further columns. Raises InputError for unknown ones."""
    further = {name: _column(source, data, name) for name in columns if name not in source.columns}
    return replace(source, columns={**source.columns, **further}) if further else source


def _column(source: Source, data: Any, name: str) -> Column:
    """A column of `data`, read as labels are, or of files beside the images (`sidecars`).

    Of a folder of images with sub-folders `video` and `frame` are the place of each file.
    Raises InputError where there is none of this name.
    """
    if name in places.COLUMNS and isinstance(data, str | PathLike) and Path(data).expanduser().is_dir():
        return places.column_of(_opened(data, source.split, NONE).names, name)
    asked = [] if isinstance(data, Source) else list(sidecars.names_of(name))
    for other in asked:
        try:
            found = _opened(data, source.split, other)
        except FractionError:
            raise
        except InputError:
            continue
        if found.labels is not None:
            folder = Path(data).parent if isinstance(data, str | PathLike) else Path()
            return sidecars.placed(Column(found.labels, found.class_names), folder)
    beside = sidecars.sidecar_column(source, name)
    if beside is None:
        raise InputError(
            f"{source.name} has no column {name!r}: give a table that has it, or files beside the "
            "images (.txt with the caption, or .json)"
        )
    return beside


def _opened(data: Any, split: str | None, labels: str | None) -> Source:
    """The source without further columns."""
    if isinstance(data, Source):
        check_split(split, (), data.name)
        return data
    if isinstance(data, str | PathLike):
        return _open_text(fspath(data), split, labels)
    return objects.open_object(data, split=split, labels=labels)


def split_names(data: Any) -> tuple[str, ...]:
    """Splits of `data`, train first; empty where it has none. Raises InputError as `open_source` does."""
    if isinstance(data, Source):
        return data.splits
    if isinstance(data, str | PathLike):
        return _text_splits(fspath(data))
    return objects.object_splits(data)


def _text_splits(text: str) -> tuple[str, ...]:
    """Splits of the data behind a path or a name, without looking at each image wherever that can be avoided."""
    path = Path(text).expanduser()
    if not text or not path.exists():
        return _name_splits(text)
    if path.is_dir():
        return _folder_splits(path)
    ending = path.suffix.lower()
    if path.is_file() and ending in _ARRAYS:
        return arrays.splits_of(arrays.array_names(path), lambda: arrays.open_array_file(path, labels=NONE))
    if path.is_file() and ending in lists.TEXT | lists.SEPARATED:
        return lists.list_splits(lists.read_list(path))
    if ending in videos.ENDINGS or ending == tars.ENDING:
        return ()
    return _open_text(text, None, None).splits


def _name_splits(text: str) -> tuple[str, ...]:
    if text.startswith(hub.PREFIX):
        return hub.split_names(hub.named(text))
    if text.startswith(videos.PREFIX):
        return _video_splits(Path(videos.parsed(text)[1]).expanduser())
    if synthetic.is_clips(text):
        return synthetic.splits_of(text)
    if narrated.is_ultrasound(text):
        return narrated.splits_of(text)
    return scenes.splits_of(text) if text.startswith(scenes.PREFIX) else named.named_splits(_known_name(text))


def _video_splits(path: Path) -> tuple[str, ...]:
    return videos.splits_of(walking.walk(path)) if path.is_dir() else ()


def _folder_splits(path: Path) -> tuple[str, ...]:
    if hub.is_saved(path):
        return hub.split_names(hub.saved(path))
    if walking.holds_shards(path):
        return _open_folder(path, None, NONE).splits
    return files.folder_splits(path).names or _video_splits(path) or tars.splits_of(_archives(path))


def _archives(path: Path) -> list[str]:
    """The archives of a folder that has no images."""
    tree = walking.walk(path)
    return [] if tree.images else tars.archives_of(tree.others)


def _open_text(text: str, split: str | None, labels: str | None) -> Source:
    """The source behind a path or a name."""
    path = Path(text).expanduser()
    if not text or not path.exists():
        return _open_name(text, split, labels)
    return _open_folder(path, split, labels) if path.is_dir() else _open_file(path, split, labels)


def _open_file(path: Path, split: str | None, labels: str | None) -> Source:
    """The source behind one file."""
    ending = path.suffix.lower()
    if ending in videos.ENDINGS:
        return _open_videos(path, None, split, labels)
    if levels.is_folders(labels):
        raise InputError(f"labels={labels!r} needs a folder with sub-folders, and {path} is a file")
    if ending in EXTENSIONS:
        return files.open_file(path, split=split, labels=labels)
    if ending in lists.TEXT | lists.SEPARATED:
        return lists.open_list(path, lists.read_list(path), split=split, labels=labels)
    if ending in _ARRAYS:
        return arrays.open_array_file(path, split=split, labels=labels)
    if ending == walking.PARQUET:
        return parquet.open_parquet(path, [path], split=split, labels=labels)
    if ending == tars.ENDING:
        return tars.open_tars(path, [path.name], split=split, labels=labels)
    tars.refuse_compressed(path)
    raise InputError(
        f"{path} is no data that can be read: a folder, an image, .parquet, .csv, .tsv, .txt, .npz, .npy and .tar are"
    )


def _open_folder(path: Path, split: str | None, labels: str | None) -> Source:
    if hub.is_saved(path):
        return hub.open_saved(path, split=split, labels=labels)
    tree = walking.walk(path)
    if tree.tables and not tree.images:
        found = parquet.open_parquet(path, [path / file.name for file in tree.tables], split=split, labels=labels)
        return replace(found, left_out=dict(tree.left_out.most_common()))
    unread = any(ending in HEIC for ending in tree.left_out)  # images of a phone that only their package reads
    if not tree.images and not unread and videos.has_videos(tree.others):
        return videos.open_videos(path, tree, split=split, labels=labels)
    if not tree.images and (archives := tars.archives_of(tree.others)):
        return tars.open_tars(path, archives, split=split, labels=labels)
    return files.open_folder(path, tree, split=split, labels=labels)


def _open_videos(path: Path, rate: float | None, split: str | None, labels: str | None) -> Source:
    """The videos of a folder, or one. Raises InputError where there is no such file."""
    if not path.exists():
        raise InputError(f"there is no file or folder {str(path)!r} to read videos from")
    tree = walking.walk(path) if path.is_dir() else walking.Tree(others=[path.name])
    return videos.open_videos(path, tree, rate=rate, split=split, labels=labels)


def _open_name(text: str, split: str | None, labels: str | None) -> Source:
    if text.startswith(videos.PREFIX):
        rate, path = videos.parsed(text)
        return _open_videos(Path(path).expanduser(), rate, split, labels)
    if text.startswith(hub.PREFIX):
        return hub.open_named(text, split=split, labels=labels)
    if synthetic.is_clips(text):
        return synthetic.open_clips(text, split=split, labels=labels)
    if narrated.is_ultrasound(text):
        return narrated.open_ultrasound(text, split=split, labels=labels)
    if text.startswith(scenes.PREFIX):
        return scenes.open_scenes(text, split=split, labels=labels)
    return named.open_named(_known_name(text), split=split, labels=labels)


def _known_name(text: str) -> str:
    """The data set that is meant. Raises InputError where there is none, and no such path either."""
    name = named.plain_name(text)
    if name is None:
        raise _nowhere(text)
    return name


def _nowhere(text: str) -> InputError:
    """The error for a path that does not exist, with the known name that is nearest to it."""
    near = difflib.get_close_matches(text.lower(), [*named.NAMED, *named.DIGITS], n=1, cutoff=0.6)
    hint = f"did you mean the data set {near[0]!r}?" if near else "give a folder, a file, or a name such as 'digits'"
    return InputError(f"there is no file or folder {text!r}: {hint}")
