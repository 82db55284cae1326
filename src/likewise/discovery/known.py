"""The labelled images of a discovery: by a list, by a draw, or as the data has them.

Shapes: N images of a source.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.data.labels import as_labels, find_column, from_text
from likewise.data.source import Source
from likewise.data.sources.lists import SEPARATED, path_column, read_list
from likewise.data.splitting.subsets import part_of
from likewise.errors import InputError


class Known(NamedTuple):
    """Images, and what may be known of their classes."""

    source: Source
    """The images."""
    labels: NDArray[np.int64]
    """(N,) numbers of `names`, -1 where no label is known."""
    names: tuple[str, ...]
    """What the classes are called."""
    truth: NDArray[np.int64] | None
    """(N,) the true classes in the same numbers, -1 where not known, for scoring alone; None where there are none."""
    how: str
    """Where the labels come from, in words."""

    @property
    def old(self) -> NDArray[np.int64]:
        """The classes of which some image is labelled."""
        return np.unique(self.labels[self.labels >= 0])


def by_draw(source: Source, draw: str, seed: int) -> Known:
    """The images and labels that a draw leaves (`likewise.data.splitting.subsets`). Raises InputError as that does."""
    part, drawn = part_of(source, draw, seed)
    names = _names(source, int(drawn.truth.max(initial=-1)) + 1)
    return _checked(Known(part, drawn.labels, names, drawn.truth, drawn.protocol))


def by_source(source: Source) -> Known:
    """The labels of the data itself, which lacks some. Raises InputError where it has all or none."""
    labels = source.labels
    if labels is None or not (labels >= 0).any():
        raise InputError(
            f"no image of {source.name} has a label: name a list of labelled ones with --labelled, "
            "or keep some of the labels with --subset, such as gcd:0.5"
        )
    names = _names(source, int(labels.max()) + 1)
    return _checked(Known(source, labels, names, None, f"the labels of {source.name}"))


def by_list(source: Source, path: Path) -> Known:
    """The labels that a CSV file gives some of the images; the labels of the data serve for scoring alone.

    The file has a column of paths (`path`, `file`, ...) and one of labels (`label`, `class`, ...); rows without a
    label are passed over. A path means the image at that place, as it is or below the folder of the file, or the one
    whose name ends like it.

    Raises InputError where there is no such file or column, no label, an image that the data does not have, and one
    with two different labels.
    """
    if path.suffix.lower() not in SEPARATED:
        raise InputError(f"the labelled images are a table with path and label, .csv or .tsv, not {path}")
    table = read_list(path)
    paths = path_column(list(table))
    if paths is None:
        raise InputError(f"{path} has no column of paths: its columns are {', '.join(table)}; call one 'path'")
    column = find_column([name for name in table if name != paths], None, str(path))
    if column is None:
        raise InputError(f"{path} has no column of labels: its columns are {', '.join(table)}; call one 'label'")
    cells = from_text(table[column])
    said = as_labels(cells, f"column {column!r} of {path}")
    rows = np.flatnonzero(said.values >= 0)
    if not len(rows):
        raise InputError(f"no row of {path} has a label in its column {column!r}")
    places = positions(source, [str(table[paths][row]) for row in rows.tolist()], path)
    words = [_word(said.names, int(said.values[row])) for row in rows]
    return _checked(_among_truth(source, places, words, path))


def positions(source: Source, paths: Sequence[str], listing: Path) -> NDArray[np.int64]:
    """Positions in `source` of the images at `paths`, as the file `listing` writes them. Raises InputError."""
    by_place = {_place(file): at for at in range(len(source)) if (file := source.file(at)) is not None}
    by_name: dict[str, int] = {}
    by_end: dict[str, int] = {}
    for at, name in enumerate(source.names):
        by_name[name] = -1 if name in by_name else at
        for key in {_end(name, 1), _end(name, 2)}:
            by_end[key] = -1 if key in by_end else at
    found: list[int] = []
    for path in paths:
        ways = (by_place.get(_place(listing.parent / path)), by_place.get(_place(Path(path))), by_name.get(path))
        ends = (by_end.get(_end(path, 2)),)  # of a path with a folder never the file's name alone
        place = next((way for way in (*ways, *ends) if way is not None), None)
        if place is None:
            raise InputError(
                f"{listing} lists {path}, which {source.name} does not have: paths as in the data are allowed"
            )
        if place < 0:
            raise InputError(
                f"{listing} lists {path}, and {source.name} has two images called so: write more of the path"
            )
        found.append(place)
    return np.array(found, np.int64)


def _among_truth(source: Source, places: NDArray[np.int64], words: Sequence[str], path: Path) -> Known:
    """The listed labels in the numbers of the data's own classes, which further names follow."""
    true = source.labels if source.labels is not None and (source.labels >= 0).any() else None
    own = () if true is None else _names(source, int(true.max()) + 1)
    names = tuple(dict.fromkeys([*own, *sorted(set(words))]))
    number = {name: at for at, name in enumerate(names)}
    labels = np.full(len(source), -1, np.int64)
    for at, word in zip(places, words, strict=True):
        if labels[at] not in {-1, number[word]}:
            raise InputError(f"{path} says both {names[labels[at]]} and {word} of {source.names[at]}: give one label")
        labels[at] = number[word]
    is_strange = true is not None and not set(words) <= set(own)
    truth = None if is_strange or true is None else true
    return Known(source, labels, names, truth, f"{len(set(places.tolist())):,} images that {path} labels")


def _checked(known: Known) -> Known:
    """Refuse what leaves nothing to know from, or nothing to find. Raises InputError."""
    if not len(known.old):
        raise InputError(f"{known.how}: no label is left, and without any there are no classes to start from")
    if (known.labels >= 0).all():
        raise InputError(
            f"all {len(known.labels):,} images have a label, so there is nothing to discover: "
            "hide some with --subset, such as gcd:0.5, or give data with unlabelled images"
        )
    return known


def _names(source: Source, count: int) -> tuple[str, ...]:
    own = source.class_names or ()
    return tuple(own) + tuple(str(number) for number in range(len(own), count))


def _word(names: Sequence[str] | None, value: int) -> str:
    return names[value] if names else str(value)


def _place(path: str | Path) -> str:
    return str(Path(path).expanduser().absolute())


def _end(name: str, parts: int) -> str:
    return "/".join(name.replace("\\", "/").strip("/").split("/")[-parts:])
