"""`likewise localise`: locate objects without labels."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

from likewise.cli.shared import Data, print_next


@dataclass(frozen=True, kw_only=True)
class Localise:
    """Arguments of `likewise localise`."""

    run: Annotated[Positional[str], tyro.conf.arg(metavar="RUN|SOURCE")]
    """Run directory or weights file; or another source of masks: mbd, grabcut, center, onnx:FILE."""
    data: Positional[Data]
    """Images to look at."""
    out: str
    """Folder to write masks, boxes.json and sheet.png into."""
    split: str | None = None
    """Split to look at; by default `train` where there are splits."""
    rounds: int = 1
    """Rounds of ContraCAM: what was found is painted over, and the rest looked at again."""
    expand: Literal[1, 2, 4] | None = None
    """Times as fine as trained that a ResNet's last map is kept; by default 2 for inputs up to 64 px, else 1."""
    refine: bool = False
    """Draw masks to the edges of the image by a dense CRF, on at most 64 px."""
    truth: str | None = None
    """Folder of true masks, given:FOLDER, or `given` where the data knows them: prints scores."""
    device: Literal["cpu", "cuda", "mps"] | None = None
    """Where the encoder runs; by default the best that is there."""
    overwrite: bool = False
    """Write into a folder that is not empty."""
    json: bool = False
    """Print one JSON object."""
    quiet: bool = False
    """Print the folder and nothing else."""


def run(words: list[str]) -> None:
    """Do what the words after the verb ask for."""
    from likewise.parsing import parse

    parsed = parse(Localise, words, "likewise localise", "Write masks and boxes of objects, found without labels.")
    from likewise.verbs.looking.localise import localise

    how = {name: value for name, value in vars(parsed).items() if name not in {"run", "data", "json", "quiet"}}
    found = localise(parsed.run, parsed.data, **how)
    if parsed.json:
        scores = None if found.scores is None else found.scores._asdict()
        print(json.dumps({**dataclasses.asdict(found), "path": str(found.path), "scores": scores}))
    elif parsed.quiet:
        print(found.path)
    else:
        print(found)
        print_next(f"likewise train {parsed.data} --method bgaug --masks given:{found.path / 'masks'}")
