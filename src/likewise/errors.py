"""The errors that people see: one line each, with the exit status that belongs to it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LikewiseError(Exception):
    """Base of every error meant for a person. Its text is one line; `exit_status` is what the shell gets."""

    exit_status = 1


class InputError(LikewiseError, ValueError):
    """Something that was asked for cannot be: says what was found, what is allowed, and the nearest valid choice."""

    exit_status = 2


class TrainingStopped(LikewiseError, RuntimeError):
    """Training ended itself because going on would only waste time: a non-finite loss, or a collapsed encoder."""

    exit_status = 3


class DiskFull(LikewiseError, OSError):
    """A file could not be written because there is no room for it, or no more is allowed. Nothing partial is left."""


def unknown(kind: str, name: str, allowed: Iterable[str]) -> InputError:
    """The error for a name that is not among `allowed`, with the nearest spelling first."""
    choices = sorted(allowed)
    near = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return InputError(f"unknown {kind} {name!r}: {hint}allowed are {', '.join(choices)}")
