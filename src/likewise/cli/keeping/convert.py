"""`likewise convert`: a checkpoint of another code base as a weights file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

from likewise.cli.shared import print_next


@dataclass(frozen=True, kw_only=True)
class Convert:
    """Arguments of `likewise convert`."""

    checkpoint: Annotated[Positional[str], tyro.conf.arg(metavar="CHECKPOINT")]
    """A checkpoint of another code base: .pth, .ckpt, .tar, or .safetensors."""
    from_: Annotated[
        Literal[
            "lightly",
            "solo-learn",
            "moco",
            "swav",
            "dino",
            "isd",
            "efficientnet-lite0",
            "efficientnet-lite1",
            "efficientnet-lite2",
        ],
        tyro.conf.arg(name="from"),
    ]
    """Whose it is."""
    out: str
    """The .safetensors file to write."""
    encoder: str | None = None
    """timm name of the encoder it holds, such as resnet50; known for efficientnet-lite0 to lite2."""
    which: Literal["student", "teacher"] = "student"
    """Which of its encoders: the student, or the momentum encoder."""
    image_size: int = 224
    """Side of the images it was trained on."""
    stem: Literal["imagenet", "small"] = "imagenet"
    """small: it was trained on small images, with a 3x3 first layer and without max-pool."""
    normalisation: Literal["imagenet", "cifar10", "cifar100"] | None = None
    """Data set by whose channel means and deviations its images were normalised; by default imagenet."""
    overwrite: bool = False
    """Replace `out` where it exists."""
    quiet: bool = False
    """Print the result and nothing else."""


def run(words: list[str]) -> None:
    """Do what the words after the verb ask for."""
    from likewise.parsing import parse

    parsed = parse(Convert, words, "likewise convert", "Make a checkpoint of another code base a weights file.")
    from likewise.commands import command, free_name
    from likewise.verbs.keeping.convert import convert

    report = convert(
        parsed.checkpoint,
        origin=parsed.from_,
        out=parsed.out,
        encoder=parsed.encoder,
        which=parsed.which,
        image_size=parsed.image_size,
        stem=parsed.stem,
        normalisation=parsed.normalisation,
        overwrite=parsed.overwrite,
    )
    print(report.path if parsed.quiet else report)
    if not parsed.quiet:
        print_next(command("export", report.path, format="onnx", out=free_name(report.path.stem, "onnx")))
