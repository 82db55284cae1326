"""The training loop: batch -> views -> method -> update, and what is watched, logged and saved meanwhile.

One code path for one process and many. Everything random follows from (seed, step), so the state of a run is its
step, its method and its optimiser, and a resumed run continues bit for bit.
"""

from __future__ import annotations

import signal
import time
from collections import defaultdict
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor

from likewise.data import LoadedBatch, Loader
from likewise.errors import TrainingStopped
from likewise.methods.method import Batch, Method, Progress, Terms, composer
from likewise.runs import RunDirectory
from likewise.training import checkpoints, scheduled
from likewise.training.health import FiniteGuard, Health, Report
from likewise.training.loggers import Logger
from likewise.training.optimisers import set_decay, set_rate
from likewise.training.progress import ProgressDisplay, Stopwatch
from likewise.training.refresh import refresh
from likewise.training.resolve import Plan
from likewise.training.seeding import seed_step
from likewise.views import make_views

if TYPE_CHECKING:
    from likewise.training.online import OnlineProbe

LOGGED_POINTS = 500
"""About how many lines of metrics a run of known length leaves; never more often than every tenth step."""
SECONDS_BETWEEN_CHECKPOINTS = (10.0, 120.0)
"""Least time between two at the ends of epochs, most time between any two."""


def largest(fabric: Fabric, value: float) -> float:
    """The largest value that any process holds: what all of them then agree on."""
    if fabric.world_size == 1:
        return value
    return float(cast("Tensor", fabric.all_reduce(torch.tensor(value, device=fabric.device), reduce_op="max")))


@dataclass
class Clock:
    """Where a run stands, and how much of its budget is used."""

    epochs: float | None
    minutes: float | None
    steps_per_epoch: int
    step: int = 0
    minutes_used: float = 0.0
    """Minutes of training up to the last `tick`, over all sessions of a resumed run."""
    _last: float = field(default_factory=time.monotonic)

    def tick(self, fabric: Fabric) -> None:
        """Read the time. Processes agree on it, or their schedules, and so their teachers, would drift apart."""
        now = time.monotonic()
        self.minutes_used, self._last = self.minutes_used + (now - self._last) / 60.0, now
        if self.minutes is not None:
            self.minutes_used = largest(fabric, self.minutes_used)

    @property
    def total_steps(self) -> int | None:
        """Length of the run in steps, where it is known beforehand."""
        return None if self.epochs is None else max(1, round(self.epochs * self.steps_per_epoch))

    def fraction(self) -> float:
        """Share of the budget used, 0 to 1."""
        if self.total_steps is not None:
            return min(1.0, self.step / self.total_steps)
        assert self.minutes is not None
        return min(1.0, self.minutes_used / self.minutes)

    def progress(self) -> Progress:
        """The same for methods and schedules."""
        return Progress(self.step, self.fraction(), self.step // self.steps_per_epoch)


class Interruption:
    """Turns SIGINT and SIGTERM into a flag that is looked at between steps; a second signal acts as usual."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[number] = signal.signal(number, self._note)
            except ValueError:  # not in the main thread: whoever runs this thread handles signals
                break
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._restore()


class Averages:
    """Means of named scalars between two lines of metrics, summed on the device and read once."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, terms: Terms) -> None:
        """Add the loss and the parts of one step."""
        for name, value in {"loss": terms.loss, **terms.parts}.items():
            number = value.detach().float()
            self._sums[name] = self._sums[name] + number if name in self._sums else number
            self._counts[name] += 1

    def take(self) -> dict[str, float]:
        """The means, and start again."""
        means = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        self._sums.clear()
        self._counts.clear()
        return means


class Loop:
    """Trains one method to the end of its budget, an interruption, or a reason to stop."""

    def __init__(
        self,
        *,
        fabric: Fabric,
        method: Method,
        optimizer: torch.optim.Optimizer,
        loader: Loader,
        plan: Plan,
        run: RunDirectory,
        loggers: list[Logger],
        health: Health,
        clock: Clock,
        checkpoint_minutes: float | None,
        keep: int,
        quiet: bool,
        probe: OnlineProbe | None = None,
    ) -> None:
        self.fabric, self.method, self.plan, self.run, self.clock = fabric, method, plan, run, clock
        self.wrapped, self.optimizer = fabric.setup(method, optimizer)
        self.precision = fabric.strategy.precision
        self.loader, self.loggers, self.health, self.keep = loader, loggers, health, keep
        least, most = SECONDS_BETWEEN_CHECKPOINTS
        self.checkpoint_seconds = (least, most) if checkpoint_minutes is None else (60 * checkpoint_minutes,) * 2
        self.display = ProgressDisplay(enabled=fabric.is_global_zero and not quiet, start_fraction=clock.fraction())
        self.watch = Stopwatch(fabric.device)
        self.averages, self.guard = Averages(), FiniteGuard()
        self.probe, self.minutes_before = probe, clock.minutes_used
        self.newest_score: dict[str, float] = {}
        self.last_checkpoint = self.last_line = time.monotonic()
        self.step_of_last_line = clock.step
        self.latest: Report | None = None
        total = clock.total_steps
        self.log_every = 10 if total is None else max(1, min(50, total // LOGGED_POINTS), min(10, total // 10))

    def fit(self) -> signal.Signals | None:
        """Train; returns the signal that interrupted training, or None at the end of the budget.

        Raises TrainingStopped for a non-finite loss or a collapsed encoder. A checkpoint stands behind in every case.
        """
        clock = self.clock
        batches = self._batches()
        try:
            with Interruption() as interruption, self.display:
                self._begin_probe()
                while clock.fraction() < 1.0 and not self._agreed(interruption.signal is not None):
                    if self._refreshed() and self.method.sample_weights() is not None:
                        batches.close()  # those fetched ahead were drawn by the weights before
                        batches = self._batches()
                    self.watch.enter("data")
                    self._step(next(batches))
                    clock.step += 1
                    clock.tick(self.fabric)
                    self.display.advance(clock.step, clock.fraction())
                    self._log()
                    self._maybe_checkpoint()
                self.watch.leave()
        finally:
            batches.close()
            for logger in self.loggers:
                logger.close()
        self.checkpoint()
        return interruption.signal

    def _agreed(self, here: bool) -> bool:
        """Whether any process wants this, so that all of them leave the loop at the same step."""
        return largest(self.fabric, float(here)) > 0

    def _batches(self) -> Generator[LoadedBatch, None, None]:
        """Batches from this step on, drawn as the method wants them."""
        weights = self.method.sample_weights()
        self.loader.sampler.weigh(None if weights is None else weights.double().cpu().numpy())
        return self.loader.batches(self.clock.step)

    def _refreshed(self) -> bool:
        """At the start of an epoch, show the method the whole data set if it wants to see it; whether it was shown.

        After the checkpoint of the epoch before, not in it: a run resumed from there refreshes as this one does.
        """
        progress = self.clock.progress()
        begins = self.clock.step % self.clock.steps_per_epoch == 0
        if not (begins and self.method.refresh_due(progress.epoch)) and not self.method.refresh_lost():
            return False
        self.watch.enter("refresh")
        seed_step(self.plan.seed, progress.step)  # not by process: all of them must draw the same
        refresh(
            self.method,
            self.loader.images,
            self.plan.encoder,
            progress,
            device=self.fabric.device,
            autocast=self.fabric.autocast,
        )
        return True

    def _step(self, loaded: LoadedBatch) -> None:
        """One update of the weights."""
        progress, parts = self.clock.progress(), self.plan.accumulate
        seed_step(self.plan.seed, progress.step, self.fabric.global_rank)
        set_rate(self.optimizer.optimizer, scheduled.learning_rate(self.plan.optimisation, progress, self.plan.epochs))
        set_decay(self.optimizer.optimizer, scheduled.weight_decay(self.plan.optimisation, progress))
        self.method.before_step(progress)
        policies = scheduled.views_at(self.method.views, self.plan.optimisation, progress, flip=self.plan.flip)
        for number in range(parts):
            self.watch.enter("views")
            share = slice(number, None, parts)  # strided, like the shares of processes
            batch = Batch(loaded.index[share], None if loaded.labels is None else loaded.labels[share])
            views = make_views(
                policies,
                loaded.pixels[share],
                loaded.sizes[share],
                seed=self.plan.seed,
                step=progress.step * parts + number,
                rank=self.fabric.global_rank,
                world=self.fabric.world_size,
                compose=composer(self.method, batch),
            )
            self.watch.enter("model")
            with self.fabric.no_backward_sync(self.wrapped, enabled=number + 1 < parts):
                terms = self.wrapped(views, batch)
                self.guard.watch(terms.loss, batch.index)
                self.fabric.backward(terms.loss / parts)
            self.averages.add(terms)
            self.health.observe(progress, terms)
        self.guard.check(progress.step)
        self.precision.unscale_gradients(self.optimizer.optimizer)  # in float16 they are scaled up until here
        self.method.after_backward(progress)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.method.after_step(progress)

    def _log(self) -> None:
        """Read what was accumulated, write a line of metrics, and stop a run that only wastes time."""
        step, finished = self.clock.step, self.clock.fraction() >= 1.0
        if step % self.log_every and not finished:
            return
        now = time.monotonic()
        images = (step - self.step_of_last_line) * self.plan.batch_size
        score = self._score(finished=finished)
        report = self.health.report()
        metrics = {
            "step": step,
            "epoch": step / self.clock.steps_per_epoch,
            "fraction": self.clock.fraction(),
            "minutes": self.clock.minutes_used,
            "images": step * self.plan.batch_size,
            "learning_rate": self.optimizer.optimizer.param_groups[0]["lr"],
            "images_per_second": images / max(now - self.last_line, 1e-9),
            **self._mean_over_processes(self.averages.take()),
            **self.watch.lap(),
            **report.metrics(),
            **score,
        }
        self.last_line, self.step_of_last_line = time.monotonic(), step
        if self.fabric.is_global_zero:
            self.run.append_metrics(metrics)
            for logger in self.loggers:
                logger.log(step, metrics)
        self._announce(report)
        self.newest_score |= score
        self.display.show({**self.newest_score, **metrics})
        if self._agreed(report.stop and self.fabric.is_global_zero):
            self.checkpoint()
            raise TrainingStopped(f"training stopped at step {step}: collapsed, {report.reason}")

    def _begin_probe(self) -> None:
        """Measure the encoder before training, by pictures whose labels it never learns from."""
        if self.probe is not None and self.clock.fraction() < 1.0:
            facts = self.probe.begin(self.clock.fraction())
            self.run.write(online=facts)

    def _score(self, *, finished: bool) -> dict[str, float]:
        """What the probe finds now, if it is time for it; the process that has one need not wait for the others."""
        if self.probe is None:
            return {}
        fraction, seconds = self.clock.fraction(), 60.0 * (self.clock.minutes_used - self.minutes_before)
        if not (self.probe.last if finished else self.probe.due)(fraction, seconds):
            return {}
        self.watch.leave()
        return {"knn": self.probe.measure(fraction), "probe_seconds": self.probe.seconds}

    def _mean_over_processes(self, means: Mapping[str, float]) -> dict[str, float]:
        if self.fabric.world_size == 1:
            return dict(means)
        names = sorted(means)
        together = torch.tensor([means[name] for name in names], device=self.fabric.device)
        together = cast("Tensor", self.fabric.all_reduce(together))
        return dict(zip(names, together.tolist(), strict=True))

    def _announce(self, report: Report) -> None:
        """Say it when the verdict changes, not at every line."""
        before = self.latest.verdict if self.latest else "healthy"
        if report.verdict != before:
            self.display.say(f"health: {report.verdict}" + (f": {report.reason}" if report.reason else ""))
        self.latest = report

    def _maybe_checkpoint(self) -> None:
        least, most = self.checkpoint_seconds
        waited = time.monotonic() - self.last_checkpoint
        end_of_epoch = self.clock.step % self.clock.steps_per_epoch == 0
        if waited >= most or (end_of_epoch and waited >= least):
            self.watch.leave()
            self.checkpoint()

    def checkpoint(self) -> Path | None:
        """Save everything that a resumed run needs; returns the file on the process that wrote it."""
        self.last_checkpoint = time.monotonic()
        if not self.fabric.is_global_zero:
            return None
        state = {
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.optimizer.state_dict(),
            "precision": self.precision.state_dict(),
            "progress": {"step": self.clock.step, "minutes": self.clock.minutes_used},
        }
        return checkpoints.save(self.run.path / "checkpoints", self.clock.step, state, self.keep)
