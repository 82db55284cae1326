"""Checks of the settings of views: each raises InputError in one line that says what is allowed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from likewise.errors import InputError

Channels = tuple[float, float, float]
Span = tuple[float, float]


def probability(name: str, value: float) -> None:
    """Refuse what is not a probability. Raises InputError."""
    if not 0.0 <= value <= 1.0:
        raise InputError(f"{name} {value} is not a probability: allowed is 0 to 1, nearest {min(max(value, 0.0), 1.0)}")


def span(name: str, value: Span, *, low: float, high: float = math.inf, closed: bool = False) -> None:
    """Refuse what is not an ordered pair above `low` (or from it, where `closed`) up to `high`. Raises InputError."""
    limits = f"{'from' if closed else 'above'} {low:g}" if math.isfinite(low) else "finite"
    limits += "" if math.isinf(high) else f"{' to' if closed else ' up to'} {high:g}"
    if len(value) != 2:
        raise InputError(f"{name} {value!r} is not a pair: allowed are two numbers {limits}, the smaller first")
    first, second = value
    if not (low <= first <= second <= high) or (first == low and not closed) or not math.isfinite(second - first):
        raise InputError(f"{name} {first:g} to {second:g} is no range: allowed are two numbers {limits}, smaller first")


def strength(name: str, value: float, high: float) -> None:
    """Refuse what is not a strength of jitter between 0 and `high`. Raises InputError."""
    if not 0.0 <= value <= high:
        nearest = high if value > high else 0.0
        raise InputError(f"{name} {value} is no strength of jitter: allowed is 0 to {high:g}, nearest {nearest:g}")


def whole(name: str, value: object, low: int, high: float = math.inf) -> None:
    """Refuse what is not a whole number from `low` to `high`. Raises InputError."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        limits = f"from {low}" + ("" if math.isinf(high) else f" to {high:g}")
        raise InputError(f"{name} {value!r} is not valid: allowed are whole numbers {limits}")


def channels(name: str, values: Sequence[float], *, low: float) -> None:
    """Refuse what is not three finite numbers above `low`. Raises InputError."""
    if len(values) != 3 or not all(low < value < math.inf for value in values):
        limit = "finite" if math.isinf(low) else f"above {low:g}"
        raise InputError(f"{name} {values!r} is not valid: needed are three numbers, {limit}, for red, green, blue")
