"""`likewise.train`: from a folder of images to a run directory with an encoder in it."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from rich.console import Console

from likewise import commands, methods, teachers
from likewise.data import Images, Loader
from likewise.data.describing import remarks
from likewise.data.fingerprints import digest, digest_array
from likewise.distributed import everywhere
from likewise.encoders.files.chosen import DEPLOYED
from likewise.errors import InputError, LikewiseError, TrainingStopped
from likewise.localisation.masks import Masks, marks_of
from likewise.methods import known_settings
from likewise.methods.method import Facts, Method
from likewise.methods.parts.checks import skew_note
from likewise.methods.whole import save_method
from likewise.runs import Ending, RunDirectory, command_line, plain
from likewise.teachers import Teacher
from likewise.teachers.own_side import at_side
from likewise.training import checkpoints
from likewise.training.anchor import Anchor
from likewise.training.assembling import RunParts, assemble, class_count
from likewise.training.finite import NonFinite
from likewise.training.loop import Loop
from likewise.training.planning.asked import Session
from likewise.training.planning.resolve import Plan
from likewise.training.planning.resume import (
    extension,
    extension_told,
    labels_record,
    newest_checkpoint,
    record,
    restore,
)
from likewise.training.update import Update
from likewise.training.votes import Clock
from likewise.training.watching.health import Health
from likewise.training.watching.loggers import Logger, close, open_loggers, usual
from likewise.training.watching.progress import Stopwatch, decoding
from likewise.verbs.learning.anchoring import fit_necks, held, held_to
from likewise.verbs.learning.job import Job, settle

if TYPE_CHECKING:
    from likewise.encoders import Encoder
    from likewise.evaluation.online import OnlineProbe

T = TypeVar("T")
SHOWN = 1500
"""Images that the report's neighbours and map are made of."""


class Interrupted(TrainingStopped):
    """A signal ended training after a checkpoint was written."""

    def __init__(self, number: signal.Signals, run: RunDirectory) -> None:
        again = commands.resume(run.path, run.read()) or f"--out {run.path} --resume"
        super().__init__(f"interrupted by {number.name}: continue with {again}")
        self.exit_status = 128 + int(number)


def train(data: Any, *, command: str | None = None, **asked: Any) -> RunDirectory:
    """Train an encoder on `data` without labels and return its run directory.

    `data` is anything that `likewise.data.open_source` takes: a folder, a list, a Parquet or NumPy file, a torchvision
    name, a sequence of images. `asked` are, by name, fields of `Asked` (method, encoder, minutes, ...), of `Session`
    (out, resume, ...) and of the method's own settings (queue_size, temperature_student, ...): the same as the flags
    of `likewise train`. `command` is written down as the way to repeat the run.

    Raises InputError for anything that cannot be, before training starts; TrainingStopped where loss or gradient are
    not finite or the encoder has collapsed; Interrupted after SIGINT or SIGTERM, with a checkpoint written.
    """
    job, engine = settle(data, command or command_line(), asked)
    parts = assemble(
        job.plan, methods.find(job.plan.method), job.images, engine.world_size, beside=job.beside, start=job.start
    )
    check_alike(job)
    marks = marks_of(parts.method, job.images, engine.device)
    run = job.before or on_first(engine, lambda: RunDirectory.create(job.session.out, job.name))
    clock = Clock(job.plan.epochs, job.plan.minutes, parts.order.steps_per_epoch)
    with kept_once_trained(engine, run, clock, fresh=job.before is None):
        return fit(engine, job, parts, marks, run, clock)


# Before training ---------------------------------------------------------------------------------------------------


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
    mine = False
    try:
        with contextlib.ExitStack() as held:
            on_first(engine, lambda: held.enter_context(run.claimed()))
            mine = True
            yield
    except TrainingStopped:
        raise
    except BaseException:
        if fresh and mine and clock.step == 0 and engine.is_global_zero:
            run.discard()
        raise


def announce(job: Job, run: RunDirectory, clock: Clock, began: str) -> None:
    """Write down what is about to happen, and say it."""
    say = partial(Console(stderr=True, highlight=False, quiet=job.session.quiet).print, soft_wrap=True)
    plan, images = job.plan, job.images
    over = {name: None for name in ("reason", "stopped_at") if name in run.read()}  # of an end that is none any more
    longer = None
    if job.planned is not None and plan != job.planned:
        longer = extension(job.planned, plan, clock)
        run.write(extended=[*run.read().get("extended", []), longer])
    start = {"start": began} if began else {}
    past = outdated(run.read(), clock)
    run.begin(job.command, data=described(job, run), **record(plan), **over, **start, **past)
    say(f"{plan.method} ({plan.variant}) on {len(images):,} images of {images.name} -> {run.path}", markup=False)
    if job.splits:
        say(f"  splits: {job.splits}", markup=False)
    if job.drawn is not None:
        say(f"  {job.drawn.protocol}", markup=False)
    for remark in remarks(images):
        say(f"  {remark}", markup=False)
    for choice in plan.choices:
        say(f"  {choice.setting} = {choice.value}: {choice.reason}", markup=False)
    if began:
        say(f"  start: {began}", markup=False)
    if job.beside is not None:
        say(f"  beside: {len(job.beside):,} images of {job.beside.name}", markup=False)
    if longer is not None:
        say(f"  {extension_told(longer)}", markup=False)
    if past:
        say("  scores: those so far are of other weights than training ends with; evaluate the run again", markup=False)
    if taken := teachers.taken_from(known_settings.teacher(plan.settings)):
        say(f"  taught by the {taken}", markup=False)
    labels = None if images.labels is None else torch.from_numpy(images.labels)
    if note := skew_note(methods.find(plan.method).card, labels):
        say(f"  note: {note}", markup=False)
    if images.broken:
        run.write_json("broken.json", images.broken)
        say(f"  {len(images.broken)} broken images left out, listed in {run.path / 'broken.json'}", markup=False)


def outdated(stored: Mapping[str, Any], clock: Clock) -> dict[str, Any]:
    """Fields of run.json by which scores of the weights so far stand under `scores_before` once training goes on."""
    if not stored.get("scores") or clock.fraction() >= 1.0:
        return {}
    kept = {"step": stored.get("steps"), "scores": stored["scores"]}
    return {"scores": [], "changes": [], "verdicts": {}, "scores_before": [*stored.get("scores_before", []), kept]}


def described(job: Job, run: RunDirectory) -> dict[str, Any]:
    """The entry of run.json on the data."""
    images, beside = job.images, job.beside
    found = {
        "name": images.name,
        "path": job.path,
        "split": job.split,
        "fingerprint": images.fingerprint,
        **labels_record(job.labels, images),
        "images": len(images),
        "broken": len(images.broken),
        "image_size": job.plan.encoder.image_size,
        "class_names": images.class_names,
        "classes": class_count(images),
        "class_counts": None if images.labels is None else np.bincount(images.labels[images.labels >= 0]),
        "subset": None if job.drawn is None else job.drawn.record(),
        "left_out": images.left_out,
        "copies": images.copies,
        "ranges": images.ranges,
    }
    if beside is not None:
        before = run.read().get("data", {}).get("beside") or {}
        path, labels = job.session.beside or before.get("path"), job.session.beside_labels or before.get("labels")
        found["beside"] = {"path": path, "labels": labels, "fingerprint": beside.fingerprint, "images": len(beside)}
    return found


# Training ----------------------------------------------------------------------------------------------------------


def fit(
    engine: Fabric, job: Job, parts: RunParts, marks: Masks | None, run: RunDirectory, clock: Clock
) -> RunDirectory:
    """Train to the end and leave the weights, the status and the report in the run."""
    session, plan, images, method = job.session, job.plan, job.images, parts.method
    place = {"rank": engine.global_rank, "world": engine.world_size}
    loader = Loader(images, parts.order, device=engine.device, others=parts.others, marks=marks, **place)
    watch = Stopwatch(engine.device)
    update = Update(engine, method, parts.optimizer, loader, plan, watch)
    if session.resume:
        newest = on_first(engine, lambda: newest_checkpoint(run))
        if newest is not None:
            restore(update, clock, newest)
    trained = sum(weight.nbytes for weight in method.parameters() if weight.requires_grad)
    on_first(engine, lambda: checkpoints.check_room(run.checkpoints, method.state_dict(), trained))
    opened: list[Logger] = []
    names = usual() if session.loggers is None else session.loggers
    on_first(engine, lambda: opened.extend(open_loggers(names, run.path, record(plan), clock.step)))
    if engine.is_global_zero:
        if session.resume:
            run.cut_metrics(clock.step)
        announce(job, run, clock, parts.began)  # before what may take long: a run killed meanwhile can be resumed
    try:
        known = held_to(run, parts, plan, job.start, engine) if plan.anchor else None
        fill_teachers([*teachers.teachers_in(method), *([] if known is None else [known])], job, engine)
        if known is not None:
            update.anchor = Anchor(plan.anchor, method, known, near_start=not plan.compatible_with)
        probe = online_probe(session, plan, method, images, run) if engine.is_global_zero else None
        loop = Loop(
            update=update,
            watch=watch,
            run=run,
            loggers=opened,
            health=health_of(plan, images),
            clock=clock,
            checkpoint_minutes=session.checkpoint_minutes,
            keep=session.keep_checkpoints,
            quiet=session.quiet,
            probe=probe,
        )
        number = loop.fit()
        if known is not None and plan.compatible_with and number is None:
            fit_necks(method, known, images, engine)
        if probe is not None and (changed := probe.change()):
            run.write(online={**run.read().get("online", {}), **changed})
        if known is not None and engine.is_global_zero:
            run.write(anchored=held(method, known, images, engine.device))
    except TrainingStopped as stopped:
        _end(engine, run, "stopped", clock, method, parts.facts, reason=str(stopped), **_batch(stopped, images))
        raise
    finally:
        close(opened)
        run.close()
    _end(engine, run, "finished" if number is None else "interrupted", clock, method, parts.facts)
    if number is not None:
        raise Interrupted(number, run)
    if session.report and engine.is_global_zero:
        illustrate(run, method, images, engine.device, marks)
    engine.barrier()
    return run


def health_of(plan: Plan, images: Images) -> Health:
    """What watches over a run, with what it needs to know of it."""
    return Health(
        choices=known_settings.choices(plan.settings),
        classes=len(images.class_names or ()),
        settings={**dataclasses.asdict(plan.optimisation), **dataclasses.asdict(plan.settings)},
    )


def fill_teachers(found: Iterable[Teacher], job: Job, engine: Fabric) -> None:
    """Make the vectors of teachers that are looked up, with a bar on the first process; kept ones are taken.

    A teacher of a larger input than the student's is shown images with as many pixels as it was trained on.
    """
    images = job.images
    for teacher in found:
        if teacher.missing:
            shown = engine.is_global_zero and not job.session.quiet
            larger = at_side(job.source, images, teacher.own_size, job.plan.encoder.image_size)
            how = "kept from before" if teacher.is_kept(images, larger) else f"one pass over {len(images):,} images"
            console = Console(stderr=True, highlight=False, quiet=not shown)
            console.print(f"  vectors of the teacher {teacher.name}: {how}", soft_wrap=True, markup=False)
            with decoding(f"{images.name} by {teacher.name}", enabled=shown, verb="teacher:") as progress:
                teacher.fill(images, engine.device, progress, larger=larger)


def _batch(stopped: TrainingStopped, images: Images) -> dict[str, Any]:
    """For run.json: which images were in the batch that stopped a run, where it was a batch."""
    if not isinstance(stopped, NonFinite):
        return {}
    named = {"positions": stopped.images, "names": [images.names[position] for position in stopped.images]}
    return {"stopped_at": {"step": stopped.step, **named}}


def online_probe(session: Session, plan: Plan, method: Method, images: Images, run: RunDirectory) -> OnlineProbe | None:
    """What scores the encoder that is deployed meanwhile, or None where nobody wants it or no label is known."""
    if not session.online_probe or images.labels is None:
        return None
    from likewise.evaluation.online import OnlineProbe

    return OnlineProbe(
        cast("Encoder", method.encoders()[method.card.deploy]),
        images,
        seen=None if plan.epochs is None else plan.epochs * len(images),
        minutes=plan.minutes,
        precision="bf16" if plan.precision == "bf16" else "float32",
        stored=run.read().get("online") if session.resume else None,
    )


def _end(
    engine: Fabric, run: RunDirectory, status: Ending, clock: Clock, method: Method, facts: Facts, **fields: Any
) -> None:
    """Write weights and status; a stopped run keeps its weights for looking at what went wrong.

    All processes leave together: a launcher ends the others as soon as one has failed, also while they write.
    """
    if engine.is_global_zero:
        run.save_encoders(method.encoders(), {DEPLOYED: method.card.deploy})
        save_method(method, facts, run.path)
        run.end(status, minutes=clock.minutes_used, steps=clock.step, **fields)
    engine.barrier()


def illustrate(
    run: RunDirectory, method: Method, images: Images, device: torch.device, marks: Masks | None = None
) -> None:
    """Write the report, with neighbours, map and patches of an even sample of the images by the encoder deployed."""
    from likewise.evaluation import extract
    from likewise.report import look, write_report

    index = np.unique(np.linspace(0, len(images) - 1, min(SHOWN, len(images))).astype(np.int64))
    shown = images.subset(index)
    which = method.card.deploy
    encoder = cast("Encoder", method.encoders()[which])
    features = extract(encoder, shown, device=device)
    looked = look(encoder, images, masks=marks, source=method.masks)
    write_report(run.path, images=shown, features=features, which=which, looked=looked)
