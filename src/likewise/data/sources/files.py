"""Image files: a folder of them, or a single one."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from likewise.data.decoding.decode import decode, extremes_in, look_at
from likewise.data.decoding.deep import ENDINGS, depth_of
from likewise.data.decoding.formats import HEIC, reads_heic
from likewise.data.decoding.ranges import Found, Spans, is_wide, kept, merged
from likewise.data.fingerprints import FileFacts, digest, digest_files, file_facts
from likewise.data.labels import NONE
from likewise.data.source import BrokenImage, ImageInfo, Pixels, Source, files_in_words
from likewise.data.sources.levels import FOLDERS, folder_labels, is_folders
from likewise.data.sources.walking import PARQUET, Tree, count_images, printable
from likewise.data.splitting.split_finding import folder_split
from likewise.data.splitting.splits import are_splits, check_split, counts_of, in_order, pick_split
from likewise.errors import InputError

_READERS = 4
_AT_ONCE = 64
_ENDINGS_NAMED = 4
_DEEPEST = 2
_LOG = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class FileSource(Source):
    """Images in files of their own."""

    paths: Sequence[str]
    """(N,) where they are."""

    def file(self, position: int) -> str | None:
        """Where the image lies."""
        return self.paths[position]

    def read(self, position: int, short_side: int | None = None) -> Pixels:
        """Decode one file."""
        return decode(read_bytes(self.paths[position]), short_side, self.spans)

    def look(self, position: int) -> ImageInfo:
        """What one file holds."""
        return look_at(read_bytes(self.paths[position]), self.spans)


def read_bytes(path: str | Path) -> bytes:
    """Contents of a file. Raises BrokenImage with the system's reason."""
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BrokenImage(f"cannot be opened: {reason.lower()}", passing=True) from error


def short_name(path: Path) -> str:
    """Short name of the data at `path`: the last part without the file ending, whatever way the path was written."""
    whole = path.expanduser().absolute()
    whole = whole.resolve() if whole.name in {"", ".", ".."} else whole
    return printable(whole.name if whole.is_dir() else whole.stem) or "data"


# Ranges ------------------------------------------------------------------------------------------------------------


def extremes_of_files(paths: Sequence[str], files: Sequence[FileFacts]) -> Found:
    """The extremes of all files that hold more than 8 bits a channel. `files` are the facts of those at `paths`.

    Headers are read of formats that can (PNG, TIFF, PNM, JPEG 2000), and pixels of the files that do, until the range
    is certain. What took long is kept (`ranges.kept`).
    """
    numbers = [number for number, path in enumerate(paths) if os.path.splitext(path)[1].lower() in ENDINGS]  # noqa: PTH122
    if not numbers:
        return {}
    key = digest_files((files[number] for number in numbers), (paths[number] for number in numbers))
    return kept(key, lambda: _extremes_of([paths[number] for number in numbers]))


def spans_of(paths: Sequence[str], files: Sequence[FileFacts]) -> Spans:
    """The common range of the same files."""
    found = extremes_of_files(paths, files)
    return Spans(lambda: found)


def with_ranges(fingerprint: str, spans: Spans) -> str:
    """The fingerprint of files of one split: their pixels depend on the range, which other splits decide as well."""
    ranges = spans.ranges()
    return digest(fingerprint, sorted(ranges.items())) if ranges else fingerprint


def _extremes_of(paths: Sequence[str]) -> Found:
    found: Found = {}
    with ThreadPoolExecutor(_READERS, thread_name_prefix="likewise-range") as pool:
        for start in range(0, len(paths), _AT_ONCE):
            some, settled = paths[start : start + _AT_ONCE], is_wide(found)
            if found and not start % (_AT_ONCE * 100):
                _LOG.info("looking for the common range of values: %d of %d files", start, len(paths))
            found = merged([found, *pool.map(partial(_extremes_of_file, settled=settled), some)])
    return found


def _extremes_of_file(path: str, *, settled: bool) -> Found:
    """Nothing for a file of 8 bits, one that cannot be read, and one of 16 bits where these are `settled`."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123  # a million files
            depth = depth_of(file)
            if depth is None or (settled and depth == "short"):
                return {}
            file.seek(0)
            return extremes_in(file.read())
    except (OSError, ValueError):  # listed as broken when it is decoded
        return {}


# Opening -----------------------------------------------------------------------------------------------------------


class FolderSplits(NamedTuple):
    """The splits that folders are called after, and where those folders lie."""

    names: tuple[str, ...]
    depth: int
    """Number of folders above them: 0 for `train/`, 1 for `images/train/` or `bottle/train/`."""

    def of(self, name: str) -> str:
        """The split of a file, empty where it is in none. `name` is relative to the root, parts joined by /."""
        parts = name.split("/")[:-1]
        return folder_split(parts[self.depth]) if self.names and len(parts) > self.depth else ""

    def left(self, names: Sequence[str]) -> list[str]:
        """Names without the folders of splits, and without what lies above all of them (`images/`)."""
        if not self.names:
            return list(names)
        every = [name.split("/") for name in names]
        above = {tuple(parts[: self.depth]) for parts in every if len(parts) > self.depth + 1}
        start = self.depth if len(above) == 1 else 0
        kept = [
            parts[: self.depth] + parts[self.depth + 1 :] if len(parts) > self.depth + 1 else parts for parts in every
        ]
        return ["/".join(parts[start:] or parts[-1:]) for parts in kept]


def folder_splits(root: Path) -> FolderSplits:
    """Splits of a folder: folders side by side, one being `train` and another a known name, or all `split=...`.

    The outermost such folders count, at most two levels below the root's own folders. There they must hold images, and
    at least half of all: `code/train` and `code/test` beside the images are no splits.
    """
    level = [root]
    for depth in range(_DEEPEST + 1):
        groups = [_folders(folder) for folder in level]
        below = [folder for group in groups for folder in group]
        if any(map(_speak, groups)):
            counts = {folder: count_images(folder) if depth else 1 for folder in below}
            full = [[folder for folder in group if counts[folder]] for group in groups]
            called = {folder.name for group in full if _speak(group) for folder in group}
            inside = sum(count for folder, count in counts.items() if folder.name in called)
            if not depth or (inside and 2 * inside >= count_images(root)):
                return FolderSplits(
                    in_order(sorted({folder_split(each.name) for group in full for each in group})), depth
                )
        level = below
    return FolderSplits((), 0)


def _folders(root: Path) -> list[Path]:
    """The folders in a folder, hidden ones left out; none where it cannot be looked into."""
    try:
        with os.scandir(root) as listing:
            return [Path(entry.path) for entry in listing if not entry.name.startswith(".") and entry.is_dir()]
    except OSError:
        return []


def _speak(folders: Sequence[Path]) -> bool:
    """Whether folders side by side are called after splits."""
    names = [folder_split(folder.name) for folder in folders]
    said = bool(names) and all(name != folder.name for name, folder in zip(names, folders, strict=True))
    return said or are_splits(names)


def open_folder(root: Path, tree: Tree, *, split: str | None = None, labels: str | None = None) -> FileSource:
    """The images of a folder. Labels only with labels="folders" or the like, see `folder_labels`.

    Raises InputError where there are no images, no such split, or no sub-folders to take labels from.
    """
    place = printable(str(root))
    if labels not in {None, NONE} and not is_folders(labels):
        raise InputError(
            f"labels={labels!r} of the folder {place}: allowed are {FOLDERS!r} (sub-folders), 'folders:1', "
            f"'folders:last' and {NONE!r}"
        )
    if not tree.images:
        raise InputError(f"no images in {place}: {_instead(tree)}")
    splits = folder_splits(root)
    chosen = pick_split(split, splits.names, f"the folder {place}")
    names = [file.name for file in tree.images]
    marks = [splits.of(name) for name in names]
    found = folder_labels(place, splits.left(names), labels) if is_folders(labels) else None
    kept_files = [n for n, mark in enumerate(marks) if chosen is None or mark.lower() == chosen.lower()]
    if not kept_files:
        raise InputError(f"no images in the split {chosen} of the folder {place}")
    paths = [os.path.join(root, name) for name in names]  # noqa: PTH118  # a Path for each of a million files is slow
    spans = spans_of(paths, tree.images)
    files = [tree.images[position] for position in kept_files]
    places = [paths[position] for position in kept_files]
    return FileSource(
        name=short_name(root),
        fingerprint=with_ranges(digest_files(files, places), spans),
        names=[printable(file.name) for file in files],
        labels=found.values[kept_files] if found else None,
        class_names=found.names if found else None,
        splits=splits.names,
        split=chosen,
        split_counts=counts_of(marks) if splits.names else {},
        left_out=dict((tree.left_out + Counter({PARQUET: len(tree.tables)})).most_common()),
        spans=spans,
        paths=places,
    )


def open_file(path: Path, *, split: str | None = None, labels: str | None = None) -> FileSource:
    """One image. Raises InputError where a split or labels are asked for."""
    place = printable(str(path))
    check_split(split, (), f"the image {place}")
    if labels not in {None, NONE}:
        raise InputError(f"labels={labels!r}: the image {place} has no labels")
    facts = file_facts(path)
    return FileSource(
        name=short_name(path),
        fingerprint=digest_files([facts], [path]),
        names=[printable(path.name)],
        paths=[str(path)],
    )


def _instead(tree: Tree) -> str:
    if not tree.left_out:
        return "the folder is empty"
    heic = not reads_heic() and any(ending in HEIC for ending in tree.left_out)
    way = "pip install pillow-heif to read .heic" if heic else "images end in .png, .jpg, .webp, .tif, ..."
    found = files_in_words(dict(tree.left_out.most_common(_ENDINGS_NAMED)))
    return f"{len(tree.others)} other files, such as {min(tree.others)} ({found}); {way}"
