"""ContraCAM beside the centre, `mbd` and a classifier's CAM: `python -m benchmarks.localising --help`.

On `synthetic:scenes`, whose masks are known: MoCo v2 without labels, and the same encoder trained on the labels, whose
class activation map (Zhou et al., CVPR 2016) of the class it says is stretched to 0..1 as ContraCAM's is. Both maps are
kept at the same resolution. Scored is the split where backgrounds are those of other classes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

import likewise
from benchmarks.arms import add
from benchmarks.where import SCENES, STORE, split_of
from likewise.classifier import load_classifier
from likewise.data import Images
from likewise.encoders import EncoderSpec, build, save_encoder
from likewise.evaluation.objects import localisation
from likewise.localisation.boxes import boxes
from likewise.localisation.masks import Masks
from likewise.localisation.networks import widen

SIDE, EXPAND = 32, 2
ROUNDS = (1, 3, 10)
"""Rounds of ContraCAM that are compared; 10 are published for boxes. More are worse here: the first map holds the whole
object, and later ones, stretched to 0..1 as published, show background as bright."""


def masks_of(images: Images, source: str) -> NDArray[np.uint8]:
    """(N, S, S) masks of a source."""
    return Masks(images, source).gather(np.arange(len(images)), SIDE, SIDE).numpy()


@torch.no_grad()
def class_activation(run: Path, images: Images) -> NDArray[np.uint8]:
    """(N, S, S) ReLU(sum_c w_c F_c) of the class that the classifier says, stretched to 0..255 for each image."""
    classifier = load_classifier(run)
    encoder, spec = classifier.encoder, classifier.encoder.spec
    widen(encoder, EXPAND)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (spec.mean, spec.std))
    pixels, _ = images.gather(np.arange(len(images)))
    found = []
    for part in torch.split(pixels.movedim(3, 1) / 255, 100):
        map_BChw = encoder.map((part - mean) / std)
        said_B = (encoder.pooled_from(map_BChw) @ classifier.layer.weight.T + classifier.layer.bias).argmax(1)
        cam = torch.einsum("bchw,bc->bhw", map_BChw, classifier.layer.weight[said_B]).clamp_min(0).unsqueeze(1)
        cam = functional.interpolate(cam, (SIDE, SIDE), mode="bicubic", align_corners=False)
        cam = cam - cam.amin((2, 3), keepdim=True)
        found.append(cam / (cam.amax((2, 3), keepdim=True) + 1e-20))
    return (255 * torch.cat(found)[:, 0]).round().to(torch.uint8).numpy()


def scored(masks: NDArray[np.uint8], true: NDArray[np.uint8]) -> dict[str, float]:
    """CorLoc, and the mean overlaps of boxes and of masks."""
    tight = [[boxes(one, margin=0.0) for one in each] for each in (masks, true)]
    found = localisation(tight[0], tight[1], list(masks), list(true))
    return {"CorLoc": found.corloc, "box IoU": found.box_iou, "mask IoU": found.mask_iou}


def measure(seed: int, epochs: int, width: int, folder: Path) -> dict[str, dict[str, float]]:
    """All arms of one seed."""
    spec = EncoderSpec(name="resnet18", width=width, stem="small", image_size=SIDE)
    save_encoder(build(spec, seed=seed), folder / "start.safetensors")
    common: Mapping[str, Any] = {"epochs": epochs, "seed": seed, "quiet": True}
    likewise.train(
        SCENES, method="moco_v2", encoder="resnet18", width=width, batch_size=128, out=folder / "moco", device="cpu",
        report=False, loggers=(), **common,
    )  # fmt: skip
    # five times the rate of fine-tuning, since nothing was learned before
    likewise.finetune(folder / "start.safetensors", SCENES, rate=0.05, out=folder / "labels", **common)
    images = split_of("mixed_rand", SIDE)
    true = masks_of(images, "given")
    arms = {"center": masks_of(images, "center"), "mbd": masks_of(images, "mbd")}
    arms |= {f"ContraCAM, {n} rounds": masks_of(images, f"contracam:{folder / 'moco'}:{n}:{EXPAND}") for n in ROUNDS}
    arms["CAM of a classifier"] = class_activation(folder / "labels", images)
    return {name: scored(masks, true) for name, masks in arms.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and store. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.localising", description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=8, help="of both encoders; 3,000 images each")
    parser.add_argument("--width", type=int, default=16, help="channels of the ResNet's first stage")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=STORE, help="JSON file that the scores are added to")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        scores = measure(options.seed, options.epochs, options.width, Path(folder))
    for name, one in scores.items():
        add(options.out, "localising", f"epochs {options.epochs}, width {options.width}", name, options.seed, one)
        print(f"{name:<22} " + "  ".join(f"{key} {value:.3f}" for key, value in one.items()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
