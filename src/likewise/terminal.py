"""Text for a terminal: tables and paragraphs that break between words and never inside one."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence

USUAL, LEAST = 100, 40
"""Columns where the output is no terminal, and fewest that are written for."""


def width() -> int:
    """Columns of the terminal, or of the variable COLUMNS; `USUAL` where neither says."""
    return max(LEAST, shutil.get_terminal_size((USUAL, 24)).columns)


def paragraph(text: str, *, first: str = "", indent: str = "", columns: int | None = None) -> str:
    """`text` behind `first`, in lines of at most so many columns; further lines are indented by `indent`."""
    return textwrap.fill(
        text,
        columns or width(),
        initial_indent=first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[int] = (0,), columns: int | None = None
) -> str:
    """A table whose first column gives way where it would be too wide; columns in `left` are aligned there.

    Nothing is cut: where one word is too long, its line is.
    """
    lines = [head, *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    others = sum(widths[1:]) + 2 * (len(widths) - 1)
    longest_word = max((len(word) for line in lines for word in line[0].split()), default=1)
    widths[0] = max(longest_word, min(widths[0], (columns or width()) - others))
    written = []
    for line in lines:
        cut = textwrap.wrap(line[0], widths[0], break_long_words=False, break_on_hyphens=False) or [""]
        cells = [
            word.ljust(size) if place in left else word.rjust(size)
            for place, (word, size) in enumerate(zip([cut[0], *line[1:]], widths, strict=True))
        ]
        written.append("  ".join(cells).rstrip())
        written += [f"  {more}" for more in cut[1:]]
    return "\n".join(written)


def split_protocols(protocols: Sequence[str]) -> tuple[str, list[str]]:
    """What all protocols end with, part by part as `; ` separates them, and what each says before that."""
    parts = [protocol.split("; ") for protocol in protocols]
    shared = 0
    while all(len(one) > shared for one in parts) and len({tuple(one[len(one) - shared - 1 :]) for one in parts}) == 1:
        shared += 1
    if not parts:
        return "", []
    same = parts[0][len(parts[0]) - shared :]
    return "; ".join(same), ["; ".join(one[: len(one) - shared]) for one in parts]
