"""Two strong views of an image (the MoCo v2 recipe) on one thread: from decoded 32 px images, and from JPEG files.

The peer is lightly's MoCoV2Transform with the same settings on the same images; kornia and torchvision's transforms
v2 for the record, and decoding alone as the bound for what comes from files.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.harness import Outcome, Timing, in_turn, parser_of, ratio, rounded, run
from benchmarks.images import jpeg_files, small_images
from benchmarks.peers import peer
from likewise.data.decoding.decode import decode
from likewise.training.planning.machine import keep_freed_memory
from likewise.views import IMAGENET_MEAN, IMAGENET_STD, make_views, strong

MINUTES = 2
SMALL, LARGE = 32, 224
Sides = dict[str, Callable[[], object]]


class Steps:
    """Numbers the calls, so that no side sees the same random draws twice."""

    def __init__(self) -> None:
        self.step = 0

    def views(self, pixels_BHWC: Tensor, size: int) -> None:
        """Two views of every image by likewise."""
        policy = strong(size, mean=IMAGENET_MEAN, std=IMAGENET_STD)
        sizes = torch.tensor(pixels_BHWC.shape[1:3]).expand(len(pixels_BHWC), 2)
        make_views({"first": policy, "second": policy}, pixels_BHWC, sizes, seed=0, step=self.step)
        self.step += 1


def lightly_transform(size: int, notes: list[str]) -> Callable[[Image.Image], Any] | None:
    """Two views of an image by lightly."""
    module = peer("lightly.transforms", notes)
    return None if module is None else module.MoCoV2Transform(input_size=size)


def torchvision_transform(size: int) -> Callable[[Image.Image], Any]:
    """One view by torchvision's transforms v2, on uint8 tensors as its documentation advises."""
    from torchvision.transforms import v2

    jitter = v2.ColorJitter(0.4, 0.4, 0.4, 0.1)
    blur = v2.GaussianBlur(int(0.1 * size) // 2 * 2 + 1, (0.1, 2.0))
    return v2.Compose([
        v2.ToImage(),
        v2.RandomResizedCrop(size, (0.2, 1.0), antialias=True),
        v2.RandomHorizontalFlip(),
        v2.RandomApply([jitter], 0.8),
        v2.RandomGrayscale(0.2),
        v2.RandomApply([blur], 0.5),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
    ])  # fmt: skip


def kornia_transform(size: int, notes: list[str]) -> Callable[[Tensor], Tensor] | None:
    """One view of a whole batch (B, 3, H, W) in [0, 1] by kornia."""
    module = peer("kornia.augmentation", notes)
    if module is None:
        return None
    kernel = int(0.1 * size) // 2 * 2 + 1
    return torch.nn.Sequential(
        module.RandomResizedCrop((size, size), scale=(0.2, 1.0)),
        module.RandomHorizontalFlip(),
        module.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
        module.RandomGrayscale(p=0.2),
        module.RandomGaussianBlur((kernel, kernel), (0.1, 2.0), p=0.5),
        module.Normalize(torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)),
    )


def from_pixels(count: int, notes: list[str]) -> Sides:
    """The sides for decoded small images."""
    pixels = torch.from_numpy(small_images(count))
    images = [Image.fromarray(one.numpy()) for one in pixels]
    ours, by_torchvision = Steps(), torchvision_transform(SMALL)
    sides: Sides = {"likewise": lambda: ours.views(pixels, SMALL)}
    if (by_lightly := lightly_transform(SMALL, notes)) is not None:
        sides["lightly"] = lambda: [by_lightly(image) for image in images]
    sides["torchvision v2"] = lambda: [by_torchvision(image) for image in images for _ in range(2)]
    if (by_kornia := kornia_transform(SMALL, notes)) is not None:
        sides["kornia"] = lambda: [by_kornia(pixels.permute(0, 3, 1, 2) / 255) for _ in range(2)]
    return sides


def from_files(count: int, notes: list[str]) -> Sides:
    """The sides for JPEG files, decoding included, and for likewise without it."""
    files = jpeg_files(count)
    ours, by_torchvision = Steps(), torchvision_transform(LARGE)
    kept = torch.from_numpy(np.stack([decode(file) for file in files]))

    def opened() -> list[Image.Image]:
        return [Image.open(io.BytesIO(file)).convert("RGB") for file in files]

    def decoded() -> Tensor:
        return torch.from_numpy(np.stack([decode(file) for file in files]))

    sides: Sides = {
        "decoding alone": lambda: [decode(file) for file in files],
        "likewise": lambda: ours.views(decoded(), LARGE),
        "likewise, decoded before": lambda: ours.views(kept, LARGE),
    }
    if (by_lightly := lightly_transform(LARGE, notes)) is not None:
        sides["lightly"] = lambda: [by_lightly(image) for image in opened()]
    sides["torchvision v2"] = lambda: [by_torchvision(image) for image in opened() for _ in range(2)]
    if (by_kornia := kornia_transform(LARGE, notes)) is not None:
        sides["kornia"] = lambda: [by_kornia(pixels) for pixels in [decoded().permute(0, 3, 1, 2) / 255] for _ in "12"]
    return sides


def rows_of(timings: dict[str, Timing], count: int) -> list[list[Any]]:
    """One line a side."""
    ours = timings["likewise"]
    return [
        [name, rounded(count / timing.seconds, 3), rounded(count / timing.busy_seconds, 3),
         rounded(timing.seconds / ours.seconds, 3)]
        for name, timing in timings.items()
    ]  # fmt: skip


def measure(options: argparse.Namespace) -> Outcome:
    """Time all sides."""
    torch.set_num_threads(1)
    keep_freed_memory()  # for all sides, as in a training
    found = Outcome(
        "Views",
        "Two strong views an image (crop 0.2 to 1, flip, jitter .4 .4 .4 .1, grey, blur), one thread, sides in turn, "
        "medians, freed memory kept as in a training. Files are 500 x 375 JPEG (quality 90, cut from photographs), "
        "read from memory.",
    )
    columns = ["side", "images/s", "images/s of processor time", "time beside likewise"]
    counts = (16, 2) if options.quick else (512, 48)
    rounds = 1 if options.quick else 11
    for what, count, sides in (
        (f"decoded {SMALL} px images", counts[0], from_pixels(counts[0], found.notes)),
        (f"JPEG files to {LARGE} px", counts[1], from_files(counts[1], found.notes)),
    ):
        timings = in_turn(sides, rounds=rounds)
        found.table(f"From {what}", columns, rows_of(timings, count))
        found.figures[what] = {name: timing.to_json() for name, timing in timings.items()}
        wanted = 10 if what.startswith("decoded") else 5
        if "lightly" in timings:
            times = ratio(timings["lightly"], timings["likewise"])
            found.figures[what]["lightly / likewise"] = times
            value = times["ratio_of_rounds"]
            met = None if options.quick else value >= wanted
            found.target(f"from {what}, beside lightly", f">= {wanted} x", value, met=met)
        if "decoding alone" in timings:
            share = ratio(timings["decoding alone"], timings["likewise"])["ratio_of_rounds"]
            found.target("share of the decode-only rate", ">= 0.6", share, met=None if options.quick else share >= 0.6)
    return found


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and print."""
    return run("views", measure, parser_of("views", MINUTES), arguments)


if __name__ == "__main__":
    main()
