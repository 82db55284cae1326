"""Builds the parts of a training run from its plan; errors are raised here, before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from likewise.data import Images
from likewise.data.batches.loading import StreamImages
from likewise.data.batches.orders import Order
from likewise.data.batches.streams import MAIN, Stream, order_of
from likewise.data.flow.fields import flow_fields
from likewise.encoders import Encoder, build, norms
from likewise.encoders.encoder import in_channels_last
from likewise.errors import InputError
from likewise.methods.method import Beside, Facts, Method, made
from likewise.training.optimising import optimisers
from likewise.training.planning.resolve import DataFacts, Plan, passes
from likewise.training.seeding import derived_seed
from likewise.training.start import Start, begin
from likewise.training.statistics import channel_statistics


class RunParts(NamedTuple):
    """The parts of a run, still on the CPU."""

    order: Order
    """The batches of the main stream."""
    others: Mapping[str, StreamImages]
    """The other streams."""
    method: Method
    facts: Facts
    """What the method was told."""
    optimizer: Optimizer
    began: str
    """What was loaded from the start, for people; empty where there was none."""


def assemble(
    plan: Plan,
    method_class: type[Method],
    images: Images,
    processes: int,
    *,
    beside: Images | None = None,
    start: Start | None = None,
) -> RunParts:
    """The parts of the run that `plan` describes. Raises InputError where they cannot be made, or not work together."""
    facts = facts_of(plan, method_class, images, beside)
    streams = {
        name: drawn_of(name, stream, plan, images, beside)
        for name, stream in method_class.streams(plan.settings, facts).items()
    }
    main = streams.pop(MAIN)
    facts = replace(facts, steps_per_epoch=main.order.steps_per_epoch)
    method, began = build_method(plan, method_class, facts, processes, start)
    if method.flow is not None:
        method.flows = flow_fields(images, method.flow)
    check_rows(method, plan, processes)
    optimizer = optimisers.build(method.parameter_groups(), plan.optimisation)
    return RunParts(main.order, streams, method, facts, optimizer, began)


def drawn_of(name: str, stream: Stream, plan: Plan, images: Images, beside: Images | None) -> StreamImages:
    """The images of a stream in their order. Raises InputError where they are missing."""
    if stream.of == "beside" and beside is None:
        raise InputError(f"{plan.method} learns from a second data set as well: name it with --beside")
    of = images if stream.of == "data" or beside is None else beside
    return StreamImages(of, order_of(name, stream, of, plan.batch_size, plan.seed), stream.views)


def build_method(
    plan: Plan, method_class: type[Method], facts: Facts, processes: int, start: Start | None = None
) -> tuple[Method, str]:
    """The method with all its parts, drawn from the seed or loaded, ready to train; and what was loaded."""
    encoder = build(plan.encoder, seed=plan.seed)
    if start is not None:
        encoder.backbone.load_state_dict(start.encoder.backbone.state_dict())
        if encoder.neck is not None and start.encoder.neck is not None and encoder.features == start.encoder.features:
            encoder.neck.load_state_dict(start.encoder.neck.state_dict())
    with torch.random.fork_rng():
        torch.manual_seed(derived_seed(plan.seed, "method"))
        method = made(method_class, encoder, plan.settings, facts)
    began = "" if start is None else begin(method, start)
    if processes > 1 and plan.sync_batch_norm:
        norms.convert(method, sync=True)
    if plan.compile:
        for module in method.modules():
            if isinstance(module, Encoder):
                module.compile()
    in_channels_last(method)
    return method.train(), began


def facts_of(plan: Plan, method_class: type[Method], images: Images, beside: Images | None = None) -> Facts:
    """The facts of its job that the method of a plan gets, without the number of steps an epoch."""
    return Facts(
        images=len(images),
        batch_size=plan.batch_size // passes(method_class, plan),
        image_size=plan.encoder.image_size,
        classes=class_count(images),
        class_names=tuple(images.class_names or ()),
        labelled=0 if images.labels is None else int((images.labels >= 0).sum()),
        beside=None if beside is None else Beside(images=len(beside), classes=class_count(beside)),
        columns=images.columns,
        mean=plan.encoder.mean,
        std=plan.encoder.std,
    )


def data_facts(images: Images, side: int) -> DataFacts:
    """The facts of the data that resolving needs."""
    mean, std = channel_statistics(images)
    return DataFacts(len(images), side, class_count(images), mean, std)


def class_count(images: Images) -> int:
    """Number of classes, whether or not they have names; 0 where no label is known."""
    return 0 if images.labels is None else int(images.labels.max(initial=-1)) + 1


def check_rows(method: nn.Module, plan: Plan, processes: int) -> None:
    """Refuse to normalise batches of one image: they have no variance. Methods without batch norm take them.

    Raises InputError with the nearest that leaves two: fewer parts of the batch, or else a larger batch.
    """
    pooled = processes if plan.sync_batch_norm else 1  # processes whose images a batch norm sees together
    share = plan.batch_size // processes
    if share // plan.accumulate * pooled >= 2 or not _normalises_batches(method):
        return
    fitting = [parts for parts in range(1, plan.accumulate) if share % parts == 0 and share // parts * pooled >= 2]
    unsynced = " without sync_batch_norm" if processes > 1 and not plan.sync_batch_norm else ""
    nearest = f"accumulate={fitting[-1]}" if fitting else f"batch_size={2 * processes * plan.accumulate}"
    raise InputError(
        f"batch_size={plan.batch_size} on {processes} process{'es' * (processes > 1)}{unsynced} with "
        f"accumulate={plan.accumulate} leaves batch norm 1 image at a time, and it needs 2 or more: the nearest that "
        f"leaves as many is {nearest}"
    )


def _normalises_batches(module: nn.Module) -> bool:
    """Whether a batch norm in `module` sees the batch, other than one in eval mode or one taught by all processes."""
    if getattr(module, "whole_batch", False):
        return False
    if isinstance(module, _BatchNorm) and module.training:
        return True
    return any(_normalises_batches(child) for child in module.children())
