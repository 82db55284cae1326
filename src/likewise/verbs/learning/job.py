"""A training run that is planned but not begun: data are decoded, the plan is made or read from the run before."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from likewise import methods, teachers
from likewise.checking import check_kinds
from likewise.data import Images, cached_side, describe, open_source, prepare, split_names, training_split
from likewise.data.source import Source
from likewise.data.sources.opening import with_columns
from likewise.data.splitting.splits import in_words
from likewise.data.splitting.subsets import Drawn, part_of
from likewise.errors import InputError, unknown
from likewise.runs import RunDirectory, default_name
from likewise.training.assembling import data_facts
from likewise.training.planning.asked import Asked, Session
from likewise.training.planning.machine import detect, fabric
from likewise.training.planning.resolve import Plan, image_size, is_own_recipe, precision_for, preset_of, resolve
from likewise.training.planning.resume import (
    check_labels,
    check_same,
    extended,
    plan_of,
)
from likewise.training.start import Start, as_asked, open_start
from likewise.training.start import planned as planned_from
from likewise.training.watching.progress import decoding
from likewise.verbs.learning.anchoring import SETTING, comparable


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """A run with everything settled and nothing written."""

    session: Session
    command: str
    path: str | None
    """Where the data are, where that can be said."""
    split: str | None
    splits: str
    """All splits of the data, for a person; empty where there are none."""
    labels: str | None
    """How labels were asked for, now or when the run was started."""
    drawn: Drawn | None
    source: Source
    """Where the images are from, with all their pixels."""
    images: Images
    """The same decoded for the encoder that is trained."""
    plan: Plan
    beside: Images | None
    """The second data set, where the method learns from one."""
    start: Start | None
    """What training begins with, where it is not random."""
    before: RunDirectory | None
    """The run that goes on."""
    planned: Plan | None
    """Its plan so far."""

    @property
    def name(self) -> str:
        """Of the run, where none was given."""
        return default_name(self.images.name, self.plan.method, self.plan.encoder.name)


def settle(data: Any, command: str, asked: dict[str, Any]) -> tuple[Job, Fabric]:
    """Open and decode the data and settle the plan, anew or from the run that goes on. Raises InputError."""
    asked = with_names(asked)
    session, wanted, given = sort_asked(asked)
    chosen = session.split or training_split(split_names(data))
    source = open_source(data, split=chosen, labels=session.labels)
    before = resumable(session, source.name, wanted)
    labels = session.labels or (before.read().get("data", {}).get("labels") if before else None)
    if labels != session.labels:
        source = open_source(data, split=chosen, labels=labels)
    planned = None if before is None else plan_of(before, given.get("teacher"))
    plan = None if planned is None else extended(planned, wanted)
    if plan is not None:
        check_same(plan, {name: value for name, value in asked.items() if name not in field_names(Session)})
        wanted = dataclasses.replace(wanted, method=plan.method, variant=plan.variant, device=plan.device)
    method = methods.find(wanted.method)
    variant, preset = preset_of(method, wanted.variant)
    columns = method.columns(plan.settings if plan else dataclasses.replace(preset.settings, **given))
    source, drawn = drawn_part(session, with_columns(source, data, columns), before)
    teachers.check_covers(given, source.names)
    if wanted.anchor and before is None and not (session.start or wanted.pretrained or wanted.compatible_with):
        raise InputError(
            f"anchor={wanted.anchor:g} keeps a trained encoder near itself: name it with --start RUN, or an older one "
            "with --compatible-with RUN"
        )
    start = None if session.start is None or before is not None else open_start(session.start)
    wanted = wanted if start is None else as_asked(start, wanted, asked)
    machine = detect(wanted.device)
    own_recipe = is_own_recipe(method, variant)
    engine = fabric(machine, plan.precision if plan else precision_for(wanted, machine, own_recipe=own_recipe).value)
    side = round(describe(source).side)
    sized = image_size(wanted, side, machine.device)
    size = plan.encoder.image_size if plan else sized.value
    with decoding(source.name, enabled=engine.is_global_zero and not session.quiet) as progress:
        images = prepare(source, short_side=cached_side(size), progress=progress)
    if before is not None:
        check_data(before, images)
        check_labels(before, labels, images)
    if plan is None:
        from_file = start is not None and start.method is None
        plan = resolve(wanted, given, method, data_facts(images, side), machine, sized, from_file=from_file)
        plan = comparable(plan if start is None else planned_from(start, plan))
    beside = second_images(session, before, cached_side(size), quiet=session.quiet or not engine.is_global_zero)
    job = Job(
        session=session,
        command=command,
        path=str(data) if isinstance(data, str | Path) else None,
        split=chosen,
        splits=in_words(source.splits, source.split_counts, source.split),
        labels=labels,
        drawn=drawn,
        source=source,
        images=images,
        plan=plan,
        beside=beside,
        start=start,
        before=before,
        planned=planned,
    )
    return job, engine


def second_images(session: Session, before: RunDirectory | None, side: int, *, quiet: bool) -> Images | None:
    """The images of the second data set, where there is one: its training split, decoded. Raises InputError."""
    stored = (before.read().get("data", {}).get("beside") or {}) if before is not None else {}
    path = session.beside or stored.get("path")
    if path is None:
        return None
    labels = session.beside_labels or stored.get("labels")
    source = open_source(path, split=training_split(split_names(path)), labels=labels)
    with decoding(source.name, enabled=not quiet) as progress:
        images = prepare(source, short_side=side, progress=progress)
    if stored and stored["fingerprint"] != images.fingerprint:
        raise InputError(f"{path} is not the second data set that {before} was trained with: resume it with the same")
    return images


def field_names(shape: type[Any]) -> set[str]:
    """Names of the fields of a dataclass."""
    return {field.name for field in dataclasses.fields(shape)}


def with_names(asked: dict[str, Any]) -> dict[str, Any]:
    """The same, with functions and modules that are given as teachers by their names."""
    return {name: teachers.named(value) if name in teachers.TEACHERS else value for name, value in asked.items()}


def sort_asked(asked: dict[str, Any]) -> tuple[Session, Asked, dict[str, Any]]:
    """What belongs to the session, to the run, and to the method's settings. Raises InputError for other names."""
    asked = with_names(asked)
    session, general = field_names(Session), field_names(Asked)
    for shape in (Session, Asked):
        check_kinds(shape, asked)
    wanted = Asked(**{name: value for name, value in asked.items() if name in general})
    settings = methods.find(wanted.method).Settings
    check_kinds(settings, asked)
    own = field_names(settings)
    given = {name: value for name, value in asked.items() if name not in session | general}
    for name in given:
        if name not in own:
            raise unknown(f"setting of {wanted.method}", name, own | general | session)
    teachers.check_asked(settings, given)
    if wanted.compatible_with:
        teachers.check_encoder(wanted.compatible_with, SETTING)
    return Session(**{name: value for name, value in asked.items() if name in session}), wanted, given


def resumable(session: Session, data_name: str, wanted: Asked) -> RunDirectory | None:
    """The run to continue, or None for a new one. Raises InputError where there is nothing to continue."""
    if not session.resume:
        return None
    if session.out is not None and not Path(session.out).exists():
        raise InputError(f"there is no run {session.out} to resume: name one that is there, or leave --resume out")
    if session.out is not None:
        return RunDirectory.open(session.out)
    encoder = wanted.encoder if session.start is None else open_start(session.start).encoder.spec.name
    name = default_name(data_name, wanted.method, encoder)
    run = RunDirectory.newest(name)
    if run is None:
        raise InputError(f"there is no run called {name} to resume: name one with --out")
    return run


def drawn_part(session: Session, source: Source, run: RunDirectory | None) -> tuple[Source, Drawn | None]:
    """The images that are trained on: all, or the draw that is asked for, or that the run to be continued was on.

    Raises InputError for a draw that cannot be, and for another one than the run's.
    """
    before = (run.read().get("data", {}).get("subset") or {}) if run is not None else {}
    text, seed = session.subset or before.get("text"), session.subset_seed if session.subset else before.get("seed", 0)
    if run is not None and (text, seed) != (before.get("text"), before.get("seed", 0)):
        drawn = f"the draw {before['text']} (seed {before['seed']})" if before else "all images"
        raise InputError(f"{run.path} was trained on {drawn}, so it cannot be resumed with {text} (seed {seed})")
    return (source, None) if text is None else part_of(source, text, seed)


def check_data(run: RunDirectory, images: Images) -> None:
    """Refuse to continue a run on other images. Raises InputError."""
    before = run.read()["data"]["fingerprint"]
    if before != images.fingerprint:
        raise InputError(
            f"{run.path} was trained on other data (fingerprint {before[:12]}, now "
            f"{images.fingerprint[:12]}): resume it with the same images"
        )
