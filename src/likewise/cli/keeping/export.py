"""`likewise export`: an encoder for use elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from tyro.conf import Positional

from likewise.cli.shared import print_next

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, kw_only=True)
class Export:
    """Arguments of `likewise export`."""

    run: Annotated[Positional[str], tyro.conf.arg(metavar="RUN")]
    """Run directory, or a weights file that `likewise` wrote."""
    format: Literal["safetensors", "onnx", "packed"]
    """safetensors: plain timm keys. onnx: checked against the encoder with onnxruntime.
    packed: one bit a weight, of binary networks."""
    out: str
    """File to write."""
    which: Literal["student", "teacher"] | None = None
    """Which encoder of the run; by default the one that its method deploys."""
    overwrite: bool = False
    """Replace `out` where it exists."""
    card: bool = False
    """Write README.md beside it: a model card in the form of the Hugging Face hub, with the scores of the run."""
    licence: str = "unknown"
    """Licence of the weights in the card, such as apache-2.0."""
    quiet: bool = False
    """Print the result and nothing else."""


def run(words: list[str]) -> None:
    """Do what the words after the verb ask for."""
    from likewise.parsing import parse

    parsed = parse(Export, words, "likewise export", "Write a trained encoder for use elsewhere.")
    from likewise.commands import scoring
    from likewise.runs import RunDirectory
    from likewise.verbs.keeping.export import export

    names = ("format", "out", "which", "overwrite", "card", "licence")
    report = export(parsed.run, **{name: getattr(parsed, name) for name in names})
    print(report.path if parsed.quiet else report)
    following = scoring(report.path, RunDirectory(Path(parsed.run)).read())
    if following is not None and not parsed.quiet:
        print_next(following)
