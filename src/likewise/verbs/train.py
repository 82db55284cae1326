"""`likewise.train`: from a folder of pictures to a run directory with an encoder in it."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from rich.console import Console

from likewise import commands, methods, teachers
from likewise.checking import check_kinds
from likewise.data import Images, Loader, cached_side, describe, open_source, prepare, split_names, training_split
from likewise.data.describing import remarks
from likewise.data.fingerprints import digest, digest_array
from likewise.data.source import Source
from likewise.data.splits import in_words
from likewise.data.subsets import Drawn, part_of
from likewise.distributed import everywhere
from likewise.encoders.chosen import DEPLOYED
from likewise.errors import InputError, LikewiseError, TrainingStopped, unknown
from likewise.methods.method import Method
from likewise.methods.parts.checks import skew_note
from likewise.runs import Ending, RunDirectory, command_line, default_name, plain
from likewise.training import checkpoints
from likewise.training.assembling import Parts, assemble, class_count, data_facts
from likewise.training.finite import NonFinite
from likewise.training.health import Health
from likewise.training.loggers import Logger, open_loggers
from likewise.training.loop import Loop
from likewise.training.machine import detect, fabric
from likewise.training.progress import Stopwatch, decoding
from likewise.training.resolve import Asked, Plan, Session, image_size, is_own_recipe, precision_for, preset_of, resolve
from likewise.training.resume import (
    check_labels,
    check_same,
    extended,
    extension,
    extension_told,
    labels_record,
    newest_checkpoint,
    plan_of,
    record,
    restore,
)
from likewise.training.update import Update
from likewise.training.votes import Clock

if TYPE_CHECKING:
    from likewise.encoders import Encoder
    from likewise.evaluation.online import OnlineProbe

T = TypeVar("T")
PICTURED = 1500
"""Pictures that the report's neighbours and map are made of."""


class Interrupted(TrainingStopped):
    """A signal ended training after a checkpoint was written."""

    def __init__(self, number: signal.Signals, run: RunDirectory) -> None:
        again = commands.resume(run.path, run.read()) or f"--out {run.path} --resume"
        super().__init__(f"interrupted by {number.name}: continue with {again}")
        self.exit_status = 128 + int(number)


def train(data: Any, *, command: str | None = None, **asked: Any) -> RunDirectory:
    """Train an encoder on `data` without labels and return its run directory.

    `data` is anything that `likewise.data.open_source` takes: a folder, a list, a Parquet or NumPy file, a torchvision
    name, a sequence of pictures. `asked` are, by name, fields of `Asked` (method, encoder, minutes, ...), of `Session`
    (out, resume, ...) and of the method's own settings (queue_size, temperature_student, ...): the same as the flags
    of `likewise train`. `command` is written down as the way to repeat the run.

    Raises InputError for anything that cannot be, before training starts; TrainingStopped where loss or gradient are
    not finite or the encoder has collapsed; Interrupted after SIGINT or SIGTERM, with a checkpoint written.
    """
    job, engine = settle(data, command or command_line(), asked)
    parts = assemble(job.plan, methods.find(job.plan.method), job.images, engine.world_size)
    check_alike(job)
    run = job.before or on_first(engine, lambda: RunDirectory.create(job.session.out, job.name))
    clock = Clock(job.plan.epochs, job.plan.minutes, parts.sampler.steps_per_epoch)
    with kept_once_trained(engine, run, clock, fresh=job.before is None):
        return fit(engine, job, parts, run, clock)


# Before training ---------------------------------------------------------------------------------------------------


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
    images: Images
    plan: Plan
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
    session, wanted, given = sort_asked(asked)
    chosen = session.split or training_split(split_names(data))
    source = open_source(data, split=chosen, labels=session.labels)
    before = resumable(session, source.name, wanted)
    labels = session.labels or (before.read().get("data", {}).get("labels") if before else None)
    if labels != session.labels:
        source = open_source(data, split=chosen, labels=labels)
    source, drawn = drawn_part(session, source, before)
    planned = None if before is None else plan_of(before, given.get("teacher"))
    plan = None if planned is None else extended(planned, wanted)
    if plan is not None:
        check_same(plan, {name: value for name, value in asked.items() if name not in field_names(Session)})
        wanted = dataclasses.replace(wanted, method=plan.method, variant=plan.variant, device=plan.device)
    method = methods.find(wanted.method)
    variant, _ = preset_of(method, wanted.variant)
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
    job = Job(
        session=session,
        command=command,
        path=str(data) if isinstance(data, str | Path) else None,
        split=chosen,
        splits=in_words(source.splits, source.split_counts, source.split),
        labels=labels,
        drawn=drawn,
        images=images,
        plan=plan or resolve(wanted, given, method, data_facts(images, side), machine, sized),
        before=before,
        planned=planned,
    )
    return job, engine


def check_alike(job: Job) -> None:
    """Refuse to train where processes see other images or settled on another plan. Raises InputError in all of them."""
    labels = labels_record(job.labels, job.images)["labels_digest"]
    seen = {
        "images": digest(job.images.fingerprint, digest_array(job.images.sizes), job.images.broken, labels),
        "settings": digest(plain(record(job.plan))),
    }
    for what, mine in seen.items():
        if len(set(everywhere(mine))) > 1:
            raise InputError(
                f"the processes of this run see different {what}: all need the same, and the same machines"
            )


def on_first(engine: Fabric, action: Callable[[], T]) -> T:
    """What `action` gives in the first process, in all of them; so does its error, or the others would wait for it."""
    given: T | LikewiseError | None = None
    if engine.is_global_zero:
        try:
            given = action()
        except LikewiseError as error:
            given = error
    given = engine.broadcast(given)
    if isinstance(given, LikewiseError):
        raise given
    return cast("T", given)


@contextlib.contextmanager
def kept_once_trained(engine: Fabric, run: RunDirectory, clock: Clock, *, fresh: bool) -> Iterator[None]:
    """Hold a run while it is trained; remove a new one that fails before its first step is done.

    It would stand in the way of the next attempt. Raises InputError where another process trains the run.
    """
    try:
        with contextlib.ExitStack() as held:
            on_first(engine, lambda: held.enter_context(run.claimed()))
            yield
    except TrainingStopped:
        raise
    except BaseException:
        if fresh and clock.step == 0 and engine.is_global_zero:
            run.discard()
        raise


def field_names(shape: type[Any]) -> set[str]:
    """Names of the fields of a dataclass."""
    return {field.name for field in dataclasses.fields(shape)}


def sort_asked(asked: dict[str, Any]) -> tuple[Session, Asked, dict[str, Any]]:
    """What belongs to the session, to the run, and to the method's settings. Raises InputError for other names."""
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
    return Session(**{name: value for name, value in asked.items() if name in session}), wanted, given


def resumable(session: Session, data_name: str, wanted: Asked) -> RunDirectory | None:
    """The run to continue, or None for a new one. Raises InputError where there is nothing to continue."""
    if not session.resume:
        return None
    if session.out is not None:
        return RunDirectory.open(session.out)
    name = default_name(data_name, wanted.method, wanted.encoder)
    run = RunDirectory.newest(name)
    if run is None:
        raise InputError(f"there is no run called {name} to resume: name one with --out")
    return run


def drawn_part(session: Session, source: Source, run: RunDirectory | None) -> tuple[Source, Drawn | None]:
    """The pictures that are trained on: all, or the draw that is asked for, or that the run to be continued was on.

    Raises InputError for a draw that cannot be, and for another one than the run's.
    """
    before = (run.read().get("data", {}).get("subset") or {}) if run is not None else {}
    text, seed = session.subset or before.get("text"), session.subset_seed if session.subset else before.get("seed", 0)
    if run is not None and (text, seed) != (before.get("text"), before.get("seed", 0)):
        told = f"the draw {before['text']} (seed {before['seed']})" if before else "all pictures"
        raise InputError(f"{run.path} was trained on {told}, so it cannot be resumed with {text} (seed {seed})")
    return (source, None) if text is None else part_of(source, text, seed)


def check_data(run: RunDirectory, images: Images) -> None:
    """Refuse to continue a run on other pictures. Raises InputError."""
    before = run.read()["data"]["fingerprint"]
    if before != images.fingerprint:
        raise InputError(
            f"{run.path} was trained on other data (fingerprint {before[:12]}, now "
            f"{images.fingerprint[:12]}): resume it with the same pictures"
        )


def announce(job: Job, run: RunDirectory, clock: Clock) -> None:
    """Write down what is about to happen, and say it."""
    say = partial(Console(stderr=True, highlight=False, quiet=job.session.quiet).print, soft_wrap=True)
    plan, images = job.plan, job.images
    described = {
        "name": images.name,
        "path": job.path,
        "split": job.split,
        "fingerprint": images.fingerprint,
        **labels_record(job.labels, images),
        "images": len(images),
        "broken": len(images.broken),
        "image_size": plan.encoder.image_size,
        "class_names": images.class_names,
        "classes": class_count(images),
        "class_counts": None if images.labels is None else np.bincount(images.labels[images.labels >= 0]),
        "subset": None if job.drawn is None else job.drawn.record(),
        "left_out": images.left_out,
        "copies": images.copies,
        "ranges": images.ranges,
    }
    over = {name: None for name in ("reason", "stopped_at") if name in run.read()}  # of an end that is none any more
    longer = None
    if job.planned is not None and plan != job.planned:
        longer = extension(job.planned, plan, clock)
        run.write(extended=[*run.read().get("extended", []), longer])
    run.begin(job.command, data=described, **record(plan), **over)
    say(f"{plan.method} ({plan.variant}) on {len(images):,} pictures of {images.name} -> {run.path}", markup=False)
    if job.splits:
        say(f"  splits: {job.splits}", markup=False)
    if job.drawn is not None:
        say(f"  {job.drawn.protocol}", markup=False)
    for remark in remarks(images):
        say(f"  {remark}", markup=False)
    for choice in plan.choices:
        say(f"  {choice.setting} = {choice.value}: {choice.reason}", markup=False)
    if longer is not None:
        say(f"  {extension_told(longer)}", markup=False)
    if taken := teachers.taken_from(getattr(plan.settings, "teacher", "")):
        say(f"  taught by the {taken}", markup=False)
    labels = None if images.labels is None else torch.from_numpy(images.labels)
    if note := skew_note(methods.find(plan.method).card, labels):
        say(f"  note: {note}", markup=False)
    if images.broken:
        run.write_json("broken.json", images.broken)
        say(f"  {len(images.broken)} broken pictures left out, listed in {run.path / 'broken.json'}", markup=False)


# Training ----------------------------------------------------------------------------------------------------------


def fit(engine: Fabric, job: Job, parts: Parts, run: RunDirectory, clock: Clock) -> RunDirectory:
    """Train to the end and leave the weights, the status and the report in the run."""
    session, plan, images, method = job.session, job.plan, job.images, parts.method
    loader = Loader(images, parts.sampler, device=engine.device, rank=engine.global_rank, world=engine.world_size)
    watch = Stopwatch(engine.device)
    update = Update(engine, method, parts.optimizer, loader, plan, watch)
    if session.resume:
        newest = on_first(engine, lambda: newest_checkpoint(run))
        if newest is not None:
            restore(update, clock, newest)
    trained = sum(weight.nbytes for weight in method.parameters() if weight.requires_grad)
    on_first(engine, lambda: checkpoints.check_room(run.checkpoints, method.state_dict(), trained))
    loggers: list[Logger] = []
    on_first(engine, lambda: loggers.extend(open_loggers(session.loggers, run.path, record(plan), clock.step)))
    if engine.is_global_zero:
        if session.resume:
            run.cut_metrics(clock.step)
        announce(job, run, clock)
    probe = online_probe(session, plan, method, images, run) if engine.is_global_zero else None
    loop = Loop(
        update=update,
        watch=watch,
        run=run,
        loggers=loggers,
        health=Health(
            choices=getattr(plan.settings, "prototypes", 0) or getattr(plan.settings, "queue_size", 0),
            classes=len(images.class_names or ()),
            settings={**dataclasses.asdict(plan.optimisation), **dataclasses.asdict(plan.settings)},
        ),
        clock=clock,
        checkpoint_minutes=session.checkpoint_minutes,
        keep=session.keep_checkpoints,
        quiet=session.quiet,
        probe=probe,
    )
    try:
        number = loop.fit()
        if probe is not None and (changed := probe.change()):
            run.write(online={**run.read().get("online", {}), **changed})
    except TrainingStopped as stopped:
        _end(engine, run, "stopped", clock, method, reason=str(stopped), **_batch(stopped, images))
        raise
    finally:
        run.close()
    _end(engine, run, "finished" if number is None else "interrupted", clock, method)
    if number is not None:
        raise Interrupted(number, run)
    if session.report and engine.is_global_zero:
        picture(run, method, images, engine.device)
    engine.barrier()
    return run


def _batch(stopped: TrainingStopped, images: Images) -> dict[str, Any]:
    """For run.json: which images were in the batch that stopped a run, where it was a batch."""
    if not isinstance(stopped, NonFinite):
        return {}
    named = {"positions": stopped.images, "names": [images.names[position] for position in stopped.images]}
    return {"stopped_at": {"step": stopped.step, **named}}


def online_probe(session: Session, plan: Plan, method: Method, images: Images, run: RunDirectory) -> OnlineProbe | None:
    """What scores the student meanwhile, or None where nobody wants it or no label is known."""
    if not session.online_probe or images.labels is None:
        return None
    from likewise.evaluation.online import OnlineProbe

    return OnlineProbe(
        cast("Encoder", method.encoders()["student"]),
        images,
        seen=None if plan.epochs is None else plan.epochs * len(images),
        minutes=plan.minutes,
        precision="bf16" if plan.precision == "bf16" else "float32",
        stored=run.read().get("online") if session.resume else None,
    )


def _end(engine: Fabric, run: RunDirectory, status: Ending, clock: Clock, method: Method, **fields: Any) -> None:
    """Write weights and status; a stopped run keeps its weights for looking at what went wrong.

    All processes leave together: a launcher ends the others as soon as one has failed, also while they write.
    """
    if engine.is_global_zero:
        run.save_encoders(method.encoders(), {DEPLOYED: method.card.deploy})
        run.end(status, minutes=clock.minutes_used, steps=clock.step, **fields)
    engine.barrier()


def picture(run: RunDirectory, method: Method, images: Images, device: torch.device) -> None:
    """Write the report, with neighbours and map of an even sample of the pictures by the encoder that is deployed."""
    from likewise.evaluation import extract
    from likewise.report import write_report

    index = np.unique(np.linspace(0, len(images) - 1, min(PICTURED, len(images))).astype(np.int64))
    shown = images.subset(index)
    which = method.card.deploy
    features = extract(cast("Encoder", method.encoders()[which]), shown, device=device)
    write_report(run.path, images=shown, features=features, which=which)
