"""`likewise.train`: from a folder of pictures to a run directory with an encoder in it."""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from rich.console import Console
from torch import nn

from likewise import methods
from likewise.checking import check_kinds
from likewise.data import (
    Images,
    Loader,
    Sampler,
    cached_side,
    describe,
    open_source,
    prepare,
    split_names,
    training_split,
)
from likewise.data.source import Source
from likewise.data.splits import in_words
from likewise.data.subsets import Drawn, part_of
from likewise.encoders import Encoder, build, norms
from likewise.errors import InputError, TrainingStopped, unknown
from likewise.methods.method import Facts, Method
from likewise.training import checkpoints, optimisers
from likewise.training.health import Health
from likewise.training.loggers import open_loggers
from likewise.training.loop import Clock, Loop
from likewise.training.machine import detect, fabric
from likewise.training.progress import decoding
from likewise.training.resolve import (
    Asked,
    DataFacts,
    Plan,
    Session,
    image_size,
    is_own_recipe,
    precision_for,
    preset_of,
    resolve,
)
from likewise.training.resume import check_same, plan_of, record
from likewise.training.run import Ending, RunDirectory, command_line, default_name
from likewise.training.seeding import derived_seed
from likewise.training.statistics import channel_statistics

if TYPE_CHECKING:
    from likewise.evaluation.online import OnlineProbe

PICTURED = 1500
"""Pictures that the report's neighbours and map are made of."""


class Interrupted(TrainingStopped):
    """A signal ended training after a checkpoint was written."""

    def __init__(self, number: signal.Signals, run: Path) -> None:
        super().__init__(f"interrupted by {number.name}: continue with --out {run} --resume")
        self.exit_status = 128 + int(number)


def train(data: Any, *, command: str | None = None, **asked: Any) -> RunDirectory:
    """Train an encoder on `data` without labels and return its run directory.

    `data` is anything that `likewise.data.open_source` takes: a folder, a list, a Parquet or NumPy file, a torchvision
    name, a sequence of pictures. `asked` are, by name, fields of `Asked` (method, encoder, minutes, ...), of `Session`
    (out, resume, ...) and of the method's own settings (queue_size, temperature_student, ...): the same as the flags
    of `likewise train`. `command` is written down as the way to repeat the run.

    Raises InputError for anything that cannot be, before training starts; TrainingStopped where the loss is not finite
    or the encoder has collapsed; Interrupted after SIGINT or SIGTERM, with a checkpoint written.
    """
    session, wanted, given = sort_asked(asked)
    chosen = session.split or training_split(split_names(data))
    source = open_source(data, split=chosen, labels=session.labels)
    run = resumable(session, source.name, wanted)
    source, drawn = drawn_part(session, source, run)
    stored = None if run is None else plan_of(run)
    if stored is not None:
        check_same(stored, {name: value for name, value in asked.items() if name not in field_names(Session)})
        wanted = dataclasses.replace(wanted, method=stored.method, variant=stored.variant, device=stored.device)
    method = methods.find(wanted.method)
    variant, _ = preset_of(method, wanted.variant)
    machine = detect(wanted.device)
    own_recipe = is_own_recipe(method, variant)
    precision = stored.precision if stored else precision_for(wanted, machine, own_recipe=own_recipe).value
    engine = fabric(machine, precision)
    side = round(describe(source).side)
    sized = image_size(wanted, side, machine.device)
    size = stored.encoder.image_size if stored else sized.value
    with decoding(source.name, enabled=engine.is_global_zero and not session.quiet) as progress:
        images = prepare(source, short_side=cached_side(size), progress=progress)
    if run is not None:
        check_data(run, images)
    plan = stored or resolve(wanted, given, method, data_facts(images, side), machine, sized)
    run = run or new_run(engine, session, default_name(source.name, plan.method, plan.encoder.name))
    if engine.is_global_zero:
        announce(
            session,
            command or command_line(),
            run,
            plan,
            images,
            path=data if isinstance(data, str | Path) else None,
            split=chosen,
            splits=in_words(source.splits, source.split_counts, source.split),
            drawn=drawn,
        )
    return fit(engine, session, plan, method, images, run)


# Before training ---------------------------------------------------------------------------------------------------


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


def data_facts(images: Images, side: int) -> DataFacts:
    """What resolving needs to know of the data."""
    mean, std = channel_statistics(images)
    return DataFacts(len(images), side, class_count(images), mean, std)


def class_count(images: Images) -> int:
    """Number of classes, whether or not they have names; 0 where no label is known."""
    return 0 if images.labels is None else int(images.labels.max(initial=-1)) + 1


def new_run(engine: Fabric, session: Session, name: str) -> RunDirectory:
    """A fresh run directory, made by the first process and known to all."""
    path = RunDirectory.create(session.out, name).path if engine.is_global_zero else None
    return RunDirectory(cast("Path", engine.broadcast(path)))


def announce(
    session: Session,
    command: str,
    run: RunDirectory,
    plan: Plan,
    images: Images,
    *,
    path: str | Path | None,
    split: str | None,
    splits: str,
    drawn: Drawn | None = None,
) -> None:
    """Write down what is about to happen, and say it."""
    say = Console(stderr=True, highlight=False, quiet=session.quiet).print
    described = {
        "name": images.name,
        "path": None if path is None else str(path),
        "split": split,
        "fingerprint": images.fingerprint,
        "images": len(images),
        "broken": len(images.broken),
        "image_size": plan.encoder.image_size,
        "class_names": images.class_names,
        "subset": None if drawn is None else drawn.record(),
    }
    run.begin(command, data=described, **record(plan))
    say(f"{plan.method} ({plan.variant}) on {len(images):,} pictures of {images.name} -> {run.path}", markup=False)
    if splits:
        say(f"  splits: {splits}", markup=False)
    if drawn is not None:
        say(f"  {drawn.protocol}", markup=False)
    for choice in plan.choices:
        say(f"  {choice.setting} = {choice.value}: {choice.reason}", markup=False)
    if images.broken:
        run.write_json("broken.json", images.broken)
        say(f"  {len(images.broken)} broken pictures left out, listed in {run.path / 'broken.json'}", markup=False)


# Training ----------------------------------------------------------------------------------------------------------


def fit(
    engine: Fabric, session: Session, plan: Plan, method_class: type[Method], images: Images, run: RunDirectory
) -> RunDirectory:
    """Train to the end and leave the weights, the status and the report in the run."""
    sampler = Sampler(len(images), plan.batch_size, plan.seed)
    method = build_method(plan, method_class, images, sampler.steps_per_epoch, engine.world_size)
    optimizer = optimisers.build(method.parameter_groups(), plan.optimisation)
    clock = Clock(plan.epochs, plan.minutes, sampler.steps_per_epoch)
    checkpoint = checkpoints.latest(run.checkpoints) if session.resume else None
    if checkpoint is not None:
        state = checkpoints.load(checkpoint)
        method.load_state_dict(state["method"])
        optimizer.load_state_dict(state["optimizer"])
        if scale := state.get("precision"):  # empty but for float16
            engine.strategy.precision.load_state_dict(scale)
        clock.step, clock.minutes_used = state["progress"]["step"], state["progress"]["minutes"]
    if session.resume and engine.is_global_zero:
        run.cut_metrics(clock.step)
    loop = Loop(
        fabric=engine,
        method=method,
        optimizer=optimizer,
        loader=Loader(images, sampler, device=engine.device, rank=engine.global_rank, world=engine.world_size),
        plan=plan,
        run=run,
        loggers=open_loggers(session.loggers, run.path, record(plan), clock.step) if engine.is_global_zero else [],
        health=Health(
            choices=getattr(plan.settings, "prototypes", 0) or getattr(plan.settings, "queue_size", 0),
            classes=len(images.class_names or ()),
            settings={**dataclasses.asdict(plan.optimisation), **dataclasses.asdict(plan.settings)},
        ),
        clock=clock,
        checkpoint_minutes=session.checkpoint_minutes,
        keep=session.keep_checkpoints,
        quiet=session.quiet,
        probe=online_probe(session, plan, method, images, run) if engine.is_global_zero else None,
    )
    try:
        number = loop.fit()
    except TrainingStopped as stopped:
        _end(engine, run, "stopped", clock, method, reason=str(stopped))
        raise
    finally:
        run.close()
    _end(engine, run, "finished" if number is None else "interrupted", clock, method)
    if number is not None:
        raise Interrupted(number, run.path)
    if session.report and engine.is_global_zero:
        picture(run, method.encoders()["student"], images, engine.device)
    engine.barrier()
    return run


def build_method(
    plan: Plan, method_class: type[Method], images: Images, steps_per_epoch: int, processes: int
) -> Method:
    """The method with all its parts, drawn from the seed, ready to train."""
    encoder = build(plan.encoder, seed=plan.seed)
    facts = Facts(
        images=len(images),
        batch_size=plan.batch_size // plan.accumulate,
        image_size=plan.encoder.image_size,
        classes=class_count(images),
        steps_per_epoch=steps_per_epoch,
        mean=plan.encoder.mean,
        std=plan.encoder.std,
    )
    with torch.random.fork_rng():
        torch.manual_seed(derived_seed(plan.seed, "method"))
        method = method_class(encoder, plan.settings, facts)
    if processes > 1 and plan.sync_batch_norm:
        norms.convert(method, sync=True)
    if plan.compile:
        for module in method.modules():
            if isinstance(module, Encoder):
                module.compile()
    return method.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


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
    """Write weights and status; a stopped run keeps its weights for looking at what went wrong."""
    if engine.is_global_zero:
        run.save_encoders(method.encoders(), {"deploy": method.card.deploy})
        run.end(status, minutes=clock.minutes_used, steps=clock.step, **fields)


def picture(run: RunDirectory, encoder: nn.Module, images: Images, device: torch.device) -> None:
    """Write the report, with neighbours and map of an even sample of the pictures."""
    from likewise.evaluation import extract
    from likewise.report import write_report

    index = np.unique(np.linspace(0, len(images) - 1, min(PICTURED, len(images))).astype(np.int64))
    shown = images.subset(index)
    write_report(run.path, images=shown, features=extract(cast("Encoder", encoder), shown, device=device))
