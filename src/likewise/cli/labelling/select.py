"""`likewise select`: choose images to label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

from likewise.cli.shared import Looking, print_next, tell, tell_notes


@dataclass(frozen=True, kw_only=True)
class Select(Looking):
    """Arguments of `likewise select`."""

    data: Annotated[Positional[str | None], tyro.conf.arg(metavar="DATA")] = None
    """Images to choose from; by default what the run was trained on."""
    labels: int
    """How many images to pick."""
    out: str
    """List to write (CSV)."""
    by: Literal["usl", "usl_t", "typical", "coverage", "random"] = "usl"
    """usl: densest of each cluster, kept apart; usl_t: by a run of it; typical: TypiClust; coverage: k-centre; random.
    """
    given: str | None = None
    """List with labels of earlier rounds: its images are covered and not picked again."""
    variant: Literal["small", "cifar10", "cifar100", "imagenet", "imagenet_clip"] = "small"
    """Published settings of usl."""
    split: str | None = None
    """Split to choose from; by default `train`."""
    classes: int | None = None
    """Classes to expect, for the expected accuracy; by default one for four labels."""
    expected: bool = True
    """Estimate what each strategy brings, from the features alone."""
    evaluate: bool = False
    """Afterwards, score all strategies by the labels that the data has."""
    truth: str | None = None
    """For --evaluate: label column, or `folders` where sub-folders are the classes."""
    html: str | None = None
    """Also write a contact sheet."""
    label_studio: str | None = None
    """Also write tasks for Label Studio (JSON)."""
    cvat: str | None = None
    """Also write a manifest for CVAT (JSONL)."""


def run(words: list[str]) -> None:
    """Do what the words after the verb ask for."""
    from likewise.parsing import parse

    parsed = parse(Select, words, "likewise select", "Pick the images whose labels will help most.")
    from likewise.terminal import paragraph, table
    from likewise.verbs.labelling.select import figures, select

    result = select(parsed.run, parsed.data, **parsed.keywords("data"))
    if not tell(parsed, result, f"picks   {result.out}"):
        return
    already = f", {result.covered:,} of them labelled already" if result.covered else ""
    print(f"        {len(result.picks):,} of {result.images:,} images{already}, by {result.by}")
    head, rows = figures(result)
    if rows:
        print(f"\n{table(head, rows)}\n")
    if result.expected:
        print(paragraph(f"expected: 1-NN accuracy over {result.rests_on}", indent="  "))
    if result.measured:
        words_of = "1-NN and linear: accuracy on all other images by their true labels; random is the mean of 10 draws"
        print(paragraph(words_of, indent="  "))
    tell_notes(result.notes)
    print_next(result.following())
