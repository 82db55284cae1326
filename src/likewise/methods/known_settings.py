"""Settings of methods that more than the method itself reads, by name and meaning.

A method whose `Settings` have a field of one of these names means by it what is said here; training bounds it, checks
it or reports it. All else in `Settings` is the method's own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from likewise.errors import InputError

PLACES = ("further_teachers", "old", "first_step", "previous", "neighbours", "masks")
"""Settings that name runs, files and folders, one or several. A run resumes with none that has changed since. The
frozen `teacher` may move."""


@runtime_checkable
class WithQueue(Protocol):
    """The method compares with a queue. Training keeps it shorter than the data, unless its card says `repeats`."""

    queue_size: int
    """Rows; 0 for none where the method can do without."""


@runtime_checkable
class WithPrototypes(Protocol):
    """The method chooses among learned vectors."""

    prototypes: int
    """How many."""


@runtime_checkable
class WithTeacher(Protocol):
    """The method learns from a trained network. A run records the digest of its weights, and resumes with no other."""

    teacher: str
    """A run directory, a file or a timm model; empty: none."""


@runtime_checkable
class WithTable(Protocol):
    """The vectors of the frozen teacher may be looked up, where the views allow it, in place of computed."""

    looks_up: bool
    """Whether they are."""


@runtime_checkable
class WithIdle(Protocol):
    """Some settings change nothing beside certain values of others."""

    def idle(self) -> Mapping[str, str]:
        """Name of each such setting -> the setting that would give it an effect."""


def choices(settings: Any) -> int:
    """Rows of the memory, or prototypes, that a teacher's distribution is over; 0: neither."""
    prototypes = settings.prototypes if isinstance(settings, WithPrototypes) else 0
    return prototypes or queue_size(settings) or 0


def queue_size(settings: Any) -> int | None:
    """Rows of the queue; None where the method has no such setting."""
    return settings.queue_size if isinstance(settings, WithQueue) else None


def teacher(settings: Any) -> str:
    """The trained network that is learned from; empty where there is none."""
    return settings.teacher if isinstance(settings, WithTeacher) else ""


def looks_up(settings: Any) -> bool:
    """Whether the vectors of the frozen teacher are looked up."""
    return isinstance(settings, WithTable) and settings.looks_up


def places_of(settings: Any) -> dict[str, list[str]]:
    """What each of `PLACES` names, of those that are given."""
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    listed = {name: [value] if isinstance(value, str) else value for name, value in values.items() if name in PLACES}
    # a method may have a number by such a name: `neighbours` of ASCL
    return {name: [*value] for name, value in listed.items() if isinstance(value, list | tuple) and any(value)}


def idle(settings: Any) -> Mapping[str, str]:
    """Settings that change nothing beside the values of the others: name -> the setting that would give it an effect.

    Nobody should ask for them in vain.
    """
    return settings.idle() if isinstance(settings, WithIdle) else {}


def refuse_idle(settings: Any, given: Mapping[str, Any]) -> None:
    """Raise InputError where a setting that was asked for (`given`) changes nothing."""
    for name, other in idle(settings).items():
        if name in given:
            raise InputError(f"{name}={given[name]} has no effect without {other}: set that, or leave {name} out")
