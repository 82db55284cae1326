"""What several verbs share: the data they take, how they end, and the settings of a method as flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    from likewise.runs import RunDirectory

Data = Annotated[
    str,
    tyro.conf.arg(metavar="DATA", help="A folder, a list, a CSV, Parquet or NumPy file, or a name such as cifar10."),
]
ENCODER_FILES = (".safetensors", ".onnx", ".parquet", ".npz", ".npy")
"""Endings of files that can teach."""


def method_shapes(method: str, variant: str | None) -> tuple[Any, Any, Any]:
    """Training options, session options and the method's settings, as they are by default for `variant`."""
    from likewise.methods import find
    from likewise.training.planning.asked import Asked, Session
    from likewise.training.planning.resolve import preset_of

    name, preset = preset_of(find(method), variant)
    return Asked(method=method, variant=name), Session(), preset.settings


def tell_run(run: RunDirectory, *, quiet: bool) -> None:
    """Where a run lies, what training brought, and what to do with it."""
    from likewise.commands import following

    print(f"run     {run.path}")
    if quiet:
        return
    if run.report_file.exists():
        print(f"report  {run.report_file}")
    stored = run.read()
    for line in training_words(stored):
        print(line)
    proposals = following(run.path, stored)
    if proposals:
        print_next(proposals[0].command)


def training_words(stored: Mapping[str, Any]) -> list[str]:
    """What the scores while training say of a finished run, or that there were none."""
    from likewise.terminal import paragraph

    online = stored.get("online") or {}
    if anchored := stored.get("anchored"):
        from likewise.report.words import anchored_words

        rest = training_words({name: value for name, value in stored.items() if name != "anchored"})
        return [*rest, paragraph(anchored_words(anchored), first="anchor  ", indent="        ")]
    if stored.get("classifier"):
        return [f"score   {100 * one['value']:.1f} % of {one['n']:,} {one['split']} images" for one in stored["scores"]]
    if online.get("change"):
        return [paragraph(online["change"], first="gain    ", indent="        ")]
    if not stored.get("data", {}).get("classes"):
        words = "nothing is scored without labels; where sub-folders are the classes, --labels folders says so"
        return [paragraph(words, first="note    ", indent="        ")]
    return []


def check_teacher(words: Sequence[str]) -> None:
    """Refuse a --teacher by its file alone, before torch is imported: a wrong one is to be known at once.

    What only its weights can tell is said later. Raises InputError.
    """
    from likewise.errors import InputError
    from likewise.parsing import value_of

    teacher = value_of(words, "teacher", "")
    path, kinds = Path(teacher).expanduser(), ENCODER_FILES
    if not teacher or ":" in teacher:
        return
    if path.is_dir() and not any((path / name).is_file() for name in ("encoder.safetensors", "teacher.safetensors")):
        raise InputError(
            f"teacher={teacher!r} holds no trained encoder: name a run directory or a .safetensors file, such as "
            "runs/photos-isd-resnet18"
        )
    if path.is_file() and path.suffix.lower() not in kinds:
        raise InputError(
            f"teacher={teacher!r}: a {path.suffix or path.name} file is no encoder: name one of {', '.join(kinds)}, a "
            "run directory, a timm model with published weights, or module:function; likewise convert makes one of a "
            "checkpoint"
        )
    if not path.exists() and (path.suffix.lower() in kinds or len(path.parts) > 1):
        raise InputError(
            f"teacher={teacher!r} is no run directory, no file and no timm model: name one, such as "
            "runs/photos-isd-resnet18"
        )


def print_next(command: str) -> None:
    """The command that follows on this one, as the last line."""
    print(f"next    {command}")
