"""The encoder that an index keeps, so that whoever has the index can search it with an image."""

from __future__ import annotations

from pathlib import Path

from likewise.encoders import Encoder, load_encoder, save_encoder
from likewise.encoders.files.onnx import load_onnx
from likewise.errors import InputError
from likewise.index.space import Space
from likewise.index.weights import weights_of

WEIGHTS = "encoder.safetensors"


def keep(encoder: Encoder, folder: Path) -> None:
    """Write a copy of `encoder` into `folder`."""
    if not (folder / WEIGHTS).exists():
        save_encoder(encoder, folder / WEIGHTS)


def load(folder: Path | None, space: Space, where: str) -> Encoder:
    """The encoder of a space: the copy in `folder`, else the file that it was made from. Raises InputError."""
    if folder is not None and (folder / WEIGHTS).is_file():
        return _checked(load_encoder(folder / WEIGHTS), space, folder / WEIGHTS)
    if space.encoder is None:
        raise InputError(f"{where} has no encoder for {space.name}: search with vectors, or an id")
    path = Path(space.encoder)
    if not path.is_file():
        raise InputError(f"the encoder of {where}, {path}, is not there any more: search with vectors, or an id")
    return _checked(load_onnx(path) if path.suffix == ".onnx" else load_encoder(path), space, path)


def _checked(encoder: Encoder, space: Space, path: Path) -> Encoder:
    found = weights_of(encoder)
    if found != space.weights:
        raise InputError(f"{path} holds the weights {found[:12]}..., and the vectors are of {space.weights[:12]}...")
    return encoder
