"""The encoder kept with an index, so that the index can be searched with an image."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from likewise.data import Source
from likewise.data.decoding.pixels import Range
from likewise.encoders import Encoder, load_encoder
from likewise.encoders.files.onnx import load_onnx
from likewise.encoders.files.store import description, serialised
from likewise.errors import InputError
from likewise.index.space import Space
from likewise.index.stores.kept import Kept
from likewise.index.weights import weights_of

WEIGHTS = "encoder.safetensors"
RUN = "run.txt"
RANGES = "ranges.json"


def keep(encoder: Encoder, kept: Kept, number: int, run: Path | None = None) -> None:
    """Keep a copy of the encoder of a space, and where the run lies that it is of, whose words may be asked for."""
    if not kept.has(_name(number, WEIGHTS)):
        content = serialised(encoder, description(encoder))
        kept.put(_name(number, WEIGHTS), lambda file: file.write(content))
    if run is not None:
        kept.put(_name(number, RUN), lambda file: file.write(f"{run.absolute()}\n".encode()))


def run_of(kept: Kept, number: int) -> Path | None:
    """Where the run lay that the encoder of a space is of; None where that is not known."""
    with kept.file(_name(number, RUN)) as noted:
        return None if noted is None else Path(noted.read_text(encoding="utf-8").strip())


def ranges_shown(source: Source) -> dict[str, Range]:
    """What is black and white, by unit, in the images of more than 8 bits of a source."""
    return {} if source.spans is None else {str(kind): span for kind, span in source.spans.ranges().items()}


def keep_ranges(ranges: Mapping[str, Range], kept: Kept, number: int) -> None:
    """Keep what was black and white, by unit, in the images of a space; of a unit that is known already, as it was."""
    known = ranges_of(kept, number)
    every = {**ranges, **known}
    if every != known:
        content = json.dumps(every).encode()
        kept.put(_name(number, RANGES), lambda file: file.write(content))


def ranges_of(kept: Kept, number: int) -> dict[str, Range]:
    """What was black and white in the images of a space, by unit; empty where that was never needed."""
    with kept.file(_name(number, RANGES)) as noted:
        found = {} if noted is None else json.loads(noted.read_text(encoding="utf-8"))
    return {kind: Range(*span) for kind, span in found.items()}


def load(kept: Kept, number: int, space: Space, where: str) -> Encoder:
    """The encoder of a space: the copy that is kept, else the file that it was made from. Raises InputError."""
    name = _name(number, WEIGHTS)
    with kept.file(name) as copy:
        if copy is not None:
            return _checked(load_encoder(copy), space, kept.place_of(name))
    if space.encoder is None:
        raise InputError(f"{where} has no encoder for {space.name}: search with vectors, or an id")
    path = Path(space.encoder)
    if not path.is_file():
        raise InputError(f"the encoder of {where}, {path}, is not there any more: search with vectors, or an id")
    return _checked(load_onnx(path) if path.suffix == ".onnx" else load_encoder(path), space, str(path))


def _name(number: int, file: str) -> str:
    return f"space-{number}/{file}"


def _checked(encoder: Encoder, space: Space, path: str) -> Encoder:
    found = weights_of(encoder)
    if found != space.weights:
        raise InputError(f"{path} holds the weights {found[:12]}..., and the vectors are of {space.weights[:12]}...")
    return encoder
