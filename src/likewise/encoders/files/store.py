"""An encoder on disk: weights in safetensors under plain timm keys, and their description in `model.json`.

The same description stands in the header of the weights, so that a file that was moved on its own still loads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from likewise.encoders.build import rebuild
from likewise.encoders.encoder import Encoder
from likewise.encoders.spec import EncoderSpec
from likewise.errors import InputError
from likewise.files import write_aside

DESCRIPTION = "model.json"
PACKED = "packed"
"""Entry of a description where weights are packed (`likewise.encoders.files.packed`)."""
_NAMED = 5
"""Keys that an error lists before it only counts."""


def save_encoder(encoder: Encoder, path: Path, *, extra: Mapping[str, Any] | None = None) -> None:
    """Write the encoder's weights to `path` (.safetensors), and what they are to `model.json` beside them.

    `extra` (JSON values) is added to the description, which is the encoder's spec and the width of its features.
    """
    described = description(encoder, extra)
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_aside(path) as file:
        file.write(serialised(encoder, described))
    with write_aside(path.with_name(DESCRIPTION)) as file:
        file.write((json.dumps(described, indent=2) + "\n").encode())


def load_encoder(path: Path) -> Encoder:
    """The encoder whose weights lie at `path` (.safetensors), in evaluation mode on the CPU.

    Raises `InputError` where the file is missing or damaged, where nothing says what it is, and where its keys or
    shapes are not exactly those of the encoder: an encoder with some random weights is never returned.
    """
    described = read_description(path)
    if PACKED in described:
        from likewise.encoders.files.packed import unpack  # which reads nothing by itself

        return unpack(_read(path)[0], described, path)
    encoder = rebuild(EncoderSpec.from_mapping(described))
    load_weights(encoder, path)
    return encoder.eval()


def load_weights(encoder: Encoder, path: Path) -> None:
    """Fill `encoder` from a .safetensors file of plain timm keys without classifier (and its neck), strictly.

    Raises `InputError` that names the keys that are missing, not expected, or of another shape; the encoder is then
    unchanged.
    """
    weights, _ = _read(path)
    own = encoder.weights()
    faults = (
        ("misses", [key for key in own if key not in weights]),
        ("should not have", [key for key in weights if key not in own]),
        (
            "has other shapes for",
            [key for key, value in weights.items() if key in own and value.shape != own[key].shape],
        ),
    )
    result = "; ".join(f"{verb} {_some(keys)}" for verb, keys in faults if keys)
    if result:
        spec = encoder.spec
        wanted = f"{spec.name} (width {spec.width}, stem {spec.stem}, {spec.image_size} px)"
        raise InputError(f"{path} does not hold the weights of {wanted}: it {result}")
    encoder.take_weights(weights)


def description(encoder: Encoder, extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The content of `model.json` for an encoder."""
    return {**asdict(encoder.spec), "features": encoder.features, **(extra or {})}


def read_description(path: Path) -> dict[str, Any]:
    """What the weights at `path` are: their header, or else the `model.json` beside them. Raises `InputError`."""
    _, header = _read(path, weights=False)
    beside = path.with_name(DESCRIPTION)
    if "name" in header:
        return {key: _value(text) for key, text in header.items()}
    if not beside.is_file():
        raise InputError(f"nothing says which encoder {path} holds: there is no {DESCRIPTION} beside it")
    try:
        found = json.loads(beside.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{beside} is damaged: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{beside} is damaged: it holds no JSON object")
    return found


def serialised(encoder: Encoder, described: Mapping[str, Any]) -> bytes:
    """A safetensors file of the encoder's weights, with the description in its header.

    The same encoder gives the same bytes. Weights that a model uses in several places are written under each of their
    keys, as timm expects them, since the format holds no tensor twice.
    """
    weights: dict[str, Tensor] = {}
    held: set[int] = set()
    for key, value in encoder.weights().items():
        tensor = value.detach().cpu().contiguous()
        storage = tensor.untyped_storage().data_ptr()
        weights[key] = tensor.clone() if storage in held else tensor
        held.add(storage)
    return _in_order(save(weights, metadata=as_text(described)))


def _in_order(content: bytes) -> bytes:
    """The same safetensors file with its metadata in alphabetical order, which the library leaves to chance.

    A file is the length of its header (8 bytes, little-endian), the header (JSON), and the tensors, aligned to 8.
    """
    begins = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:begins])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[begins:]


def weights_digest(path: Path) -> str:
    """Hexadecimal name of the weights in a file: their keys, shapes and values, whatever else it says of them.

    Raises `InputError` where there is no whole file.
    """
    weights, _ = _read(path)
    state = hashlib.sha256()
    for key in sorted(weights):
        value = weights[key].contiguous()
        state.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        state.update(value.view(-1).view(torch.uint8).numpy().data)
    return state.hexdigest()


def as_text(described: Mapping[str, Any]) -> dict[str, str]:
    """A description for headers that hold only text: text as it is, all else as JSON."""
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in described.items()}


def _value(text: str) -> Any:
    """A value of the header: JSON, or the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _read(path: Path, *, weights: bool = True) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors (none if not asked for) and header of a safetensors file."""
    if not path.is_file():
        raise InputError(f"there is no weights file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            keys = file.keys() if weights else []
            return {key: file.get_tensor(key) for key in keys}, dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a whole safetensors file: {error}") from error


def _some(keys: list[str]) -> str:
    """The first few keys, and how many more there are."""
    more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
    return f"{', '.join(keys[:_NAMED])}{more}"
