"""`likewise.train`: from a folder of pictures to a run directory with an encoder in it."""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from lightning_fabric import Fabric

from likewise import methods
from likewise.data import Images, Loader, Sampler, cached_side, describe, open_source, prepare, split_names
from likewise.encoders import Encoder, build, norms
from likewise.errors import InputError, TrainingStopped, unknown
from likewise.methods.method import Facts, Method
from likewise.training import checkpoints, optimisers
from likewise.training.health import Health
from likewise.training.loggers import open_loggers
from likewise.training.loop import Clock, Loop
from likewise.training.machine import detect, fabric
from likewise.training.resolve import Asked, DataFacts, Machine, Plan, image_size, precision_for, preset_of, resolve
from likewise.training.resume import check_same, plan_of, record
from likewise.training.run import RunDirectory, command_line, default_name
from likewise.training.seeding import derived_seed
from likewise.training.statistics import channel_statistics

PICTURED = 1500
"""Pictures that the report's neighbours and map are made of."""


class Interrupted(TrainingStopped):
    """A signal ended training after a checkpoint was written."""

    def __init__(self, number: signal.Signals, run: Path) -> None:
        super().__init__(f"interrupted by {number.name}: continue with --out {run} --resume")
        self.exit_status = 128 + int(number)


class Session(NamedTuple):
    """How one call of `train` runs, beside what is trained."""

    out: Path | None
    resume: bool
    checkpoint_minutes: float | None
    keep_checkpoints: int
    loggers: tuple[str, ...]
    report: bool
    quiet: bool
    command: str


def train(
    data: Any,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    split: str | None = None,
    labels: str | None = None,
    checkpoint_minutes: float | None = None,
    keep_checkpoints: int = 2,
    loggers: tuple[str, ...] = ("tensorboard",),
    report: bool = True,
    quiet: bool = False,
    command: str | None = None,
    **asked: Any,
) -> RunDirectory:
    """Train an encoder on `data` without labels and return its run directory.

    `data` is anything that `likewise.data.open_source` takes: a folder, a list, a Parquet or NumPy file, a torchvision
    name, a sequence of pictures. The further names are those of `Asked` (method, encoder, minutes, ...) and of the
    method's own settings (queue_size, temperature_student, ...). `labels` are watched, never learned from, unless the
    method's card says that it needs them.

    Raises InputError for anything that cannot be, before training starts; TrainingStopped where the loss is not finite
    or the encoder has collapsed; Interrupted after SIGINT or SIGTERM, with a checkpoint written.
    """
    session = Session(
        out=None if out is None else Path(out),
        resume=resume,
        checkpoint_minutes=checkpoint_minutes,
        keep_checkpoints=keep_checkpoints,
        loggers=loggers,
        report=report,
        quiet=quiet,
        command=command or command_line(),
    )
    wanted, settings = sort_asked(asked)
    chosen = training_split(data, split)
    source = open_source(data, split=chosen, labels=labels)
    run = _resumed_run(session, default_name(source.name, wanted.method, wanted.encoder))
    plan = None if run is None else plan_of(run)
    if plan is not None:
        check_same(plan, asked)
        wanted = dataclasses.replace(wanted, method=plan.method, variant=plan.variant, device=plan.device)
    method_class = methods.find(wanted.method)
    variant, _ = preset_of(method_class, wanted.variant)
    machine = detect(wanted.device)
    precision = plan.precision if plan else precision_for(wanted, method_class, machine)
    engine = fabric(machine, precision)
    say = _speaker(engine, session)

    size = plan.encoder.image_size if plan else image_size(wanted, round(describe(source).side), machine.device)[0]
    images = _prepare_once(engine, source, size, say)
    if plan is None:
        plan = _resolved(wanted, settings, method_class, source, images, machine, size)
        for choice in plan.choices:
            say(f"  {choice.setting} = {choice.value}: {choice.reason}")
    run = run or _new_run(engine, session, default_name(source.name, plan.method, plan.encoder.name))
    if engine.is_global_zero:
        run.begin(session.command, **record(plan, images, path=data if isinstance(data, str | Path) else None, split=chosen))
        if images.broken:
            run.write_json("broken.json", [dataclasses.asdict(each) for each in images.broken])
            say(f"  {len(images.broken)} broken pictures left out, named in {run.path / 'broken.json'}")
    return _train(engine, session, plan, method_class, images, run)
