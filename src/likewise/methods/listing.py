"""The list of methods for people and for scripts, read from a file that is written with the methods' pages."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from likewise.files import write_aside
from likewise.methods import find, names, own_names
from likewise.runs import plain

FILE = Path(__file__).with_name("index.json")
"""What `entry` says of each method of this package. `make docs` writes it; a test keeps it true."""


def as_json() -> list[dict[str, Any]]:
    """One object per method: its card, what may be said of it, and its settings with the defaults of each preset."""
    written = {each["name"]: each for each in json.loads(FILE.read_text(encoding="utf-8"))} if FILE.exists() else {}
    return [written[name] if name in written else entry(name) for name in names()]


def entry(name: str) -> dict[str, Any]:
    """The entry of one method in the list, from its code."""
    from likewise.methods.ledger import status

    method = find(name)
    presets = {
        variant: {
            "settings": plain(preset.settings),
            "optimisation": plain(preset.optimisation),
            "note": preset.note,
        }
        for variant, preset in method.presets.items()
    }
    card = plain(dataclasses.asdict(method.card))
    return {"name": name, **card, "status": status(method), "presets": presets}


def write() -> None:
    """Write down what is listed of the methods of this package."""
    with write_aside(FILE) as file:
        lines = ",\n".join(json.dumps(entry(name), ensure_ascii=False) for name in own_names())  # a method a line
        file.write(f"[\n{lines}\n]\n".encode())


def as_text() -> str:
    """A short paragraph per method."""
    blocks = []
    for one in as_json():
        needs = ", ".join(one["needs"]) or "images only"
        blocks.append(
            f"{one['name']:<12} {one['title']} ({one['status']})\n"
            f"{'':<12} {one['summary']}\n"
            f"{'':<12} memory: {one['memory']}; needs: {needs}; variants: {', '.join(one['presets'])}\n"
            f"{'':<12} {one['paper']}"
        )
    return "\n\n".join(blocks)
