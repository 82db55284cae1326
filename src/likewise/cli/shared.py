"""Parts that several verbs share: flags of the data, final lines, and the settings of a method as flags."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import tyro
from tyro.conf import Positional

if TYPE_CHECKING:
    from likewise.runs import RunDirectory

Data = Annotated[
    str,
    tyro.conf.arg(metavar="DATA", help="A folder, a list, a CSV, Parquet or NumPy file, or a name such as cifar10."),
]


@dataclass(frozen=True, kw_only=True)
class Looking:
    """Arguments of the verbs that look at images with an encoder and write what they find."""

    run: Annotated[Positional[str], tyro.conf.arg(metavar="RUN|ENCODER|INDEX")]
    """Run directory, weights file, index folder, or the name of a timm model with --pretrained."""
    which: Literal["student", "teacher"] | None = None
    """Which encoder of the run; by default the one that its method deploys."""
    pretrained: bool = False
    """Take timm's published weights of the model named."""
    image_size: int | None = None
    """Side at which images are shown; by default the encoder's own."""
    seed: int = 0
    """What draws, clusters and held-out labels follow from."""
    overwrite: bool = False
    """Replace files that exist."""
    json: bool = False
    """Print one JSON object."""
    quiet: bool = False
    """Print the result and nothing else."""

    def keywords(self, *positional: str) -> dict[str, Any]:
        """Everything by its name, but for the run, the form of printing, and what is given by its position."""
        return {name: value for name, value in vars(self).items() if name not in {"run", "json", *positional}}


class Result(Protocol):
    """What a verb found."""

    def to_json(self) -> dict[str, Any]:
        """As an object."""


def tell(parsed: Looking, result: Result, line: str) -> bool:
    """Print the result as it was asked for, as one object or its first line; whether there is more to say."""
    if parsed.json:
        print(json.dumps(result.to_json(), indent=2))
        return False
    print(line)
    return not parsed.quiet


def tell_notes(notes: Sequence[str]) -> None:
    """A paragraph each."""
    from likewise.terminal import paragraph

    for note in notes:
        print(paragraph(note, first="note    ", indent="        "))


def method_shapes(method: str, variant: str | None) -> tuple[Any, Any, Any]:
    """Training options, session options and the method's settings, as they are by default for `variant`."""
    from likewise.methods import find
    from likewise.training.planning.asked import Asked, Session
    from likewise.training.planning.resolve import preset_of

    name, preset = preset_of(find(method), variant)
    return Asked(method=method, variant=name), Session(), preset.settings


def tell_run(run: RunDirectory, *, quiet: bool) -> None:
    """Where a run lies, what training brought, and what to do with it."""
    from likewise.commands import following

    print(f"run     {run.path}")
    if quiet:
        return
    if run.report_file.exists():
        print(f"report  {run.report_file}")
    stored = run.read()
    for line in training_words(stored):
        print(line)
    proposals = following(run.path, stored)
    if proposals:
        print_next(proposals[0].command)


def training_words(stored: Mapping[str, Any]) -> list[str]:
    """What the scores while training say of a finished run, or that there were none."""
    from likewise.terminal import paragraph

    online = stored.get("online") or {}
    if anchored := stored.get("anchored"):
        from likewise.report.words import anchored_words

        rest = training_words({name: value for name, value in stored.items() if name != "anchored"})
        return [*rest, paragraph(anchored_words(anchored), first="anchor  ", indent="        ")]
    if stored.get("classifier"):
        return [f"score   {100 * one['value']:.1f} % of {one['n']:,} {one['split']} images" for one in stored["scores"]]
    if online.get("change"):
        return [paragraph(online["change"], first="gain    ", indent="        ")]
    if not stored.get("data", {}).get("classes"):
        words = "nothing is scored without labels; where sub-folders are the classes, --labels folders says so"
        return [paragraph(words, first="note    ", indent="        ")]
    return []


def print_next(command: str) -> None:
    """The command that follows on this one, as the last line."""
    print(f"next    {command}")
