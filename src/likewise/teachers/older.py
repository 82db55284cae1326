"""Older encoders whose vectors are in use: those of a run, a weights file, an index or timm."""

from __future__ import annotations

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
    found = sorted(folder.glob("space-*/encoder.safetensors"))
    if len(found) != 1:
        why = "keeps no encoder" if not found else f"has had vectors of {len(found)} encoders"
        raise InputError(f"{setting}={old!r} is an index that {why}: name the encoder itself")
    return str(found[0])


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
