"""`likewise drift`: test new data against old data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

from likewise.cli.shared import print_next


@dataclass(frozen=True, kw_only=True)
class DriftArguments:
    """Arguments of `likewise drift`."""

    reference: Annotated[Positional[str], tyro.conf.arg(metavar="RUN|ENCODER|FEATURES")]
    """Run directory, weights file, or timm name with --pretrained; or a .npy or .npz file of features."""
    data: Annotated[Positional[str], tyro.conf.arg(metavar="NEW_DATA")]
    """New images, or a file of their features."""
    old: str | None = None
    """The old images; by default what the run was trained on."""
    encoder: str | None = None
    """What made the features of a file."""
    labels: str | None = None
    """Label column of both, or `folders` where sub-folders are the classes."""
    which: Literal["student", "teacher"] | None = None
    """Which encoder of the run; by default the one that its method deploys."""
    pretrained: bool = False
    """Take timm's published weights of the model named."""
    level: float = 0.05
    """Rate of false alarms."""
    new_rate: float = 0.01
    """Share of images like the old ones that are told as new."""
    seed: int = 0
    """What draws and permutations follow from."""
    json: bool = False
    """Print one JSON object."""
    quiet: bool = False
    """Print the result and nothing else."""


def run(words: list[str]) -> None:
    """Do what the words after the verb ask for."""
    from likewise.parsing import parse

    parsed = parse(DriftArguments, words, "likewise drift", "Test whether new data is still what the old was.")
    from likewise.commands import command
    from likewise.runs import plain
    from likewise.verbs.judging.drift import drift

    names = ("old", "encoder", "labels", "which", "pretrained", "level", "new_rate", "seed", "quiet")
    result = drift(parsed.reference, parsed.data, **{name: getattr(parsed, name) for name in names})
    if parsed.json:
        print(json.dumps(plain(result.to_json()), indent=2))
        return
    print(result.to_text(brief=parsed.quiet))
    if not parsed.quiet and result.drifted:
        print()
        print_next(command("doctor", parsed.data, labels=parsed.labels))
