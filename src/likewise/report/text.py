"""Numbers, durations and names as a reader wants them, safe to be put into HTML."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable
from typing import Any

NOTHING = "\N{EN DASH}"
"""What stands where there is no number."""


def escape(value: object) -> str:
    """`value` as text that HTML reads as text, inside attributes too; control characters and lone halves dropped."""
    readable = "".join(letter for letter in str(value) if letter.isprintable() or letter in "\n\t")
    return html.escape(readable, quote=True)


def number(value: Any) -> float | None:
    """`value` where it is a finite number, else None; truth values are no numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def shown(value: float | None) -> str:
    """About three digits: 0.0312, 1.52, 48.1, 1,234, 51,200."""
    if value is None:
        return NOTHING
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 1 or value == 0:
        return f"{value:.2f}" if value else "0"
    return f"{value:.3g}"


def percent(share: float | None, digits: int = 1) -> str:
    """A share of 1 in percent."""
    return NOTHING if share is None else f"{100 * share:.{digits}f} %"


def duration(minutes: float | None) -> str:
    """`18 seconds`, `9.5 minutes`, `2 hours 5 minutes`."""
    if minutes is None:
        return NOTHING
    seconds = round(60 * minutes)
    if seconds < 90:
        return count(seconds, "second")
    if seconds < 3600:
        return f"{minutes:.1f}".removesuffix(".0") + " minutes"
    hours, rest = divmod(round(minutes), 60)
    return count(hours, "hour") + (f" {count(rest, 'minute')}" if rest else "")


def count(amount: int, noun: str, plural: str | None = None) -> str:
    """`1 picture`, `1,200 pictures`."""
    return f"{amount:,} {noun if amount == 1 else plural or noun + 's'}"


def setting(value: Any) -> str:
    """A setting's value in a few words."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return joined(f"{key} {setting(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        inner = [f"({setting(item)})" if isinstance(item, list | tuple) else setting(item) for item in value]
        return joined(inner) or "none"
    return str(value)


def joined(parts: Iterable[str]) -> str:
    """Parts with commas between them."""
    return ", ".join(parts)
