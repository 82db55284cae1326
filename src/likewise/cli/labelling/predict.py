"""`likewise predict`: classes of images from few labels."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

from likewise.cli.shared import Data


@dataclass(frozen=True, kw_only=True)
class Predict:
    """Arguments of `likewise predict`."""

    run: Annotated[Positional[str], tyro.conf.arg(metavar="RUN|ENCODER")]
    """Run directory (its own classifier is used where it has one), weights file, or timm model with --pretrained."""
    data: Positional[Data]
    """Images to predict."""
    out: str
    """Table to write (CSV)."""
    labelled: str | None = None
    """Labelled images: what a classifier is fitted on, and calibrated by."""
    labels: str | None = None
    """Label column of --labelled, or `folders` where its sub-folders are the classes."""
    by: Literal["linear", "knn"] = "linear"
    """Classifier that is fitted, where the run has none."""
    risk: float | None = None
    """Share of wrong classes that is allowed: below the confidence that keeps it, an image is `none of these`."""
    trust: float = 0.9
    """Probability with which the risk is kept."""
    held_out: float = 0.3
    """Share of the labels that is kept from the fit, with --risk."""
    split: str | None = None
    """Split to predict; by default all images."""
    which: Literal["student", "teacher"] | None = None
    """Which encoder of the run; by default the one that its method deploys."""
    pretrained: bool = False
    """Take timm's published weights of the model named."""
    image_size: int | None = None
    """Side at which images are shown; by default the encoder's own."""
    seed: int = 0
    """What held-out labels follow from."""
    overwrite: bool = False
    """Replace the table where it exists."""
    json: bool = False
    """Print one JSON object."""
    quiet: bool = False
    """Print the result and nothing else."""


def run(words: list[str]) -> None:
    """Do what the words after the verb ask for."""
    from likewise.parsing import parse

    parsed = parse(Predict, words, "likewise predict", "Say the class of each image, and how sure that is.")
    from likewise.terminal import paragraph
    from likewise.verbs.labelling.predict import predict

    how = {name: value for name, value in vars(parsed).items() if name not in {"run", "data", "json"}}
    result = predict(parsed.run, parsed.data, **how)
    if parsed.json:
        print(json.dumps(result.to_json(), indent=2))
        return
    print(f"table   {result.out}")
    if parsed.quiet:
        return
    said = ", ".join(f"{count:,} {name}" for name, count in list(result.counts.items())[:12])
    more = f" and {len(result.counts) - 12} more" if len(result.counts) > 12 else ""
    print(paragraph(f"{result.images:,} images: {said}{more}", first="classes ", indent="        "))
    print(paragraph(f"{result.classifier}", first="by      ", indent="        "))
    if result.accuracy is not None:
        print(paragraph(f"{100 * result.accuracy:.1f} % right of {result.judged}", first="held    ", indent="        "))
    if result.ece is not None and result.temperature is not None:
        before, after = (f"{100 * value:.1f} %" for value in result.ece)
        print(f"ECE     {before} before, {after} after temperature {result.temperature:.3g} (15 bins)")
    if result.promise:
        print(paragraph(result.promise, first="risk    ", indent="        "))
    for note in result.notes:
        print(paragraph(note, first="note    ", indent="        "))
