"""Formatting of numbers for people."""

from __future__ import annotations

import math
from typing import Any


def percent(share: float, digits: int = 1) -> str:
    """`58.1 %`, with a space that does not break."""
    return f"{100 * share:.{digits}f}\u00a0%"


def count(value: float) -> str:
    """`50,000`."""
    return f"{value:,.0f}"


def short(value: float) -> str:
    """At most four characters or so, for axes: `0.02`, `1.5`, `12k`, `3e-5`."""
    size = abs(value)
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "-"
    if size >= 1e6:
        return f"{value / 1e6:.3g}M"
    if size >= 1e4:
        return f"{value / 1e3:.3g}k"
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 0.001:
        return f"{value:.3g}"
    return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")


def minutes(value: float) -> str:
    """`48 seconds`, `9.8 minutes`, `3 h 12 min`."""
    if value < 1.5:
        return f"{60 * value:.0f} seconds"
    if value < 90:
        return f"{value:.1f}".removesuffix(".0") + " minutes" if value < 9.95 else f"{value:.0f} minutes"
    hours, rest = divmod(round(value), 60)
    return f"{hours} h {rest} min"


def plain(value: Any) -> str:
    """A setting's value, as one would type it."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        if any(isinstance(item, list | tuple) for item in value):
            return ", ".join(f"({plain(item)})" for item in value)
        return ", ".join(plain(item) for item in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(item)}" for key, item in value.items()) or "none"
    return str(value)


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round values from at or below `low` to at or above `high`, in steps of 1, 2, 2.5 or 5 times a power of ten."""
    span = high - low
    if not math.isfinite(span) or span <= 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(span / about))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if span / (factor * power) <= about)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]
