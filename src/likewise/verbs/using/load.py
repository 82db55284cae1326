"""`likewise.load`: loads a trained encoder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from likewise.encoders import load_encoder
from likewise.encoders.files.chosen import choose

if TYPE_CHECKING:
    from likewise.encoders import Encoder
    from likewise.runs import RunDirectory


def load(run: str | Path | RunDirectory, *, which: Literal["student", "teacher"] | None = None) -> Encoder:
    """The encoder of `run` (what `train` returned, a run directory, or a .safetensors file), in eval mode.

    It maps (B, 3, H, W) to (B, F); `encoder.preprocess` makes such an input of an image, and `encoder.embed` takes a
    folder or a list of images at once. `which` chooses the weights of a run directory, by default those that its method
    deploys (`likewise.encoders.files.chosen`). Raises `InputError` for a run or role that does not exist; a file that
    lacks a key of the encoder is an error too, never a random weight.
    """
    path = Path(run) if isinstance(run, str | Path) else run.path
    return load_encoder(choose(path, which).path)
