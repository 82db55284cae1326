"""Archives in the form of WebDataset: `000.jpg`, `000.txt`, `000.json` and `000.cls` are one sample.

Files belong together whose names are equal up to the first dot, their key. Of several of a kind the one with the
plainest ending counts: `000.jpg`, whatever `000.depth.png` and `000.seg.png` hold. Names of other images have dots as
well: where those of one key cannot be parts of one sample (`IMG.2020.01.jpg` and `IMG.2020.02.jpg`, see
`_are_one_sample`), each of its images is a sample of its own, by its name up to the last dot.

An image is read from its place in the archive, so nothing is unpacked; a compressed archive has no such places. `.cls`
is the class, `.txt` a caption or several, one a line, and `.json` holds columns by name.
"""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from likewise.data.decoding.decode import EXTENSIONS, decode, extremes_in, look_at, one_line
from likewise.data.decoding.ranges import Found, Spans, kept, merged
from likewise.data.fingerprints import digest, digest_files, file_facts
from likewise.data.labels import NONE, Labels, as_labels, find_column, from_text, lines
from likewise.data.source import BrokenImage, ImageInfo, Pixels, Source
from likewise.data.sources.files import short_name
from likewise.data.sources.sidecars import CAPTIONS
from likewise.data.sources.walking import printable
from likewise.data.splitting.split_finding import file_splits
from likewise.data.splitting.splits import counts_of, in_order, pick_split, rows_of
from likewise.errors import InputError

ENDING = ".tar"
COMPRESSED = (".tgz", ".gz", ".bz2", ".xz", ".zst")
CLASS, TEXT, TABLE = ".cls", ".txt", ".json"
_SAID = (CLASS, TEXT, TABLE)
_IMAGE = "image"
_READING = 3  # changed whenever the same archive would give other images


class Place(NamedTuple):
    """Where a file lies."""

    archive: int
    """Number of the archive."""
    offset: int
    """Bytes before it."""
    size: int
    """Bytes of it."""


class Member(NamedTuple):
    """A file of an archive."""

    stem: str
    """Its folder, and its name up to the last dot."""
    field: str
    """What stands between the first dot of its name and the last: `depth`; nothing where that is one dot."""
    ending: str
    """What follows the last dot, with it and in lower case."""
    place: Place


@dataclass
class Sample:
    """The files of one sample."""

    name: str
    """Archive and key."""
    found: dict[str, Member] = field(default_factory=dict)
    """The image, and what is said of it, by ending."""

    @property
    def image(self) -> Place | None:
        """Where the image lies."""
        return self.found[_IMAGE].place if _IMAGE in self.found else None

    def take(self, member: Member) -> Member | None:
        """Keep a file if it has the plainest name of its kind so far; the one that is not kept."""
        kind = _IMAGE if member.ending in EXTENSIONS else member.ending
        before = self.found.get(kind)
        if before is not None and _dots(before) <= _dots(member):
            return member
        self.found[kind] = member
        return before


@dataclass(kw_only=True, eq=False)
class TarSource(Source):
    """Images in archives."""

    paths: Sequence[Path]
    """The archives."""
    places: Sequence[Place]
    """(N,) where each image lies."""

    def _bytes(self, position: int) -> bytes:
        return _read(self.paths, self.places[position])

    def read(self, position: int, short_side: int | None = None) -> Pixels:
        """Decode one file of an archive."""
        return decode(self._bytes(position), short_side, self.spans)

    def look(self, position: int) -> ImageInfo:
        """What one file of an archive holds."""
        return look_at(self._bytes(position), self.spans)


def _read(paths: Sequence[Path], place: Place) -> bytes:
    """A file of an archive. Raises BrokenImage where the archive has ended before."""
    try:
        with paths[place.archive].open("rb") as file:
            file.seek(place.offset)
            found = file.read(place.size)
    except OSError as error:
        raise BrokenImage(f"{paths[place.archive].name} cannot be read: {one_line(error)}", passing=True) from error
    if len(found) < place.size:
        raise BrokenImage(f"{paths[place.archive].name} ends within it")
    return found


def archives_of(names: Sequence[str]) -> list[str]:
    """The names that end like archives, sorted."""
    return sorted(name for name in names if PurePosixPath(name).suffix.lower() == ENDING)


def splits_of(names: Sequence[str]) -> tuple[str, ...]:
    """Splits that the names of archives speak of: `train-000.tar`, `val/000.tar`."""
    return in_order(file_splits(names) or ())


def open_tars(root: Path, names: Sequence[str], *, split: str | None = None, labels: str | None = None) -> Source:
    """The images of archives at `root`, which is one itself or the folder of those with these `names`.

    Labels are those of the .cls files, or of the entry of the .json files that `labels` names; `caption` and the like
    find the .txt files as well. Raises InputError where there are no images, no such split or labels, and for what is
    no archive.
    """
    paths = [root] if root.is_file() else [root / name for name in names]
    marks = None if root.is_file() else file_splits(names)
    splits = in_order(marks or ())
    chosen = pick_split(split, splits, str(root))
    samples: list[Sample] = []
    words: list[str] = []
    left_out = Counter[str]()
    for number, path in enumerate(paths):
        found = _samples(path, number, left_out)
        samples += found
        words += [marks[number] if marks else ""] * len(found)
    facts = [file_facts(path, name) for path, name in zip(paths, names, strict=True)]
    every = digest("tar", _READING, digest_files(facts, paths))
    if not samples:
        raise InputError(f"{root} holds no images: its archives have none that end in .jpg, .png or the like")
    rows = rows_of(split, words if marks else None, len(samples), str(root))
    marked = _labels(paths, samples, labels, str(root))
    places = [sample.image for sample in samples if sample.image is not None]
    return TarSource(
        name=short_name(root),
        fingerprint=digest(every, chosen),
        spans=Spans(lambda: kept(every, lambda: merged(_extremes(paths, place) for place in places))),
        names=[printable(samples[row].name) for row in rows],
        labels=marked.values[rows] if marked else None,
        class_names=marked.names if marked else None,
        splits=splits,
        split=chosen,
        split_counts=counts_of(words) if marks else {},
        left_out=dict(left_out.most_common()),
        paths=paths,
        places=[places[row] for row in rows],
    )


def _samples(path: Path, number: int, left_out: Counter[str]) -> list[Sample]:
    """The samples of an archive that have an image, in their order; counts what is of none."""
    keys: dict[str, list[Member]] = {}
    try:
        if path.stat().st_size % tarfile.BLOCKSIZE:  # tarfile takes the beginning of a header for the end
            raise tarfile.ReadError("it ends early")
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                place = PurePosixPath(member.name)
                if not member.isreg() or place.name.startswith("."):
                    continue
                key, _, rest = place.name.partition(".")
                between, _, ending = rest.rpartition(".")
                ending = f".{ending.lower()}" if ending else ""
                if ending not in _SAID and ending not in EXTENSIONS:
                    left_out[ending or "without an ending"] += 1
                    continue
                file = Member(
                    str(place.with_suffix("")), between, ending, Place(number, member.offset_data, member.size)
                )
                keys.setdefault(str(place.with_name(key)), []).append(file)
    except (tarfile.TarError, OSError) as error:
        raise InputError(f"{path} is no archive that can be read: {one_line(error)}") from error
    return [one for key, members in keys.items() for one in _samples_of(path.name, key, members, left_out)]


def _samples_of(archive: str, key: str, members: Sequence[Member], left_out: Counter[str]) -> list[Sample]:
    """The samples of one key that have an image; counts images that are none's.

    Where they are several, what is said of the key alone (`000.cls`) is said of all, unless one of them is called so.
    """
    together = _are_one_sample([member for member in members if member.ending in EXTENSIONS])
    parts: dict[str, list[Member]] = {}
    for member in members:
        parts.setdefault(key if together else member.stem, []).append(member)
    plain = parts.get(key, [])
    of_all = [] if any(member.ending in EXTENSIONS for member in plain) else plain
    samples = []
    for stem, files in parts.items():
        sample = Sample(f"{archive}/{stem}")
        for file in files:
            other = sample.take(file)
            if other is not None and other.ending in EXTENSIONS:
                left_out[other.ending] += 1
        for file in of_all:
            sample.found.setdefault(file.ending, file)
        if sample.image is not None:
            samples.append(sample)
    return samples


def _are_one_sample(images: Sequence[Member]) -> bool:
    """Whether images of one key can be one image and fields of it: a depth map, a mask.

    Fields are called by words, so that dates and numbers speak against it, as does an image that has the ending of the
    plainest and is no less plain than others: `000.left.jpg` and `000.right.jpg` without a `000.jpg`.
    """
    if len(images) < 2:
        return True
    first = min(images, key=_dots)
    words = all(word.isidentifier() for image in images if image.field for word in image.field.split("."))
    return words and (not first.field or sum(image.ending == first.ending for image in images) == 1)


def _dots(member: Member) -> int:
    """Dots in what follows the first dot of a name."""
    return member.field.count(".") + bool(member.field)


def _labels(paths: Sequence[Path], samples: Sequence[Sample], wanted: str | None, what: str) -> Labels | None:
    """The labels that are asked for, or those of the .cls files where none are and there are some."""
    if wanted == NONE:
        return None
    has = {ending for sample in samples for ending in sample.found}
    if wanted is None or (wanted == "cls" and CLASS in has):
        if CLASS not in has:
            return None
        return as_labels(from_text([_said(paths, sample, CLASS) for sample in samples]), f"the .cls files of {what}")
    tables = [_table(paths, sample) for sample in samples] if TABLE in has else [{} for _ in samples]
    columns = list(dict.fromkeys(key for table in tables for key in table))
    if wanted not in columns and wanted in CAPTIONS and TEXT in has:
        return as_labels([_said(paths, sample, TEXT) for sample in samples], f"the .txt files of {what}")
    known = [*columns, *(["cls"] if CLASS in has else []), *(["caption"] if TEXT in has else [])]
    if wanted not in columns:
        find_column(known, wanted, what)  # raises, with the nearest
    values = [table.get(wanted) for table in tables]
    return as_labels(
        [lines(value) if isinstance(value, list) else value for value in values], f"{wanted!r} of the .json files"
    )


def _said(paths: Sequence[Path], sample: Sample, ending: str) -> str:
    """The text of one of a sample's files; empty where it has none."""
    member = sample.found.get(ending)
    return "" if member is None else _text(paths, sample, member.place)


def _text(paths: Sequence[Path], sample: Sample, place: Place) -> str:
    try:
        return _read(paths, place).decode("utf-8-sig", "replace").strip()
    except BrokenImage as broken:
        raise InputError(f"{sample.name}: {broken.reason}") from broken


def _table(paths: Sequence[Path], sample: Sample) -> dict[str, Any]:
    """What the .json file of a sample says by name. Raises InputError for one that is none."""
    text = _said(paths, sample, TABLE)
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InputError(f"{sample.name}.json is no JSON that can be read: {error}") from error
    return found if isinstance(found, dict) else {}


def _extremes(paths: Sequence[Path], place: Place) -> Found:
    try:
        return extremes_in(_read(paths, place))
    except BrokenImage:  # it is listed as broken when it is decoded
        return {}


def refuse_compressed(path: Path) -> None:
    """Raise InputError for a compressed archive, whose files have no place in it."""
    if path.suffix.lower() == COMPRESSED[0] or path.name.lower().endswith(tuple(ENDING + end for end in COMPRESSED)):
        raise InputError(f"{path} is compressed, and images cannot be read from it in any order: unpack it to a .tar")
