"""`likewise trial`: estimate whether training will help."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from tyro.conf import Positional

from likewise.cli.shared import Data, print_next
from likewise.cli.teacher import check_teacher


@dataclass(frozen=True, kw_only=True)
class Try:
    """Arguments of `likewise trial`."""

    data: Positional[Data]
    """What is to be learned from."""
    minutes: float = 15.0
    """About how long it may take in all."""
    teacher: str = ""
    """An encoder that somebody trained: a run, a file, a timm model, a table of vectors, module:function."""
    encoder: str = "resnet18"
    """timm model that would be trained."""
    split: str | None = None
    """Split to draw from; by default `train` where the data has one."""
    labels: str | None = None
    """Label column, or `folders` where sub-folders are the classes; `none` tries without."""
    device: Literal["cpu", "cuda", "mps"] | None = None
    """Where to train."""
    seed: int = 0
    """Everything random follows from it."""
    json: bool = False
    """Print one JSON object."""
    quiet: bool = False
    """Print the verdict and nothing else."""


def run(words: list[str]) -> None:
    """Do what the words after the verb ask for."""
    check_teacher(words)
    from likewise.parsing import parse

    parsed = parse(Try, words, "likewise trial", "Try on a sample whether training an encoder helps.")
    from likewise.commands import command
    from likewise.verbs.learning.trial import METHODS, trial

    found = trial(
        parsed.data,
        minutes=parsed.minutes,
        teacher=parsed.teacher,
        encoder=parsed.encoder,
        split=parsed.split,
        labels=parsed.labels,
        device=parsed.device,
        seed=parsed.seed,
    )
    if parsed.json:
        print(json.dumps(found.to_json(), indent=2))
        return
    print(found.verdict if parsed.quiet else found.to_text())
    if not parsed.quiet and found.verdict in {"distil", "train without labels"}:
        distil = found.verdict == "distil"
        taught = {"teacher": parsed.teacher, "cached": True} if distil else {}
        method = METHODS["distilled" if distil else "self-supervised"]
        encoder = None if parsed.encoder == Try.encoder else parsed.encoder
        print_next(command("train", parsed.data, method=method, encoder=encoder, split=parsed.split, **taught))
