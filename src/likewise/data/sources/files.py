"""Pictures that are files: a folder of them, or one alone."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from likewise.data.decode import EXTENSIONS, decode, look_at
from likewise.data.fingerprints import FileFacts, digest_files, file_facts
from likewise.data.labels import NONE, Labels, as_labels
from likewise.data.source import BrokenImage, Look, Pixels, Source
from likewise.data.split_finding import folder_split
from likewise.data.splits import are_splits, check_split, counts_of, in_order, pick_split
from likewise.errors import InputError

FOLDERS = "folders"
"""What a person writes to have the sub-folders as classes."""
PARQUET = ".parquet"
_LOG = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class FileSource(Source):
    """Pictures in files of their own."""

    paths: Sequence[str]
    """(N,) where they are."""

    def read(self, position: int, short_side: int | None = None) -> Pixels:
        """Decode one file."""
        return decode(read_bytes(self.paths[position]), short_side)

    def look(self, position: int) -> Look:
        """What one file holds."""
        return look_at(read_bytes(self.paths[position]))


def read_bytes(path: str | Path) -> bytes:
    """Contents of a file. Raises BrokenImage with the system's reason."""
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BrokenImage(f"cannot be opened: {reason.lower()}") from error


def printable(name: str) -> str:
    """A file name that can be shown and written as UTF-8 also where its bytes are not."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def short_name(path: Path) -> str:
    """What data at `path` is called: the last part without the file ending, whatever way the path was written."""
    whole = path.expanduser().absolute()
    whole = whole.resolve() if whole.name in {"", ".", ".."} else whole
    return printable(whole.name if whole.is_dir() else whole.stem) or "data"


# Walking -----------------------------------------------------------------------------------------------------------


@dataclass
class Tree:
    """The files below a folder, hidden ones left out, sorted by name."""

    pictures: list[FileFacts] = field(default_factory=list)
    """Files that end like pictures."""
    tables: list[FileFacts] = field(default_factory=list)
    """Parquet files."""
    others: list[str] = field(default_factory=list)
    """Names of the other files."""


def walk(root: Path) -> Tree:
    """Look through a folder and everything below it, following links but no circle twice."""
    tree = Tree()
    for entry, name in _entries(root):
        ending = _ending(name)
        if ending not in EXTENSIONS and ending != PARQUET:
            tree.others.append(printable(name))
            continue
        try:
            found = entry.stat()
        except OSError:  # a link that leads nowhere: kept, so that it is listed as broken
            facts = FileFacts(name, -1, -1)
        else:
            facts = FileFacts(name, found.st_size, found.st_mtime_ns)
        (tree.tables if ending == PARQUET else tree.pictures).append(facts)
    tree.pictures.sort()
    tree.tables.sort()
    return tree


def holds_shards(root: Path) -> bool:
    """Whether a folder has Parquet files and no pictures. Looks no further than the first picture."""
    found = False
    for _, name in _entries(root):
        if _ending(name) in EXTENSIONS:
            return False
        found = found or _ending(name) == PARQUET
    return found


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122  # a Path for each of a million files is slow


def _entries(root: Path) -> Iterator[tuple[os.DirEntry[str], str]]:
    """Every file with its name relative to the root, parts joined by /."""
    waiting = [(str(root), "")]
    seen: set[tuple[int, int]] = set()
    while waiting:
        folder, prefix = waiting.pop()
        try:
            place = Path(folder).stat()
            if (place.st_dev, place.st_ino) in seen:
                continue
            seen.add((place.st_dev, place.st_ino))
            with os.scandir(folder) as listing:
                entries = sorted((e for e in listing if not e.name.startswith(".")), key=lambda entry: entry.name)
        except OSError as error:
            if not prefix:
                raise InputError(f"cannot look into {root}: {(error.strerror or str(error)).lower()}") from error
            _LOG.warning("left out %s: %s", printable(folder), error.strerror)
            continue
        waiting.extend((entry.path, f"{prefix}{entry.name}/") for entry in reversed(entries) if entry.is_dir())
        yield from ((entry, prefix + entry.name) for entry in entries if not entry.is_dir())


# Opening -----------------------------------------------------------------------------------------------------------


def folder_splits(root: Path) -> tuple[str, ...]:
    """Splits of a folder: its sub-folders, where one is `train` and another a known name, or all are `split=...`."""
    try:
        entries = [entry for entry in root.iterdir() if not entry.name.startswith(".")]
    except OSError:
        return ()
    folders = [entry.name for entry in entries if entry.is_dir()]
    names = [folder_split(name) for name in folders]
    is_said = bool(names) and all(name != folder for name, folder in zip(names, folders, strict=True))
    return in_order(sorted(names)) if is_said or are_splits(names) else ()


def open_folder(root: Path, tree: Tree, *, split: str | None = None, labels: str | None = None) -> FileSource:
    """The pictures of a folder. Labels only with labels="folders": the first sub-folder (below the split's, if any).

    Raises InputError where there are no pictures, no such split, or no sub-folders to take labels from.
    """
    if labels not in {None, NONE, FOLDERS}:
        raise InputError(f"labels={labels!r} of the folder {root}: allowed are {FOLDERS!r} (sub-folders) and {NONE!r}")
    if not tree.pictures:
        raise InputError(f"no pictures in {root}: {_instead(tree)}")
    splits = folder_splits(root)
    chosen = pick_split(split, splits, f"the folder {root}")
    marks = [folder_split(file.name.partition("/")[0]) if "/" in file.name else "" for file in tree.pictures]
    found = _folder_labels(root, tree.pictures, splits) if labels == FOLDERS else None
    kept = [n for n, mark in enumerate(marks) if chosen is None or mark.lower() == chosen.lower()]
    if not kept:
        raise InputError(f"no pictures in {root / str(split)}")
    files = [tree.pictures[position] for position in kept]
    return FileSource(
        name=short_name(root),
        fingerprint=digest_files(files),
        names=[printable(file.name) for file in files],
        labels=found.values[kept] if found else None,
        class_names=found.names if found else None,
        splits=splits,
        split=chosen,
        split_counts=counts_of(marks) if splits else {},
        paths=[os.path.join(root, file.name) for file in files],  # noqa: PTH118  # as above, a million files
    )


def open_file(path: Path, *, split: str | None = None, labels: str | None = None) -> FileSource:
    """One picture. Raises InputError where a split or labels are asked for."""
    check_split(split, (), f"the picture {path}")
    if labels not in {None, NONE}:
        raise InputError(f"labels={labels!r}: the picture {path} has no labels")
    facts = file_facts(path)
    return FileSource(
        name=short_name(path), fingerprint=digest_files([facts]), names=[printable(path.name)], paths=[str(path)]
    )


def _folder_labels(root: Path, files: Sequence[FileFacts], splits: tuple[str, ...]) -> Labels:
    below = [file.name.split("/")[1 if splits else 0 : -1] for file in files]
    words = [printable(parts[0]) if parts else "" for parts in below]
    if not any(words):
        raise InputError(f"labels='folders': {root} has no sub-folders to take labels from")
    return as_labels(words, f"the folder {root}")


def _instead(tree: Tree) -> str:
    if not tree.others:
        return "the folder is empty"
    return f"{len(tree.others)} other files, such as {min(tree.others)}; pictures end in .png, .jpg, .webp, .tif, ..."
