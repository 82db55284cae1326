"""What methods of place and object claim, in small, on scenes with known masks: `python -m benchmarks.where --help`.

Each trend trains its arms alike and prints one line an arm. Scores are those of `synthetic:scenes`: linear probes are
fitted on `train`, where the background goes with the class in nine images of ten, and asked about splits where it does
always (`mixed_same`) or never more than by chance (`mixed_rand`).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import likewise
from benchmarks import arms
from benchmarks.results import STORE as RESULTS
from likewise.data import Images, open_source, prepare
from likewise.data.sources.scenes import mask_of
from likewise.encoders import Encoder
from likewise.evaluation import extract
from likewise.evaluation.probes import linear, segmentation
from likewise.evaluation.probes.correspondence import correspondence
from likewise.similarity import knn
from likewise.similarity.nearest import neighbours

SCENES, MOSAICS = "synthetic:scenes", "synthetic:mosaics"
BUDGET: Mapping[str, Any] = {"encoder": "resnet18", "width": 16, "batch_size": 128, "epochs": 8.0}
STORE = RESULTS / "where.json"
ABOUT = (
    "3,000 synthetic scenes of 32 px with known masks, whose background goes with the class in nine of ten, ResNet-18 "
    "(`esvit`: a micro Swin). Later arms should be ahead. Few epochs of one seed show whether a thing works, "
    "not which is better."
)
GIVEN: Mapping[str, Any] = {"masks": "given"}
SWIN: Mapping[str, Any] = {"method": "esvit", "variant": "small_swin", "encoder": "swin_micro", "width": None}
NEIGHBOURS = 20

Arms = Mapping[str, Mapping[str, Any]]
TRENDS: Mapping[str, tuple[str, Arms]] = {
    "bgaug": (
        SCENES,
        {
            "MoCo v2": {"method": "moco_v2"},
            "bg_rm": {"method": "bgaug", "augment": "bg_rm", **GIVEN},
            "bg_swaps": {"method": "bgaug", **GIVEN},
            "bg_swaps, mbd": {"method": "bgaug", "masks": "mbd"},
            "bg_swaps, center": {"method": "bgaug", "masks": "center"},
        },
    ),
    "mixup": (SCENES, {"MoCo v2": {"method": "moco_v2"}, "mixup": {"method": "objaware", **GIVEN}}),
    "crop": (MOSAICS, {"MoCo v2": {"method": "moco_v2"}, "crop": {"method": "objaware", "augment": "crop", **GIVEN}}),
    "esvit": (SCENES, {"view": {**SWIN, "region_weight": 0.0}, "view and region": {**SWIN, "region_weight": 0.5}}),
    "setsim": (
        SCENES,
        {"MoCo v2": {"method": "moco_v2", "temperature": 0.2, "embedding": 64}, "SetSim": {"method": "setsim"}},
    ),
}
"""Name -> data, and arms: what each differs in. Later arms should be ahead of the first."""


def split_of(name: str, side: int) -> Images:
    """A split of the scenes, of `side` pixels."""
    return prepare(open_source(f"{SCENES}:{side}", split=name), short_side=None)


def backgrounds(encoder: Encoder, side: int) -> dict[str, float]:
    """Accuracy of a linear probe where the background is that of the class, and where it is any."""
    train = split_of("train", side)
    assert train.labels is not None
    probe = linear.fit(extract(encoder, train), torch.from_numpy(train.labels))
    found = {}
    for name in ("test", "mixed_same", "mixed_rand"):
        images = split_of(name, side)
        right = probe.predict(extract(encoder, images)).numpy() == images.labels
        found[name] = float(np.mean(right))
    return {**found, "gap": found["mixed_same"] - found["mixed_rand"]}


def neighbours_of(encoder: Encoder, side: int) -> dict[str, float]:
    """Accuracy of the nearest neighbours among single scenes of any background."""
    images = split_of("mixed_rand", side)
    assert images.labels is not None
    features, labels = extract(encoder, images), torch.from_numpy(images.labels)
    half = len(images) // 2
    near = neighbours(features[half:], features[:half], NEIGHBOURS)
    right = knn.majority(near, labels[:half], NEIGHBOURS) == labels[half:]
    return {f"{NEIGHBOURS}-NN on mixed_rand": float(right.double().mean())}


def places(encoder: Encoder, side: int) -> dict[str, float]:
    """Share of tokens that find their place in another crop, and nearest neighbours."""
    found = correspondence(encoder, split_of("test", side))
    return {"correspondence": found.accuracy, "chance": found.chance, **neighbours_of(encoder, side)}


def cells(encoder: Encoder, side: int) -> dict[str, float]:
    """Mean IoU of a linear probe of each cell: background, or the class of the object."""
    maps, masks = [], []
    for name in ("train", "mixed_rand"):
        images = split_of(name, side).subset(np.arange(600))
        maps.append(segmentation.maps(encoder, images))
        marks = np.stack([mask_of(one) for one in images.names]) > 127  # type: ignore[arg-type]  # of scenes all have one
        assert images.labels is not None
        masks.append(torch.from_numpy((marks * (images.labels[:, None, None] + 1)).astype(np.uint8)))
    probe = segmentation.fit(maps[0], masks[0])
    found = segmentation.agreement(segmentation.predict(probe, maps[1], side), masks[1])
    return {"mIoU on mixed_rand": float(np.nanmean(found.iou_K)), "pixel accuracy": found.accuracy}


SCORES: Mapping[str, Callable[[Encoder, int], dict[str, float]]] = {
    "bgaug": backgrounds,
    "mixup": backgrounds,
    "crop": neighbours_of,
    "esvit": places,
    "setsim": cells,
}


def measure(trend: str, budget: Mapping[str, Any], folder: Path, seed: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Train the arms of a trend one after the other, and score each."""
    data, forms = TRENDS[trend]
    for name, how in forms.items():
        asked = {**BUDGET, **budget, **how}
        place = folder / f"{trend}-{name.replace(' ', '-').replace(',', '')}-{seed}"
        given = {key: value for key, value in asked.items() if value is not None}
        run = likewise.train(
            data, **given, seed=seed, out=str(place), quiet=True, report=False, loggers=(), device="cpu"
        )
        found = SCORES[trend](likewise.load(run), 32)
        print(f"{trend:<8} {name:<18} " + "  ".join(f"{key} {value:.3f}" for key, value in found.items()), flush=True)
        yield name, found


def section(file: Path) -> str:
    """The part of `RESULTS.md` about places and objects."""
    about = f"`python -m benchmarks.where`, `python -m benchmarks.localising`. {ABOUT}"
    return arms.section(file, "Places and objects", about)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.where", description=__doc__.partition("\n")[0])
    parser.add_argument("trends", nargs="*", metavar="TREND", help=f"by default all: {', '.join(TRENDS)}")
    parser.add_argument("--epochs", type=float, default=BUDGET["epochs"], help="of every arm; 3,000 images each")
    parser.add_argument("--width", type=int, default=BUDGET["width"], help="channels of the ResNet's first stage")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=STORE, help="JSON file that the scores are added to")
    options = parser.parse_args(arguments)
    for name in options.trends:
        if name not in TRENDS:
            parser.error(f"unknown trend {name!r}: allowed are {', '.join(TRENDS)}")
    budget = {"epochs": options.epochs, "width": options.width}
    for trend in options.trends or TRENDS:
        with tempfile.TemporaryDirectory() as folder:
            for arm, scores in measure(trend, budget, Path(folder), options.seed):
                words = f"epochs {options.epochs:g}, width {options.width}"
                arms.add(options.out, trend, words, arm, options.seed, scores)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
