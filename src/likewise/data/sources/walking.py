"""The content of a folder: images, Parquet files, and the number of all other files."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from likewise.data.decoding.decode import EXTENSIONS
from likewise.data.decoding.formats import HEAD, starts_like_image
from likewise.data.fingerprints import FileFacts
from likewise.errors import InputError

PARQUET = ".parquet"
NO_ENDING = "without an ending"
LINKS = "links to files that are there"
_LOG = logging.getLogger(__name__)


def printable(name: str) -> str:
    """A file name that can be shown and written as UTF-8 also where its bytes are not."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


@dataclass
class Tree:
    """The files below a folder, hidden ones left out, sorted by name."""

    images: list[FileFacts] = field(default_factory=list)
    """Files that end like images, and files without an ending that start like one."""
    tables: list[FileFacts] = field(default_factory=list)
    """Parquet files."""
    others: list[str] = field(default_factory=list)
    """Names of the other files."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Number of the others by their ending, and of links to files that are there in their own place."""


def walk(root: Path) -> Tree:
    """Look through a folder and everything below it, following links to what is not there otherwise."""
    tree = Tree()
    links: list[tuple[os.DirEntry[str], str]] = []
    folders: dict[str, str] = {}
    for entry, name in _entries(root, folders):
        if entry.is_symlink():
            links.append((entry, name))
        else:
            _add(tree, entry, name)
    _add_links(tree, folders, links)
    tree.images.sort()
    tree.tables.sort()
    return tree


def holds_shards(root: Path) -> bool:
    """Whether a folder has Parquet files and no images. Looks no further than the first image."""
    found = False
    for entry, name in _entries(root, {}):
        if _is_image(entry, _ending(name)):
            return False
        found = found or _ending(name) == PARQUET
    return found


def count_images(root: Path) -> int:
    """Number of images in a folder and below; 0 where it cannot be looked into."""
    try:
        return sum(_is_image(entry, _ending(name)) for entry, name in _entries(root, {}))
    except InputError:  # whoever reads the images will say so
        return 0


def _add(tree: Tree, entry: os.DirEntry[str], name: str) -> None:
    ending = _ending(name)
    if not _is_image(entry, ending) and ending != PARQUET:
        tree.others.append(printable(name))
        tree.left_out[printable(ending) or NO_ENDING] += 1
        return
    try:
        found = entry.stat()
    except OSError:  # a link that leads nowhere: kept, so that it is listed as broken
        facts = FileFacts(name, -1, -1)
    else:
        facts = FileFacts(name, found.st_size, found.st_mtime_ns)
    (tree.tables if ending == PARQUET else tree.images).append(facts)


def _add_links(tree: Tree, folders: Mapping[str, str], links: list[tuple[os.DirEntry[str], str]]) -> None:
    """Add the links to files that are not in the tree; each file once, under the first of the links to it."""
    if not links:
        return
    seen = {f"{folders[folder]}/{name}" for file in tree.images for folder, name in [_parts(file.name)]}
    seen |= {f"{folders[folder]}/{name}" for file in tree.tables for folder, name in [_parts(file.name)]}
    for entry, name in sorted(links, key=lambda link: link[1]):
        target = os.path.realpath(entry.path)
        if target in seen:
            tree.left_out[LINKS] += 1
            continue
        seen.add(target)
        _add(tree, entry, name)


def _parts(name: str) -> tuple[str, str]:
    """The folder of a name, with its /, and the rest."""
    cut = name.rfind("/") + 1
    return name[:cut], name[cut:]


def _is_image(entry: os.DirEntry[str], ending: str) -> bool:
    if ending:
        return ending in EXTENSIONS
    try:
        if not entry.is_file():  # opening a pipe would wait for its writer
            return False
        with Path(entry.path).open("rb") as file:
            return starts_like_image(file.read(HEAD))
    except OSError:
        return False


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122  # a Path for each of a million files is slow


def _entries(root: Path, folders: dict[str, str]) -> Iterator[tuple[os.DirEntry[str], str]]:
    """Every file with its name relative to the root, parts joined by /; what lies behind linked folders comes last.

    `folders` is filled with the true place of each folder, by the part of the names that it is.
    """
    waiting, linked = [(str(root), "")], list[tuple[str, str]]()
    seen: set[tuple[int, int]] = set()
    while waiting or linked:
        folder, prefix = waiting.pop() if waiting else linked.pop(0)
        try:
            place = Path(folder).stat()
            if (place.st_dev, place.st_ino) in seen:
                continue
            seen.add((place.st_dev, place.st_ino))
            with os.scandir(folder) as listing:
                entries = sorted((e for e in listing if not e.name.startswith(".")), key=lambda entry: entry.name)
        except OSError as error:
            if not prefix:
                why = (error.strerror or str(error)).lower()
                raise InputError(f"cannot look into {printable(str(root))}: {why}") from error
            _LOG.warning("left out %s: %s", printable(folder), error.strerror)
            continue
        folders[prefix] = os.path.realpath(folder).rstrip("/")
        below = [entry for entry in entries if entry.is_dir()]
        waiting.extend((e.path, f"{prefix}{e.name}/") for e in reversed(below) if not e.is_symlink())
        linked.extend((e.path, f"{prefix}{e.name}/") for e in below if e.is_symlink())
        yield from ((entry, prefix + entry.name) for entry in entries if not entry.is_dir())
