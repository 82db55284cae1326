"""The list of methods for people and for scripts."""

from __future__ import annotations

import dataclasses
from typing import Any

from likewise.methods import find, names
from likewise.methods.ledger import status
from likewise.runs import plain


def as_json() -> list[dict[str, Any]]:
    """One object per method: its card, what may be said of it, and its settings with the defaults of each preset."""
    listed = []
    for name in names():
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
        listed.append({"name": name, **card, "status": status(method), "presets": presets})
    return listed


def as_text() -> str:
    """A short paragraph per method."""
    blocks = []
    for entry in as_json():
        needs = ", ".join(entry["needs"]) or "pictures only"
        blocks.append(
            f"{entry['name']:<12} {entry['title']} ({entry['status']})\n"
            f"{'':<12} {entry['summary']}\n"
            f"{'':<12} memory: {entry['memory']}; needs: {needs}; variants: {', '.join(entry['presets'])}\n"
            f"{'':<12} {entry['paper']}"
        )
    return "\n\n".join(blocks)
