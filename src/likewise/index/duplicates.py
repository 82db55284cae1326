"""Duplicates: same bytes, same pixels, near duplicates. Groups are complete: every two of a group are duplicates.

Candidates for near duplicates are neighbours in the embedding. Of two distributions of this collection it is told
which are copies. (1) Distances: around an image without copies, distances to its neighbours grow as those of random
points in a space of the surroundings' own dimension m, so that P(d1 / dk < t) = 1 - (1 - t^m)^(k - 1); m is estimated
from neighbours beyond the nearest (Levina and Bickel 2004, equation 8). Images that are far nearer to each other than
to all others, such as frames of one scene, cannot be told from copies so. (2) Pixels: how alike images are that are
neighbours, but not the nearest (`alike`). Where images can be read, the first proposes and the second decides; else
the first decides alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from likewise.index.index import Index
from likewise.index.near import FALSE_PAIRS, NEIGHBOURS, Judge, complete_groups, neighbours_of
from likewise.index.remembered import Denied
from likewise.index.rows import DuplicateRows, GroupItem
from likewise.terminal import paragraph

Kind = Literal["same bytes", "same pixels", "near"]


@dataclass(frozen=True)
class DuplicateGroup:
    """Images that are duplicates of each other."""

    kind: Kind
    """What the loosest pair of it is."""
    items: tuple[GroupItem, ...]

    @property
    def across(self) -> bool:
        """Whether it has images of several splits."""
        return len({item.split for item in self.items}) > 1


@dataclass(frozen=True)
class Duplicates:
    """The result of a search for duplicates."""

    groups: tuple[DuplicateGroup, ...]
    """Largest first."""
    images: int
    """Images that were looked at."""
    threshold: float | None
    """The bar that near duplicates had to pass; None where none were looked for."""
    how: str
    """What the bar is, in words."""
    fingerprint: str = ""
    """Of the space of the vectors."""

    def summary(self) -> str:
        """A sentence."""
        counts = {
            kind: sum(group.kind == kind for group in self.groups) for kind in ("same bytes", "same pixels", "near")
        }
        kinds = ", ".join(f"{count} of {kind}" for kind, count in counts.items() if count) or "no duplicates"
        across = sum(group.across for group in self.groups)
        kinds += f", {across} of them across splits" if across else ""
        return f"{self.images:,} images, {len(self.groups)} groups: {kinds}. {self.how}"

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        return {
            "groups": [
                {
                    "kind": group.kind,
                    "across_splits": group.across,
                    "items": [{"id": item.id, "path": item.path, "split": item.split} for item in group.items],
                }
                for group in self.groups
            ],
            "images": self.images,
            "threshold": self.threshold,
            "how": self.how,
        }

    def to_text(self) -> str:
        """For a person."""
        lines = [paragraph(self.summary())]
        for group in self.groups:
            across = ", across splits" if group.across else ""
            lines += ["", f"{group.kind}{across}:", *(f"  {item.id}" for item in group.items)]
        return "\n".join(lines)


def exact_groups(rows: DuplicateRows) -> list[tuple[Kind, list[int]]]:
    """Rows with the same pixels, which those with the same bytes have, too; each with its kind."""
    by_pixels: dict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(rows.pixels):
        if digest:
            by_pixels[digest].append(row)
    found: list[tuple[Kind, list[int]]] = []
    for held in by_pixels.values():
        if len(held) > 1:
            digests = {rows.content[row] for row in held}
            found.append(("same bytes" if len(digests) == 1 and digests != {""} else "same pixels", held))
    return found


def duplicates(
    index: Index,
    *,
    near: bool = True,
    false_pairs: float = FALSE_PAIRS,
    progress: Callable[[int, int], None] | None = None,
) -> Duplicates:
    """The groups of duplicates in an index.

    With `near` also images that are cut, moved, mirrored or encoded anew, of which as many pairs as `false_pairs` are
    expected to be wrong. Pairs that were said to be none (`Denied`) are in no group together. What was compared once is
    remembered in a folder, so that a second call compares only what is new.
    """
    rows, denied = DuplicateRows.of(index), Denied(index)
    groups = exact_groups(rows)
    threshold, how = None, "Near duplicates were not looked for."
    if near and len(index.held_spaces()) > 1:
        how = "Near duplicates were not looked for: an upgrade is not finished, and vectors are of two encoders."
    elif near and len(rows.ids) > NEIGHBOURS + 1:
        groups, threshold, how = _with_near(index, rows, groups, denied, false_pairs, progress)
    parted = [(kind, part) for kind, held in groups for part in denied.parted(held, rows.ids)]
    return _made(rows, parted, threshold, how, index.fingerprint)


def grouped(rows: DuplicateRows, how: str) -> Duplicates:
    """The groups of the same bytes and pixels alone; `how` says why."""
    return _made(rows, exact_groups(rows), None, how, "")


def _made(
    rows: DuplicateRows, parts: list[tuple[Kind, list[int]]], threshold: float | None, how: str, fingerprint: str
) -> Duplicates:
    made = [DuplicateGroup(kind, tuple(rows.item(row) for row in part)) for kind, part in parts if len(part) > 1]
    ordered = sorted(made, key=lambda group: (-len(group.items), group.items[0].id))
    return Duplicates(tuple(ordered), len(rows.ids), threshold, how, fingerprint)


def _with_near(
    index: Index,
    rows: DuplicateRows,
    exact: list[tuple[Kind, list[int]]],
    denied: Denied,
    false_pairs: float,
    progress: Callable[[int, int], None] | None,
) -> tuple[list[tuple[Kind, list[int]]], float | None, str]:
    """The exact groups, joined with near duplicates of them; the bar, and what it is."""
    copies = {row: held for _, held in exact for row in held}
    kind_of = {held[0]: kind for kind, held in exact}
    first = np.array([row for row in range(len(rows.ids)) if row not in copies or copies[row][0] == row], np.int64)
    if len(first) <= NEIGHBOURS + 1:
        return exact, None, "Too few different images to tell near duplicates by."
    similarity, neighbour = neighbours_of(index, first)
    distance = np.sqrt(np.clip(2 - 2 * similarity, 0, None))
    judge = Judge(index, rows, denied, first, distance, neighbour, false_pairs, progress)
    accepted = judge.accepted()
    groups: list[tuple[Kind, list[int]]] = []
    for held in complete_groups(accepted, judge.same):
        every = sorted(row for one in held for row in copies.get(one, [one]))
        groups.append(("near" if len(held) > 1 else kind_of.get(held[0], "near"), every))
    joined = {row for _, held in groups for row in held}
    groups += [(kind, held) for kind, held in exact if held[0] not in joined]
    judge.remember()
    return groups, judge.threshold, judge.how
