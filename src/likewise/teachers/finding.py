"""Loading of a teacher by name: a run, a file, a timm model, a table, or an object in Python."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import likewise._torchvision  # noqa: F401  (has to be imported before timm)

# isort: split
import timm

from likewise.data.fingerprints import digest
from likewise.data.vectors import Table, is_table, lacking, places, read_table
from likewise.encoders import Encoder, EncoderSpec, build, load_encoder, normalisation
from likewise.encoders.build import check_name
from likewise.encoders.files.chosen import choose
from likewise.encoders.files.onnx import files_of, load_onnx
from likewise.encoders.files.published import at_hand
from likewise.encoders.files.store import read_description, weights_digest
from likewise.errors import InputError, missing
from likewise.teachers.callables import called, find_callable, is_callable
from likewise.teachers.networks import Channels
from likewise.teachers.teacher import Teacher, of_encoder, of_table

KINDS = (
    "a run directory, a .safetensors or .onnx file, a .parquet, .npz or .npy table of vectors by image, a timm model "
    "with published weights, or module:function"
)


FEW = 0.05
"""Share of the images that a table may lack as long as it is not known which can be read."""
TEACHERS = ("teacher", "further_teachers")
"""Settings that name teachers, in all methods that have some."""


def check_pretrained(teacher: str, setting: str = "teacher") -> None:
    """Raise `InputError`, naming `setting`, where `teacher` is no path that exists and no timm model with weights.

    Files are looked into and not loaded, and an empty name is let pass: what needs a teacher says so where it is built.
    """
    if not teacher:
        return
    path = Path(teacher).expanduser()
    if path.exists():
        try:
            _check_path(path)
        except InputError as error:
            raise InputError(f"{setting}={teacher!r}: {error}") from error
        return
    if is_callable(teacher):
        find_callable(teacher)
        return
    try:
        check_name(teacher)
    except InputError as error:
        near = str(error).partition(": ")[2].partition("?")[0]
        hint = f" ({near}?)" if near.startswith("did you mean") else ""
        raise InputError(
            f"{setting}={teacher!r} is no run directory, no file and no timm model{hint}: name one, such as "
            "runs/photos-isd-resnet18"
        ) from error
    if not timm.is_model_pretrained(teacher):
        raise InputError(f"{setting}={teacher!r}: timm has no published weights of it, so it cannot teach")


def check_at_hand(teacher: str) -> None:
    """Raise `InputError` where the published weights of a timm model are neither here nor to be had."""
    if teacher and not Path(teacher).expanduser().exists() and timm.is_model(teacher.partition(".")[0]):
        at_hand(teacher)


def check_asked(settings: type[Any], given: Mapping[str, Any]) -> None:
    """Raise `InputError` where a teacher that was asked for cannot teach by a method with these `Settings`.

    Called before the data are opened: a wrong teacher is to be known at once.
    """
    named = {name: given[name] for name in TEACHERS if name in given}
    if named:
        settings(**named)
    for teacher in _each(named):
        check_at_hand(teacher)
        path = Path(teacher).expanduser()
        if path.is_file() and _is_onnx(path):
            try:
                load_onnx(path)
            except InputError as error:
                raise InputError(f"teacher={teacher!r}: {error}") from error


def check_covers(given: Mapping[str, Any], names: Sequence[str], *, decoded: bool = False) -> None:
    """Raise `InputError` where a table that was asked for as a teacher lacks images of the data.

    Before these are `decoded` a few may be lacking: those that cannot be read, which need no vector.
    """
    for teacher in _each({name: given[name] for name in TEACHERS if name in given}):
        if is_table(teacher):
            table = _table(Path(teacher).expanduser())
            if decoded or not 0 < lacking(table, names) <= max(1, FEW * len(names)):
                places(table, names, what=f"teacher={teacher!r}")


def pretrained(
    teacher: str,
    *,
    image_size: int,
    mean: Channels,
    std: Channels,
    cached: bool = False,
    setting: str = "teacher",
) -> Teacher:
    """The frozen teacher that the setting called `setting` names, `KINDS`.

    It takes views made for a student, whose side and normalisation are given, at its own size and normalisation, and
    returns pooled features; `.features` says how many. With `cached`, and always for a table, it is looked up by image.
    Raises `InputError`, one line that names the flag, where there is no such teacher.
    """
    if not teacher:
        raise InputError(f"a trained {setting} is needed: name {KINDS} with --{setting}")
    check_pretrained(teacher, setting)
    path = Path(teacher).expanduser()
    try:
        if is_table(teacher):
            return of_table(_table(path), name=teacher, key=str(digest_of(teacher)))
        encoder, key = _found(teacher, path, image_size)
    except InputError as error:
        if str(error).startswith(f"{setting}="):
            raise
        raise InputError(f"{setting}={teacher!r}: {error}") from error
    return of_encoder(encoder, name=teacher, key=key, image_size=image_size, mean=mean, std=std, cached=cached)


def taken_from(teacher: str) -> str | None:
    """Which encoder of a run teaches and why, for people; None for what is no run directory."""
    path = Path(teacher).expanduser()
    return str(choose(path, None)) if teacher and path.is_dir() else None


def digest_of(teacher: str) -> str | None:
    """Hexadecimal name of the weights of a teacher on this machine; None for one of timm's and where nothing is there.

    Of ONNX files and tables it is that of the whole file, and of those that hold its weights. Raises InputError where
    the place holds no whole weights.
    """
    path = Path(teacher).expanduser()
    if not teacher or not path.exists():
        return None
    if path.is_file() and (is_table(teacher) or _is_onnx(path)):
        found = [_digest_of_file(one) for one in (files_of(path) if _is_onnx(path) else [path])]
        return found[0] if len(found) == 1 else digest(*found)
    return weights_digest(choose(path, None).path)


def _digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _each(named: Mapping[str, Any]) -> list[str]:
    """The teachers in settings that name one or several."""
    return [one for value in named.values() for one in ([value] if isinstance(value, str) else value)]


def _check_path(path: Path) -> None:
    """Raise InputError where a folder or file cannot be a teacher."""
    if path.is_dir():
        choose(path, None)
    elif is_table(path.name):
        _table(path)
    elif _is_onnx(path):
        for name in ("onnxruntime", "onnx"):
            if importlib.util.find_spec(name) is None:
                raise missing(name, "onnx", "an ONNX file")
    elif path.suffix == ".safetensors":
        read_description(path)
    else:
        raise InputError(
            f"a {path.suffix or path.name} file is no encoder: name {KINDS}; likewise convert makes one of a checkpoint"
        )


def _table(path: Path) -> Table:
    return read_table(path)


def _is_onnx(path: Path) -> bool:
    return path.suffix.lower() == ".onnx"


def encoder_of(teacher: str) -> Encoder:
    """The encoder of a run, a file of weights or a timm model. Raises InputError where there is none."""
    return _found(teacher, Path(teacher).expanduser(), EncoderSpec().image_size)[0]


def _found(teacher: str, path: Path, image_size: int) -> tuple[Encoder, str]:
    """The encoder, and what its vectors depend on beside its spec."""
    if path.exists() and _is_onnx(path):
        encoder = load_onnx(path)
        return encoder, str(digest_of(teacher))
    if path.exists():
        weights = choose(path, None).path
        return load_encoder(weights), weights_digest(weights)
    if is_callable(teacher):
        return called(teacher, image_size)
    encoder = _published(teacher)
    return encoder, digest(teacher, timm.__version__)


def _published(name: str) -> Encoder:
    """The timm model of that name with its published weights, at the size they were trained at."""
    at_hand(name)  # without them nothing else is worth the time
    mean, std = normalisation(name)
    published = timm.get_pretrained_cfg(name)
    side = EncoderSpec().image_size if published is None else int(published.input_size[-1])
    return build(EncoderSpec(name=name, image_size=side, pretrained=True, mean=mean, std=std))
