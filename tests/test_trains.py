"""The mark `trains` finds what trains, and the suite trains in float32 where nothing else is said."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

import likewise
from likewise.cli import main
from likewise.training.planning.machine import detect
from likewise.verbs.learning import train as module
from tests.trains import leads_to_train


def helper() -> None:
    module.train("pictures")


class Runner:
    def run(self) -> None:
        likewise.train("pictures")


def by_helper() -> None:
    helper()


def by_class() -> None:
    Runner().run()


def by_name() -> None:
    from likewise.verbs.learning.train import train

    train("pictures")


def by_command() -> None:
    main(["train", "pictures"])


def by_another_command() -> None:
    main(["evaluate", "run"])
    likewise.evaluate("run")


def not_at_all() -> None:
    detect("cpu")


@pytest.mark.parametrize("function", [by_helper, by_class, by_name, by_command])
def test_what_trains_is_found(function: Callable[[], None]) -> None:
    assert leads_to_train(function)


@pytest.mark.parametrize("function", [by_another_command, not_at_all])
def test_what_does_not_train_is_not(function: Callable[[], None]) -> None:
    assert not leads_to_train(function)


def test_the_number_format_does_not_follow_from_the_processor() -> None:
    assert detect("cpu").bf16 is (os.environ["LIKEWISE_BF16"] == "1")
