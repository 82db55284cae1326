"""The training loop: batch -> views -> method -> update, with monitoring, logging and checkpoints.

One code path for one process and many. Everything random follows from (seed, step), so the state of a run is its
step, its method and its optimiser, and a resumed run continues bit for bit.
"""

from __future__ import annotations

import signal
import time
from collections import defaultdict
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from likewise.data import LoadedBatch, Sampler
from likewise.distributed import reduced
from likewise.errors import TrainingStopped
from likewise.methods.method import Progress, Terms
from likewise.runs import RunDirectory
from likewise.training import checkpoints
from likewise.training.update import Update
from likewise.training.votes import Clock, Interruption, Votes
from likewise.training.watching.health import Health, Report
from likewise.training.watching.loggers import Logger
from likewise.training.watching.progress import ProgressDisplay, Stopwatch


class Monitor(Protocol):
    """Scores an encoder during training; `likewise.evaluation.online.OnlineProbe` is one."""

    seconds: float
    """What it has taken so far."""

    def begin(self, fraction: float) -> dict[str, Any]:
        """Measure before training, `fraction` of the budget used; what run.json says of it."""
        ...

    def due(self, fraction: float, seconds: float) -> bool:
        """Whether to measure now, that share of the budget and so many seconds into the session."""
        ...

    def last(self, fraction: float, seconds: float) -> bool:
        """Whether to measure once more at the end."""
        ...

    def measure(self, fraction: float) -> float:
        """Accuracy of the encoder as it is now, 0 to 1."""
        ...


LOGGED_POINTS = 500
"""About how many lines of metrics a run of known length leaves; never more often than every tenth step."""
SECONDS_BETWEEN_CHECKPOINTS = (10.0, 120.0)
"""Least time between two at the ends of epochs, most time between any two."""


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
        update: Update,
        watch: Stopwatch,
        run: RunDirectory,
        loggers: list[Logger],
        health: Health,
        clock: Clock,
        checkpoint_minutes: float | None,
        keep: int,
        quiet: bool,
        probe: Monitor | None = None,
    ) -> None:
        """`update` and `clock` are where the run begins or goes on; `watch` is what `update` tells the time to."""
        self.update, self.watch, self.run, self.clock = update, watch, run, clock
        self.fabric, self.method, self.plan, self.loader = update.fabric, update.method, update.plan, update.loader
        self.loggers, self.health, self.keep = loggers, health, keep
        least, most = SECONDS_BETWEEN_CHECKPOINTS
        self.checkpoint_seconds = (least, most) if checkpoint_minutes is None else (60 * checkpoint_minutes,) * 2
        enabled = self.fabric.is_global_zero and not quiet
        self.display = ProgressDisplay(enabled=enabled, start_fraction=clock.fraction())
        self.averages, self.votes = Averages(), Votes(clock, self.fabric.device)
        self.probe, self.minutes_before = probe, clock.minutes_used
        self.newest_score: dict[str, float] = {}
        self.last_checkpoint = self.last_line = time.monotonic()
        self.step_of_last_line = clock.step
        self.latest: Report | None = None
        self.reason = ""
        """Why this process wants the run to stop."""
        self.infinite_before = infinite(self.method)
        total = clock.total_steps
        self.log_every = 10 if total is None else max(1, min(50, total // LOGGED_POINTS), min(10, total // 10))

    def fit(self) -> signal.Signals | None:
        """Train; returns the signal that interrupted training, or None at the end of the budget.

        Raises TrainingStopped for a loss, a gradient or a state that is no number, or a collapsed encoder. A checkpoint
        of a state without such values stands behind in every case, and the method is in it.
        """
        self.clock.start()
        if self.clock.step == 0:
            self.checkpoint()  # so that there is one to go back to, and a disk that refuses is known now
        try:
            self._train()
            self.checkpoint()
            self.votes.hold(self.votes.signal, stop_here=bool(self.reason), at_once=True)
            self._stop_with_reason()
        except TrainingStopped as stopped:
            self.watch.leave()
            self._back_to_good(stopped)
            raise
        return self.votes.signal

    def _train(self) -> None:
        clock, votes = self.clock, self.votes
        batches = self._batches()
        try:
            with Interruption() as interruption, self.display:
                self._begin_probe()
                while clock.fraction() < 1.0 and votes.signal is None:
                    progress, begins = clock.progress(), clock.step % clock.steps_per_epoch == 0
                    if self.update.refresh(progress, epoch_begins=begins) and self.method.sample_weights() is not None:
                        batches.close()  # those fetched ahead were drawn by the weights before
                        batches = self._batches()
                    self.watch.enter("data")
                    self._step(next(batches))
                    clock.step += 1
                    votes.hold(interruption.signal, stop_here=bool(self.reason))
                    self.display.advance(clock.step, clock.fraction())
                    self._log()
                    self._maybe_checkpoint()
                    self._stop_with_reason()
                self.update.settle(clock.step)
                self.watch.leave()
        finally:
            batches.close()

    def _stop_with_reason(self) -> None:
        """Stop where the health or the state of the run says so, in all processes at the same step."""
        if self.votes.stop or (self.reason and self.fabric.world_size == 1):
            reason = self.reason or "another process says why"
            raise TrainingStopped(f"training stopped at step {self.clock.step}: {reason}")

    def _batches(self) -> Generator[LoadedBatch, None, None]:
        """Batches from this step on, drawn as the method wants them."""
        weights, order = self.method.sample_weights(), self.loader.sampler
        if isinstance(order, Sampler):
            order.weigh(None if weights is None else weights.double().cpu().numpy())
        elif weights is not None:
            raise TypeError(f"{type(self.method).__name__} weighs images, and its main stream is not shuffled")
        return self.loader.batches(self.clock.step)

    def _step(self, loaded: LoadedBatch) -> None:
        """One update of the weights."""
        self.update.step(loaded, self.clock.progress(), self._observe)

    def _observe(self, progress: Progress, terms: Terms) -> None:
        self.averages.add(terms)
        self.health.observe(progress, terms)

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
            "learning_rate": self.update.optimizer.optimizer.param_groups[0]["lr"],
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
        if report.stop and self.fabric.is_global_zero:  # others see other shares of the batch
            self.reason = f"collapsed, {report.reason}"

    def _begin_probe(self) -> None:
        """Measure the encoder before training, by images whose labels it never learns from."""
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
        names = sorted(means)
        together = reduced([means[name] for name in names], "mean", self.fabric.device)
        return dict(zip(names, together, strict=True))

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
        """Save everything that a resumed run needs; returns the file on the process that wrote it.

        A state with values that are no numbers is not written, since it would push out those that can be used; it is a
        reason to stop.
        """
        self.last_checkpoint = time.monotonic()
        if not self.fabric.is_global_zero:
            return None
        if broken := self._broken():
            self.reason = f"{', '.join(broken[:3])} of the method hold values that are no numbers"
            return None
        state = {
            "method": self.method.state_dict(),
            "optimizer": self.update.optimizer.optimizer.state_dict(),
            "precision": self.update.precision.state_dict(),
            "progress": {"step": self.clock.step, "minutes": self.clock.minutes_used},
        }
        return checkpoints.save(self.run.checkpoints, self.clock.step, state, self.keep)

    def _broken(self) -> list[str]:
        """Names of what in the method became infinite or not a number since it began."""
        return [name for name in infinite(self.method) if name not in self.infinite_before]

    def _back_to_good(self, stopped: TrainingStopped) -> None:
        """Save the state where it is good, else put the method back to its last checkpoint; say which one stands."""
        if not self.fabric.is_global_zero:
            return
        broken = bool(self._broken())
        if not broken:
            self.checkpoint()
        last = checkpoints.latest(self.run.checkpoints)
        if last is None:  # the disk took none
            return
        if broken:
            state = checkpoints.load(last)
            self.method.load_state_dict(state["method"])
            self.clock.step, self.clock.minutes_used = state["progress"]["step"], state["progress"]["minutes"]
        stopped.args = (f"{stopped}; the checkpoint of step {checkpoints.step_of(last)} holds a good state",)


def infinite(method: nn.Module) -> list[str]:
    """Names of the parameters and buffers that hold a value that is infinite or no number. Waits for the device."""
    state = {name: value for name, value in method.state_dict().items() if value.is_floating_point()}
    good = [value.isfinite().all() for value in state.values()]
    return [name for name, each in zip(state, torch.stack(good).tolist(), strict=True) if not each] if good else []
