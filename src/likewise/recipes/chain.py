"""A chain of stages, each a run of its own; finished stages are not repeated."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from likewise.errors import InputError
from likewise.runs import RunDirectory
from likewise.training.planning.asked import Session
from likewise.training.planning.resume import check_same, plan_of
from likewise.verbs.learning.job import field_names
from likewise.verbs.learning.train import train


class Stage(NamedTuple):
    """One training run of a chain."""

    name: str
    """Its directory inside the chain's."""
    data: Any
    """What it is trained on."""
    asked: dict[str, Any]
    """The other arguments of `likewise.train`."""


def carry_out(out: str | Path, stages: Iterable[Stage]) -> list[RunDirectory]:
    """Train every stage that is not finished yet, and return all runs in their order.

    A stage that was interrupted goes on from its checkpoint, so calling this again continues the chain as a whole.
    `stages` may be a generator: it is asked for a stage once the ones before it are finished. Raises InputError where a
    finished stage is not what is asked for now (other settings, another teacher, other data), and whatever `train`
    raises.
    """
    runs = []
    for stage in stages:
        path = Path(out) / stage.name
        if not (path / "run.json").is_file():
            runs.append(train(stage.data, **stage.asked, out=str(path)))
            continue
        run = RunDirectory.open(path)
        stored = run.read()
        if (method := stage.asked.get("method", "isd")) != stored.get("method"):
            raise InputError(f"{path} was trained by {stored.get('method')}, not {method}: choose another --out")
        if stored.get("status") == "finished":
            _check_same(run, stage)
        else:
            begin = {"start", "beside", "beside_labels"}  # of the first step; a run knows them from its own files
            run = train(stage.data, **{k: v for k, v in stage.asked.items() if k not in begin}, out=path, resume=True)
        runs.append(run)
    return runs


def _check_same(run: RunDirectory, stage: Stage) -> None:
    """Raise InputError where a finished run is not what its stage asks for."""
    asked = {name: value for name, value in stage.asked.items() if name not in field_names(Session)}
    try:
        check_same(plan_of(run, asked.get("teacher")), asked)
    except InputError as error:
        raise InputError(f"{run.path} is finished, and {error}: choose another --out") from error
    before = run.read().get("data", {}).get("path")
    if before and isinstance(stage.data, str | Path) and _place(before) != _place(stage.data):
        raise InputError(f"{run.path} was trained on {before}, not on {stage.data}: choose another --out")


def _place(data: str | Path) -> Path:
    """Where data are, however that was written."""
    return Path(data).expanduser().resolve()
