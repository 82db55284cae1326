"""Columns from files beside the images: `cat.txt`, `cat.json` or `cat.wav` of `cat.jpg`.

A `.txt` file is the caption of its image, or several, one a line. A `.json` file holds columns by name, lists of texts
being several captions. A `.wav` file is the column `speech`, as a path.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from likewise.data.labels import as_labels, lines
from likewise.data.source import Column, Source
from likewise.errors import InputError

CAPTIONS = ("caption", "captions", "text", "texts", "sentence", "sentences", "description", "alt_text")
"""Names under which a column of captions is found where `caption` is asked for and not there."""
SPEECH = "speech"
"""The column of sound files."""
_SOUND = (".wav",)


def names_of(name: str) -> tuple[str, ...]:
    """The names that a column may have which is asked for as `name`: itself, and for captions the usual ones."""
    return (name, *(other for other in CAPTIONS if other != name)) if name == CAPTIONS[0] else (name,)


def sidecar_column(source: Source, name: str) -> Column | None:
    """The column `name` from the files beside the images; None where no image has it.

    Raises InputError for a .json file that cannot be read.
    """
    files = [source.file(position) for position in range(len(source))]
    values = [None if file is None else _said(Path(file), name) for file in files]
    if all(value is None for value in values):
        return None
    found = as_labels(["" if value is None else value for value in values], f"files beside the images of {source.name}")
    return Column(found.values, found.names)


def _said(image: Path, name: str) -> str | None:
    """What is said of one image."""
    if name == SPEECH:
        sound = next((file for ending in _SOUND if (file := image.with_suffix(ending)).is_file()), None)
        return None if sound is None else str(sound.absolute())
    names = names_of(name)
    table = image.with_suffix(".json")
    if table.is_file():
        entries = _read(table)
        value = next((entries[key] for key in names if key in entries), None)
        if value is not None:
            return lines(value) if isinstance(value, list) else str(value)
    plain = image.with_suffix(".txt")
    if name in CAPTIONS and plain.is_file():
        return plain.read_text(encoding="utf-8-sig", errors="replace").strip()
    return None


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no JSON that can be read: {error}") from error
    return found if isinstance(found, dict) else {}


def placed(column: Column, folder: Path) -> Column:
    """A column of sound files with relative paths as they stand from `folder`; any other as it is."""
    if column.names is None or not _are_sounds(column.names):
        return column
    return Column(column.values, tuple(str((folder / Path(name).expanduser()).absolute()) for name in column.names))


def _are_sounds(names: Sequence[str]) -> bool:
    return bool(names) and all(name.lower().endswith(_SOUND) for name in names)
