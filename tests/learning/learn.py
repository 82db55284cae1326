"""A few hundred steps of one method on real images: what the learning tests and `make learn` run.

`python -m tests.learning.learn [METHOD ...]` trains the methods named, or all, one after the other, and writes what
each reached into the ledger. LIKEWISE_DATA names the folder that holds cifar10.parquet. Methods that learn from videos
or narration are trained and scored on data that is drawn, without that folder.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from likewise import methods
from likewise.data import open_source, prepare
from likewise.data.source import Part
from likewise.data.videos.synthetic import known_of
from likewise.encoders import load_encoder
from likewise.encoders.files.chosen import choose
from likewise.errors import LikewiseError
from likewise.methods.ledger import ACCURACY, LIFT, Entry, digest, entries, status, write
from likewise.selection.usl_t import neighbour_table
from likewise.verbs.judging.evaluate import evaluate
from likewise.verbs.learning.train import train

SEEDS = (0, 1)
"""Where the first misses, the mean of both decides: processors round differently, and a run of minutes is a draw."""
TRAINING, TEST = 12_000, 2_000
DATA = f"cifar10: the first {TRAINING:,} training and {TEST:,} test images, at 16 px"
FULL_SIZE = {"first_size": 1.0, "last_size": 1.0}
SMALL = {"width": 8, "image_size": 16, **FULL_SIZE, "batch_size": 128, "epochs": 4.0}
"""Enough to see that a method learns, and a minute for each: 372 steps on images of 16 px."""
CONTINUED = ("usl_t",)
"""Methods that go on from another run and do not learn from random weights: they must keep what the run had learned."""
ADAPTERS = Path(__file__).parents[1] / "golden"
PHRASES = ("{}", "a photo of a {}", "the {}\nsome {}", "one {} in the middle")
"""Captions of the images, one kind after the other; the third is two."""
VIDEOS = "synthetic:clips:32:800:plain"
"""Without textures, by which clips of one video are told from others within a minute, and nothing else is learned."""
IOU = "mean IoU"
"""Of a linear segmentation probe, of what moves and the rest."""
SCANS = "synthetic:ultrasound:24:tones"


@dataclass(frozen=True)
class Course:
    """What a method learns from that needs more than images, and how."""

    data: str | None = None
    """The data; None: the images, with captions."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """How it is trained, beside what all are."""
    labels: str | None = None
    """The labels that are scored, where the data has several."""
    split: str | None = None
    """The split that is scored; None: the test split."""
    measure: str = ACCURACY
    """`ACCURACY`, or `IOU` for methods that learn where things are."""

    @property
    def described(self) -> str:
        """The data as the ledger says it."""
        if self.data is None:
            return f"{DATA}, with captions that name the class"
        return f"{self.data}{'' if self.labels is None else f', {self.labels}'}: its {self.split or 'test'} split"


def moving(data: str, out: Path) -> Path:
    """A folder of the masks of what moves in the frames of drawn videos, made once."""
    folder = out / "moving"
    if not folder.exists():
        for name in open_source(data).names:
            known = known_of(name)
            assert known is not None
            path = folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((known[1] > 127).astype(np.uint8)).save(path)
    return folder


def scored(run: Any, data: str, course: Course | None, deployed: str, out: Path) -> tuple[float, float]:
    """The score of the trained encoder and of the untrained one."""
    how: dict[str, Any] = {"labels": course.labels if course else None, "which": deployed, "untrained": True}
    if course and course.split:
        how["test_split"] = course.split
    if course and course.measure == IOU:
        found = evaluate(run, data, probe=("segmentation",), masks=str(moving(data, out)), quiet=True, **how)
        values = {one.which: one.value for one in found.scores if one.k is None and one.measure == "mIoU"}
    else:
        found = evaluate(run, data, probe=("knn",), quiet=True, **how)
        values = {one.which: one.value for one in found.scores if one.k == 20}
    return values[deployed], values["untrained"]


CLIPS = {"encoder": "r3d_tiny", "width": None, "image_size": 32, "batch_size": 32, "epochs": 6.0}
COURSES = {
    # masks of photos this small are guesses; in that split the background says nothing of the class. 115 steps of SGD
    # leave MoCo's embedding near one point
    "bgaug": Course(
        "synthetic:scenes",
        {"masks": "given", "image_size": 32, "optimiser": "muon", "learning_rate": 0.1, "epochs": 5.0},
        split="mixed_rand",
    ),
    "cvrl": Course(VIDEOS, CLIPS, "action"),
    "modist": Course(VIDEOS, {**CLIPS, "flow": "exact"}, "action"),
    "flowsim": Course(
        "synthetic:clips:32:60",
        {"flow": "exact", "image_size": 32, "batch_size": 64, "epochs": 12.0},
        "appearance",
        measure=IOU,
    ),
    "clipdistill": Course(settings={"words": 8, "text_width": 64, "text_layers": 1}),
    "multimodal": Course(settings={"words": 8, "text_width": 64, "text_layers": 1}),
    "ultrasound": Course(SCANS, {"image_size": None, "batch_size": 64, "epochs": 15.0, "learning_rate": 2e-3}),
}
"""By method; all others learn from the images of `DATA` alone."""


def images(folder: Path, out: Path) -> Path:
    """An archive in `out` of the images that everything here is trained and scored on."""
    arrays = {}
    for split, count in (("train", TRAINING), ("test", TEST)):
        source = open_source(folder / "cifar10.parquet", split=split)
        decoded = prepare(Part.of(source, np.arange(count)), short_side=None)
        pixels, _ = decoded.gather(np.arange(count))
        assert decoded.labels is not None
        names = decoded.class_names or tuple(map(str, range(10)))
        said = [PHRASES[at % len(PHRASES)].replace("{}", names[label]) for at, label in enumerate(decoded.labels)]
        arrays |= {
            f"{split}_images": pixels.numpy(),
            f"{split}_labels": decoded.labels,
            f"{split}_caption": np.array(said),
        }
    path = out / "images.npz"
    np.savez(path, **arrays)
    return path


def trained(method: str, data: str | Path, out: Path, **more: Any) -> Any:
    """A run of `method` in the folder `out`; in float32 and on the processor, whatever else there is."""
    fixed = {
        "device": "cpu",
        "precision": "float32",
        "quiet": True,
        "report": False,
        "loggers": (),
        "online_probe": False,
    }
    return train(data, method=method, out=str(out), **{**SMALL, **fixed, **more})


def teacher(data: Path, out: Path, by: str = "moco_v2") -> str:
    """A run in `out`, made once, for methods that learn from a frozen encoder."""
    run = out / f"teacher-{by}"
    role: dict[str, Any] = {"role": "teacher"} if by == "hsakd" else {}
    return str(run if run.exists() else trained(by, data, run, **role, **BUDGETS.get(by, {})).path)


def neighbours(data: Path, start: str, out: Path) -> str:
    """A table in `out` of the neighbours of the training images by the encoder of a run."""
    encoder = load_encoder(choose(Path(start), None).path)
    path = out / "neighbours.npy"
    np.save(path, neighbour_table(encoder.embed(open_source(data, split="train", labels="none"))))
    return str(path)


TAUGHT_BY = {"hsakd": "hsakd"}
"""Methods whose teacher is a run of a certain method."""
ENCODERS = {"s2bnn": {"encoder": "reactnet_small", "width": None}}
"""Methods whose encoder is no ResNet."""
BUDGETS: dict[str, dict[str, Any]] = {"hsakd": {"epochs": 1.0}, "s2bnn": {"learning_rate": 3e-3, "epochs": 8.0}}
"""Methods whose steps take many times as long as others' (four rotations of each image, a branch at each stage), and
whose networks learn more slowly (one bit a weight)."""


def learn(method: str, data: Path, out: Path, teachers: Path) -> Entry:
    """Train `method` in the folder `out` with the first seed, and with the next where that shows no lift."""
    found = methods.find(method)
    course = COURSES.get(method)
    needed: dict[str, Any] = {
        **ENCODERS.get(method, {}),
        **BUDGETS.get(method, {}),
        **(course.settings if course else {}),
    }
    if hasattr(found.Settings, "small_crops"):
        needed["small_crops"] = 0  # of 16 px nothing smaller can be cut
    if "frozen teacher" in found.card.needs:
        needed["teacher"] = teacher(data, teachers, TAUGHT_BY.get(method, "moco_v2"))
    if "old encoder" in found.card.needs:
        needed["old"] = teacher(data, teachers)
    if method in CONTINUED:
        needed["start"] = teacher(data, teachers)
        needed["neighbours"] = neighbours(data, needed["start"], out)
    if "labelled data beside" in found.card.needs:
        needed["beside"] = str(data)
    if hasattr(found.Settings, "query"):
        needed["query"] = 2  # views of an image cost the time
    taught = course.data if course and course.data else str(data)
    values = []
    for seed in SEEDS:
        run = trained(method, taught, out / f"{method}-{seed}", seed=seed, **needed)
        values.append(scored(run, taught, course, found.card.deploy, out))
        if values[0][0] - values[0][1] > LIFT:
            break
    score, untrained = np.mean(values, axis=0).round(4).tolist()
    return Entry(
        method=method,
        digest=digest(found),
        data=course.described if course else DATA,
        score=score,
        untrained=untrained,
        seeds=len(values),
        numbers=official(method),
        measure=course.measure if course else ACCURACY,
    )


def official(method: str) -> str | None:
    """The file of official numbers that the golden tests hold `method` to."""
    sys.path.insert(0, str(ADAPTERS))
    from adapters import all_adapters

    sys.path.remove(str(ADAPTERS))
    held = [name for name, adapter in all_adapters().items() if method in (name, *adapter.covers)]
    return f"{held[0]}.npz" if held else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is asked for and rewrite its entries, each as soon as it is known."""
    parser = argparse.ArgumentParser(prog="make learn", description=__doc__)
    parser.add_argument("method", nargs="*", help="names of methods; all of this package where none is named")
    asked = parser.parse_args(arguments).method
    folder = Path(os.environ.get("LIKEWISE_DATA", ""))
    drawn = bool(asked) and all(name in COURSES and COURSES[name].data for name in asked)
    if not drawn and not (folder / "cifar10.parquet").exists():
        parser.error(f"no cifar10.parquet in {folder}: LIKEWISE_DATA has to name the folder that holds it")
    own = [name for name in methods.names() if methods.find(name).__module__.startswith("likewise.methods.")]
    try:
        for name in asked:
            methods.find(name)
    except LikewiseError as error:
        parser.error(str(error))
    with tempfile.TemporaryDirectory() as place:
        data = Path(place) if drawn else images(folder, Path(place))
        for name in asked or own:
            entry = learn(name, data, Path(place), Path(place))
            write([*({**entries(), name: entry}).values()])
            lift = f"{entry.untrained:.1%} -> {entry.score:.1%}"
            print(f"{name:<16} {lift}  {status(methods.find(name))}", flush=True)
        write(entry for name, entry in entries().items() if name in own)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
