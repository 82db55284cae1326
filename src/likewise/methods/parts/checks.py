"""Checks of settings: one line that names the setting, the value found, and what is allowed.

That a value is of the annotated kind, and one of the words of a `Literal`, is checked for all methods alike
(`likewise.checking`).
"""

from __future__ import annotations

from likewise.errors import InputError


def at_least(name: str, value: float, least: float) -> None:
    """Raise InputError unless `value` >= `least`."""
    if not value >= least:
        raise InputError(f"{name}={value} is too small: allowed is {least} or more")


def positive(name: str, value: float) -> None:
    """Raise InputError unless `value` > 0."""
    if not value > 0:
        raise InputError(f"{name}={value} must be greater than 0")


def between(name: str, value: float, low: float, high: float) -> None:
    """Raise InputError unless `low` <= `value` <= `high`."""
    if not low <= value <= high:
        raise InputError(f"{name}={value} is out of range: allowed is {low} to {high}")
