"""The cost of a frozen teacher: its size, its speed on this machine, and the saving by a table of its vectors."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from likewise.methods.method import Method
from likewise.teachers import Teacher, teachers_in
from likewise.training.planning.resolve import Plan

SECONDS = 1.5
"""About how long a teacher is timed."""


@dataclass(frozen=True)
class Taught:
    """One teacher of a training run."""

    name: str
    """As it was named."""
    parameters: int
    """Numbers that it was trained to; 0 for a table, and where they are not to be seen (ONNX, Python)."""
    features: int
    """Length of its vectors."""
    image_size: int | None
    """Side of its own input in pixels; None for a table."""
    images_per_second: float | None
    """On this device; None for a table."""
    cached: bool
    """Whether it would be looked up."""
    student: str
    """The encoder that would learn from it."""
    student_parameters: int
    """Its size."""
    images: int
    """Images of the data."""
    shown: float | None
    """Seconds of a step where the teacher is shown each view; None for a table."""
    looked_up: float | None
    """Seconds of a step where it is looked up; None for methods that show it each view."""
    batch_size: int
    """Images of a step."""

    @property
    def minutes_once(self) -> float:
        """One pass of the teacher over the data: what a table of its vectors costs."""
        return 0.0 if self.images_per_second is None else self.images / self.images_per_second / 60

    def minutes_per_epoch(self, *, cached: bool) -> float | None:
        """An epoch of training, with the teacher looked up or shown views; None where that cannot be."""
        step = self.looked_up if cached else self.shown
        return None if step is None else step * self.images / self.batch_size / 60

    def to_json(self) -> dict[str, Any]:
        """As one JSON object."""
        speed = self.images_per_second
        return {
            "teacher": self.name,
            "parameters": self.parameters,
            "features": self.features,
            "image_size": self.image_size,
            "images_per_second": None if speed is None else round(speed, 1),
            "cached": self.cached,
            "minutes_once": round(self.minutes_once, 2),
            "minutes_per_epoch": _rounded(self.minutes_per_epoch(cached=False)),
            "minutes_per_epoch_cached": _rounded(self.minutes_per_epoch(cached=True)),
            "student": self.student,
            "student_parameters": self.student_parameters,
        }

    def to_text(self) -> str:
        """For a person."""
        student = f"student: {self.student}, {_millions(self.student_parameters)}"
        if self.images_per_second is None:
            return f"teacher: {self.name}, a table of {self.features} dimensions, always looked up; {student}"
        size = _millions(self.parameters) if self.parameters else "size not known"
        speed = f"{self.images_per_second:,.1f} images/s here"
        lines = [f"teacher: {self.name}, {size}, {self.features} features, {self.image_size} px, {speed}; {student}"]
        if (shown := self.minutes_per_epoch(cached=False)) is not None:
            lines.append(f"  shown each view: {shown:.1f} minutes an epoch")
        if (kept := self.minutes_per_epoch(cached=True)) is not None:
            lines.append(
                f"  looked up (cached): {self.minutes_once:.1f} minutes once, then {kept:.1f} minutes an epoch"
            )
        return "\n".join(lines)


def _millions(count: int) -> str:
    return f"{count / 1e6:.1f} M parameters"


def _rounded(minutes: float | None) -> float | None:
    return None if minutes is None else round(minutes, 2)


def other_way(plan: Plan) -> Plan | None:
    """The same plan with its teacher looked up instead of shown views, or the other way round; None without choice."""
    settings = plan.settings
    if not hasattr(settings, "cached") or (settings.looks_up and not settings.cached):
        return None
    return dataclasses.replace(plan, settings=dataclasses.replace(settings, cached=not settings.cached))


def of_method(
    method: Method, plan: Plan, images: int, *, shown: float | None, looked_up: float | None
) -> tuple[Taught, ...]:
    """The cost of each frozen teacher of a method, timed on the device that it is on.

    `shown` and `looked_up` are the seconds of a step with the teachers shown views and looked up.
    """
    student = method.encoders()[method.card.deploy]
    return tuple(
        Taught(
            name=teacher.name,
            parameters=0 if teacher.table is not None else _count(teacher),
            features=teacher.features,
            image_size=teacher.own_size,
            images_per_second=speed(teacher),
            cached=teacher.looks_up,
            student=f"{plan.encoder.name}, width {plan.encoder.width}",
            student_parameters=_count(student),
            images=images,
            shown=shown,
            looked_up=looked_up,
            batch_size=plan.batch_size,
        )
        for teacher in teachers_in(method)
    )


def blank(method: Method, images: int) -> None:
    """Let teachers that are looked up say nothing, so that steps can be timed without making their vectors."""
    for teacher in teachers_in(method):
        if teacher.missing:
            teacher.keep(torch.zeros(images, teacher.features))


def speed(teacher: Teacher) -> float | None:
    """Images that the teacher looks at in a second, at its own size, on its device; None for a table."""
    if teacher.own_size is None:
        return None
    device = next(teacher.parameters()).device
    batch = 2
    image = torch.zeros(batch, 3, teacher.own_size, teacher.own_size, device=device)
    found, began = 0.0, time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        start = time.perf_counter()
        teacher.own(image).sum().item()  # which waits for the device
        found = len(image) / (time.perf_counter() - start)
        if 2 * len(image) / found < SECONDS / 4 and len(image) < 64:
            image = image.repeat(2, 1, 1, 1)
    return found


def _count(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters() if weight.numel() > 1)
