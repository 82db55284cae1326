"""New encoders beside an old one: BCT and NCCL, adapters and re-embedding, `python -m benchmarks.upgrade [--quick]`.

An old encoder learns from a share of the training images; the new ones, with more images, longer. Then all vectors of
the test images are made by each, and every way is measured on the same queries, each against the others.
`LIKEWISE_DATA` names the folder of the data sets. The table is printed, and stored with --out.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.results import STORE as RESULTS
from benchmarks.results import table
from likewise import load, train
from likewise.data import cached_side, open_source, prepare
from likewise.errors import InputError
from likewise.evaluation import extract
from likewise.upgrading.measures import Truth, answerable, bootstrap, found_of, or_none
from likewise.upgrading.sheet import UpgradeArm, plan_sheet

MINUTES = 15.0
STORE = RESULTS / "upgrade.json"
QUIET: Mapping[str, Any] = {"quiet": True, "report": False, "loggers": (), "online_probe": False, "device": "cpu"}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A data set, and how small everything is."""

    data: str
    train: str | None
    """Split that is learned from; None: half of the classes, the others being searched (open set)."""
    test: str | None
    size: int
    old_share: float
    """Of the training images that the old encoder learned from."""
    old_epochs: float
    epochs: float


TRIALS: Mapping[str, Trial] = {
    "imagenette112": Trial(
        data="imagenette112.parquet", train="train", test="val", size=32, old_share=0.3, old_epochs=6, epochs=4
    ),
    "tiny_imagenet_val": Trial(
        data="tiny_imagenet_val.parquet", train=None, test=None, size=32, old_share=0.3, old_epochs=12, epochs=8
    ),
    "orl_faces": Trial(
        data="orl_faces.parquet", train=None, test=None, size=32, old_share=0.5, old_epochs=200, epochs=150
    ),
}
WAYS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "bct": ("old", {"method": "bct"}),
    "nccl": ("old", {"method": "nccl"}),
    "nccl, clusters": ("old", {"method": "nccl", "variant": "clusters"}),
    "simclr, compatible": ("compatible_with", {"method": "simclr"}),
}
"""The option that names the old encoder, and the method."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table; shares of queries."""

    way: str
    old_old: float
    new_old: float
    low: float
    high: float
    new_new: float
    gain: float | None
    """(new_old - old_old) / (free new_new - old_old); None where the free encoder is no better than the old one."""
    negative_flips: float
    minutes: float


def images_of(trial: Trial, folder: Path, part: str) -> Any:
    """Decoded images of the training or the test part."""
    path = folder / trial.data
    split = trial.train if part == "train" else trial.test
    images = prepare(open_source(path, split=split), short_side=cached_side(trial.size))
    if split is not None:
        return images
    assert images.labels is not None
    half = (int(images.labels.max()) + 1) // 2
    keep = images.labels < half if part == "train" else images.labels >= half
    return images.subset(keep.nonzero()[0])


def measured(trial: Trial, folder: Path, place: Path, *, quick: bool, width: int) -> list[Row]:
    """Train all encoders of a trial and measure every way."""
    learn, search = images_of(trial, folder, "train"), images_of(trial, folder, "test")
    pixels = arrays(learn, place)
    common: dict[str, Any] = {**QUIET, "width": width, "image_size": trial.size, "batch_size": 32, "seed": 1}
    epochs, old_epochs = (1.0, 1.0) if quick else (trial.epochs, trial.old_epochs)
    first: dict[str, Any] = {"method": "bct", "embedding": 64}
    draw = {"subset": f"share:{trial.old_share}"}
    old = train(str(pixels), out=str(place / "old"), **first, **draw, **{**common, "epochs": old_epochs})
    free = train(str(pixels), out=str(place / "free"), **first, **{**common, "epochs": epochs})
    labels = torch.from_numpy(search.labels)
    old_NS = extract(load(old), search)
    free_NT = extract(load(free), search)
    own = answerable(torch.arange(len(labels)), labels)[:2000]
    truth = Truth(labels)
    base = found_of(old_NS[own], old_NS, own, truth)
    best = float(found_of(free_NT[own], free_NT, own, truth).mean())
    rows = [row("old", base, base, float(base.mean()), best, 0.0)]
    for name, (option, keywords) in WAYS.items():
        began = time.perf_counter()
        asked = {option: str(old.path), **keywords, **common, "epochs": epochs}
        run = train(str(pixels), out=str(place / name.replace(", ", "-")), **asked)
        taken = (time.perf_counter() - began) / 60
        new = extract(load(run), search)
        crossed = found_of(new[own], old_NS, own, truth)
        rows.append(row(name, base, crossed, float(found_of(new[own], new, own, truth).mean()), best, taken))
    rows.append(row("free, as it is", base, found_of(free_NT[own], old_NS, own, truth), best, best, 0.0))
    arms = plan_sheet(old_NS, free_NT, labels).arms
    return [*rows, *(of_arm(arm) for arm in arms if arm.name not in {"keep", "compatible"})]


def of_arm(arm: UpgradeArm) -> Row:
    """A line of a plan, for the free encoder."""
    return Row(
        way=f"free, {arm.name}",
        old_old=arm.old_old,
        new_old=arm.new_old,
        low=arm.low,
        high=arm.high,
        new_new=arm.new_new,
        gain=or_none(arm.gain),
        negative_flips=arm.negative_flips,
        minutes=arm.seconds / 60,
    )


def arrays(images: Any, place: Path) -> Path:
    """The images as a NumPy archive, so that a part of a file can be trained on by its path."""
    import numpy as np

    pixels, sizes = images.gather(np.arange(len(images)))
    side = int(sizes.min())
    np.savez(place / "train.npz", images=pixels[:, :side, :side].numpy(), labels=images.labels)
    return place / "train.npz"


def row(way: str, base: Tensor, crossed: Tensor, new_new: float, best: float, minutes: float) -> Row:
    """A line from what each query finds."""
    here, before = bootstrap(crossed.numpy()), float(base.mean())
    return Row(
        way=way,
        old_old=before,
        new_old=here.mean,
        low=here.low,
        high=here.high,
        new_new=new_new,
        gain=(here.mean - before) / (best - before) if best > before else None,
        negative_flips=float((crossed < base).double().mean()),
        minutes=minutes,
    )


def as_text(name: str, rows: Sequence[Row]) -> str:
    """The table for a terminal."""
    head = f"{'way':<22}{'old/old':>9}{'new/old':>9}{'95 %':>16}{'new/new':>9}{'gain':>7}{'worse':>8}{'min':>7}"
    lines = [name, head]
    for one in rows:
        gain = "-" if one.gain is None else f"{one.gain:.2f}"
        interval = f"{100 * one.low:.1f} to {100 * one.high:.1f}"
        lines.append(
            f"{one.way:<22}{100 * one.old_old:>9.1f}{100 * one.new_old:>9.1f}{interval:>16}{100 * one.new_new:>9.1f}"
            f"{gain:>7}{100 * one.negative_flips:>8.1f}{one.minutes:>7.1f}"
        )
    return "\n".join(lines)


def section(file: Path) -> str:
    """The part of `RESULTS.md` about changing an encoder."""
    about = (
        "`python -m benchmarks.upgrade`: recall@1 by class in %, of up to 2,000 queries among all other test images. "
        "The old encoder learned from a share of the training images, the new ones from all. ResNet-18 of width 16 at "
        "32 px, one seed. `free` is trained as the old one was, without regard to it; `simclr` without labels."
    )
    parts = ["## From one encoder to the next", about]
    head = ["way", "old/old", "new/old", "95 %", "new/new", "gain", "worse", "minutes"]
    for name, rows in json.loads(file.read_text(encoding="utf-8")).items():
        lines = [
            [
                one["way"],
                *(f"{100 * one[key]:.1f}" for key in ("old_old", "new_old")),
                f"{100 * one['low']:.1f} to {100 * one['high']:.1f}",
                f"{100 * one['new_new']:.1f}",
                "-" if one["gain"] is None else f"{one['gain']:.2f}",
                f"{100 * one['negative_flips']:.1f}",
                f"{one['minutes']:.1f}",
            ]
            for one in rows
        ]
        parts += [f"**{name}**", table(head, lines)]
    if (remarks := file.with_suffix(".md")).exists():
        parts.append(remarks.read_text(encoding="utf-8").strip())
    return "\n\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the trials that were named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.upgrade", description=__doc__)
    parser.add_argument("trials", nargs="*", help=f"by default all: {', '.join(TRIALS)}")
    parser.add_argument("--quick", action="store_true", help="an epoch each, to try it out")
    parser.add_argument("--width", type=int, default=16, help="of the ResNet-18s")
    parser.add_argument("--out", type=Path, default=STORE, help="JSON file that the rows are put into")
    options = parser.parse_args(arguments)
    folder = Path(os.environ.get("LIKEWISE_DATA", ""))
    for name in options.trials or TRIALS:
        if name not in TRIALS:
            parser.error(f"unknown trial {name}: allowed are {', '.join(TRIALS)}")
        with tempfile.TemporaryDirectory() as place:
            try:
                rows = measured(TRIALS[name], folder, Path(place), quick=options.quick, width=options.width)
            except InputError as error:
                print(f"{name}: {error}", file=sys.stderr)
                return 2
        print(as_text(name, rows), flush=True)
        if not options.quick:
            stored = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {}
            stored[name] = [vars(one) for one in rows]
            options.out.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
