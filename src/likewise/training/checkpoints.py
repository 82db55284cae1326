"""Crash-safe checkpoints: one file each, complete or absent, verified before they are loaded.

A checkpoint is what `torch.save` writes: a zip archive of raw tensors beside a description that is read with
`weights_only=True`, so that a checkpoint from elsewhere can run no code. Of the formats that can hold the state it is
the only one that keeps it as it is: integer keys of optimisers, tied tensors, and strides (channels_last), without
which a resumed run would compute the same sums in another memory order. Every entry of the archive carries a CRC-32,
and it is compared before loading: torch itself does not look.
"""

from __future__ import annotations

import re
import shutil
import warnings
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from likewise.data.caching.cache import readable
from likewise.errors import DiskFull, InputError, LikewiseError
from likewise.files import ASIDE, write_aside

State = dict[str, Any]
"""`method`, `optimizer`, `precision` (state dicts, the last with the scale of float16), `progress` (plain numbers)."""

SPARE = 16 * 2**20
"""Bytes that are left free beside a checkpoint: for metrics, reports, and whoever else writes there."""
_NAME = re.compile(r"step-(\d{9,})\.pt")


class DamagedCheckpoint(LikewiseError):
    """A checkpoint that cannot be read back as it was written."""


def path_for(directory: Path, step: int) -> Path:
    """Path of the checkpoint after `step` optimiser steps."""
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


def save(directory: Path, step: int, state: State, keep: int = 2) -> Path | None:
    """Write the checkpoint of `step`, then remove all but the newest `keep`; returns its path.

    Files of later steps can only be the damaged remains that a resumed run fell back from, and are removed as well.
    Where the disk has no room even when only the newest whole checkpoint is kept, that one stays, nothing partial does,
    a warning says so, and None is returned: a run that goes on may find room next time. Raises `TypeError` if the state
    holds anything but tensors and plain values, naming the place, and `LikewiseError` if the disk refuses for another
    reason; the earlier checkpoints are untouched in both cases.
    """
    if keep < 1:
        raise InputError(f"at least one checkpoint must be kept, not {keep}")
    content = _plain(state, "state")
    directory.mkdir(parents=True, exist_ok=True)
    path = path_for(directory, step)
    needed = size_of(content)
    if _free(directory) < needed + SPARE:
        _keep_the_last(directory)
    if _free(directory) < needed or not _written(path, content):
        last = all_checkpoints(directory)
        result = f"the last one, {last[-1].name}, stays" if last else "there is none so far"
        warnings.warn(
            f"checkpoint {path.name} was not written: it takes {readable(needed)} and {directory} has "
            f"{readable(_free(directory))} left; {result}",
            stacklevel=2,
        )
        return None
    _tidy(directory, step, keep)
    return path


def _written(path: Path, content: State) -> bool:
    """Write a checkpoint; whether there was room for it. Raises `LikewiseError` if the disk refuses otherwise."""
    try:
        with write_aside(path) as file:
            torch.save(content, file)
    except DiskFull:
        return False
    except (OSError, RuntimeError) as error:
        reason = _first_line(error)
        raise LikewiseError(f"checkpoint {path} could not be written: {reason}; earlier ones are untouched") from error
    return True


def check_room(directory: Path, method: State, trained: int) -> None:
    """Raise `InputError` where a checkpoint will not fit on the disk that `directory` is to lie on.

    `method` is the state of the method and `trained` the bytes of the weights that are updated, of which an optimiser
    keeps two averages at most.
    """
    needed, there = size_of(method) + 2 * trained, directory
    while not there.exists():
        there = there.parent
    free = _free(there) + sum(path.stat().st_size for path in all_checkpoints(directory)[:-1])  # these would make room
    if free < needed + SPARE:
        raise InputError(
            f"a checkpoint takes up to {readable(needed)}, and {there} has {readable(free)} left: free some, or name a "
            "place on another disk with --out"
        )


def size_of(state: Any) -> int:
    """Bytes of the tensors in a state, those that share memory counted once."""
    sizes: dict[tuple[str, int], int] = {}

    def add(value: Any) -> None:
        if isinstance(value, Tensor):
            storage = value.untyped_storage()
            own = min(storage.nbytes(), value.numel() * value.element_size())
            place = (str(value.device), storage.data_ptr())
            sizes[place] = max(sizes.get(place, 0), own)
        elif isinstance(value, Mapping):
            for item in value.values():
                add(item)
        elif isinstance(value, list | tuple):
            for item in value:
                add(item)

    add(state)
    return sum(sizes.values())


def _free(directory: Path) -> int:
    """Bytes that may still be written where `directory` lies."""
    return shutil.disk_usage(directory).free


def _keep_the_last(directory: Path) -> None:
    """Make room: remove all checkpoints but the newest whole one."""
    newest = latest(directory)
    for path in all_checkpoints(directory):
        if newest is not None and path != newest:
            path.unlink(missing_ok=True)


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
    """The damage of the archive, or None. Reads it once, without keeping it."""
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
