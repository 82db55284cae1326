"""Groups of runs that differ only by their seed, named by the settings in which the groups differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from likewise.comparison.entries import Entry, distinct
from likewise.report.numbers import plain

_MISSING = "not there"
_LAST = ("precision", "device", "sync_batch_norm", "data.fingerprint", "data.images")
"""Differences that rarely explain anything."""
_EXPLAINING = {"method", "variant", "data"}
"""Differences that bring others with them."""


@dataclass(frozen=True)
class Group:
    """Repetitions of one setting."""

    label: str
    """What tells it from the other groups."""
    entries: tuple[Entry, ...]
    differs: Mapping[str, Any]
    """Its values of every setting in which the groups differ."""


def grouped(entries: Sequence[Entry]) -> list[Group]:
    """The entries in groups, in the order in which they first come."""
    names = differences(entries)
    together: dict[str, list[Entry]] = {}
    for entry in entries:
        # By what differs, not by all settings: a later version may have more of them.
        key = repr([entry.settings.get(name, _MISSING) for name in names])
        together.setdefault(key, []).append(entry)
    shown = telling(entries, names)
    labels = [_label(group[0], shown) for group in together.values()]
    return [
        Group(
            label=label if labels.count(label) == 1 else f"{label} ({group[0].name})",
            entries=tuple(group),
            differs={name: group[0].settings.get(name) for name in names},
        )
        for label, group in zip(labels, together.values(), strict=True)
    ]


def differences(entries: Sequence[Entry]) -> list[str]:
    """Settings that do not have the same value everywhere, the most telling first.

    A setting that only some methods have differs only if it does so among the runs that have it.
    """
    found = []
    for name in distinct(name for entry in entries for name in entry.settings):
        values = distinct(entry.settings[name] for entry in entries if name in entry.settings)
        if len(values) > 1:
            found.append(name)
    return sorted(found, key=lambda name: name in _LAST)


def telling(entries: Sequence[Entry], names: Sequence[str]) -> list[str]:
    """Of the differences those that a label needs: what follows from method, variant and data is left out."""
    shown: list[str] = []
    for name in names:
        if name == "data.images" or (name == "data.fingerprint" and "data" in names):
            continue
        cases: dict[str, list[Any]] = {}
        for entry in entries:
            case = repr([entry.settings.get(other) for other in shown if other in _EXPLAINING])
            cases.setdefault(case, []).append(entry.settings.get(name, _MISSING))
        if any(len(distinct(values)) > 1 for values in cases.values()):
            shown.append(name)
    return shown


def _label(entry: Entry, shown: Sequence[str]) -> str:
    """`isd`, `isd, queue_size 1,024`, or the name where nothing differs."""
    if not shown:
        return str(entry.settings.get("method") or entry.name)
    words = []
    for name in shown:
        value = entry.settings.get(name, _MISSING)
        if value is _MISSING or value is None:
            continue
        bare = name in {"method", "variant", "encoder", "data"}
        result = plain(value) if name != "data.fingerprint" else str(value)[:8]
        words.append(result if bare else f"{name.rpartition('.')[2]} {result}")
    return ", ".join(words) or entry.name
