"""Images of three colours in folders of their names, and an untrained encoder that tells them apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from likewise.encoders import EncoderSpec, build, save_encoder

COLOURS = ("blue", "green", "red")


def colour_folder(root: Path, each: int, *, seed: int = 0, side: int = 16) -> Path:
    """`each` noisy images of every colour."""
    draw = np.random.default_rng(seed)
    for place, name in enumerate(COLOURS):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            pixels = draw.integers(0, 60, (side, side, 3))
            pixels[..., 2 - place] += 190
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{number:03}.png")
    return root


def small_encoder(path: Path) -> Path:
    """Random weights: colours are far apart in them."""
    save_encoder(build(EncoderSpec(name="resnet18", width=8, stem="small", image_size=16), seed=0), path)
    return path
