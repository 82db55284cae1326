"""Plans to and from run.json, so that a run can be repeated, continued exactly, and given a longer budget."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from likewise import methods, teachers
from likewise.data import Images
from likewise.data.fingerprints import digest, digest_array
from likewise.encoders import EncoderSpec
from likewise.errors import InputError
from likewise.methods import known_settings
from likewise.methods.method import Optimisation
from likewise.methods.whole import tuples
from likewise.runs import RunDirectory, plain
from likewise.training import checkpoints, origins
from likewise.training.optimising import scheduled
from likewise.training.planning.asked import AsAsked, Asked
from likewise.training.planning.resolve import Choice, Plan, normalisation_of
from likewise.training.update import Update
from likewise.training.votes import Clock

BUDGETS = ("epochs", "minutes")
_OF_THEIR_OWN = {"settings", "optimisation", "encoder", *BUDGETS, "choices"}
PLAIN = tuple(field.name for field in dataclasses.fields(Plan) if field.name not in _OF_THEIR_OWN)
"""What run.json says of a plan under the same name."""
_DEFAULTED = {field.name for field in dataclasses.fields(AsAsked)}
"""Those that a run of a version without them need not say: it did as their default is."""


def record(plan: Plan) -> dict[str, Any]:
    """The fields of run.json that `plan_of` needs."""
    return {
        **{name: getattr(plan, name) for name in PLAIN},
        "settings": plan.settings,
        "teacher_digest": teachers.digest_of(known_settings.teacher(plan.settings)),
        "origins": origins.digests_of(plan.settings),
        "optimisation": plan.optimisation,
        "encoder": plan.encoder,
        "budget": {"epochs": plan.epochs, "minutes": plan.minutes},
        "resolved": [choice._asdict() for choice in plan.choices],
    }


def plan_of(run: RunDirectory, teacher: str | None = None) -> Plan:
    """The plan that a run was started with; `teacher` may be a new place of the frozen teacher that it learns from.

    Raises InputError where run.json does not hold a plan, and where the teacher, or what else the run learns from, is
    not there or not the same.
    """
    stored = run.read()
    try:
        settings = methods.find(stored["method"]).Settings(**tuples(_with_teacher(stored, teacher, run)))
        origins.check(settings, stored.get("origins", {}), run.path)  # older runs do not say
        return Plan(
            settings=settings,
            optimisation=Optimisation(**tuples(stored["optimisation"])),
            encoder=EncoderSpec.from_mapping(stored["encoder"]),
            epochs=stored["budget"]["epochs"],
            minutes=stored["budget"]["minutes"],
            choices=tuple(Choice(**choice) for choice in stored["resolved"]),
            **{name: stored[name] for name in PLAIN if name in stored or name not in _DEFAULTED},
        )
    except (KeyError, TypeError) as error:
        raise InputError(f"{run.settings_file} does not describe a run that can be continued: {error}") from error


def newest_checkpoint(run: RunDirectory) -> Path | None:
    """The newest checkpoint of a run; None for one that was killed before it wrote anything, which begins anew.

    Raises InputError for a run that has been trained and of which no checkpoint can be read: it would be lost.
    """
    found = checkpoints.latest(run.checkpoints)
    begun = run.read().get("steps") or run.read().get("start")  # another start than the seed's is in checkpoints alone
    if found is None and (checkpoints.all_checkpoints(run.checkpoints) or begun):
        raise InputError(
            f"{run.path} holds no checkpoint that can be read, so it cannot be resumed: train anew with another --out"
        )
    return found


def restore(update: Update, clock: Clock, checkpoint: Path) -> None:
    """Put a run back to where `checkpoint` was written.

    The weights are on the device by now, where `Update` moved them: an optimiser keeps its state where its weights are
    when the state is loaded. Raises DamagedCheckpoint.
    """
    state = checkpoints.load(checkpoint)
    update.method.load_state_dict(state["method"])
    update.optimizer.optimizer.load_state_dict(state["optimizer"])
    if scale := state.get("precision"):  # empty but for float16
        update.precision.load_state_dict(scale)
    clock.step, clock.minutes_used = state["progress"]["step"], state["progress"]["minutes"]


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
        "normalisation": normalisation_of(plan.encoder),
    }
    for name, value in asked.items():
        if value is not None and plain(known.get(name)) != plain(value):
            raise InputError(f"the run was started with {name}={known.get(name)}, so it cannot be resumed with {value}")


def extended(plan: Plan, wanted: Asked) -> Plan:
    """The plan of a run that goes on with the longer budget in `wanted`, or with its own.

    Raises InputError for a shorter budget, and for minutes in the place of epochs or epochs in that of minutes.
    """
    for name in BUDGETS:
        value, before = getattr(wanted, name), getattr(plan, name)
        if value is None or value == before:
            continue
        if before is None:
            own = next(other for other in BUDGETS if getattr(plan, other) is not None)
            raise InputError(
                f"the budget of the run is {own}={getattr(plan, own):g}, so it cannot be resumed with "
                f"{name}={value:g}: allowed is a larger {own}"
            )
        if value < before:
            raise InputError(
                f"the run was started with {name}={before:g}, so it cannot be resumed with {value:g}: allowed is "
                f"{name}={before:g} or more"
            )
        return dataclasses.replace(plan, **{name: value})
    return plan


def extension(before: Plan, after: Plan, clock: Clock) -> dict[str, Any]:
    """The changes when a run continues, at `clock`, with a longer budget: for run.json and for a person.

    Schedules follow the share of the budget, so they go back to what that share is now; the rate rises again.
    """
    then = dataclasses.replace(clock, epochs=before.epochs, minutes=before.minutes)
    rates = [
        scheduled.learning_rate(plan.optimisation, at.progress(), plan.epochs)
        for plan, at in ((before, then), (after, clock))
    ]
    return {
        "step": clock.step,
        "budget_before": {name: getattr(before, name) for name in BUDGETS},
        "budget": {name: getattr(after, name) for name in BUDGETS},
        "fraction_before": then.fraction(),
        "fraction": clock.fraction(),
        "learning_rate_before": rates[0],
        "learning_rate": rates[1],
    }


def extension_told(facts: Mapping[str, Any]) -> str:
    """The same in one line."""
    name = next(name for name in BUDGETS if facts["budget"][name] is not None)
    return (
        f"{name} = {facts['budget'][name]:g} instead of {facts['budget_before'][name]:g}: schedules go on at "
        f"{facts['fraction']:.1%} of the new budget, where they were at {facts['fraction_before']:.1%} of the old one "
        f"(learning rate {facts['learning_rate']:.3g}, was {facts['learning_rate_before']:.3g}); this is not what a "
        f"run with {name} = {facts['budget'][name]:g} from the start would be"
    )


def labels_record(labels: str | None, images: Images) -> dict[str, Any]:
    """The entry of run.json on labels: the option as given, and a digest of the labels and names of classes."""
    known = images.labels
    return {
        "labels": labels,
        "labels_digest": None if known is None else digest(digest_array(known), images.class_names),
    }


def check_labels(run: RunDirectory, labels: str | None, images: Images) -> None:
    """Refuse to continue a run with other labels. Raises InputError; runs that do not say theirs take any."""
    before = run.read().get("data", {})
    if "labels_digest" not in before or before["labels_digest"] == labels_record(labels, images)["labels_digest"]:
        return
    if before["labels"] == labels:
        raise InputError(
            f"the labels of {images.name} are not those that {run.path} was trained with: resume it with the same"
        )
    own, now = (
        f"labels={how!r}" if how else "the labels that the data has by itself" for how in (before["labels"], labels)
    )
    raise InputError(
        f"{run.path} was trained with {own}, so it cannot be resumed with {now}: without --labels it takes its own"
    )
