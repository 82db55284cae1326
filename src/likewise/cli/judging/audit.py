"""`likewise audit`: accuracy of an encoder under distortions, and its agreement with other observers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

from likewise.cli.shared import print_next


@dataclass(frozen=True, kw_only=True)
class AuditArguments:
    """Arguments of `likewise audit`."""

    run: Annotated[Positional[str], tyro.conf.arg(metavar="RUN|ENCODER")]
    """Run directory, .safetensors or .onnx file, or the name of a timm model with --pretrained."""
    data: Annotated[Positional[str | None], tyro.conf.arg(metavar="DATA")] = None
    """Images with labels; by default what the run was trained on."""
    against: tuple[str, ...] = ()
    """Other runs or encoders that answer to the same stimuli, with paired tests."""
    probe: Literal["linear", "knn", "own"] = "linear"
    """How an encoder decides: a probe of undistorted training images, or the classifier's own layer."""
    experiments: tuple[str, ...] = ()
    """Distortions to make, such as contrast low-pass uniform-noise; by default all twelve."""
    images: int = 1000
    """Most images that are distorted, evenly of all classes."""
    every_level: bool = False
    """Show each image at every level, not at one."""
    stimuli: tuple[str, ...] = ()
    """Stimuli that others made: a folder with a sub-folder for each experiment, or EXPERIMENT=DATA."""
    human: str | None = None
    """Trials of people: a folder with human_trials.csv.gz, or with the published files."""
    mapping: str | None = None
    """JSON file, category -> list of classes; or `sixteen` for the 1000 classes of ImageNet."""
    untrained: bool = False
    """Also audit the same encoder before any training."""
    which: Literal["student", "teacher"] | None = None
    """Which encoder of the run; by default the one that its method deploys."""
    labels: str | None = None
    """Label column, or `folders` where sub-folders are the classes."""
    train_split: str | None = None
    """Split whose labels the probe knows; by default `train`."""
    test_split: str | None = None
    """Split whose images are distorted; by default `test`, or else the validation split."""
    subset: str | None = None
    """Draw of the training images that the probe knows, such as perclass:100."""
    pretrained: bool = False
    """Take timm's published weights of the models named."""
    image_size: int | None = None
    """Side at which images are shown; by default the encoder's own."""
    seed: int = 0
    """What levels, noise and held-out images follow from."""
    html: str | None = None
    """Write a page with curves, examples and tests."""
    overwrite: bool = False
    """Replace a page that exists."""
    json: bool = False
    """Print one JSON object."""
    quiet: bool = False
    """Print the result and nothing else."""


def run(words: list[str]) -> None:
    """Do what the words after the verb ask for."""
    from likewise.parsing import parse

    parsed = parse(AuditArguments, words, "likewise audit", "Distort images, and see where an encoder breaks.")
    from likewise.commands import command, free_name
    from likewise.comparison import check_free, write
    from likewise.report.audited import as_page
    from likewise.runs import plain
    from likewise.verbs.judging.audit import audit

    if parsed.html is not None:  # before anything takes long
        check_free(parsed.html, overwrite=parsed.overwrite)
    names = ("against", "probe", "experiments", "images", "every_level", "stimuli", "human", "mapping", "untrained")
    more = ("which", "labels", "train_split", "test_split", "subset", "pretrained", "image_size", "seed")
    how = {name: getattr(parsed, name) for name in (*names, *more)}
    result = audit(parsed.run, parsed.data, **how, quiet=parsed.quiet)
    if parsed.json:
        print(json.dumps(plain(result.to_json()), indent=2))
    else:
        print(result.to_text(brief=parsed.quiet))
    if parsed.html is not None:
        written = write(parsed.html, as_page(result), overwrite=parsed.overwrite)
        if not parsed.json and not parsed.quiet:
            print(f"\nhtml    {written}")
    elif not parsed.json and not parsed.quiet:
        print()
        given = {name: value for name, value in how.items() if value != getattr(AuditArguments, name)}
        words_after = (parsed.run,) if parsed.data is None else (parsed.run, parsed.data)
        print_next(command("audit", *words_after, **given, html=free_name("audit", "html")))
