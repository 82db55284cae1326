"""What processes decide together: when, by how many reductions, and that a signal to one is an answer of all."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from likewise.training import votes as module
from likewise.training.votes import MOST_STEPS, Clock, Votes


class Time:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(module.time, "monotonic", made.monotonic)
    return made


class Others:
    """All other processes of a run; `bring` is what they have in each reduction, in the order of the values."""

    def __init__(self) -> None:
        self.bring = [0.0, 0.0, 0.0, 0.0]
        self.reductions = 0

    def reduced(self, values: Sequence[float], how: str, device: torch.device) -> list[float]:
        assert how == "max"
        self.reductions += 1
        return [max(pair) for pair in zip(values, self.bring, strict=True)]


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> Others:
    made = Others()
    monkeypatch.setattr(module, "reduced", made.reduced)
    monkeypatch.setattr(module, "world", lambda: 2)
    return made


def clock_of(time: Time, **budget: Any) -> Clock:
    budget = {"epochs": None, "minutes": None, **budget}
    return Clock(**budget, steps_per_epoch=100, _since=time.now, _now=time.now)


def walk(votes: Votes, clock: Clock, time: Time, steps: int, seconds: float, **hold: Any) -> None:
    for _ in range(steps):
        time.now += seconds
        clock.step += 1
        votes.hold(hold.get("signal_here"), stop_here=hold.get("stop_here", False))


def test_one_process_knows_at_once(time: Time) -> None:
    clock = clock_of(time, minutes=1.0)
    votes = Votes(clock, torch.device("cpu"))
    walk(votes, clock, time, 1, 30.0, signal_here=signal.SIGTERM, stop_here=True)
    assert (votes.signal, votes.stop) == (signal.SIGTERM, True)
    assert clock.fraction() == 0.5


@pytest.mark.parametrize(("seconds", "most"), [(0.1, 14), (0.001, 1000 // MOST_STEPS + 12), (5.0, 100)])
def test_votes_are_held_about_once_in_a_second(seconds: float, most: int, time: Time, others: Others) -> None:
    clock = clock_of(time, epochs=100.0)
    votes = Votes(clock, torch.device("cpu"))
    walk(votes, clock, time, 1000 if seconds < 0.1 else 100, seconds)
    assert 1 < others.reductions <= most


def test_a_signal_and_a_reason_of_another_process_arrive_within_a_second(time: Time, others: Others) -> None:
    clock = clock_of(time, epochs=100.0)
    votes = Votes(clock, torch.device("cpu"))
    walk(votes, clock, time, 50, 0.1)
    assert (votes.signal, votes.stop) == (None, False)
    others.bring = [float(signal.SIGINT), 1.0, 0.0, 0.0]
    walk(votes, clock, time, 11, 0.1)
    assert (votes.signal, votes.stop) == (signal.SIGINT, True)


def test_the_slowest_process_sets_the_pace_of_votes(time: Time, others: Others) -> None:
    clock = clock_of(time, epochs=100.0)
    others.bring = [0.0, 0.0, 0.0, 0.5]  # seconds a step
    votes = Votes(clock, torch.device("cpu"))
    walk(votes, clock, time, 40, 0.01)
    assert others.reductions >= 20


def test_minutes_stand_still_between_votes_and_are_those_of_the_latest_process(time: Time, others: Others) -> None:
    clock = clock_of(time, minutes=10.0)
    votes = Votes(clock, torch.device("cpu"))
    walk(votes, clock, time, 1, 0.1)
    others.bring = [0.0, 0.0, 5.0, 0.0]
    walk(votes, clock, time, 10, 0.1)
    assert clock.fraction() == 0.5
    before = clock.fraction()
    seen = []
    for _ in range(20):
        walk(votes, clock, time, 1, 0.1)
        seen.append(clock.fraction())
    assert seen[0] == before
    assert 2 <= len(set(seen)) <= 4, "a second is ten steps here"
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(0.5 + 2.0 / 600, abs=1.1 / 600)


def test_short_budgets_are_looked_at_more_often(time: Time, others: Others) -> None:
    clock = clock_of(time, minutes=0.1)
    votes = Votes(clock, torch.device("cpu"))
    walk(votes, clock, time, 60, 0.1)
    assert clock.fraction() == pytest.approx(1.0, abs=0.02)
    assert others.reductions == 60


def test_what_was_prepared_before_training_is_no_part_of_its_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("likewise.training.votes.time.monotonic", lambda: now[0])
    clock = Clock(None, 2.0, 10, minutes_used=0.5)
    now[0] = 600.0
    clock.start()
    now[0] = 630.0
    assert clock.read() == 1.0
