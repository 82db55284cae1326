"""Digests of a run's inputs beside its images, so that it continues with the same ones or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from likewise import teachers
from likewise.data.fingerprints import digest
from likewise.errors import InputError
from likewise.methods.known_settings import places_of


def digests_of(settings: Any) -> dict[str, list[str | None]]:
    """Of each setting that names places the digests of what lies there: None where nothing does (a model of timm's).

    Raises InputError where a run or weights file that is named is damaged.
    """
    return {name: [_digest(place) for place in places] for name, places in places_of(settings).items()}


def check(settings: Any, known: Mapping[str, list[str | None]], run: Path) -> None:
    """Raise InputError, naming the setting, where it names something else by now than when `run` began."""
    for name, places in places_of(settings).items():
        for place, before in zip(places, known.get(name, []), strict=False):
            if before is None:
                continue
            now = _digest(place)
            if now is None:
                raise InputError(f"{name}={place!r} of {run} is not there any more: put it back to resume the run")
            if now != before:
                raise InputError(
                    f"{name}={place!r} is not what {run} began with: resume it with the same, or train anew with "
                    "another --out"
                )


def _digest(place: str) -> str | None:
    """Of weights, of a file, or of the names and sizes of what lies in a folder; `masks` say before a colon how."""
    path = Path(place).expanduser()
    if not path.exists():
        path = Path(place.partition(":")[2]).expanduser()
        if not place.partition(":")[2] or not path.exists():
            return None
    if path.is_dir() and not any(path.glob("*.safetensors")):
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return digest([(str(file.relative_to(path)), file.stat().st_size) for file in files])
    if path.is_file() and path.suffix not in {".safetensors", ".onnx"}:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return teachers.digest_of(str(path))
