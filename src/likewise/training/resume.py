"""A plan in run.json and back, so that a run can be repeated and continued exactly."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from likewise import methods, teachers
from likewise.encoders import EncoderSpec
from likewise.errors import InputError
from likewise.methods.method import Optimisation
from likewise.training.resolve import Choice, Plan
from likewise.training.run import RunDirectory, plain


def record(plan: Plan) -> dict[str, Any]:
    """The fields of run.json that `plan_of` needs."""
    return {
        "method": plan.method,
        "variant": plan.variant,
        "settings": plan.settings,
        "teacher_digest": teachers.digest_of(getattr(plan.settings, "teacher", "")),
        "optimisation": plan.optimisation,
        "encoder": plan.encoder,
        "budget": {"epochs": plan.epochs, "minutes": plan.minutes},
        "batch_size": plan.batch_size,
        "flip": plan.flip,
        "accumulate": plan.accumulate,
        "precision": plan.precision,
        "sync_batch_norm": plan.sync_batch_norm,
        "device": plan.device,
        "compile": plan.compile,
        "seed": plan.seed,
        "resolved": [choice._asdict() for choice in plan.choices],
    }


def plan_of(run: RunDirectory, teacher: str | None = None) -> Plan:
    """The plan that a run was started with; `teacher` may be a new place of the frozen teacher that it learns from.

    Raises InputError where run.json does not hold a plan, and where the teacher is not there, or not the same.
    """
    stored = run.read()
    try:
        settings = methods.find(stored["method"]).Settings
        return Plan(
            method=stored["method"],
            variant=stored["variant"],
            settings=settings(**_tuples(_with_teacher(stored, teacher, run))),
            optimisation=Optimisation(**_tuples(stored["optimisation"])),
            encoder=EncoderSpec.from_mapping(stored["encoder"]),
            batch_size=stored["batch_size"],
            epochs=stored["budget"]["epochs"],
            minutes=stored["budget"]["minutes"],
            flip=stored.get("flip", True),  # older runs do not say
            accumulate=stored["accumulate"],
            precision=stored["precision"],
            sync_batch_norm=stored["sync_batch_norm"],
            device=stored["device"],
            compile=stored["compile"],
            seed=stored["seed"],
            choices=tuple(Choice(**choice) for choice in stored["resolved"]),
        )
    except (KeyError, TypeError) as error:
        raise InputError(f"{run.settings_file} does not describe a run that can be continued: {error}") from error


def _with_teacher(stored: Mapping[str, Any], teacher: str | None, run: RunDirectory) -> dict[str, Any]:
    """The stored settings, with the teacher where it lies now. Raises InputError unless its weights are the same."""
    settings: dict[str, Any] = stored["settings"]
    before, known = settings.get("teacher"), stored.get("teacher_digest")
    if not before or known is None:  # a method without one, a model of timm's, or an older run
        return settings
    now = teacher or before
    found = teachers.digest_of(now)
    if found is None:
        raise InputError(f"the teacher {now!r} of {run.path} is not there: name its new place with --teacher")
    if found != known:
        raise InputError(f"{now!r} does not hold the weights of the teacher {before!r} that {run.path} began with")
    return {**settings, "teacher": now}


def check_same(plan: Plan, asked: Mapping[str, Any]) -> None:
    """Refuse to continue a run with other settings than it was started with. Raises InputError naming both values."""
    known = {
        **dataclasses.asdict(plan.settings),
        **dataclasses.asdict(plan.optimisation),
        **dataclasses.asdict(plan.encoder),
        **{field.name: getattr(plan, field.name) for field in dataclasses.fields(plan)},
        "encoder": plan.encoder.name,
    }
    for name, value in asked.items():
        if value is not None and plain(known.get(name)) != plain(value):
            raise InputError(f"the run was started with {name}={known.get(name)}, so it cannot be resumed with {value}")


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON knows only lists; settings hold tuples, also inside tuples."""
    return {name: _tuple(value) for name, value in values.items()}


def _tuple(value: Any) -> Any:
    return tuple(_tuple(item) for item in value) if isinstance(value, list) else value
