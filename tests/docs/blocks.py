"""Reads the code blocks of a Markdown page, with what the page says about running them."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,}) *(?P<language>\w*) *(?P<rest>.*)$")
_TITLE = re.compile(r'title="([^"]+)"')
_NOT_RUN = re.compile(r"^\s*<!-- not run: (?P<reason>.+) -->\s*$")
_BUDGET = re.compile(r"<!-- budget: (?P<pairs>[^>]+?) -->")


class Block(NamedTuple):
    """One fenced block."""

    line: int
    """Line of the opening fence, from 1."""
    language: str
    """What stands behind the fence: `python`, `bash`, ...; empty where nothing does."""
    title: str | None
    """File name given as `title="..."`: the block is that file, and is not executed by itself."""
    text: str
    """The lines between the fences, without their common indentation."""
    not_run: str | None
    """Reason from a comment `<!-- not run: reason -->` above the block."""


def blocks(markdown: str) -> list[Block]:
    """All fenced blocks of a page. Raises ValueError for one that is not closed."""
    found: list[Block] = []
    reason: str | None = None
    lines = iter(enumerate(markdown.splitlines(), 1))
    for number, line in lines:
        fence = _FENCE.match(line)
        if fence is None:
            comment = _NOT_RUN.match(line)
            reason = comment["reason"] if comment else reason if not line.strip() else None
            continue
        body: list[str] = []
        for _, inner in lines:
            if inner.strip() == fence["ticks"]:
                break
            body.append(inner)
        else:
            raise ValueError(f"the block that opens in line {number} is not closed")
        title = _TITLE.search(fence["rest"])
        text = dedent("\n".join(body)) + "\n"
        found.append(Block(number, fence["language"], title[1] if title else None, text, reason))
        reason = None
    return found


def budget(markdown: str) -> dict[str, str]:
    """Training budget of a page: `<!-- budget: epochs=2 width= -->` anywhere in it, over one epoch of a narrow encoder.

    A name without a value is not shrunk: the page's own stays.
    """
    found = {"epochs": "1", "width": "8"}
    for comment in _BUDGET.finditer(markdown):
        found |= dict(pair.split("=", 1) for pair in comment["pairs"].split() if "=" in pair)
    return {name: value for name, value in found.items() if value}


def commands(text: str) -> list[str]:
    """The commands of a shell block: every line, or those behind `$ ` where the block shows output as well."""
    joined = text.replace("\\\n", " ")
    lines = [line.strip() for line in joined.splitlines()]
    prompted = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return prompted or [line for line in lines if line and not line.startswith("#")]


def pages(root: Path) -> list[Path]:
    """README and every page of the documentation."""
    return [*root.glob("README.md"), *sorted((root / "docs").rglob("*.md"))]
