"""The data of the page, packed for a browser: typed arrays, compressed, and a JSON object that describes them.

Shapes: N images, K neighbours of each.
"""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.exploring.collection import Collection, MapColumn
from likewise.exploring.relations import Relations
from likewise.exploring.sprites import SheetPlan, mime

_TYPES = {"uint16": "<u2", "uint32": "<u4", "float32": "<f4"}


@dataclass(frozen=True)
class Payload:
    """Three parts of the page."""

    facts: dict[str, Any]
    """What the arrays are, and what is said about them."""
    arrays: str
    """All arrays one behind the other, gzip, base64."""
    names: str
    """The names, one a line, gzip, base64."""


def pack(
    collection: Collection,
    relations: Relations,
    points_N2: NDArray[np.float32],
    slot_N: NDArray[np.int64],
    plan: SheetPlan,
    about: dict[str, Any],
) -> Payload:
    """Everything but the thumbnails. `about` is added to the facts.

    Places are whole numbers from 0 to 65,535, similarities 0 to 65,535 for -1 to 1.
    """
    packer = _Packer()
    place_N2 = np.round(points_N2 * 65_535)
    packer.add("x", place_N2[:, 0], "uint16")
    packer.add("y", place_N2[:, 1], "uint16")
    packer.add("slot", slot_N, "uint32")
    packer.add("nearest", relations.nearest_NK, "uint32")
    packer.add("similarity", _level(relations.similarity_NK), "uint16")
    packer.add("pairs", relations.pairs_P2, "uint32")
    packer.add("pairSimilarity", _level(relations.pair_similarity_P), "uint16")
    packer.add("outliers", relations.outliers, "uint32")
    columns = [packer.column(number, column) for number, column in enumerate(relations.columns)]
    facts = {
        "title": collection.title,
        "count": len(collection),
        "neighbours": relations.nearest_NK.shape[1],
        "columns": columns,
        "copies": np.flatnonzero(relations.copies_P).tolist(),
        "tile": plan.side,
        "across": plan.across,
        "sheets": plan.sheets,
        "mime": mime(),
        "arrays": packer.entries,
        **about,
    }
    lines = "\n".join(" ".join(name.splitlines()) for name in collection.names)
    return Payload(facts, squeezed(b"".join(packer.parts)), squeezed(lines.encode("utf-8", "replace")))


def squeezed(content: bytes) -> str:
    """Compressed, as text."""
    return base64.b64encode(gzip.compress(content, compresslevel=6, mtime=0)).decode("ascii")


def as_json(value: Any) -> str:
    """JSON that can stand inside of a script element."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _level(similarity: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.round((np.clip(similarity, -1, 1) + 1) * 32_767.5)


class _Packer:
    """Arrays one behind the other, each at a multiple of four bytes."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.entries: dict[str, dict[str, Any]] = {}
        self._at = 0

    def add(self, name: str, values: NDArray[Any], kind: str) -> None:
        content = np.ascontiguousarray(values.astype(_TYPES[kind])).tobytes()
        self.entries[name] = {"type": kind, "at": self._at, "length": int(values.size)}
        content += bytes(-len(content) % 4)
        self.parts.append(content)
        self._at += len(content)

    def column(self, number: int, column: MapColumn) -> dict[str, Any]:
        result: dict[str, Any] = {"name": column.name, "title": column.title, "kind": column.kind}
        if column.categories is None:
            self.add(f"column{number}", column.values_N, "float32")
        else:
            codes_N = column.values_N.astype(np.int64)
            wide = len(column.categories) >= 65_535
            unknown = 2**32 - 1 if wide else 65_535
            self.add(f"column{number}", np.where(codes_N < 0, unknown, codes_N), "uint32" if wide else "uint16")
            result["categories"], result["unknown"] = list(column.categories), unknown
        return result
