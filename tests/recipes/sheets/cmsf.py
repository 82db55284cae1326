"""CMSF: arXiv 2112.04607, section 4, and the official scripts: MSF's recipe under each constraint."""

from __future__ import annotations

from typing import Any

from tests.recipes.reader import Published
from tests.recipes.sheets.msf import SHEETS as MSF

ON, ROWS = MSF["imagenet"]

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    **dict.fromkeys(("2q", "supervised", "supervised_all"), (ON, ROWS)),
    "km": (ON, ROWS | {"memory": {"queue": 128_000, "constraint.pool": ON.images}}),
}
