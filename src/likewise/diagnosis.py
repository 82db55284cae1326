"""`likewise doctor`: what is in this data, what would be chosen, how fast it will be, and what holds it up."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from likewise import methods
from likewise.data import (
    Description,
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
from likewise.data.describing import copies_in_words
from likewise.methods.method import Batch, Progress, composer
from likewise.training import optimisers, schedules
from likewise.training.machine import detect, fabric
from likewise.training.resolve import Plan, image_size, resolve
from likewise.training.run import plain
from likewise.training.train import build_method, data_facts, sort_asked
from likewise.views import make_views

SAMPLE = 1024
"""Pictures that the timing decodes; the whole data set is only described."""
TIMED_STEPS = 10
"""Spread over the budget, since views may grow in it."""
WARM_STEPS = 2


@dataclass(frozen=True)
class Findings:
    """What the doctor found."""

    data: Description
    plan: Plan
    seconds: dict[str, float]
    """Seconds per step by part: data, views, model."""
    decode_per_second: float
    """Pictures decoded per second when the cache is made, once."""
    copies: str = ""
    """How many of the pictures decoded here are exact copies of another one, in words; empty for none."""

    @property
    def images_per_second(self) -> float:
        """To expect while training: data is fetched beside the other work, so it counts only where it is slower."""
        busy = self.seconds["views"] + self.seconds["model"]
        return self.plan.batch_size / max(busy, self.seconds["data"])

    @property
    def minutes_per_epoch(self) -> float:
        """Time of one pass over the data."""
        return self.data.count / self.images_per_second / 60

    @property
    def bottleneck(self) -> str:
        """The part that a step waits for most."""
        return max(self.seconds, key=lambda part: self.seconds[part])

    def to_json(self) -> dict[str, Any]:
        """The same as one JSON object."""
        return {
            "data": plain(self.data),
            "resolved": [plain(choice._asdict()) for choice in self.plan.choices],
            "encoder": plain(self.plan.encoder),
            "settings": plain(self.plan.settings),
            "images_per_second": round(self.images_per_second, 1),
            "decode_per_second": round(self.decode_per_second, 1),
            "minutes_per_epoch": round(self.minutes_per_epoch, 2),
            "seconds_per_step": plain(self.seconds),
            "bottleneck": self.bottleneck,
            "copies": self.copies,
        }

    def to_text(self) -> str:
        """The same for a person."""
        total = sum(self.seconds.values())
        shares = "  ".join(f"{part} {seconds / total:.0%}" for part, seconds in self.seconds.items())
        lines = [
            str(self.data),
            *([f"  {self.copies}"] if self.copies else []),
            "",
            f"would train {self.plan.encoder.name} by {self.plan.method} ({self.plan.variant}):",
            *(f"  {choice.setting} = {choice.value}: {choice.reason}" for choice in self.plan.choices),
            "",
            f"expect {self.images_per_second:,.0f} images/s, {self.minutes_per_epoch:.1f} minutes an epoch",
            f"decoding, once before that: {self.decode_per_second:,.0f} images/s",
            f"time of a step: {shares}; bottleneck: {self.bottleneck}",
        ]
        return "\n".join(lines)


def doctor(data: Any, **asked: Any) -> Findings:
    """Look at `data` and time a few steps of the training run that `likewise.train(data, **asked)` would be.

    Nothing is kept: the sample is decoded into a temporary cache. Raises InputError as `train` does.
    """
    session, wanted, given = sort_asked(asked)
    source = open_source(data, split=session.split or training_split(split_names(data)), labels=session.labels)
    described = describe(source)
    method = methods.find(wanted.method)
    machine = detect(wanted.device)
    side = round(described.side)
    sized = image_size(wanted, side, machine.device)
    with TemporaryDirectory() as folder:
        began = time.perf_counter()
        images = prepare(source.sample(SAMPLE), short_side=cached_side(sized.value), cache_dir=Path(folder))
        decode = len(images) / (time.perf_counter() - began)
        facts = data_facts(images, side)._replace(images=described.count, classes=len(described.classes or ()))
        plan = resolve(wanted, given, method, facts, machine, sized)
        copies = copies_in_words(images) if images.copies else ""
        return Findings(described, plan, _time_steps(plan, images), decode, copies)


def _time_steps(plan: Plan, images: Images) -> dict[str, float]:
    """Seconds of each part of a training step, mean over the budget; steps with views of one size by their median."""
    engine = fabric(detect(plan.device), plan.precision)
    batch_size = min(plan.batch_size, len(images))
    sampler = Sampler(len(images), batch_size, plan.seed)
    method = build_method(plan, methods.find(plan.method), images, sampler.steps_per_epoch, 1)
    wrapped, optimizer = engine.setup(method, optimisers.build(method.parameter_groups(), plan.optimisation))
    spans: dict[str, dict[float, list[float]]] = {part: defaultdict(list) for part in ("data", "views", "model")}
    batches = Loader(images, sampler, device=engine.device).batches(0)
    for step in range(WARM_STEPS + TIMED_STEPS):
        progress = Progress(step, max(0.0, step - WARM_STEPS + 0.5) / TIMED_STEPS, 0)
        policies = schedules.views_at(method.views, plan.optimisation, progress, flip=plan.flip)
        marks = [time.perf_counter()]
        loaded = next(batches)
        marks.append(_now(engine.device))
        batch = Batch(loaded.index, loaded.labels)
        compose = composer(method, batch)
        views = make_views(policies, loaded.pixels, loaded.sizes, seed=plan.seed, step=step, compose=compose)
        marks.append(_now(engine.device))
        method.before_step(progress)
        terms = wrapped(views, batch)
        engine.backward(terms.loss)
        optimizer.step()
        optimizer.zero_grad()
        marks.append(_now(engine.device))
        if step >= WARM_STEPS:
            share = schedules.view_share(plan.optimisation, progress)
            for part, before, after in zip(spans, marks, marks[1:], strict=False):
                spans[part][share].append(after - before)
    batches.close()
    scale = plan.batch_size / batch_size / TIMED_STEPS
    return {
        part: scale * sum(len(seconds) * statistics.median(seconds) for seconds in by_share.values())
        for part, by_share in spans.items()
    }


def _now(device: torch.device) -> float:
    """The time once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
