"""The progress display of a training run, and the shares of its time."""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

Part = Literal["data", "views", "model", "refresh"]
PARTS: tuple[Part, ...] = ("data", "views", "model")
"""What every step consists of."""
OCCASIONAL: tuple[Part, ...] = ("refresh",)
"""What some methods do between epochs; not mentioned where it takes no time."""

PLAIN_SECONDS = 10.0
"""Between two lines where the output is not a terminal."""


# Where the time goes -----------------------------------------------------------------------------------------------


class _Span(NamedTuple):
    """A stretch of work on a CUDA device, between two marks in its queue."""

    part: Part
    began: torch.cuda.Event
    ended: torch.cuda.Event


class Stopwatch:
    """Accounts time to data, views, model and refresh; what is left is logging, checkpoints and the like.

    `enter(part)` ends the part before and begins the next. On a CUDA device the host only queues work, so its clock
    says nothing about who was waited for; there a mark is put into the device's queue at each change, and the marks
    that have passed are read later. Between two marks the device either worked or starved, so waiting for data shows as
    time of `data` only when the device really had nothing to do. Nothing synchronises.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._cuda = torch.device(device).type == "cuda"
        self._part: Part | None = None
        self._since = self._lap_began = time.perf_counter()
        self._mark: torch.cuda.Event | None = None
        self._spans: deque[_Span] = deque()
        self._seconds = dict.fromkeys(PARTS + OCCASIONAL, 0.0)

    def enter(self, part: Part) -> None:
        """Time from here on counts for `part`."""
        self._close()
        self._part = part

    def leave(self) -> None:
        """Time from here on counts for no part."""
        self._close()
        self._part = None

    def _close(self) -> None:
        """Give the part that ends its time."""
        if self._cuda:
            mark = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            mark.record()
            if self._part is not None and self._mark is not None:
                self._spans.append(_Span(self._part, self._mark, mark))
            self._mark = mark
            return
        now = time.perf_counter()
        if self._part is not None:
            self._seconds[self._part] += now - self._since
        self._since = now

    def _collect(self) -> None:
        """Take the spans that the device has finished; later ones count in the next lap."""
        while self._spans and self._spans[0].ended.query():  # type: ignore[no-untyped-call]
            span = self._spans.popleft()
            self._seconds[span.part] += span.began.elapsed_time(span.ended) / 1000.0

    def lap(self) -> dict[str, float]:
        """`share_data`, `share_views`, `share_model` of the wall time since the last lap, each 0 to 1.

        `share_refresh` is among them where there was a refresh.
        """
        if self._cuda:
            self._collect()
        elif self._part is not None:
            self._close()
        now = time.perf_counter()
        elapsed = max(now - self._lap_began, sum(self._seconds.values()), 1e-9)
        result = [part for part in PARTS + OCCASIONAL if part in PARTS or self._seconds[part] > 0]
        shares = {f"share_{part}": self._seconds[part] / elapsed for part in result}
        self._seconds = dict.fromkeys(PARTS + OCCASIONAL, 0.0)
        self._lap_began = now
        return shares


# What is shown -----------------------------------------------------------------------------------------------------


def duration(seconds: float) -> str:
    """`1:02:03`, `4:05`, or `-` when unknown."""
    if not math.isfinite(seconds) or seconds < 0:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def describe(metrics: Mapping[str, Any]) -> str:
    """The most important numbers of a line of metrics, in one line; missing ones are left out."""
    words = []
    for name, form in (
        ("loss", "loss {:.4g}"),
        ("images_per_second", "{:,.0f} images/s"),
        ("knn", "kNN {:.1%}"),
    ):
        value = metrics.get(name)
        if isinstance(value, int | float):
            words.append(form.format(value))
    if metrics.get("health"):
        words.append(str(metrics["health"]))
    shares = [f"{part} {metrics[f'share_{part}']:.0%}" for part in PARTS + OCCASIONAL if f"share_{part}" in metrics]
    return "  ".join(words + ([" ".join(shares)] if shares else []))


class ProgressDisplay:
    """A moving bar on a terminal, a line every ten seconds anywhere else, nothing where `enabled` is false.

    `advance` is called at every step and costs next to nothing; `show` when numbers were read. Only one process of a
    run should be enabled. Everything goes to standard error, so that standard output can be piped.
    """

    def __init__(
        self, *, enabled: bool = True, start_fraction: float = 0.0, console: Console | None = None, label: str = "train"
    ) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._enabled = enabled
        self._began, self._start = time.monotonic(), start_fraction
        self._step, self._fraction, self._text = 0, start_fraction, ""
        self._last_line = -math.inf
        self._bar: Progress | None = None
        self._task = TaskID(0)
        if enabled and self._console.is_terminal:
            self._bar = Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.percentage:>5.1f} %  {task.fields[left]} left  {task.fields[text]}", markup=False),
                console=self._console,
                refresh_per_second=4,
            )
            self._task = self._bar.add_task(label, total=1.0, left="-", text="")
            self._bar.update(self._task, completed=start_fraction)
            self._bar.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def seconds_left(self) -> float:
        """Time to the end of the budget at the pace so far; NaN before there is one. Resumed work is not counted."""
        done = self._fraction - self._start
        if done <= 0:
            return math.nan
        return (time.monotonic() - self._began) * (1.0 - self._fraction) / done

    def advance(self, step: int, fraction: float) -> None:
        """`step` optimiser steps are done, which is `fraction` of the budget."""
        self._step, self._fraction = step, min(max(fraction, 0.0), 1.0)
        if self._bar is not None:
            self._bar.update(self._task, completed=self._fraction, left=duration(self.seconds_left()))

    def show(self, metrics: Mapping[str, Any]) -> None:
        """Numbers that were just read (a line of metrics): the first and the last are always shown."""
        if not self._enabled:
            return
        self._text = describe(metrics)
        if self._bar is not None:
            self._bar.update(self._task, text=self._text)
        elif time.monotonic() - self._last_line >= PLAIN_SECONDS or self._fraction >= 1.0:
            self._last_line = time.monotonic()
            self._line()

    def due(self) -> bool:
        """Whether `show` would print a line now; true for a terminal, whose text is never too fresh."""
        return self._enabled and (self._bar is not None or time.monotonic() - self._last_line >= PLAIN_SECONDS)

    def _line(self) -> None:
        left = duration(self.seconds_left())
        self._console.print(
            f"step {self._step:,}  {self._fraction:.1%}  {left} left  {self._text}", markup=False, soft_wrap=True
        )

    def say(self, text: str) -> None:
        """A message of its own, above the bar."""
        if self._enabled:
            self._console.print(text, markup=False, soft_wrap=True)

    def close(self) -> None:
        """Leave the last state on the screen and give the terminal back. May be called twice."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
            self._enabled = False


# Decoding ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def decoding(name: str, *, enabled: bool = True, verb: str = "decode") -> Iterator[Callable[[int, int], None]]:
    """A bar for the images that are decoded once before training; yields what to call with (done, total).

    Nothing is shown where the images are decoded already, since then nothing is called.
    """
    console = Console(stderr=True, highlight=False)
    words = TextColumn(f"[bold]{verb}[/] {{task.description}}")
    columns = (words, BarColumn(bar_width=24), TextColumn("{task.completed:,}"))
    bar = Progress(*columns, console=console, disable=not (enabled and console.is_terminal), transient=True)
    with bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
