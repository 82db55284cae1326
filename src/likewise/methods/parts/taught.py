"""Shared parts of methods with frozen teachers: settings, teachers with their heads, tables filled before training.

A teacher is what the encoder of a run, a file or a timm model gives, or, for methods that compare heads, what the
projection head of a run's method makes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from likewise.encoders import Encoder, heads
from likewise.encoders.files.chosen import choose
from likewise.encoders.files.store import weights_digest
from likewise.encoders.passes.crops import MultiCrop
from likewise.errors import InputError
from likewise.methods.method import Facts, Method, Progress
from likewise.methods.whole import FILE, restore
from likewise.runs import RunDirectory
from likewise.teachers import Momentum, Teacher, check_pretrained, is_table, of_encoder, pretrained, teachers_in

HEADED = "a run of moco_v2, simclr, byol, isd, dino or another method with a projection head"


@dataclass(frozen=True, kw_only=True)
class TaughtSettings:
    """Settings of methods whose teacher may be looked up in a table."""

    teacher: str = ""
    """The frozen teacher: a run directory, a .safetensors or .onnx file, a .parquet, .npz or .npy table of vectors by
    image, a timm model with published weights, or module:function."""
    cached: bool = False
    """Look the teacher up in a table, made once, of the centre of each image: cheaper, and an easier problem, since
    the teacher does not see the student's view. A table of vectors always is."""

    def __post_init__(self) -> None:
        check_pretrained(self.teacher)

    @property
    def looks_up(self) -> bool:
        """Whether all teachers are looked up, and none is shown a view."""
        return self.cached or is_table(self.teacher)


class Taught(Method):
    """A method some of whose teachers are looked up, in tables that are filled before the first step."""

    needs_refresh = True

    def refresh_due(self, epoch: int) -> bool:
        """Tables are made once."""
        return self.refresh_lost()

    def refresh_lost(self) -> bool:
        """Tables are not in checkpoints: they lie beside the decoded images."""
        return any(teacher.missing for teacher in teachers_in(self))

    def refresh_with(self) -> nn.Module:
        """The teachers that are looked up, side by side."""
        return heads.Beside(*self._looked_up())

    def refresh(self, features_ND: Tensor, progress: Progress) -> None:
        """Keep the vectors of each teacher."""
        teachers = self._looked_up()
        for teacher, rows_NF in zip(
            teachers, torch.split(features_ND, [one.features for one in teachers], 1), strict=True
        ):
            teacher.keep(rows_NF)

    def _looked_up(self) -> list[Teacher]:
        return [teacher for teacher in teachers_in(self) if teacher.looks_up]


def teacher_of(name: str, facts: Facts, *, cached: bool = False) -> Teacher:
    """The teacher of that name for the views of a job. Raises InputError as `likewise.teachers.pretrained` does."""
    return pretrained(name, image_size=facts.image_size, mean=facts.mean, std=facts.std, cached=cached)


def check_headed(teacher: str, embedding: int = 0) -> None:
    """Raise InputError where `teacher` is no run that kept its method, or its head gives vectors of another length.

    An empty name is let pass, and a length of 0 is that of the teacher.
    """
    if not teacher:
        return
    check_pretrained(teacher)
    path = Path(teacher).expanduser()
    if not path.is_dir() or not (path / FILE).is_file():
        why = f"has no {FILE}" if path.is_dir() else "has no projection head"
        raise InputError(f"teacher={teacher!r} {why}, and its head is needed: name {HEADED}")
    _check_length("embedding", embedding, teacher, head_of(restore(path), teacher)[2])


def headed(teacher: str, facts: Facts) -> Teacher:
    """The teacher of a run with its projection head: vectors as its method compares them. Raises InputError."""
    if not teacher:
        raise InputError(f"a trained teacher with its projection head is needed: name {HEADED} with --teacher")
    encoder, head, dim = head_of(restore(Path(teacher).expanduser()), teacher)
    key = weights_digest(choose(Path(teacher).expanduser(), None).path)
    return of_encoder(
        encoder,
        name=teacher,
        key=key,
        image_size=facts.image_size,
        mean=facts.mean,
        std=facts.std,
        head=head,
        features=dim,
    )


def head_of(method: Method, name: str) -> tuple[Encoder, nn.Module, int]:
    """Encoder, projection head and length of its vectors of the network that a trained method deploys.

    Raises InputError for methods that have no head behind the encoder.
    """
    part = getattr(method, method.card.deploy, None)
    if part is None and type(method).logits is Method.logits:
        part = getattr(method, "network", None)  # the only one of SimCLR; of classifiers it ends in classes
    network = part.network if isinstance(part, Momentum) else part
    if isinstance(network, MultiCrop):
        encoder, head = network.encoder, network.head
    elif isinstance(network, nn.Sequential) and len(network) > 1 and isinstance(network[0], Encoder):
        encoder, head = network[0], network[1:]
    else:
        raise InputError(
            f"teacher={name!r} is a run of {type(method).__name__}, which has no projection head: {HEADED}"
        )
    if not any(True for _ in head.parameters()):
        raise InputError(f"teacher={name!r} was trained without a projection head, and it is needed: name {HEADED}")
    with torch.no_grad():
        made = head.eval()(torch.zeros(1, encoder.features))
    return encoder, head, int(cast("Tensor", made).shape[1])


def check_length(name: str, asked: int, teacher: Teacher) -> int:
    """The length of vectors that student and teacher share: the teacher's. Raises InputError for another one."""
    return _check_length(name, asked, teacher.name, teacher.features)


def _check_length(name: str, asked: int, teacher: str, features: int) -> int:
    if asked and asked != features:
        raise InputError(
            f"{name}={asked}, and the vectors of teacher={teacher!r} have {features} dimensions: set "
            f"{name}={features}, or leave it out"
        )
    return features


def started_from(method: nn.Module, setting: str, run: str, parts: Sequence[str]) -> None:
    """Fill `method` with the networks of a finished run of the same shape, in place; memories begin anew.

    Raises InputError, naming the setting, where there is no such run or its `parts` are not of the same shapes.
    """
    try:
        before = restore(RunDirectory.open(run)).state_dict()
    except InputError as error:
        raise InputError(f"{setting}={run!r}: {error}") from error
    own = method.state_dict()
    wanted = [key for key in own if key.partition(".")[0] in parts]
    odd = [key for key in wanted if key not in before or before[key].shape != own[key].shape]
    if odd:
        raise InputError(f"{setting}={run!r} does not fit: it has no {odd[0]} of shape {tuple(own[odd[0]].shape)}")
    method.load_state_dict({key: before[key] for key in wanted}, strict=False)
