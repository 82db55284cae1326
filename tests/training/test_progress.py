"""Progress: a bar on a terminal, sparse lines elsewhere, and honest shares of time."""

from __future__ import annotations

import io
import math
import time
from typing import Any

import pytest
import torch
from rich.console import Console

from likewise.training.watching.progress import ProgressDisplay, Stopwatch, describe, duration


class Clock:
    """Time that passes only when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fake = Clock()
    monkeypatch.setattr(time, "monotonic", fake)
    monkeypatch.setattr(time, "perf_counter", fake)
    return fake


def console(*, terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=200, highlight=False)


def text_of(where: Console) -> str:
    file = where.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


METRICS: dict[str, Any] = {
    "step": 10,
    "loss": 5.43219,
    "images_per_second": 1234.5,
    "health": "healthy",
    "share_data": 0.02,
    "share_views": 0.18,
    "share_model": 0.795,
}


# Lines ---------------------------------------------------------------------------------------------------------------


def test_the_first_line_comes_at_once_and_the_next_after_ten_seconds(clock: Clock) -> None:
    where = console()
    with ProgressDisplay(console=where) as display:
        for step in range(1, 100):
            clock.sleep(1.0)
            display.advance(step, step / 100)
            display.show({**METRICS, "loss": float(step)})
    steps = [int(line.split()[1]) for line in text_of(where).splitlines()]
    assert steps == [1, 11, 21, 31, 41, 51, 61, 71, 81, 91]


def test_the_last_line_is_never_missing(clock: Clock) -> None:
    where = console()
    with ProgressDisplay(console=where) as display:
        for step in (1, 2):
            clock.sleep(0.1)
            display.advance(step, step / 2)
            display.show(METRICS)
    assert [line.split()[2] for line in text_of(where).splitlines()] == ["50.0%", "100.0%"]


def test_a_line_says_everything(clock: Clock) -> None:
    where = console()
    display = ProgressDisplay(console=where)
    clock.sleep(60.0)
    display.advance(1200, 0.25)
    display.show({**METRICS, "knn": 0.4321})
    assert text_of(where) == (
        "step 1,200  25.0%  3:00 left  loss 5.432  1,234 images/s  kNN 43.2%  healthy  data 2% views 18% model 80%\n"
    )


def test_what_is_not_known_is_left_out() -> None:
    assert describe({}) == ""
    assert describe({"loss": None, "health": "at risk"}) == "at risk"
    assert describe({"share_data": 0.5}) == "data 50%"


def test_nothing_is_printed_by_other_processes(clock: Clock) -> None:
    for terminal in (False, True):
        where = console(terminal=terminal)
        with ProgressDisplay(console=where, enabled=False) as display:
            display.advance(1, 0.5)
            display.show(METRICS)
            display.say("hello")
            assert not display.due()
        assert text_of(where) == ""


def test_due_says_when_reading_numbers_is_worth_it(clock: Clock) -> None:
    display = ProgressDisplay(console=console())
    assert display.due()
    display.show(METRICS)
    assert not display.due()
    clock.sleep(10.0)
    assert display.due()


def test_messages_may_hold_brackets() -> None:
    where = console()
    ProgressDisplay(console=where).say("run [red]photos[/red] [1]")
    assert text_of(where) == "run [red]photos[/red] [1]\n"


# A terminal ----------------------------------------------------------------------------------------------------------


def test_a_terminal_shows_a_bar_and_gets_its_cursor_back() -> None:
    where = console(terminal=True)
    with ProgressDisplay(console=where) as display:
        display.advance(5, 0.5)
        display.show(METRICS)
        display.say("health: at risk")
    shown = text_of(where)
    assert "50.0 %" in shown
    assert "loss 5.432" in shown
    assert "health: at risk" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l"), "the cursor stays hidden"
    display.close()  # a second time does no harm


def test_the_terminal_comes_back_after_an_error() -> None:
    where = console(terminal=True)

    def fail() -> None:
        with ProgressDisplay(console=where):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert "\x1b[?25h" in text_of(where)


# Time left -----------------------------------------------------------------------------------------------------------


def test_time_left_follows_the_pace_of_this_session(clock: Clock) -> None:
    """A run resumed at 80 % that does 5 % in a minute has three minutes left, whatever came before."""
    display = ProgressDisplay(console=console(), start_fraction=0.8)
    assert math.isnan(display.seconds_left())
    clock.sleep(60.0)
    display.advance(850, 0.85)
    assert display.seconds_left() == pytest.approx(180.0)
    display.advance(1000, 1.0)
    assert display.seconds_left() == 0.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (65.4, "1:05"), (3600, "1:00:00"), (90061, "25:01:01"), (59.7, "1:00"), (math.nan, "-"), (-1, "-")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# Shares of time ------------------------------------------------------------------------------------------------------


def test_shares_of_time(clock: Clock) -> None:
    watch = Stopwatch()
    for _ in range(3):
        for part, seconds in (("data", 1.0), ("views", 2.0), ("model", 6.0)):
            watch.enter(part)  # type: ignore[arg-type]
            clock.sleep(seconds)
        watch.leave()
        clock.sleep(1.0)
    assert watch.lap() == pytest.approx({"share_data": 0.1, "share_views": 0.2, "share_model": 0.6})


def test_a_lap_in_the_middle_of_a_part_loses_nothing(clock: Clock) -> None:
    watch = Stopwatch()
    watch.enter("model")
    clock.sleep(2.0)
    assert watch.lap() == {"share_data": 0.0, "share_views": 0.0, "share_model": 1.0}
    clock.sleep(1.0)
    watch.enter("data")
    clock.sleep(3.0)
    assert watch.lap() == pytest.approx({"share_data": 0.75, "share_views": 0.0, "share_model": 0.25})


def test_a_lap_of_no_time(clock: Clock) -> None:
    assert Stopwatch().lap() == {"share_data": 0.0, "share_views": 0.0, "share_model": 0.0}


class QueuedMark:
    """A mark in the queue of a device that runs behind its host: passed when the device gets there."""

    device_time = 0.0
    """How far the device has come."""
    next_at = 0.0
    """When the device will reach what is queued now."""

    def __init__(self, *, enable_timing: bool) -> None:
        assert enable_timing
        self.at = math.inf

    def record(self) -> None:
        self.at = QueuedMark.next_at

    def query(self) -> bool:
        return self.at <= QueuedMark.device_time

    def elapsed_time(self, other: QueuedMark) -> float:
        return (other.at - self.at) * 1000.0


def test_on_a_device_its_own_time_counts_and_nothing_waits(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host queues ten steps in no time; what the device has not done yet counts in the next lap."""
    monkeypatch.setattr(torch.cuda, "Event", QueuedMark)
    watch = Stopwatch("cuda")
    for _ in range(10):
        for part, seconds in (("data", 0.0), ("views", 0.25), ("model", 0.75)):
            watch.enter(part)  # type: ignore[arg-type]
            QueuedMark.next_at += seconds
    watch.leave()
    clock.sleep(4.0)
    QueuedMark.device_time = 4.0
    assert watch.lap() == pytest.approx({"share_data": 0.0, "share_views": 0.25, "share_model": 0.75})
    clock.sleep(6.0)
    QueuedMark.device_time = 10.0
    assert watch.lap() == pytest.approx({"share_data": 0.0, "share_views": 0.25, "share_model": 0.75})


def test_accounting_costs_next_to_nothing() -> None:
    watch = Stopwatch()
    began = time.perf_counter()
    for _ in range(1000):
        watch.enter("data")
        watch.enter("model")
    assert time.perf_counter() - began < 0.1
