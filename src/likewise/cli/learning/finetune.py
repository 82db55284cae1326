"""`likewise finetune`: train an encoder and a classifier on labelled images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from tyro.conf import Positional

from likewise.cli.shared import tell_run

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, kw_only=True)
class Finetune:
    """Arguments of `likewise finetune`."""

    run: Annotated[Positional[str], tyro.conf.arg(metavar="RUN|ENCODER")]
    """Run directory, weights file, or the name of a timm model with --pretrained."""
    data: Annotated[Positional[str | None], tyro.conf.arg(metavar="DATA")] = None
    """Images with labels; by default what the run was trained on."""
    out: str | None = None
    """Run directory to write; by default runs/DATA-finetune-ENCODER, numbered where that exists."""
    labels: str | None = None
    """Label column, or `folders` where sub-folders are the classes."""
    train_split: str | None = None
    """Split to learn from; by default `train`."""
    test_split: str | None = None
    """Split to score on; by default `test`, or else the validation split, or else a held-out fifth."""
    subset: str | None = None
    """Learn from a draw of the images, such as share:0.1 or perclass:10."""
    subset_seed: int = 0
    """What the draw follows from."""
    epochs: int = 20
    """Passes over the images."""
    rate: float = 0.01
    """Peak learning rate of the encoder at batch 128; the classifier's is ten times that."""
    flip: bool | None = None
    """Mirror half of the images left to right, not good for digits, text or signs; by default where the run did."""
    which: Literal["student", "teacher"] | None = None
    """Which encoder of the run; by default the student."""
    pretrained: bool = False
    """Take timm's published weights of the model named."""
    image_size: int | None = None
    """Side at which images are shown; by default the encoder's own."""
    seed: int = 0
    """What batches, crops and held-out images follow from."""
    quiet: bool = False
    """Say nothing but where the run is."""


def run(words: list[str]) -> None:
    """Do what the words after the verb ask for."""
    from likewise.parsing import parse

    parsed = parse(Finetune, words, "likewise finetune", "Train an encoder and a classifier on images with labels.")
    from likewise.runs import command_line
    from likewise.verbs.learning.finetune import finetune

    how = {name: value for name, value in vars(parsed).items() if name not in {"run", "data"}}
    run = finetune(parsed.run, parsed.data, command=command_line(["likewise", "finetune", *words]), **how)
    tell_run(run, quiet=parsed.quiet)
