"""The end of a run, agreed by all of its processes: its budget, a signal, or a reason to stop."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, field
from types import FrameType, TracebackType
from typing import Any, Self

import torch

from likewise.distributed import reduced, world
from likewise.methods.method import Progress

REACTION_SECONDS = 1.0
"""About the time after which processes answer a signal."""
REACTION_SHARE = 0.005
"""The same as a share of a budget in minutes: so finely do several processes know the time."""
MOST_STEPS = 64
"""Between two votes, however short the steps."""


@dataclass
class Clock:
    """The position of a run in its budget."""

    epochs: float | None
    minutes: float | None
    steps_per_epoch: int
    step: int = 0
    minutes_used: float = 0.0
    """Minutes of training up to the last `settle`, over all sessions of a resumed run."""
    _since: float = field(default_factory=time.monotonic)
    _now: float = field(default_factory=time.monotonic)

    def start(self) -> None:
        """Training begins, or goes on, now: what was prepared before, such as a teacher's vectors, is not counted."""
        self._since = self._now = time.monotonic()

    def read(self) -> float:
        """Minutes of training by this process's clock, up to now."""
        self._now = time.monotonic()
        return self.minutes_used + (self._now - self._since) / 60.0

    def settle(self, minutes: float) -> None:
        """So many minutes had been used when the clock was read last."""
        self.minutes_used, self._since = minutes, self._now

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


class Votes:
    """The decisions that all processes of a run share. `hold` between steps, in all of them alike.

    A vote of several processes waits for the device, so it is held every few steps: about once in a second, or in a
    two-hundredth of a budget in minutes where that is less. All that is decided goes into one reduction. In between
    the time of a budget in minutes stands still, for schedules follow it, and so do the teachers of all processes.
    """

    def __init__(self, clock: Clock, device: torch.device) -> None:
        self._clock, self._device = clock, device
        self.signal: signal.Signals | None = None
        """What ends the run from outside, in whichever process it arrived."""
        self.stop = False
        """Whether a process has a reason to stop the run."""
        self._next = self._last_step = clock.step
        self._last_time = time.monotonic()
        budget = REACTION_SECONDS if clock.minutes is None else REACTION_SHARE * 60.0 * clock.minutes
        self._seconds = min(REACTION_SECONDS, budget)

    def hold(self, signal_here: signal.Signals | None, *, stop_here: bool, at_once: bool = False) -> None:
        """Give this process's wishes and time; what is decided stands in `signal`, `stop` and the clock afterwards.

        `at_once`: do not wait for the step of the next vote.
        """
        clock = self._clock
        minutes = clock.read()
        if world() == 1:
            clock.settle(minutes)
            self.signal, self.stop = signal_here, stop_here
            return
        if clock.minutes is None:  # nothing but what is written down depends on it
            clock.settle(minutes)
        if clock.step < self._next and not at_once:
            return
        now = time.monotonic()
        pace = (now - self._last_time) / max(1, clock.step - self._last_step)
        mine = (float(signal_here or 0), float(stop_here), minutes, pace)
        number, stop, agreed, slowest = reduced(mine, "max", self._device)
        if clock.minutes is not None:
            clock.settle(agreed)
        self.signal, self.stop = signal.Signals(int(number)) if number else None, bool(stop)
        self._last_time, self._last_step = now, clock.step
        self._next = clock.step + min(MOST_STEPS, max(1, int(self._seconds / max(slowest, 1e-9))))
