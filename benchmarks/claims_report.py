"""What was found of the claims, for `RESULTS.md` and for the pages of methods."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import started
from benchmarks.claims import CONFIDENCE, STORE, claims_table, row
from benchmarks.trends import BUDGET, CLAIMS, CUT, WHOLE
from likewise.methods.pages import CLAIMS_FILE


def write_for_pages(store: Path = STORE, file: Path = CLAIMS_FILE) -> Path:
    """Write what was found for the pages of methods: by method, claim, measured, difference, seeds and verdict."""
    asked = [("", claim, store) for claim in CLAIMS]
    for minutes, _, claims in started.measured(trained := store.with_name(started.FOLDER)):
        words = f"From an encoder that SimCLR trained for {minutes:g} minutes: "
        asked += [(words, claim, trained) for claim in claims]
    found: dict[str, list[list[str]]] = {}
    for words, claim, place in asked:
        method, text, *others = row(claim, place)
        found.setdefault(method, []).append([words + text, *others])
    file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return file


def section(store: Path = STORE) -> str:
    """The part of `RESULTS.md` about claims."""
    budget, side = BUDGET, BUDGET["image_size"]
    head = (
        f"`python -m benchmarks.claims`. CIFAR-10, ResNet-18 of width {budget['width']}, {budget['epochs']} epochs of "
        f"12,000 to 13,000 images at {side} px (ISD's at {WHOLE['image_size']}, SwAV's at {CUT['image_size']}) in "
        f"batches of {budget['batch_size']}, the same for all arms of a claim, each seed with a draw of its own; exact "
        "cosine kNN of the 10,000 test images among the whole balanced training set. Mean ± standard deviation over "
        "seeds; the difference is taken seed by seed, ± its standard error. A claim holds, or does not, where that is "
        f"clear at {CONFIDENCE:.0%} (Student's t, one-sided), and is within noise otherwise. Minutes of training show "
        "trends, not what a method is worth in the end."
    )
    parts = ["## Claims at small scale", head, claims_table(store=store), *started.sections(store)]
    if (remarks := store.with_suffix(".md")).exists():
        parts.append(remarks.read_text(encoding="utf-8").strip())
    return "\n\n".join(parts)
