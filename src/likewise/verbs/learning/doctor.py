"""`likewise doctor`: describes data, the settings that would be chosen, the expected speed and its bottleneck."""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from likewise import methods, teachers
from likewise.data import (
    Description,
    Images,
    LoadedBatch,
    Loader,
    cached_side,
    describe,
    open_source,
    prepare,
    split_names,
    training_split,
)
from likewise.data.decoding.headers import check_headers
from likewise.data.describing import copies_in_words
from likewise.data.source import Broken
from likewise.errors import InputError
from likewise.localisation.masks import marks_of
from likewise.methods import known_settings
from likewise.methods.method import Progress
from likewise.runs import plain
from likewise.training.assembling import RunParts, assemble, data_facts
from likewise.training.optimising import scheduled
from likewise.training.planning.machine import detect, fabric
from likewise.training.planning.resolve import Plan, image_size, resolve
from likewise.training.update import Update
from likewise.training.watching.progress import OCCASIONAL, PARTS, Part
from likewise.verbs.learning import teaching
from likewise.verbs.learning.job import drawn_part, sort_asked
from likewise.verbs.learning.teaching import Taught

SAMPLE = 256
"""Images that the timing decodes; the whole data set is only described."""
TIMED_STEPS = 6
"""Spread over the budget, since views may grow in it."""
STEP_SECONDS = 0.75
"""About the most that a timed step may take: of a batch that takes longer, a part is timed."""
TAUGHT_BY = "simreg"
"""The method where a teacher is named and no method."""
FEW = 16
"""Images of the first steps, which show how many can be timed."""


@dataclass(frozen=True)
class Findings:
    """The result of `doctor`."""

    data: Description
    plan: Plan
    seconds: dict[str, float]
    """Seconds per step by part: data, views, model."""
    decode_per_second: float
    """Images decoded per second when the cache is made, once."""
    taught: tuple[Taught, ...] = ()
    """What frozen teachers cost."""
    copies: str = ""
    """How many of the images decoded here are exact copies of another one, in words; empty for none."""

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
            "teachers": [one.to_json() for one in self.taught],
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
            *(one.to_text() for one in self.taught),
        ]
        return "\n".join(lines)


def doctor(data: Any, **asked: Any) -> Findings:
    """Look at `data` and time a few steps of the training run that `likewise.train(data, **asked)` would be.

    Nothing is kept: the sample is decoded into a temporary cache. With a `teacher` and no method it is simreg, and what
    the teacher costs is told. Raises InputError as `train` does.
    """
    if "teacher" in asked and "method" not in asked:
        asked = {**asked, "method": TAUGHT_BY}
    session, wanted, given = sort_asked(asked)
    chosen = session.split or training_split(split_names(data))
    source, _ = drawn_part(session, open_source(data, split=chosen, labels=session.labels), None)
    described, checked = describe(source), check_headers(source)
    method = methods.find(wanted.method)
    machine = detect(wanted.device)
    side = round(described.side)
    sized = image_size(wanted, side, machine.device)
    with TemporaryDirectory() as folder:
        began = time.perf_counter()
        images = prepare(source.sample(SAMPLE), short_side=cached_side(sized.value), cache_dir=Path(folder))
        decode = len(images) / (time.perf_counter() - began)
        broken = _united(checked.broken, described.broken, images.broken)
        described = dataclasses.replace(described, broken=broken, headers=checked.looked)
        count, classes = described.count - len(broken), len(described.classes or ())
        plan = resolve(
            wanted, given, method, data_facts(images, side)._replace(images=count, classes=classes), machine, sized
        )
        copies = copies_in_words(images) if images.copies else ""
        parts, images = _parts(plan, images, count)
        teachers.check_covers(given, source.names)
        teaching.blank(parts.method, len(images))
        seconds = _time_steps(plan, parts, images)
        return Findings(described, plan, seconds, decode, _taught(plan, parts, images, count, seconds), copies)


def _taught(plan: Plan, parts: RunParts, images: Images, count: int, seconds: dict[str, float]) -> tuple[Taught, ...]:
    """What frozen teachers cost, with and without a table of their vectors; nothing where there are none."""
    if not any(teachers.teachers_in(parts.method)):
        return ()
    steps = {known_settings.looks_up(plan.settings): _busy(seconds)}
    if (other := teaching.other_way(plan)) is not None:
        again, sample = _parts(other, images, count)
        teaching.blank(again.method, len(sample))
        steps[other.settings.looks_up] = _busy(_time_steps(other, again, sample))
    return teaching.of_method(parts.method, plan, count, shown=steps.get(False), looked_up=steps.get(True))


def _busy(seconds: dict[str, float]) -> float:
    """Seconds of a step: data are fetched beside the other work."""
    return max(seconds["views"] + seconds["model"], seconds["data"])


def _united(*found: tuple[Broken, ...]) -> tuple[Broken, ...]:
    """What is broken by either finding, each once."""
    return tuple({entry.name: entry for some in found for entry in some}.values())


def _parts(plan: Plan, images: Images, count: int) -> tuple[RunParts, Images]:
    """The parts of the run, and the images that stand for all `count` of the data: a batch at least, some repeated.

    What a sample is too small for, such as many clusters, is tried with as many images as there are, as it will be.
    """
    method = methods.find(plan.method)

    def repeated(wanted: int) -> Images:
        return images.subset(np.arange(wanted) % len(images))

    sample = repeated(max(len(images), plan.batch_size))
    try:
        return assemble(plan, method, sample, 1), sample
    except InputError:
        whole = repeated(count)
        return assemble(plan, method, whole, 1), whole


class _Timer:
    """Seconds that each part of an update takes, once the device has done what it was given."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._part: Part | None = None
        self._since = 0.0
        self._seconds = dict.fromkeys(PARTS + OCCASIONAL, 0.0)

    def enter(self, part: Part | None) -> None:
        """From here on the time belongs to `part`."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        now = time.perf_counter()
        if self._part is not None:
            self._seconds[self._part] += now - self._since
        self._part, self._since = part, now

    def take(self) -> dict[Part, float]:
        """The seconds so far, and start again."""
        self.enter(None)
        taken, self._seconds = self._seconds, dict.fromkeys(PARTS + OCCASIONAL, 0.0)
        return taken


def _time_steps(plan: Plan, parts: RunParts, images: Images) -> dict[str, float]:
    """Seconds of each part of a training step, mean over the budget; steps with views of one size by their median."""
    engine = fabric(detect(plan.device), plan.precision)
    timer = _Timer(engine.device)
    marks = marks_of(parts.method, images, engine.device)
    loader = Loader(images, parts.order, device=engine.device, others=parts.others, marks=marks)
    update = Update(engine, parts.method, parts.optimizer, loader, plan, timer)
    update.refresh(Progress(0, 0.0, 0), epoch_begins=True)

    def timed(batches: Iterator[LoadedBatch], progress: Progress, count: int) -> dict[Part, float]:
        """The seconds of one step with `count` images, as long as the whole batch would take."""
        timer.take()
        timer.enter("data")
        loaded = next(batches)
        timer.enter("views")
        update.step(loaded.rows(slice(count))._replace(others=loaded.others), progress)
        return {
            part: seconds if part == "data" else seconds * plan.batch_size / count
            for part, seconds in timer.take().items()
            if part in PARTS
        }

    least = min(plan.batch_size, plan.accumulate * -(-FEW // plan.accumulate))
    spans: dict[Part, dict[float, list[float]]] = {part: defaultdict(list) for part in PARTS}
    with contextlib.closing(loader.batches(0)) as batches:
        for step in range(2):  # the first step of all finds its memory and its kernels
            whole = sum(timed(batches, Progress(step, 0.0, 0), least).values())
        fitting = int(plan.batch_size * STEP_SECONDS / max(whole, STEP_SECONDS)) // plan.accumulate * plan.accumulate
        for step in range(TIMED_STEPS):
            progress = Progress(step + 2, (step + 0.5) / TIMED_STEPS, 0)
            share = scheduled.view_share(plan.optimisation, progress)
            for part, seconds in timed(batches, progress, max(least, fitting)).items():
                spans[part][share].append(seconds)
    return {
        part: sum(len(seconds) * statistics.median(seconds) for seconds in by_share.values()) / TIMED_STEPS
        for part, by_share in spans.items()
    }
