"""An encoder on disk: weights in safetensors under plain timm keys, and beside them `model.json`, what they are.

The description also stands in the header of the weights, so that a file that was moved on its own still loads.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from likewise.encoders.build import rebuild
from likewise.encoders.encoder import Encoder
from likewise.encoders.spec import EncoderSpec
from likewise.errors import InputError

DESCRIPTION = "model.json"
_HEADER = "likewise"
_NAMED = 5
"""Keys that an error lists before it only counts."""


def save_encoder(encoder: Encoder, path: Path, *, extra: Mapping[str, Any] | None = None) -> None:
    """Write the backbone's weights to `path` (.safetensors), and `model.json` beside them.

    `extra` (JSON values) is added to the description. Each file is written aside and renamed, so that at no moment a
    broken one lies under its name.
    """
    description = json.dumps({**asdict(encoder.spec), "features": encoder.features, **(extra or {})}, indent=2)
    write_aside(path, save(plain_weights(encoder), metadata={_HEADER: description}))
    write_aside(path.with_name(DESCRIPTION), (description + "\n").encode())


def load_encoder(path: Path) -> Encoder:
    """The encoder whose weights lie at `path` (.safetensors), in evaluation mode on the CPU.

    Raises `InputError` where the file is missing or damaged, where nothing says what it is, and where its keys or
    shapes are not exactly those of the encoder: an encoder with some random weights is never returned.
    """
    encoder = rebuild(EncoderSpec.from_mapping(read_description(path)))
    load_weights(encoder, path)
    return encoder.eval()


def load_weights(encoder: Encoder, path: Path) -> None:
    """Fill the backbone of `encoder` from a .safetensors file of plain timm keys without classifier, strictly.

    Raises `InputError` that names the keys that are missing, not expected, or of another shape; the encoder is then
    unchanged.
    """
    weights, _ = _read(path)
    own = encoder.backbone.state_dict()
    faults = (
        ("misses", [key for key in own if key not in weights]),
        ("should not have", [key for key in weights if key not in own]),
        ("has other shapes for", [k for k, v in weights.items() if k in own and v.shape != own[k].shape]),
    )
    told = "; ".join(f"{verb} {_some(keys)}" for verb, keys in faults if keys)
    if told:
        spec = encoder.spec
        wanted = f"{spec.name} (width {spec.width}, stem {spec.stem}, {spec.image_size} px)"
        raise InputError(f"{path} does not hold the weights of {wanted}: it {told}")
    encoder.backbone.load_state_dict(weights)


def read_description(path: Path) -> dict[str, Any]:
    """What the weights at `path` are: their header, or else the `model.json` beside them."""
    _, header = _read(path, weights=False)
    beside = path.with_name(DESCRIPTION)
    if _HEADER in header:
        text, source = header[_HEADER], path
    elif beside.is_file():
        text, source = beside.read_text(), beside
    else:
        raise InputError(f"nothing says which encoder {path} holds: there is no {DESCRIPTION} beside it")
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{source} is damaged: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{source} does not describe an encoder")
    return found


def plain_weights(encoder: Encoder) -> dict[str, Tensor]:
    """The state of the backbone on the CPU, in ordinary memory order, under timm's keys."""
    state = encoder.backbone.state_dict()
    return {key: value.detach().cpu().contiguous() for key, value in state.items()}


def write_aside(path: Path, content: bytes) -> None:
    """Write a file so that `path` is at every moment the old file or the whole new one, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _read(path: Path, *, weights: bool = True) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and header of a safetensors file."""
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
