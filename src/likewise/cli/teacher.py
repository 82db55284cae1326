"""Refusal of a --teacher, or an older encoder, that its place alone shows to be none, before torch is imported.

A wrong one is to be known at once, and importing torch and timm takes seconds. So names of models are read from timm's
source, and files are looked at as files. What only weights or data can tell is said later by those who use them.
"""

from __future__ import annotations

import difflib
import importlib.util
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from likewise.errors import InputError

ENCODER_FILES = (".safetensors", ".onnx", ".parquet", ".npz", ".npy")
"""Endings of files that can teach."""
EXAMPLE = "name one, such as runs/photos-isd-resnet18"
_HEADS = "a run of moco_v2, simclr, byol, isd, dino or another method with a projection head"
_METHOD, _WEIGHTS = "method.safetensors", ("encoder.safetensors", "teacher.safetensors")
"""Files of a run: its method, which has the projection head, and its encoders."""
_REGISTERED = re.compile(r"^@register_model\s*\ndef (\w+)\(", re.MULTILINE)
_ON_HUB = re.compile(r"hf_hub_id=['\"]")
_SOMEWHERE = re.compile(r"url=['\"]\w|hf_hub_id=|file=")


def check_teacher(words: Sequence[str]) -> None:
    """Raise InputError where the words after the verb name a teacher or an old encoder that cannot be one."""
    from likewise.parsing import value_of

    method = value_of(words, "method", "isd")
    for setting in ("teacher", "old", "compatible_with"):
        name = value_of(words, setting.replace("_", "-"), "")
        path = Path(name).expanduser()
        if not name or ":" in name:
            continue
        if not path.exists():
            _check_model(setting, name)
        elif setting == "teacher":
            _check_file(name, path)
            if _needs_head(method, words):
                _check_head(name, path, value_of(words, "embedding", "0"))


def _check_file(name: str, path: Path) -> None:
    """Raise InputError where a folder or file at `path` is no encoder and no table of vectors."""
    if path.is_dir() and not any((path / file).is_file() for file in _WEIGHTS):
        raise InputError(
            f"teacher={name!r} holds no trained encoder: name a run directory or a .safetensors file, such as "
            "runs/photos-isd-resnet18"
        )
    if path.is_file() and path.suffix.lower() not in ENCODER_FILES:
        raise InputError(
            f"teacher={name!r}: a {path.suffix or path.name} file is no encoder: name one of "
            f"{', '.join(ENCODER_FILES)}, a run directory, a timm model with published weights, or module:function; "
            "likewise convert makes one of a checkpoint"
        )
    if path.is_file() and path.suffix.lower() == ".safetensors":
        _shapes(path, name)


def _check_model(setting: str, name: str) -> None:
    """Raise InputError for a name that is no timm model, or one whose published weights are none or out of reach."""
    path, model = Path(name), name.partition(".")[0]
    if setting == "old" and path.suffix.lower() in ENCODER_FILES[2:]:
        raise InputError(f"old={name!r}: there is no such table of vectors")
    sources = list(_sources())
    known = {found for text in sources for found in _REGISTERED.findall(text)}
    if model in known:
        weights = published(model, sources)
        if weights == "none":
            raise InputError(f"{setting}={name!r}: timm has no published weights of it, so it cannot teach")
        if weights == "hub":
            _check_reach(name, model)
    elif known:
        near = [] if len(path.parts) > 1 else difflib.get_close_matches(name, sorted(known), n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise InputError(f"{setting}={name!r} is no run directory, no file and no timm model{hint}: {EXAMPLE}")


def _sources() -> Iterator[str]:
    """The source of every model that timm has, and of those that are registered with it here, without comments."""
    timm = importlib.util.find_spec("timm")
    places = [Path(one) / "models" for one in (timm.submodule_search_locations or ())] if timm else []
    for place in (*places, Path(__file__).parents[1] / "encoders" / "own"):
        for file in sorted(place.glob("*.py")):
            yield re.sub("#.*", "", file.read_text(encoding="utf-8"))


def published(model: str, sources: Sequence[str]) -> Literal["hub", "none"] | None:
    """Where timm's source says that all weights of a model are; None where it does not say so in one of its usual ways.

    An entry is `'NAME.tag': _cfg(...)`. By itself `_cfg` names no place; other functions may.
    """
    entry = re.compile(
        rf"^ *['\"]{re.escape(model)}(?:\.\w+)?['\"]: (?P<made>\w+)\((?P<given>(?:[^()]|\([^()]*\))*)\)", re.MULTILINE
    )
    found = [match for text in sources for match in entry.finditer(text)]
    if found and all(_ON_HUB.search(match["given"]) for match in found):
        return "hub"
    if found and all(match["made"] == "_cfg" and not _SOMEWHERE.search(match["given"]) for match in found):
        return "none"
    return None


def _check_reach(name: str, model: str) -> None:
    """Raise InputError where the hub does not answer, and nothing like the weights of a model lies here."""
    from huggingface_hub import constants

    from likewise.checking import answers, not_at_hand

    cached = Path(constants.HF_HUB_CACHE)
    if cached.is_dir() and any(model in folder.name for folder in cached.glob("models--*")):
        return
    if constants.HF_HUB_OFFLINE or not answers(constants.ENDPOINT):
        raise not_at_hand(name, constants.ENDPOINT)


def _needs_head(method: str, words: Sequence[str]) -> bool:
    """Whether a method compares what the projection head of its teacher gives, as far as flags tell."""
    if method == "seed_kd":
        return "--teacher-head" in words
    return method == "disco" or (method == "s2bnn" and not {"contrast", "--regime=contrast"} & set(words))


def _check_head(name: str, path: Path, embedding: str) -> None:
    """Raise InputError where a teacher kept no projection head, or one whose vectors have another length."""
    if not path.is_dir() or not (path / _METHOD).is_file():
        why = f"has no {_METHOD}" if path.is_dir() else "has no projection head"
        raise InputError(f"teacher={name!r} {why}, and its head is needed: name {_HEADS}")
    try:
        settings = json.loads((path / "run.json").read_text(encoding="utf-8"))["settings"]
        length, asked = int(settings.get("embedding") or 0), int(embedding)
    except (OSError, ValueError, KeyError, TypeError):
        return  # said where the run or the flag is read
    rows = {shape[0] for shape in _shapes(path / _METHOD, name) if len(shape) == 2}
    if asked and length and asked != length and asked not in rows:  # no layer gives vectors of that length
        raise InputError(
            f"embedding={asked}, and the vectors of teacher={name!r} have {length} dimensions: set "
            f"embedding={length}, or leave it out"
        )


def _shapes(path: Path, name: str) -> list[list[int]]:
    """Shapes of the tensors in a .safetensors file. Raises InputError where it is none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as held:
            return [held.get_slice(key).get_shape() for key in held.keys()]  # noqa: SIM118  # it is no mapping
    except (SafetensorError, OSError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"teacher={name!r}: {path} is not a whole safetensors file: {why}") from error
