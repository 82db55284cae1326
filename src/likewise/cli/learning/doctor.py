"""`likewise doctor`: describe a data set, and the settings that training would choose for it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tyro.conf import OmitArgPrefixes, Positional

from likewise.cli.shared import Data, method_shapes, print_next
from likewise.cli.teacher import check_teacher

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Arguments of `likewise doctor`, but those of the training run it looks ahead to."""

    json: bool = False
    """Print one JSON object."""
    quiet: bool = False
    """Print the result and nothing else."""


def doctor_arguments(method: str, variant: str | None) -> type[Any]:
    """Arguments of `likewise doctor`: those that decide what a training run would see and how it would be set."""
    from likewise.training.planning.asked import Opened

    asked, _, settings = method_shapes(method, variant)
    fields: list[tuple[str, Any, Any]] = [
        ("data", Positional[Data], dataclasses.field()),
        ("opened", OmitArgPrefixes[Opened], dataclasses.field(default=Opened())),
        ("training", OmitArgPrefixes[type(asked)], dataclasses.field(default=asked)),  # type: ignore[misc]
        (method, OmitArgPrefixes[type(settings)], dataclasses.field(default=settings)),  # type: ignore[misc]
    ]
    return dataclasses.make_dataclass("DoctorAll", fields, bases=(Doctor,), frozen=True, kw_only=True)


def run(words: list[str]) -> None:
    """Do what the words after the verb ask for."""
    check_teacher(words)
    from likewise.parsing import explicit, parse, value_of
    from likewise.verbs.learning.doctor import TAUGHT_BY

    if any(_names_index(word) for word in words):
        _look_at_index(words)
        return
    if value_of(words, "teacher", None) is not None and value_of(words, "method", None) is None:
        words = [*words, "--method", TAUGHT_BY]
    shape = doctor_arguments(value_of(words, "method", "isd"), value_of(words, "variant", None))
    parsed = parse(shape, words, "likewise doctor", "What is in this data, what would be chosen, how fast it will be.")
    from likewise.commands import carried
    from likewise.verbs.learning.doctor import doctor

    asked = {name: value for name, value in explicit(parsed, words).items() if name not in {"data", "json", "quiet"}}
    findings = doctor(parsed.data, **asked)
    print(json.dumps(findings.to_json(), indent=2) if parsed.json else findings.to_text())
    if not parsed.json and not parsed.quiet:
        print_next(carried("train", words, without=("json", "quiet")))


@dataclass(frozen=True, kw_only=True)
class DoctorIndex(Doctor):
    """Arguments of `likewise doctor` for an index."""

    index: Annotated[Positional[str], tyro.conf.arg(metavar="INDEX")]
    """What `likewise embed` wrote."""


def _names_index(word: str) -> bool:
    """Whether a word is an index, without importing what could open it."""
    if word.startswith(("postgres://", "postgresql://", "qdrant://")):
        return True
    return not word.startswith("-") and (word.endswith(".index") or (Path(word) / "manifest.json").is_file())


def _look_at_index(words: list[str]) -> None:
    """Print what is wrong with an index; exit with status 1 where something is."""
    from likewise.parsing import parse

    parsed = parse(DoctorIndex, words, "likewise doctor", "What is wrong with an index.")
    from likewise.errors import LikewiseError
    from likewise.index.checkup import check_index

    found = check_index(parsed.index)
    print(json.dumps(found.to_json(), indent=2) if parsed.json else found.to_text())
    if found.wrong:
        raise LikewiseError(f"{parsed.index} is not sound: {found.wrong[0]}")
