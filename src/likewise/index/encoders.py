"""The encoder stored with an index, so that the index can be searched with an image."""

from __future__ import annotations

from pathlib import Path

from likewise.encoders import Encoder, load_encoder, save_encoder
from likewise.encoders.files.onnx import load_onnx
from likewise.errors import InputError
from likewise.index.space import Space
from likewise.index.weights import weights_of

WEIGHTS = "encoder.safetensors"
RUN = "run.txt"


def keep(encoder: Encoder, folder: Path, run: Path | None = None) -> None:
    """Write a copy of `encoder` into `folder`, and where the run lies that it is of, whose words may be asked for."""
    if not (folder / WEIGHTS).exists():
        save_encoder(encoder, folder / WEIGHTS)
    if run is not None:
        (folder / RUN).write_text(f"{run.absolute()}\n", encoding="utf-8")


def run_of(folder: Path | None) -> Path | None:
    """Where the run lay that the encoder of `folder` is of; None where that is not known."""
    noted = None if folder is None else folder / RUN
    return Path(noted.read_text(encoding="utf-8").strip()) if noted is not None and noted.is_file() else None


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
