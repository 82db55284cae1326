"""`likewise compare`: runs side by side."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from tyro.conf import Positional

from likewise.cli.shared import print_next

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Arguments of `likewise compare`."""

    runs: Annotated[Positional[tuple[str, ...]], tyro.conf.arg(metavar="RUN...", help_behavior_hint="")]
    """Run directories, weights files, or names of timm models with --pretrained."""
    data: str | None = None
    """Score all of them on these images now; by default the scores that the runs have are shown."""
    probe: tuple[str, ...] = ()
    """What to score by, on `data` or on what each was trained on; by default knn and linear where `data` is given."""
    which: Literal["student", "teacher"] | None = None
    """Which encoder of the runs is scored; by default the one that each run's method deploys."""
    labels: str | None = None
    """Label column, or `folders` where sub-folders are the classes."""
    untrained: bool = False
    """Score the same encoders before any training as well."""
    pretrained: bool = False
    """What is no file is the name of a timm model with its published weights."""
    labels_per_class: tuple[int, ...] = ()
    """Measure accuracy against labels: numbers of labelled images of each class, such as 1 5 20 100."""
    draws: int = 5
    """Draws of labelled images for each of these numbers."""
    footprint: bool = False
    """Measure what each encoder takes to run here: parameters, bytes, and the time for 1 and 32 images."""
    csv: str | None = None
    """Write one line for each score of each run."""
    html: str | None = None
    """Write a page with tables, tests and curves."""
    svg: str | None = None
    """Write the label-efficiency curve as an image."""
    json: bool = False
    """Print one JSON object."""
    quiet: bool = False
    """Print the result and nothing else."""
    overwrite: bool = False
    """Replace files that exist."""


def run(words: list[str]) -> None:
    """Do what the words after the verb ask for."""
    from likewise.parsing import parse

    parsed = parse(Compare, words, "likewise compare", "Runs side by side, by the same protocols or not at all.")
    from likewise.commands import command, free_name
    from likewise.comparison import check_free, compare, write
    from likewise.runs import plain

    files = {name: path for name in ("csv", "html", "svg") if (path := getattr(parsed, name)) is not None}
    for path in files.values():  # before anything takes long
        check_free(path, overwrite=parsed.overwrite)
    names = ("data", "probe", "which", "labels", "untrained", "pretrained", "labels_per_class", "draws", "footprint")
    how = {name: getattr(parsed, name) for name in names}
    result = compare(*parsed.runs, **how, quiet=parsed.quiet)
    if parsed.json:
        print(json.dumps(plain(result.to_json()), indent=2))
    else:
        print(result.to_text(brief=parsed.quiet))
    for name, path in files.items():
        written = write(path, getattr(result, f"to_{name}")(), overwrite=parsed.overwrite)
        if not parsed.json and not parsed.quiet:
            print(f"{name:<7} {written}")
    if not parsed.json and not parsed.quiet and "html" not in files:
        print()
        how["draws"] = parsed.draws if parsed.labels_per_class else None
        print_next(command("compare", *parsed.runs, **how, html=free_name("compare", "html")))
