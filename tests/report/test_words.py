"""The report in sentences."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from likewise.commands import following
from likewise.report import words
from likewise.report.facts import RunFacts
from tests.report.conftest import MakeRun, score


def with_last(run: Path, **values: Any) -> RunFacts:
    """The run with another last line of metrics, thirty times, so that it counts."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    lines += [json.dumps({**json.loads(lines[-1]), **values})] * 30
    (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return RunFacts.read(run)


def test_a_healthy_run_says_why(make_run: MakeRun) -> None:
    verdict = words.verdict(RunFacts.read(make_run()))
    assert verdict.word == "healthy"
    assert "spread 0.80" in verdict.sentence
    assert "20 directions" in verdict.sentence
    assert "share its class" in verdict.sentence


@pytest.mark.parametrize(
    ("values", "seen", "suspect"),
    [
        ({"health": "collapsed", "spread": 0.004}, "almost the same embedding", "learning_rate = 0.06"),
        ({"health": "at risk", "effective_rank": 1.3}, "hardly more than one direction", "temperature_student = 0.1"),
        ({"health": "at risk", "teacher_entropy": 8.3}, "equally similar", "temperature_teacher = 0.02"),
        ({"health": "at risk", "teacher_entropy": 0.001}, "a single neighbour", "temperature_teacher = 0.02"),
    ],
)
def test_what_is_wrong_is_said_with_the_setting_at_fault(
    make_run: MakeRun, values: dict[str, Any], seen: str, suspect: str
) -> None:
    verdict = words.verdict(with_last(make_run(), **values))
    assert verdict.word == values["health"]
    assert seen in verdict.sentence
    assert suspect in verdict.sentence


def test_the_reason_of_the_run_itself_comes_first(make_run: MakeRun) -> None:
    reason = "the loss of step 12 is nan"
    verdict = words.verdict(RunFacts.read(make_run(status="stopped", reason=reason)))
    assert verdict.title == "Stopped by itself"
    assert reason in verdict.sentence


def test_before_and_after_are_the_same_measurement(make_run: MakeRun) -> None:
    facts = RunFacts.read(
        make_run(
            scores=[
                score("untrained", 0.2, 1),
                score("teacher", 0.7),
                score("student", 0.5, 1),
                score("student", 0.6),
                {**score("untrained", 0.9), "data": "others"},
            ]
        )
    )
    assert facts.gain is not None
    assert facts.gain.after == 0.6
    assert facts.gain.before is None


def test_without_scores_the_curve_speaks(make_run: MakeRun) -> None:
    run = make_run(scores=[])
    assert RunFacts.read(run).gain is None
    facts = with_last(run, knn=0.5)
    assert facts.gain is not None
    assert (facts.gain.before, facts.gain.after) == (0.5, 0.5)


def test_time_adds_up_to_all_of_it(make_run: MakeRun) -> None:
    shares = RunFacts.read(make_run()).time_shares
    assert shares is not None
    assert shares == pytest.approx({"data": 0.05, "views": 0.15, "model": 0.7, "rest": 0.1})
    assert "70\u00a0%" in words.time_words(shares)
    assert "disk" in words.time_words({"data": 0.6, "views": 0.1, "model": 0.3, "rest": 0.0})


def test_commands_can_be_typed(make_run: MakeRun) -> None:
    run = make_run(status="interrupted", scores=[], data={"path": "my photos/"})
    facts = RunFacts.read(run)
    commands = [command for _, command in following(facts.path, facts.run)]
    assert shlex.split(commands[0])[:3] == ["likewise", "train", "my photos/"]
    assert "--resume" in commands[0]
    assert "--format onnx" in commands[1]
    assert len(commands) == 2  # nothing is scored without labels


def test_the_headline_fits_what_is_known(make_run: MakeRun) -> None:
    run = make_run(status="running", minutes=None, data={})
    assert words.headline(RunFacts.read(run)) == "ISD is learning from images, without labels: 6 minutes so far."
    assert words.status_words({"status": "finished", "finished": "2026-01-05T10:00:00+00:00"}) == (
        "finished 5\u00a0Jan\u00a02026"
    )
    assert words.status_words({}) == "unknown"
