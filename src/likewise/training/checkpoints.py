"""Checkpoints that survive anything: one file each, complete or absent, checked before they are trusted.

A checkpoint is what `torch.save` writes: a zip archive of raw tensors beside a description that is read with
`weights_only=True`, so that a checkpoint from elsewhere can run no code. Of the formats that can hold the state it is
the only one that keeps it as it is: integer keys of optimisers, tied tensors, and strides (channels_last), without
which a resumed run would compute the same sums in another memory order. Every entry of the archive carries a CRC-32,
and it is compared before loading: torch itself does not look.
"""

from __future__ import annotations

import re
import warnings
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from likewise.errors import InputError, LikewiseError
from likewise.files import ASIDE, write_aside

State = dict[str, Any]
"""`method`, `optimizer`, `precision` (state dicts, the last with the scale of float16), `progress` (plain numbers)."""

_NAME = re.compile(r"step-(\d{9,})\.pt")


class DamagedCheckpoint(LikewiseError):
    """A checkpoint that cannot be read back as it was written."""


def path_for(directory: Path, step: int) -> Path:
    """Where the checkpoint after `step` optimiser steps lies."""
    return directory / f"step-{step:09d}.pt"


def step_of(path: Path) -> int:
    """The step in a checkpoint's name. Raises `InputError` for another name."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise InputError(f"{path} is not a checkpoint: their names look like {path_for(Path(), 1200).name}")
    return int(match[1])


def all_checkpoints(directory: Path) -> list[Path]:
    """The checkpoints of a directory by step, the oldest first, whole or damaged; empty if it does not exist."""
    if not directory.is_dir():
        return []
    return sorted((path for path in directory.iterdir() if _NAME.fullmatch(path.name)), key=step_of)


def save(directory: Path, step: int, state: State, keep: int = 2) -> Path:
    """Write the checkpoint of `step`, then remove all but the newest `keep`; returns its path.

    Files of later steps can only be the damaged remains that a resumed run fell back from, and are removed as well.
    Raises `TypeError` if the state holds anything but tensors and plain values, naming the place, and `LikewiseError`
    if the disk refuses; the earlier checkpoints are untouched in both cases.
    """
    if keep < 1:
        raise InputError(f"at least one checkpoint must be kept, not {keep}")
    content = _plain(state, "state")
    directory.mkdir(parents=True, exist_ok=True)
    path = path_for(directory, step)
    try:
        with write_aside(path) as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:
        reason = _first_line(error)
        raise LikewiseError(f"checkpoint {path} could not be written: {reason}; earlier ones are untouched") from error
    _tidy(directory, step, keep)
    return path


def _tidy(directory: Path, step: int, keep: int) -> None:
    """Remove checkpoints beyond the newest `keep` up to `step`, later ones, and what killed writers left."""
    found = all_checkpoints(directory)
    past = [path for path in found if step_of(path) <= step]
    surplus = past[:-keep] + found[len(past) :]
    surplus += [path for path in directory.glob(f".*{ASIDE}") if path.is_file()]
    for path in surplus:
        path.unlink(missing_ok=True)


def latest(directory: Path) -> Path | None:
    """The newest checkpoint that is whole, or None. Every damaged one that is passed over gets a warning."""
    for path in reversed(all_checkpoints(directory)):
        damage = _damage(path)
        if damage is None:
            return path
        warnings.warn(f"checkpoint {path} is damaged ({damage}): falling back to the one before", stacklevel=2)
    return None


def load(path: Path) -> State:
    """The state of a checkpoint, on the CPU, equal in every bit, type and stride to what was saved.

    Raises `InputError` if there is no such file and `DamagedCheckpoint` if it is not whole.
    """
    if not path.is_file():
        raise InputError(f"there is no checkpoint {path}")
    damage = _damage(path)
    if damage is not None:
        raise DamagedCheckpoint(f"checkpoint {path} is damaged: {damage}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling damaged or foreign content can raise anything
        raise DamagedCheckpoint(f"checkpoint {path} cannot be read: {_first_line(error)}") from error
    if not isinstance(state, dict):
        raise DamagedCheckpoint(f"checkpoint {path} holds {type(state).__name__}, not the state of a run")
    return cast("State", state)


def _damage(path: Path) -> str | None:
    """What is wrong with the archive, or None. Reads it once, without keeping it."""
    try:
        with zipfile.ZipFile(path) as archive:
            entry = archive.testzip()
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        return _first_line(error)
    return None if entry is None else f"checksum of {entry} is wrong"


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0] or type(error).__name__


def _plain(value: Any, place: str) -> Any:
    """`value` with tensors cut free of larger storages; refuses now what loading would refuse later."""
    if isinstance(value, Tensor):
        return _own(value.detach())
    if value is None or type(value) in {bool, int, float, str}:
        return value
    if type(value) in {list, tuple}:
        return type(value)(_plain(item, f"{place}[{number}]") for number, item in enumerate(value))
    if type(value) in {dict, OrderedDict}:
        return {
            _key(key, place): _plain(item, f"{place}[{key!r}]")
            for key, item in cast("Mapping[Any, Any]", value).items()
        }
    raise TypeError(f"{place} is of type {type(value).__name__}: a checkpoint holds tensors and plain values only")


def _key(key: Any, place: str) -> int | str:
    if type(key) not in {int, str}:
        raise TypeError(f"key {key!r} of {place} is of type {type(key).__name__}: allowed are int and str")
    return cast("int | str", key)


def _own(tensor: Tensor) -> Tensor:
    """A view of a larger storage is copied, for `torch.save` would write all of the storage; strides are kept."""
    storage = tensor.untyped_storage()
    return tensor.clone() if storage.nbytes() > tensor.numel() * tensor.element_size() else tensor
