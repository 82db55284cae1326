"""Whether words help as they are said to: `python -m benchmarks.words [clipdistill|multimodal|ultrasound ...]`.

Images are the 1,797 real digits of scikit-learn, each tinted, enlarged and placed on a ground; captions name digit,
colour, size and place, partly, in several forms, and a share of them is swapped between images. Tests are other digits.
Scans are `synthetic:ultrasound`. Each arm is trained once for each seed; the results are written to
`benchmarks/results/words.json` as they come, and an arm that is there is not trained again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

import likewise
from benchmarks import arms
from benchmarks.results import STORE as RESULTS

STORE = RESULTS / "words.json"
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COLOURS = {
    "red": (230, 60, 50),
    "green": (60, 190, 80),
    "blue": (70, 100, 240),
    "yellow": (230, 210, 60),
    "white": (240,) * 3,
}
PLACES = ("left", "right", "top", "bottom")
SIDE, TRAIN, TEST = 32, 3600, 1000
NOISE = 0.3

Arm = Mapping[str, Any]
ARMS: Mapping[str, Mapping[str, Arm]] = {
    "clipdistill": {
        "hard pairs": {"targets": "none"},
        "transport": {"targets": "transport"},
        "softmax": {"targets": "softmax"},
    },
    "multimodal": {
        "image-image alone": {"caption_weight": 0.0, "to_caption_weight": 0.0, "to_image_weight": 0.0},
        "captions, no tags": {},
        "five terms": {"tags": "tags"},
    },
    "ultrasound": {
        "plain": {"curriculum": False},
        "curriculum": {"curriculum": True},
        "classification only": {"contrast_weight": 0.0},
    },
}
EPOCHS = {"clipdistill": 10.0, "multimodal": 6.0, "ultrasound": 15.0}
BUDGET: Arm = {"width": 8, "batch_size": 64, "learning_rate": 2e-3}
"""Of every arm: small, with many steps."""
SCANS = 24


def composed(path: Path, noise: float, seed: int = 0) -> None:
    """Write the images and captions of both splits as one .npz file."""
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits

    found: Any = load_digits()
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(found.target))
    arrays: dict[str, NDArray[Any]] = {}
    for split, count, pool in (("train", TRAIN, order[:1400]), ("test", TEST, order[1400:])):
        chosen = pool[np.arange(count) % len(pool)]
        drawn = [drawing(found.images[at] / 16.0, int(found.target[at]), generator, zoom) for at in chosen]
        captions = [caption for _, caption, _ in drawn]
        if split == "train":
            swapped = np.flatnonzero(generator.random(count) < noise)
            for at, other in zip(swapped, generator.permutation(swapped), strict=True):
                captions[at] = drawn[other][1]
        arrays[f"{split}_images"] = np.stack([image for image, _, _ in drawn])
        arrays[f"{split}_labels"] = np.array([NAMES[found.target[at]] for at in chosen])
        arrays[f"{split}_caption"] = np.array(captions)
        arrays[f"{split}_tags"] = np.array([tags for _, _, tags in drawn])
    np.savez(path, **arrays)


def drawing(
    digit: NDArray[Any], number: int, generator: np.random.Generator, zoom: Callable[..., NDArray[Any]]
) -> tuple[NDArray[np.uint8], str, str]:
    """(32, 32, 3) a tinted digit on a ground, two captions of it, a line each, and its tags."""
    colour = str(generator.choice(list(COLOURS)))
    large = bool(generator.integers(2))
    place = int(generator.integers(4))
    shape = zoom(digit, 2.6 if large else 1.75, order=1).clip(0, 1)
    side, room = shape.shape[0], SIDE - shape.shape[0]
    down, across = (int(generator.integers(room + 1)) for _ in range(2))
    down = {2: 0, 3: room}.get(place, down)
    across = {0: 0, 1: room}.get(place, across)
    ground = generator.integers(10, 90, 3) + generator.normal(0, 8, (SIDE, SIDE, 3))
    mask = np.zeros((SIDE, SIDE, 1))
    mask[down : down + side, across : across + side, 0] = shape
    image = ground * (1 - mask) + np.array(COLOURS[colour]) * mask
    name, size = NAMES[number], "large" if large else "small"
    forms = (
        f"a {size} {colour} {name}", f"the number {name} in {colour}", f"a {name} at the {PLACES[place]}",
        f"{colour} {name}, {size}, at the {PLACES[place]}", f"someone wrote a {name}", f"a {colour} digit: {name}",
    )  # fmt: skip
    two = generator.choice(len(forms), 2, replace=False)
    return image.clip(0, 255).astype(np.uint8), "\n".join(forms[at] for at in two), f"{name}\n{colour}\n{size}"


def measured(method: str, arm: Arm, seed: int, folder: Path) -> dict[str, float]:
    """What one run comes to."""
    is_scan = method == "ultrasound"
    data = f"synthetic:ultrasound:{SCANS}:tones" if is_scan else str(folder / "composed.npz")
    if not is_scan and not Path(data).exists():
        composed(Path(data), NOISE if method == "clipdistill" else 0.0)
    run = likewise.train(
        data, method=method, epochs=EPOCHS[method], seed=seed, out=folder / f"{method}-{len(arm)}-{seed}",
        quiet=True, report=False, online_probe=False, **BUDGET, **arm,
    )  # fmt: skip
    reads = method == "clipdistill" or (method == "multimodal" and arm.get("to_caption_weight", 1))
    probes = ["knn", "linear", *(["zeroshot", "captions"] if reads else [])]
    found = likewise.evaluate(run, data, probe=probes, untrained=seed == 0, report=False, quiet=True)
    scores = {}
    for score in found:
        named = f"{score.label()}{' untrained' if score.which == 'untrained' else ''}"
        scores[named] = round(score.value, 4)
    return scores


def section(file: Path) -> str:
    """The part of `RESULTS.md` about words and sound."""
    about = (
        "`python -m benchmarks.words`: drawn digits with captions, 3,600 to train on, three in ten captions of another "
        "image for clipdistill; scans of `synthetic:ultrasound` with narration. ResNet-18 of width 8."
    )
    return arms.section(file, "Words and sound", about)


def main() -> None:
    """Train what is not there yet, and print what there is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("methods", nargs="*", default=list(ARMS))
    parser.add_argument("--seeds", type=int, default=1)
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        for method in asked.methods:
            budget = f"epochs {EPOCHS[method]:g}, batches of {BUDGET['batch_size']}"
            for seed in range(asked.seeds):
                for name, arm in ARMS[method].items():
                    if arms.has(STORE, method, budget, name, seed):
                        continue
                    (Path(folder) / name.replace(" ", "-")).mkdir(exist_ok=True)
                    scores = measured(method, arm, seed, Path(folder) / name.replace(" ", "-"))
                    arms.add(STORE, method, budget, name, seed, scores)
                    print(method, name, seed, json.dumps(scores), flush=True)
    print(section(STORE))


if __name__ == "__main__":
    main()
