"""Errors for users: one line each, with an exit status."""

from __future__ import annotations

import difflib
import importlib.metadata
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path


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
    near = nearest(name, choices)
    hint = "" if near is None else f"did you mean {near!r}? "
    return InputError(f"unknown {kind} {name!r}: {hint}allowed are {', '.join(choices)}")


def nearest(name: str, choices: Sequence[str]) -> str | None:
    """The choice that was probably meant: one that begins as `name` does before one that is spelled alike.

    Case, hyphens and underscores are looked over. None where nothing is near.
    """
    plain = {choice: _plain(choice) for choice in choices}
    begun = [choice for choice in choices if _plain(name) and plain[choice].startswith(_plain(name))]
    if begun:
        return min(begun, key=lambda choice: len(plain[choice]))
    near = difflib.get_close_matches(_plain(name), list(plain.values()), n=1, cutoff=0.5)
    return next((choice for choice in choices if near and plain[choice] == near[0]), None)


def missing(package: str, extra: str, what: str) -> InputError:
    """The error for `what` needing a package that is not installed, with the command that installs the extra."""
    return InputError(f"{what} needs the package {package}: {install_command(extra)}")


def install_command(extra: str) -> str:
    """The command that installs an extra where this package comes from: its clone, else the packages by name.

    Nothing is fetched by the name of this package, which a clone need not share with a package index.
    """
    clone = Path(__file__).resolve().parents[2]
    if (clone / "pyproject.toml").is_file():
        where = "." if clone == Path.cwd() else str(clone)
        return f"pip install -e {shlex.quote(f'{where}[{extra}]')}"
    packages = [
        line.partition(";")[0].strip()
        for line in importlib.metadata.requires("likewise") or ()
        if re.search(rf"extra == ['\"]{re.escape(extra)}['\"]", line)
    ]
    return f"pip install {shlex.join(packages)}"


def _plain(name: str) -> str:
    return re.sub(r"[-_\s]", "", name.lower())
