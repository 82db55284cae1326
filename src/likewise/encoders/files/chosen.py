"""The encoder of a run that is used: the requested one, or the one that the run's method deploys.

Everything that takes a run (load, export, evaluate, compare, a frozen teacher) asks here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from likewise.encoders.files.store import DESCRIPTION, read_description
from likewise.errors import InputError, unknown

Which = Literal["student", "teacher"]
DEPLOYED = "deployed"
"""Entry of a run's model.json that names the encoder which is meant to be used. Runs that lack it load as they did
when they were made: the student."""
_OLDER = "the run is older than the choice and loads as it did; --which teacher is what it deploys"
_FILES = {"student": "encoder.safetensors", "teacher": "teacher.safetensors"}


class Chosen(NamedTuple):
    """The weights that were taken, and why."""

    path: Path
    """The weights file."""
    role: str
    """Whose weights they are: `student` or `teacher`."""
    reason: str
    """Why they were taken, for people."""

    @property
    def older(self) -> bool:
        """Whether the run deploys the teacher and is from before that was followed."""
        return self.reason == _OLDER

    def __str__(self) -> str:
        """One line."""
        return f"{self.role}: {self.reason}"


def choose(run: Path, which: Which | None) -> Chosen:
    """The weights of a run directory, or `run` itself if it is a weights file. Raises `InputError` for none."""
    if which is not None and which not in get_args(Which):
        raise unknown("weights", which, get_args(Which))
    if run.is_file():
        if which is not None:
            raise InputError(f"{run} is a weights file: only a run directory holds a {which}")
        return Chosen(run, str(read_description(run).get("which", "student")), "the file that was named")
    present = [role for role, name in _FILES.items() if (run / name).is_file()]
    if not present:
        what = "holds no trained encoder" if run.is_dir() else "does not exist"
        raise InputError(f"{run} {what}: name a run directory or a .safetensors file")
    role, reason = (which, "as asked") if which is not None else _deployed(run)
    if role not in present:
        raise InputError(f"{run} holds no {role}, only the {present[0]}")
    return Chosen(run / _FILES[role], role, reason)


def deployed(run: Path) -> str:
    """The weights that a run directory deploys: `student` or `teacher`."""
    return _deployed(run)[0]


def _deployed(run: Path) -> tuple[str, str]:
    """The same, and how it is known."""
    described = _described(run / DESCRIPTION)
    role = described.get(DEPLOYED)
    if role in get_args(Which):
        return str(role), "what its method deploys"
    if described.get("deploy") == "teacher":  # written by earlier versions, and read by none of them
        return "student", _OLDER
    return "student", "what is taken where a run does not say"


def _described(path: Path) -> dict[str, Any]:
    """The model.json of a run, empty where there is none that can be read: the weights describe themselves."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
