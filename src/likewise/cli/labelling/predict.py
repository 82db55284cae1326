"""`likewise predict`: classes of images, from few labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tyro.conf import Positional

from likewise.cli.shared import Data, Looking, tell, tell_notes


@dataclass(frozen=True, kw_only=True)
class Predict(Looking):
    """Arguments of `likewise predict`."""

    data: Positional[Data]
    """Images to predict."""
    out: str
    """Table to write (CSV)."""
    labelled: str | None = None
    """Labelled images: what a classifier is calibrated by, and fitted on where the run has none of its own."""
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


def run(words: list[str]) -> None:
    """Do what the words after the verb ask for."""
    from likewise.parsing import parse

    parsed = parse(Predict, words, "likewise predict", "Say the class of each image, and how sure that is.")
    from likewise.terminal import paragraph
    from likewise.verbs.labelling.predict import predict

    result = predict(parsed.run, parsed.data, **parsed.keywords("data"))
    if not tell(parsed, result, f"table   {result.out}"):
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
    tell_notes(result.notes)
