"""The encoder under evaluation: of a run, of a weights or ONNX file, one of timm's, or one in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from likewise.data.decoding.pixels import Range
from likewise.data.videos.watching import Watch
from likewise.encoders import Encoder, EncoderSpec, build, load_encoder
from likewise.encoders.build import check, check_name, normalisation
from likewise.encoders.files.chosen import choose
from likewise.encoders.files.onnx import load_onnx
from likewise.errors import InputError, unknown
from likewise.files import same_place
from likewise.runs import RunDirectory

Which = Literal["student", "teacher"]
Run = str | Path | RunDirectory | Encoder
"""What can be evaluated: a run directory, a .safetensors or .onnx file, a timm name, or an encoder in memory."""

CLIPS = 4
"""Clips of a video whose features are averaged."""
IMAGE_SIZE = 224
"""Side that a timm model sees unless another is asked for."""


@dataclass(frozen=True)
class Subject:
    """An encoder and its origin."""

    encoder: Encoder
    """What is scored."""
    which: str
    """Whose weights they are."""
    run: RunDirectory | None
    """The run it belongs to, to which scores are added."""
    path: str | None
    """Run directory, weights file or name, for people."""
    seed: int
    """Seed of the run, 0 where there is none."""
    taken: str | None = None
    """Why these weights of the run were taken, where it is not the student as usual and nobody asked for it."""

    def untrained(self) -> Encoder:
        """The encoder as it was before training: random weights from the run's seed, or the published ones."""
        self._check_known()
        return build(self.encoder.spec, seed=self.seed)

    def random(self) -> Encoder:
        """The same encoder with random weights from the run's seed, also where training began from published ones."""
        self._check_known()
        return build(replace(self.encoder.spec, pretrained=False), seed=self.seed)

    def default_data(self) -> str:
        """The data that the run was trained on. Raises InputError where that is not known."""
        stored = self.run.read().get("data", {}).get("path") if self.run else None
        if not stored:
            raise InputError(f"{self.path or 'an encoder in memory'} does not say what to evaluate on: pass the data")
        return str(stored)

    def learned_from(self, data: Any) -> bool:
        """Whether `data` is what the run was trained on, however its place is written."""
        path = self.run.read().get("data", {}).get("path") if self.run else None
        return bool(path) and isinstance(data, str | Path) and same_place(data, str(path))

    def labels_for(self, data: Any) -> str | None:
        """The labels that the run was trained with, for the data that it was trained on; else None."""
        if self.run is None or not (data is None or self.learned_from(data)):
            return None
        labels: str | None = self.run.read().get("data", {}).get("labels")
        return labels

    def drawn(self) -> dict[str, Any] | None:
        """The draw that the run was trained on, as `likewise.data.splitting.subsets.Drawn.record` says it; None without
        one.
        """
        data = self.run.read().get("data", {}) if self.run else {}
        if not data.get("subset"):
            return None
        return {**data["subset"], "class_names": data.get("class_names"), "path": data.get("path")}

    def watch(self, clips: int | None) -> Watch | None:
        """By which clips of each video the encoder is judged: as many as asked for, none (0), or the usual number.

        Usual are 4 for an encoder that learned from clips, and none for others.
        """
        spec = self.encoder.spec
        count = (CLIPS if spec.frames > 1 else 0) if clips is None else clips
        if count == 0:
            return None
        stored = self.run.read().get("settings", {}) if self.run else {}
        named = {name: stored[name] for name in ("video", "frame") if name in stored}
        return Watch(clips=count, frames=spec.frames, stride=spec.stride, **named)

    def ranges(self) -> dict[str, Range] | None:
        """The values of black and white of the images that the run was trained on, by unit; None where unknown."""
        stored = self.run.read().get("data", {}).get("ranges") if self.run else None
        return None if stored is None else {kind: Range(*span) for kind, span in stored.items()}

    def _check_known(self) -> None:
        try:
            check_name(self.encoder.spec.name)
        except InputError as error:
            raise InputError(
                f"{self.path} does not say which encoder it is, so there is no untrained one to compare it with"
            ) from error


def open_subject(run: Run, which: Which | None, *, pretrained: bool = False, image_size: int | None = None) -> Subject:
    """Find the encoder. `pretrained` weights and another `image_size` are for timm names and, the latter, for files.

    Raises InputError where there is none, where no teacher is asked for, and for a timm name without `pretrained`:
    random weights are only ever scored as a baseline.
    """
    if which not in {None, "student", "teacher"}:
        raise unknown("weights", str(which), ("student", "teacher"))
    if isinstance(run, Encoder):
        return Subject(_sized(run, image_size), which or "student", None, None, 0)
    path = run.path if isinstance(run, RunDirectory) else Path(run)
    if not path.exists() and isinstance(run, str) and _is_timm(run):
        return Subject(_published(run, pretrained, image_size), "student", None, run, 0)
    if pretrained:
        raise InputError(f"pretrained is for the name of a timm model, and {path} is none, or a file or folder")
    if path.suffix.lower() == ".onnx":
        return Subject(load_onnx(path, image_size), "student", None, str(path), 0)
    chosen = choose(path, which)
    encoder = _sized(load_encoder(chosen.path), image_size)
    directory = RunDirectory(path) if (path / "run.json").is_file() else None
    stored: dict[str, Any] = directory.read() if directory else {}
    result = which is None and chosen.path != path and (chosen.role != "student" or chosen.older)
    taken = str(chosen) if result else None
    return Subject(encoder, chosen.role, directory, str(path), int(stored.get("seed") or 0), taken)


def _is_timm(name: str) -> bool:
    try:
        check_name(name)
    except InputError:
        return False
    return True


def _published(name: str, pretrained: bool, image_size: int | None) -> Encoder:
    if not pretrained:
        raise InputError(f"{name} alone has random weights: pass pretrained for timm's, or a run or a weights file")
    mean, std = normalisation(name)
    size = image_size or IMAGE_SIZE
    return build(EncoderSpec(name=name, image_size=size, pretrained=True, mean=mean, std=std)).eval()


def _sized(encoder: Encoder, image_size: int | None) -> Encoder:
    """The same weights, shown images of another size. Raises InputError for a size that the model does not take."""
    if image_size is None or image_size == encoder.spec.image_size:
        return encoder
    if _is_timm(encoder.spec.name):  # an ONNX file in memory says for itself what it takes
        check(encoder.spec, image_size)
    encoder.spec = replace(encoder.spec, image_size=image_size)
    return encoder
