"""Images a second of whole training runs on CIFAR-10, against the model alone and against lightly."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from benchmarks.harness import Outcome, parser_of, rounded, run
from benchmarks.images import cifar10_file, small_images
from benchmarks.lightly_side import AHEAD, Training
from benchmarks.peers import peer
from likewise import methods
from likewise.data import Images, open_source, prepare
from likewise.encoders import EncoderSpec, build
from likewise.errors import InputError
from likewise.methods.method import Batch, Progress
from likewise.training.assembling import build_method, data_facts, facts_of
from likewise.training.optimising import optimisers
from likewise.training.planning.machine import detect, fabric, keep_freed_memory
from likewise.training.planning.resolve import image_size, resolve
from likewise.verbs.learning.job import sort_asked
from likewise.verbs.learning.train import train
from likewise.views import make_views

MINUTES = 28
METHODS: dict[str, dict[str, Any]] = {
    "isd": {},
    "moco_v2": {"symmetric": True, "split_batch_norm": 1},  # as lightly trains it
    "byol": {"symmetric": True},
}
BATCHES = {16: 128, 64: 64}
WARM_STEPS, LEAST_STEPS = 1, 3
AS_LIGHTLY: dict[str, Any] = {"first_size": 1.0, "last_size": 1.0, "optimiser": "sgd"}
"""For what lightly does as well; by default our views are 24 of 32 pixels, and ISD's, which Muon updates, 16 to 24."""
Rate = Callable[[float], float]
"""Seconds to run for -> images a second."""


def timed(step: Callable[[], object], batch: int, warm: int = WARM_STEPS) -> Rate:
    """The rate of a step that is called until the time is up, after `warm` calls that are not counted."""

    def rate(seconds: float) -> float:
        for _ in range(warm):
            step()
        began, steps = time.perf_counter(), 0
        while steps < LEAST_STEPS or time.perf_counter() - began < seconds:
            step()
            steps += 1
        return steps * batch / (time.perf_counter() - began)

    return rate


def model_alone(images: Images, asked: dict[str, Any]) -> Rate:
    """Forward, backward, optimiser and teacher, as lightly trains, on views that were made before."""
    _, wanted, given = sort_asked(asked | AS_LIGHTLY)
    method_class = methods.find(wanted.method)
    machine = detect("cpu")
    sized = image_size(wanted, 32, machine.device)
    plan = resolve(wanted, given, method_class, data_facts(images, 32), machine, sized)
    facts = replace(facts_of(plan, method_class, images), steps_per_epoch=len(images) // plan.batch_size)
    method, _ = build_method(plan, method_class, facts, 1)
    engine = fabric(machine, plan.precision)
    wrapped, optimizer = engine.setup(method, optimisers.build(method.parameter_groups(), plan.optimisation))
    index = np.arange(plan.batch_size)
    views = make_views(method.views, *images.gather(index), seed=0, step=0)
    batch = Batch(torch.from_numpy(index), None)

    def step() -> None:
        method.before_step(Progress(0, 0.0, 0))
        engine.backward(wrapped(views, batch).loss)
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(Progress(0, 0.0, 0))

    return timed(step, plan.batch_size)


def whole(data: Path, asked: dict[str, Any], count: int, alone: Callable[[], float]) -> Rate:
    """`likewise.train` from its second line of metrics to its last: data, views, model, metrics, health."""

    def rate(seconds: float) -> float:
        steps = max(WARM_STEPS + LEAST_STEPS, round(seconds * alone() / asked["batch_size"]))
        with TemporaryDirectory() as folder:
            done = train(data, **asked, epochs=steps * asked["batch_size"] / count, out=str(Path(folder) / "run"),
                         quiet=True, report=False, loggers=())  # fmt: skip
            lines = [json.loads(line) for line in (done.path / "metrics.jsonl").read_text().splitlines()]
        first, last = lines[0], lines[-1]
        return float((last["images"] - first["images"]) / (last["minutes"] - first["minutes"]) / 60)

    return rate


def with_workers(training: Training) -> Rate:
    """lightly's rate. Its workers live as long as its turn, and what they have ready by its first step is used up."""
    running = timed(training.step, training.batch, WARM_STEPS + AHEAD)

    def rate(seconds: float) -> float:
        try:
            return running(seconds)
        finally:
            training.close()

    return rate


def one_case(data: Path, images: Images, method: str, width: int, options: argparse.Namespace, notes: list[str]) \
        -> dict[str, Any]:  # fmt: skip
    """The rates of all sides for one method and one width, in turn."""
    batch = 16 if options.quick else BATCHES[width]
    asked = {"method": method, "width": width, "batch_size": batch, "device": "cpu", **METHODS[method]}
    if options.quick:
        asked |= {"queue_size": 64} if method != "byol" else {}
    seconds, rounds = (0.0, 2) if options.quick else (options.seconds, options.rounds)
    rates: dict[str, list[float]] = {"model alone": []}
    alone = model_alone(images, asked)
    sides: dict[str, Rate] = {
        "model alone": alone,
        "likewise, as lightly": whole(data, asked | AS_LIGHTLY, len(images), lambda: rates["model alone"][-1]),
        "likewise": whole(data, asked, len(images), lambda: rates["model alone"][-1]),
    }
    if peer("lightly.transforms", notes) is not None:
        spec = EncoderSpec(name="resnet18", width=width, stem="small", image_size=32)
        pixels = images.gather(np.arange(len(images)))[0].numpy()
        sides["lightly"] = with_workers(Training(build(spec), method, pixels, batch))
    for number in range(rounds):
        for name in sides if number % 2 == 0 else reversed(sides):
            rates.setdefault(name, []).append(sides[name](seconds))
    middle = {name: rounded(median(values)) for name, values in rates.items()}
    found = {"method": method, "width": width, "batch": batch, "pictures/s": middle,
             "share": ratio(rates["likewise, as lightly"], rates["model alone"])}  # fmt: skip
    if "lightly" in rates:
        found["beside lightly"] = ratio(rates["likewise"], rates["lightly"])
        found["as lightly beside lightly"] = ratio(rates["likewise, as lightly"], rates["lightly"])
    return found


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Median of the ratios of the rounds."""
    return rounded(median(our / their for our, their in zip(ours, theirs, strict=True)))


def training_data(folder: Path, *, quick: bool) -> Path:
    """CIFAR-10, or a small file of images where it is not, or where it has to be quick."""
    try:
        if not quick:
            return cifar10_file()
    except InputError:
        pass
    np.save(folder / "pictures.npy", small_images(256 if quick else 8192))
    return folder / "pictures.npy"


def measure(options: argparse.Namespace) -> Outcome:
    """All methods at both widths."""
    found = Outcome(
        "Training loop",
        "Whole training runs on CIFAR-10 at 32 px with ResNet-18 and the small stem, float32 unless the processor "
        "multiplies bfloat16, against the same model on views made before, and against lightly with its own transforms "
        "and two workers. MoCo v2 and BYOL in both directions with ordinary batch norms, as lightly trains them; "
        "lightly has no ISD, which is put together of its parts. "
        f"Batch {BATCHES[16]} at width 16, {BATCHES[64]} at 64. likewise by default, with views of 24 px, ISD with "
        "Muon and views of 16 to 24 px, and as lightly trains: views of 32 px and SGD, like the model alone.",
    )
    keep_freed_memory()  # for all sides; ours would do it in the first turn, and those after it would have it as well
    with TemporaryDirectory() as folder:
        data = training_data(Path(folder), quick=options.quick)
        split = None if data.suffix == ".npy" else "train"
        images = prepare(open_source(data, split=split), short_side=None)
        cases = [
            one_case(data, images, method, width, options, found.notes)
            for width in ((16,) if options.quick else (16, 64))
            for method in (("isd",) if options.quick else METHODS)
        ]
    found.figures["cases"] = cases
    found.table(
        "Images a second",
        ["method", "width", "lightly", "model alone", "likewise, as lightly", "share of the model alone",
         "likewise", "as lightly beside lightly", "likewise beside lightly"],
        [
            [case["method"], case["width"], case["pictures/s"].get("lightly"), case["pictures/s"]["model alone"],
             case["pictures/s"]["likewise, as lightly"], f"{case['share']:.0%}", case["pictures/s"]["likewise"],
             case.get("as lightly beside lightly"), case.get("beside lightly")]
            for case in cases
        ],
    )  # fmt: skip
    least = min(case["share"] for case in cases)
    met = None if options.quick else least >= 0.95
    found.target("smallest share of the model alone", ">= 0.95", least, met=met)
    for width, wanted in ((16, 3.0), (64, 1.8)):
        times = [case["beside lightly"] for case in cases if case["width"] == width and "beside lightly" in case]
        if times:
            met = None if options.quick else min(times) >= wanted
            found.target(f"beside lightly at width {width}, smallest", f">= {wanted} x", min(times), met=met)
    return found


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and print."""
    parser = parser_of("loop", MINUTES)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each side in each round")
    parser.add_argument("--rounds", type=int, default=4, help="of all sides, every other one in reversed order")
    return run("loop", measure, parser, arguments)


if __name__ == "__main__":
    main()
