"""What small encoders learn from trained ones, by trends that show in minutes: `python -m benchmarks.distilling`.

Each part is one claim or a few: `--parts student binary labels transfer`. Every training has the same `--each` minutes
on the same images; it is kept under `--work` with its score, so a call that is repeated goes on with what is missing.
`--data` takes other images, with a folder of their own under `--work`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import torch

from benchmarks.few_images import Keywords, Scale, archive, divided, drawn, opened, with_labels
from benchmarks.few_labels import Scores, Work, mean_of, own, shown, trained
from benchmarks.harness import Outcome, parser_of, run
from likewise.data import Images, cached_side, prepare
from likewise.data.source import Part, Source
from likewise.data.splitting.few_labels import only
from likewise.data.splitting.subsets import share_of
from likewise.encoders import Encoder, load_encoder
from likewise.evaluation.features import extract
from likewise.evaluation.probes import linear
from likewise.runs import RunDirectory
from likewise.similarity import knn
from likewise.similarity.nearest import neighbours
from likewise.verbs.keeping.convert import lite

MINUTES = 25
SETS = {"imagenette112": True, "caltech101_small": False, "rsscn7_64": False, "cifar10": False}
"""Images, and whether they have a split `val`: of the others three tenths are not trained on."""
PARTS = ("student", "binary", "labels", "transfer")
NEIGHBOURS = (1, 20)
LABELLED = 0.25
"""Share of the labels that classifiers are distilled with."""
QUICK_MINUTES = 0.02
LONGER = {"labels": 4.0, "transfer": 3.0}
"""Times the usual minutes, for methods that see each image four times or more a step."""


@dataclass(frozen=True)
class Data:
    """Images, as a file, and what is asked of an encoder."""

    name: str
    """One of `SETS`."""
    path: str
    """Training images."""
    train: Source
    """The same, opened."""
    test: Source
    """Others."""
    side: int
    """Of the students' input in pixels."""

    def images(self, side: int) -> tuple[Images, Images]:
        """Both, decoded for an encoder of that side."""
        short = cached_side(side)
        return prepare(self.train, short_side=short), prepare(self.test, short_side=short)

    def near(self, encoder: Encoder) -> Scores:
        """Accuracy of nearest neighbours among the training images."""
        bank, asked = self.images(encoder.spec.image_size)
        assert bank.labels is not None
        assert asked.labels is not None
        labels_N, truth_Q = torch.from_numpy(bank.labels), torch.from_numpy(asked.labels)
        near = neighbours(extract(encoder, asked), extract(encoder, bank), max(NEIGHBOURS))
        right = {k: knn.majority(near, labels_N, k) == truth_Q for k in NEIGHBOURS}
        return {f"{k}-NN": float(found.double().mean()) for k, found in right.items()}


def data_of(work: Work, side: int, name: str) -> Data:
    """A draw of about so many images, and others: 60 of each class of imagenette, three tenths of the rest."""
    if SETS[name]:
        whole, others = opened(name, "train", "label"), opened(name, "val", "label")
        train, test = drawn(whole, work.scale.images, 0), drawn(others, min(600, work.scale.images), 0)
    else:
        train, test = divided(opened(name, None, "label"), work.scale.images)
    path = archive(work.folder / "train.npz", prepare(alone(train), short_side=None))
    return Data(name, path, train, alone(test), side)


def alone(found: Part) -> Part:
    """A draw that is not drawn from again by its split."""
    found.splits, found.split = (), None
    return found


class Arms:
    """Trainings of a part, and the teachers that several of them share."""

    def __init__(self, work: Work, data: Data, each: float) -> None:
        self.work, self.data, self.each = work, data, each

    def run(self, place: Path, source: Source, seed: int, **asked: Any) -> RunDirectory:
        """One training of the usual minutes."""
        batch = min(64, len(source))  # the quick form has fewer images
        usual = {"encoder": "resnet18", "width": 16, "image_size": self.data.side, "batch_size": batch}
        usual["minutes"] = self.each
        quiet = {"quiet": True, "report": False, "loggers": (), "online_probe": False, "device": "cpu"}
        given = {name: value for name, value in {**usual, **quiet, **asked}.items() if value is not None}
        return trained(place, source, seed=seed, **given)

    @property
    def lite(self) -> str:
        """EfficientNet-Lite0, trained on ImageNet with labels."""
        path = self.work.folder / "lite0.safetensors"
        return str(path if path.exists() else lite(0, path).path)

    @property
    def table(self) -> str:
        """Its vectors of the training images."""
        path = self.work.folder / "lite0.npz"
        if not path.exists():
            vectors = load_encoder(Path(self.lite)).embed(self.data.train)
            np.savez(path, id=np.array(self.data.train.names), embedding=vectors.numpy())
        return str(path)

    @property
    def headed(self) -> str:
        """The same encoder with a projection head, at twice the students' side: SimCLR, near where it began."""
        asked = {"method": "simclr", "start": self.lite, "anchor": 1.0, "encoder": None, "width": None}
        asked["image_size"] = 2 * self.data.side
        place = self.work.folder / "headed"
        return str(self.run(place, self.data.train, 0, **asked).path)

    def students(self, part: str, arms: Mapping[str, Keywords]) -> dict[str, list[Scores]]:
        """Encoders scored by nearest neighbours."""

        def arm(place: Path, seed: int, asked: Keywords) -> Scores:
            found = self.run(place, self.data.train, seed, **asked)
            seen = found.read()["steps"] * found.read()["batch_size"]
            return {**self.data.near(load_encoder(found.weights("student"))), "images seen, thousands": seen / 1e5}

        called = {name: lambda place, seed, one=one: arm(place, seed, one) for name, one in arms.items()}
        return self.work.arms(part, called)


# Parts ---------------------------------------------------------------------------------------------------------------


def student(arms: Arms) -> tuple[dict[str, list[Scores]], str]:
    """Students of a trained encoder beside the same encoder alone; deep head and linear, wide hidden layer and narrow.

    The teacher's vectors of the images are a table, whose making is not counted. DisCo's teacher has a projection head
    and is shown each view.
    """
    work = arms.work
    taught: Keywords = {"teacher": arms.table}
    found = {"teacher": [work.scores("student/teacher", lambda _: arms.data.near(load_encoder(Path(arms.lite))))]}
    made: dict[str, Keywords] = {
        "simclr alone": {"method": "simclr"},
        "isd alone": {"method": "isd"},
        "simreg": {"method": "simreg", **taught},
        "simreg, SGD": {"method": "simreg", "optimiser": "sgd", **taught},
        "simreg, linear head": {"method": "simreg", "head": "linear", **taught},
        "compress": {"method": "compress", **taught},
        "seed_kd": {"method": "seed_kd", **taught},
        "disco": {"method": "disco", "teacher": arms.headed},
        "disco, narrow": {"method": "disco", "teacher": arms.headed, "hidden": 128},
    }
    found |= arms.students("student", made)
    return (
        found,
        f"{len(arms.data.train):,} images of {arms.data.name} at {arms.data.side} px, EfficientNet-Lite0 as teacher",
    )


def binary(arms: Arms) -> tuple[dict[str, list[Scores]], str]:
    """A network of one bit a weight: from a teacher alone, and by contrast alone."""
    small: Keywords = {"method": "s2bnn", "encoder": "reactnet_small", "width": None}
    found = arms.students(
        "binary",
        {
            "distillation": {**small, "teacher": arms.headed},
            "contrast": {**small, "regime": "contrast"},
        },
    )
    return found, "the same images, a ReActNet-style network"


def labels(arms: Arms) -> tuple[dict[str, list[Scores]], str]:
    """A quarter of the labels: all that the teacher says, its classes alone, and no teacher."""
    data, work = arms.data, arms.work
    whole = data.train.labels
    assert whole is not None
    known = share_of(whole, LABELLED, 0)
    few = with_labels(alone(Part.of(data.train, np.arange(len(whole)))), only(whole, known), {})
    side = data.side // 2
    small: Keywords = {"method": "hsakd", "width": 8, "image_size": side}

    def teacher() -> str:
        asked = {**small, "role": "teacher", "width": 16, "minutes": 2 * arms.each}
        return str(arms.run(work.folder / "joint", few, 0, **asked).path)

    def arm(place: Path, seed: int, asked: Keywords) -> Scores:
        found = arms.run(place, few, seed, **{**small, **asked})
        return {"own": own(found, data.images(side)[1])}

    given: dict[str, Callable[[], Keywords]] = {
        "hsakd": lambda: {"teacher": teacher()},
        "plain distillation": lambda: {"teacher": teacher(), "distil": "class"},
        "alone": lambda: {"distil": "none"},
    }
    called = {name: lambda place, seed, one=one: arm(place, seed, one()) for name, one in given.items()}
    words = f"a quarter of the labels of the same images at {side} px, width 8; a teacher of width 16 on them"
    return work.arms("labels", called), words


def transfer(arms: Arms) -> tuple[dict[str, list[Scores]], str]:
    """Five classes with labels: what their encoders say of those classes, and of the other five."""
    data = arms.data
    assert data.train.labels is not None
    five = alone(Part.of(data.train, np.flatnonzero(data.train.labels < 5)))

    def arm(place: Path, seed: int, asked: Keywords) -> Scores:
        found = arms.run(place, five, seed, **asked)
        return _by_halves(data, load_encoder(found.weights("student")))

    given: dict[str, Keywords] = {
        "t-ReX": {"method": "trex"},
        "t-ReX*": {"method": "trex", "hidden_layers": 1},
        "cross-entropy": {"method": "hsakd", "distil": "none"},
    }
    called = {name: lambda place, seed, one=one: arm(place, seed, one) for name, one in given.items()}
    return arms.work.arms("transfer", called), "linear probes on classes that were trained on, and on others"


def _by_halves(data: Data, encoder: Encoder) -> Scores:
    """Accuracy of linear probes among the first five classes, and among the others."""
    bank, asked = data.images(encoder.spec.image_size)
    features, queries = extract(encoder, bank), extract(encoder, asked)
    assert bank.labels is not None
    assert asked.labels is not None
    scores = {}
    for name, first in (("task", 0), ("transfer", 5)):
        mine = torch.from_numpy((bank.labels >= first) & (bank.labels < first + 5))
        theirs = torch.from_numpy((asked.labels >= first) & (asked.labels < first + 5))
        probe = linear.fit(features[mine], torch.from_numpy(bank.labels)[mine] - first)
        right = probe.predict(queries[theirs]) == torch.from_numpy(asked.labels)[theirs] - first
        scores[name] = float(right.double().mean())
    return scores


MEASURED = dict(zip(PARTS, (student, binary, labels, transfer), strict=True))
CLAIMS: Mapping[str, Sequence[tuple[str, str, str]]] = {
    "student": (
        *((taught, other, "20-NN") for taught in ("simreg", "compress", "seed_kd", "disco")
          for other in ("simclr alone", "isd alone")),
        ("simreg", "simreg, linear head", "20-NN"),
        ("disco", "disco, narrow", "20-NN"),
    ),
    "binary": (("distillation", "contrast", "20-NN"),),
    "labels": (("hsakd", "plain distillation", "own"), ("plain distillation", "alone", "own")),
    "transfer": (("t-ReX", "cross-entropy", "transfer"),),
}  # fmt: skip
"""Of each part: the arm that must be above another, and by which score."""


def measure(options: argparse.Namespace) -> Outcome:
    """The parts that are asked for."""
    folder = Path(mkdtemp(prefix="likewise-distilling-")) if options.work is None else options.work / options.data
    scale = Scale(images=60 if options.quick else options.images, seeds=1 if options.quick else options.seeds)
    work = Work(folder, scale)
    each, side = (QUICK_MINUTES, 32) if options.quick else (options.each, options.side)
    data = data_of(work, side, options.data)
    found = Outcome(
        f"Learning from trained encoders: {options.data}",
        f"ResNet-18 of width 16 at {side} px, {each:g} minutes each on {options.threads} threads"
        f"{''.join(f', {times:g} times as long for {part}' for part, times in LONGER.items())}, {scale.seeds} seeds; "
        f"accuracy in % on {len(data.test):,} other images.",
    )
    for part in options.parts:
        scores, words = MEASURED[part](Arms(work, data, each * LONGER.get(part, 1.0)))
        names = list(dict.fromkeys(name for of_arm in scores.values() for name in of_arm[0]))
        rows = [[arm, *(shown(of_arm, name) for name in names)] for arm, of_arm in scores.items()]
        found.table(f"{part}: {words}", ["", *names], rows)
        found.figures[part] = scores
        for better, worse, score in CLAIMS[part]:
            gain = 100 * (mean_of(scores[better], score) - mean_of(scores[worse], score))
            met = None if options.quick else gain > 0
            found.target(f"{part}: {score} of {better} over {worse}, points", "> 0", gain, met=met)
    return found


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and print."""
    parser = parser_of("distilling", MINUTES)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="which claims")
    parser.add_argument("--data", choices=list(SETS), default=next(iter(SETS)), help="images of LIKEWISE_DATA")
    parser.add_argument("--work", type=Path, default=None, help="where runs and scores are kept, to go on there")
    parser.add_argument("--images", type=int, default=2000, help="training images")
    parser.add_argument("--side", type=int, default=32, help="of the students' input in pixels")
    parser.add_argument("--each", type=float, default=0.75, help="minutes of each training")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each arm")
    return run("distilling", measure, parser, arguments)


if __name__ == "__main__":
    main()
