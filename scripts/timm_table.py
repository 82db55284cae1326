"""Whether one model of every family of timm can be trained at 64, 128 and 224 px: the table of docs/encoders.md.

    python scripts/timm_table.py [FAMILY ...]     all families (about ten minutes), or some, printed only

Takes a small model of each family and asks `likewise.encoders.check`, as a training run does before it begins.
"""

from __future__ import annotations

import contextlib
import re
import sys
import warnings
from collections import defaultdict
from pathlib import Path

import torch

from likewise.encoders import EncoderSpec, build, check
from likewise.errors import InputError

# isort: split
import timm

PAGE = Path(__file__).parent.parent / "docs" / "encoders.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
SIZES = (64, 128, 224)
SMALL = (
    "atto",
    "femto",
    "pico",
    "nano",
    "xxs",
    "xx",
    "xs",
    "tiny",
    "mini",
    "small",
    "050",
    "b0",
    "m0",
    "_s",
    "18",
    "t0",
)
"""What small models are called, the smallest first."""
MADE = 3
"""Models of a family that are made to find the smallest of them."""


def families() -> dict[str, list[str]]:
    """The models of each file of timm."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in timm.list_models():
        module = timm.model_entrypoint(name).__module__
        if module.startswith("timm."):  # and not one of likewise's own
            found[module.rpartition(".")[2]].append(name)
    return dict(sorted(found.items()))


def smallest(names: list[str]) -> tuple[str, int]:
    """The model with the fewest parameters of those whose names say that they are small, and how many it has.

    Models for tests alone are passed over.
    """

    def rank(name: str) -> int:
        return next((number for number, word in enumerate(SMALL) if word in name), len(SMALL))

    sizes: dict[str, int] = {}
    for name in sorted([name for name in names if not name.startswith("test_")] or names, key=rank)[:MADE]:
        # what cannot be made is not the one that is looked for
        with contextlib.suppress(Exception), torch.device("meta"):
            sizes[name] = sum(weight.numel() for weight in timm.create_model(name, num_classes=0).parameters())
    name = min(sizes, key=lambda name: sizes[name])
    return name, sizes[name]


def answer(name: str, size: int) -> str:
    """`yes`, or the side that can be taken instead."""
    try:
        check(EncoderSpec(name=name, image_size=size))
    except InputError as error:
        near = re.search(r"(\d+)( px can be taken| is)$", str(error))
        return f"{near[1]} px" if near else "no"
    return "yes"


def features(name: str, answers: list[str]) -> str:
    """Length of the vectors."""
    sizes = [size for size, told in zip(SIZES, answers, strict=True) if told == "yes"]
    sizes += [int(told.split()[0]) for told in answers if told.endswith("px")]
    if not sizes:
        return ""
    with torch.device("meta"):
        return str(build(EncoderSpec(name=name, image_size=sizes[0])).features)


def main(asked: list[str]) -> None:
    """Print the table, and write it into the page unless only some families were asked for."""
    warnings.simplefilter("ignore")
    rows = ["| family | model | million weights | features | 64 px | 128 px | 224 px |"]
    rows += ["| --- | --- | --- | --- | --- | --- | --- |"]
    for family, names in families().items():
        if asked and family not in asked:
            continue
        name, weights = smallest(names)
        answers = [answer(name, size) for size in SIZES]
        cells = [family, f"`{name}`", f"{weights / 1e6:.1f}", features(name, answers), *answers]
        rows.append(f"| {' | '.join(cells)} |")
        print(rows[-1], flush=True)
    if not asked:
        before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
        told = f"{BEGIN}\n\ntimm {timm.__version__}:\n\n" + "\n".join(rows) + f"\n\n{END}"
        PAGE.write_text(before + told + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
