"""The journal of labels in the order they were given: an append-only file, and the list that results from it.

A line is on the disk (fsync) before it counts. The list of labels is made from the lines and replaced whole, so after
any interruption it is at most one key behind the journal, which makes it again. An action has a name of its own: one
that is sent again, because its answer was lost, counts once. Undoing is a line, too; nothing is ever removed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from likewise.data.fingerprints import digest
from likewise.data.labels import is_unknown
from likewise.errors import InputError

SKIPPED = "skip"
"""Kind of an action that passes images over."""
LONGEST = 200
"""Characters of a class name at most."""


@dataclass(frozen=True)
class Action:
    """One key that changed something."""

    id: str
    """Name of the action, made where the key was pressed."""
    tab: str
    """Which page it came from."""
    rows: tuple[int, ...]
    """Images."""
    label: str | None
    """Their class; None where they were skipped."""

    def to_json(self) -> dict[str, Any]:
        """As a line."""
        kind = {"kind": SKIPPED} if self.label is None else {"kind": "label", "label": self.label}
        return {"id": self.id, "tab": self.tab, **kind, "rows": list(self.rows)}


@dataclass
class LabelState:
    """The labels that result from the actions."""

    count: int
    """Images of the list."""
    classes: list[str]
    """All class names so far, in the order of the keys that stand for them."""
    initial: dict[int, str] = field(default_factory=dict)
    """Labels that the list came with, by row."""
    actions: list[Action] = field(default_factory=list)
    """All, in their order."""
    undone: set[str] = field(default_factory=set)
    """Names of those that were taken back."""
    revision: int = 0
    """Number of lines that counted."""

    def knows(self, name: str) -> bool:
        """Whether an action of this name has counted."""
        return any(one.id == name for one in self.actions) or name in self._undo_names

    def __post_init__(self) -> None:
        self._undo_names: set[str] = set()

    def add(self, action: Action) -> None:
        """Count an action."""
        self.actions.append(action)
        if action.label is not None and action.label not in self.classes:
            self.classes.append(action.label)
        self.revision += 1

    def undo(self, name: str, of: str) -> None:
        """Take the action `of` back, whatever came after it: other images and later labels of its own stay."""
        self.undone.add(of)
        self._undo_names.add(name)
        self.revision += 1

    def last(self, tab: str) -> Action | None:
        """The last action of a page that was not taken back; of all pages where it has none."""
        left = [one for one in self.actions if one.id not in self.undone]
        own = [one for one in left if one.tab == tab]
        return (own or left or [None])[-1]  # type: ignore[list-item]

    def now(self) -> dict[int, str | None]:
        """The class of each row that has one; None for rows that were skipped."""
        found: dict[int, str | None] = dict(self.initial)
        for one in self.actions:
            if one.id not in self.undone:
                found.update(dict.fromkeys(one.rows, one.label))
        return found


def checked_class(name: str, classes: Sequence[str] = ()) -> str:
    """A class name as it is kept. Raises InputError for one that a list would not give back."""
    plain = " ".join(name.split())
    if not plain or len(plain) > LONGEST:
        raise InputError(f"a class name has 1 to {LONGEST} characters, not {len(plain)}")
    if is_unknown(plain) and plain not in classes:
        raise InputError(f"{plain!r} means 'no label' in every list: choose another class name")
    return plain


class LabelJournal:
    """The file of actions of one list."""

    def __init__(self, path: Path, paths: Sequence[str], labels: LabelState) -> None:
        """Read what is there, or begin. Raises InputError for a journal of another list, or a damaged one."""
        self.path, self.labels = path, labels
        self._key = digest(*paths)
        kept = self._read() if path.exists() else 0
        self._file = path.open("r+b" if path.exists() else "w+b")
        self._file.truncate(kept)  # half a line, which an interruption left and nobody was told of
        self._file.seek(kept)
        if not kept:
            self._write({"kind": "begin", "version": 1, "images": len(paths), "list": self._key})

    def _read(self) -> int:
        """Count the whole lines; the number of their bytes."""
        kept = 0
        for number, line in enumerate(self.path.read_bytes().splitlines(keepends=True), 1):
            if not line.endswith(b"\n"):
                break
            try:
                self._replay(json.loads(line), number)
            except (ValueError, KeyError, TypeError) as error:
                if isinstance(error, InputError):
                    raise
                raise InputError(f"{self.path} is damaged in line {number}: mend or remove that line") from error
            kept += len(line)
        return kept

    def _replay(self, line: dict[str, Any], number: int) -> None:
        if number == 1:
            if line.get("list") != self._key:
                raise InputError(f"{self.path} belongs to another list of images: choose another --out")
            return
        if line["kind"] == "undo":
            self.labels.undo(str(line["id"]), str(line["of"]))
            return
        rows = tuple(int(row) for row in line["rows"])
        if not all(0 <= row < self.labels.count for row in rows):
            raise ValueError("a row that the list does not have")
        label = None if line["kind"] == SKIPPED else str(line["label"])
        self.labels.add(Action(str(line["id"]), str(line["tab"]), rows, label))

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write((json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8", "surrogateescape"))
        self._file.flush()
        os.fsync(self._file.fileno())

    def act(self, action: Action) -> None:
        """Write an action down, then count it; once, however often it comes."""
        if not self.labels.knows(action.id):
            self._write(action.to_json())
            self.labels.add(action)

    def undo(self, name: str, tab: str) -> tuple[int, ...]:
        """Take the last action of a page back, and return its rows; none where there is nothing to take back."""
        last = None if self.labels.knows(name) else self.labels.last(tab)
        if last is None:
            return ()
        self._write({"id": name, "tab": tab, "kind": "undo", "of": last.id})
        self.labels.undo(name, last.id)
        return last.rows

    def close(self) -> None:
        """Close the file."""
        self._file.close()
