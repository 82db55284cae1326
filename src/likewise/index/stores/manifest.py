"""The manifest: which bytes of an index are valid. It is replaced whole, so that changes are atomic."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from likewise.errors import InputError
from likewise.files import write_aside

FORMAT = 1
"""Of the folder; one that is newer is refused."""
NAME = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """The parts of an index."""

    made: str = ""
    """Drawn when the folder was made, so that another index in its place is not taken for a later version of it."""
    version: int = 0
    """Rises with every change."""
    generation: int = 0
    """Part of the names of files; rises when all of them are written anew."""
    dtype: str = "float32"
    """Of the vectors: float32 or float16."""
    row_bytes: int = 0
    """Bytes of the table of rows that count."""
    next_row: int = 0
    """Number of the next new row."""
    live: int = 0
    """Rows that are there."""
    plain: bool = True
    """No row was ever replaced or removed in this generation."""
    counts: tuple[int, ...] = ()
    """Vectors in the file of each space, replaced ones included."""
    spaces: tuple[str, ...] = ()
    """Fingerprint of each space."""
    graphs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Of spaces, by number: file, vectors it covers, measured recall (`graph`)."""
    held: tuple[int, ...] = ()
    """Numbers of the spaces that rows are of, oldest first, for those who do not read the rows."""
    sources: dict[str, str] = field(default_factory=dict)
    """Fingerprint of each data set whose images are all here, by its address."""

    @property
    def state(self) -> str:
        """What tells this version of this folder from every other."""
        return f"{self.made}:{self.version}"

    def changed(self, **fields_: Any) -> Manifest:
        """The next version."""
        return replace(self, version=self.version + 1, **fields_)

    def write(self, folder: Path) -> None:
        """Replace the manifest of `folder`. Raises DiskFull."""
        with write_aside(folder / NAME) as file:
            file.write((json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n").encode())


def stamp(folder: Path) -> tuple[int, ...] | None:
    """What tells one file of the manifest from the next; None where there is none."""
    try:
        found = (folder / NAME).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def read(folder: Path) -> Manifest:
    """The manifest of `folder`. Raises InputError where there is none, or it is damaged or of a newer format."""
    try:
        found = json.loads((folder / NAME).read_text(encoding="utf-8"))
        number = found["format"]
        if isinstance(number, int) and number > FORMAT:
            raise InputError(
                f"{folder} is of format {number}, and this version of likewise reads up to {FORMAT}: update likewise"
            )
        known = {one.name: found[one.name] for one in fields(Manifest) if one.name in found}
        for name in ("counts", "spaces", "held"):
            known[name] = tuple(known.get(name, ()))
        return Manifest(**known)
    except FileNotFoundError:
        what = f"has no {NAME}, so it is no index" if folder.exists() else "does not exist"
        near = sorted(path.name for path in folder.absolute().parent.glob("*.index") if path != folder.absolute())
        hint = f"; did you mean {folder.parent / near[0]}?" if near else ""
        raise InputError(f"{folder} {what}{hint}") from None
    except NotADirectoryError:
        raise InputError(
            f"{folder} is a file, and an index is a folder: name one that `likewise embed` wrote"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder / NAME} is damaged: {error}; `likewise doctor {folder}` says what is left"
        ) from error
