"""Older encoders whose vectors are in use: those of a run, a weights file, an index or timm."""

from __future__ import annotations

import json
from pathlib import Path

from likewise.data.vectors import is_table
from likewise.encoders import Encoder
from likewise.errors import InputError
from likewise.teachers.callables import is_callable
from likewise.teachers.finding import check_at_hand, check_pretrained, encoder_of


def of_index(old: str, setting: str) -> str:
    """The file of the encoder that an index keeps of its vectors, where `old` is an index; else `old` as it is.

    Raises InputError, naming `setting`, where it keeps none, and where it holds vectors of several encoders.
    """
    folder = Path(old).expanduser()
    if not old or not (folder / "manifest.json").is_file():
        return old
    found = {path.parent.name: path for path in sorted(folder.glob("space-*/encoder.safetensors"))}
    held = _held(folder)
    if held:
        found = {name: path for name, path in found.items() if name in held}
    if len(found) != 1 or len(held) > 1:
        several = f"{'holds' if held else 'has had'} vectors of {max(len(found), len(held))} encoders"
        why = several if max(len(found), len(held)) > 1 else "keeps no encoder"
        raise InputError(f"{setting}={old!r} is an index that {why}: name the encoder itself")
    return str(next(iter(found.values())))


def _held(folder: Path) -> list[str]:
    """The folders of the spaces that rows of an index are of, by its manifest; none where that does not say."""
    try:
        return [f"space-{number}" for number in json.loads((folder / "manifest.json").read_text())["held"]]
    except (OSError, ValueError, KeyError, TypeError):  # of an earlier version, or damaged: said by who opens it
        return []


def check_encoder(old: str, setting: str) -> None:
    """Raise InputError, naming `setting`, where `old` is none of these, or published weights are not to be had."""
    old = of_index(old, setting)
    if is_table(old) or is_callable(old) or old.endswith(".onnx"):
        raise InputError(
            f"{setting}={old!r} is no encoder that can be kept with a run: allowed are a run directory, a .safetensors "
            "file, an index and a timm model with published weights"
        )
    check_pretrained(old, setting)
    check_at_hand(old)


def trained_encoder(old: str, setting: str) -> Encoder:
    """The encoder. Raises InputError as `check_encoder` does."""
    check_encoder(old, setting)
    return encoder_of(of_index(old, setting))
