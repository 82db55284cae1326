"""Sub-folders as classes, and the level of nesting that holds the classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from likewise.data.labels import Labels, as_labels
from likewise.data.sources.walking import printable
from likewise.errors import InputError

FOLDERS = "folders"
"""What a person writes to have the sub-folders as classes; `folders:2`, `folders:last` name one of several levels."""
_LAST = "last"
_SHOWN = 3


def is_folders(labels: str | None) -> bool:
    """Whether labels are wanted from sub-folders, whichever."""
    return labels is not None and labels.partition(":")[0] == FOLDERS


def folder_labels(place: str, names: Sequence[str], wanted: str | None) -> Labels:
    """The class of each file from its sub-folders. `names` are relative to the folder `place`, parts joined by /.

    `wanted` is `folders:1`, `folders:2`, ... for a level from the top, `folders:last` for the folder that a file lies
    in, and `folders` for the only level there is. Files that lie above that level have no label.

    Raises InputError where `wanted` is none of these, where nothing lies so deep, and for `folders` where files lie in
    folders within folders, so that it could mean either.
    """
    parts = [name.split("/")[:-1] for name in names]
    deepest = max(map(len, parts), default=0)
    if not deepest:
        raise InputError(f"labels={wanted!r}: {place} has no sub-folders to take labels from")
    level = _level(wanted or FOLDERS, deepest)
    if level is None:
        levels = "; ".join(_level_in_words(parts, number) for number in range(1, deepest + 1))
        ways = ", ".join(f"'{FOLDERS}:{number}'" for number in range(1, deepest + 1))
        raise InputError(
            f"labels={wanted!r}: {place} has folders within folders, and it is not clear which are the classes. "
            f"{levels}. Give one of {ways} or '{FOLDERS}:{_LAST}'"
        )
    words = ["" if len(own) < max(1, level) else printable(own[level - 1 if level else -1]) for own in parts]
    return as_labels(words, f"the folder {place}")


def _level(wanted: str, deepest: int) -> int | None:
    """The level from the top, 0 for the last one, None where that is not clear. Raises InputError."""
    _, _, text = wanted.partition(":")
    if wanted == FOLDERS:
        return 1 if deepest == 1 else None
    if text == _LAST:
        return 0
    if not text.isdecimal() or not 1 <= int(text) <= deepest:
        allowed = ", ".join(f"'{FOLDERS}:{number}'" for number in range(1, deepest + 1))
        raise InputError(f"labels={wanted!r}: allowed are {allowed} and '{FOLDERS}:{_LAST}'")
    return int(text)


def _level_in_words(parts: Sequence[Sequence[str]], number: int) -> str:
    counts = Counter(own[number - 1] for own in parts if len(own) >= number)
    shown = ", ".join(printable(name) for name, _ in counts.most_common(_SHOWN)) + ", ..." * (len(counts) > _SHOWN)
    inside = sum(counts.values())
    of = "" if inside == len(parts) else f", with {inside:,} of {len(parts):,} files"
    return f"Level {number}: {len(counts):,} {'folder' if len(counts) == 1 else 'folders'} ({shown}){of}"
