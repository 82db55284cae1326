"""Both stages of PromptCAL (arXiv 2212.05590): GCD's loss on two branches, then contrast with pseudo-positives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from likewise.errors import InputError
from likewise.runs import RunDirectory
from likewise.verbs.train import train

EPOCHS = (20.0, 10.0)
"""Passes over the data in the two stages where none are given."""
STAGES = ("stage-1", "stage-2")


def promptcal(
    data: Any, *, out: str | Path, epochs: tuple[float, float] = EPOCHS, start: str | None = None, **asked: Any
) -> RunDirectory:
    """Train both stages into `out`/stage-1 and `out`/stage-2, and return the run of the second.

    `asked` are, by name, what `likewise.train` takes (labels, subset, encoder, batch_size, ...), for both stages;
    settings that only the second one has are left out of the first. `start` is where the first one begins: a run or a
    weights file. A first stage that lies in `out` and is finished is not trained again.

    Raises InputError for `stage`, `minutes` and `resume`, which the recipe sets, and as `train` does.
    """
    for name in ("stage", "minutes", "resume", "method"):
        if name in asked:
            raise InputError(f"{name}={asked[name]!r} is set by the recipe promptcal: leave it out")
    first, second = (Path(out) / stage for stage in STAGES)
    if not _is_finished(first):
        own = {name: value for name, value in asked.items() if name not in _later()}
        train(data, method="promptcal", stage=1, epochs=epochs[0], start=start, out=str(first), **own)
    shape = ("encoder", "width", "stem", "pretrained")  # the start says them
    rest = {name: value for name, value in asked.items() if name not in shape}
    return train(data, method="promptcal", stage=2, epochs=epochs[1], start=str(first), out=str(second), **rest)


def _later() -> set[str]:
    """Settings that only the second stage has."""
    from likewise.methods.promptcal import PromptCAL

    return set(PromptCAL.Settings(stage=1).idle())


def _is_finished(run: Path) -> bool:
    return (run / "run.json").is_file() and RunDirectory.open(run).read().get("status") == "finished"
