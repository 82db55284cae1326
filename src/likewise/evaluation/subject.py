"""Whose features are scored: the encoder of a run, of a weights file, or one in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from likewise.encoders import Encoder, build, load_encoder
from likewise.errors import InputError, unknown
from likewise.exporting import weights_of
from likewise.training.run import RunDirectory

Which = Literal["student", "teacher"]
Run = str | Path | RunDirectory | Encoder
"""What can be evaluated: a run directory, a .safetensors file, or an encoder in memory."""


@dataclass(frozen=True)
class Subject:
    """An encoder, and what is known of where it comes from."""

    encoder: Encoder
    """What is scored."""
    which: str
    """Whose weights they are."""
    run: RunDirectory | None
    """The run it belongs to, to which scores are added."""
    path: str | None
    """Run directory or weights file, for people."""
    seed: int
    """Seed of the run, 0 where there is none."""

    def untrained(self) -> Encoder:
        """The encoder as it was before training: random weights from the run's seed, or the published ones."""
        return build(self.encoder.spec, seed=self.seed)

    def default_data(self) -> str:
        """The data that the run was trained on. Raises InputError where that is not known."""
        stored = self.run.read().get("data", {}).get("path") if self.run else None
        if not stored:
            raise InputError(f"{self.path or 'an encoder in memory'} does not say what to evaluate on: pass the data")
        return str(stored)


def open_subject(run: Run, which: Which | None) -> Subject:
    """Find the encoder. Raises InputError where there is none, or no teacher where one is asked for."""
    if which not in {None, "student", "teacher"}:
        raise unknown("weights", str(which), ("student", "teacher"))
    if isinstance(run, Encoder):
        return Subject(run, which or "student", None, None, 0)
    path = run.path if isinstance(run, RunDirectory) else Path(run)
    encoder = load_encoder(weights_of(path, which))
    directory = RunDirectory(path) if (path / "run.json").is_file() else None
    stored: dict[str, Any] = directory.read() if directory else {}
    return Subject(encoder, which or "student", directory, str(path), int(stored.get("seed") or 0))
