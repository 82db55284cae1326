"""Checks of settings: one line that names the setting, the value found, and what is allowed.

That a value is of the annotated kind, and one of the words of a `Literal`, is checked for all methods alike
(`likewise.checking`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from likewise.errors import InputError
from likewise.methods.method import Card

SKEWED = 3.0
"""How many times as many images as the smallest class the largest has where data count as skewed."""


def skew_note(card: Card, labels: Tensor | None) -> str | None:
    """A warning before a method that assumes balanced clusters is trained on skewed data, or None.

    `labels` are those of the data, -1 where unknown; without any, nobody can tell.
    """
    known = None if labels is None else labels[labels >= 0]
    if not card.uniform_prior or known is None or not len(known):
        return None
    counts = torch.unique(known, return_counts=True)[1]
    share = float(counts.max() / counts.min())
    if share < SKEWED:
        return None
    return (
        f"{card.title} assumes clusters of about equal size, and the largest class has {share:.0f} times as many "
        "images as the smallest: rare classes may suffer; isd and msf do not assume it"
    )


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
