"""Loggers: the same numbers everywhere, resumed curves, and a clear word where an extra is missing."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from likewise.errors import InputError
from likewise.training.watching.loggers import LOGGERS, numbers, open_loggers

METRICS: dict[str, Any] = {"step": 7, "loss": 0.5, "health": "healthy", "bad": math.nan, "none": None, "images": 1792}
SERVICES = ["wandb", "mlflow", "trackio"]


def curve(folder: Path, name: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder)).Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def test_only_finite_numbers_are_logged() -> None:
    assert numbers(METRICS) == {"loss": 0.5, "images": 1792.0}


def test_tensorboard_writes_curves(tmp_path: Path) -> None:
    (logger,) = open_loggers(["tensorboard"], tmp_path, {})
    for step in (1, 2, 3):
        logger.log(step, {"loss": step / 2, "health": "healthy"})
    logger.close()
    assert curve(tmp_path / "tensorboard", "loss") == [(1, 0.5), (2, 1.0), (3, 1.5)]


def test_resumed_tensorboard_hides_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    (logger,) = open_loggers(["tensorboard"], tmp_path, {})
    for step in (10, 20, 30):
        logger.log(step, {"loss": 1.0})
    logger.close()
    (logger,) = open_loggers(["tensorboard"], tmp_path, {}, first_step=20)
    logger.log(30, {"loss": 2.0})
    logger.close()
    assert curve(tmp_path / "tensorboard", "loss") == [(10, 1.0), (20, 1.0), (30, 2.0)]


def test_a_run_that_begins_again_hides_what_was_logged_before(tmp_path: Path) -> None:
    for value in (1.0, 2.0):  # killed before its first checkpoint
        (logger,) = open_loggers(["tensorboard"], tmp_path, {})
        logger.log(10, {"loss": value})
        logger.close()
    assert curve(tmp_path / "tensorboard", "loss") == [(10, 2.0)]


@pytest.mark.parametrize(("service", "name"), [("mlflow", "mlflow")], indirect=["service"])
def test_a_service_that_fails_does_not_end_training(
    service: Service, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (logger,) = open_loggers([name], tmp_path, {})

    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError("connection refused\nby the server")

    monkeypatch.setattr(service, "log_metrics", fail)
    with pytest.warns(UserWarning, match="logging to mlflow failed and ends here, .*: connection refused$"):
        logger.log(10, METRICS)
    logger.log(20, METRICS)  # nothing more is asked of it
    logger.close()
    assert service.calls[-1][0] != "finish"


def test_unknown_logger_is_refused() -> None:
    with pytest.raises(InputError, match="unknown logger 'tensorbord': did you mean 'tensorboard'"):
        open_loggers(["tensorbord"], Path(), {})


@pytest.mark.parametrize(("service", "name"), [("wandb", "wandb")], indirect=["service"])
def test_a_service_that_cannot_be_reached_is_one_line_before_training(
    service: Service, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: Any) -> None:
        raise ConnectionError("no API key\nlog in first")

    monkeypatch.setattr(service, "init", fail)
    with pytest.raises(InputError, match=r"^logging to wandb cannot begin: no API key$"):
        open_loggers(["tensorboard", name], tmp_path, {})


@pytest.mark.parametrize("service", SERVICES)
def test_missing_extra_is_named(service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, service, None)
    with pytest.raises(InputError, match=rf"pip install -e .*\[{service}\]"):
        open_loggers(["tensorboard", service], tmp_path, {})


class Service:
    """Stands for any of the three services: notes what it is called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.id, self.name = "id-1", "name-1"
        self.info = SimpleNamespace(run_id="id-1")

    def init(self, **given: Any) -> Service:
        self.calls.append(("init", given))
        return self

    start_run = init

    def set_experiment(self, name: str) -> None:
        self.calls.append(("experiment", name))

    def log_params(self, params: dict[str, str]) -> None:
        self.calls.append(("params", params))

    def log(self, metrics: dict[str, float], *, step: int) -> None:
        self.calls.append(("log", (metrics, step)))

    log_metrics = log

    def finish(self) -> None:
        self.calls.append(("finish", None))

    end_run = finish

    def given(self, what: str) -> Any:
        return next(value for name, value in reversed(self.calls) if name == what)


@pytest.fixture
def service(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Service:
    fake = Service()
    monkeypatch.setitem(sys.modules, request.param, fake)
    return fake


@pytest.mark.parametrize(("service", "name"), [(name, name) for name in SERVICES], indirect=["service"])
def test_services_get_the_numbers_and_are_closed(service: Service, name: str, tmp_path: Path) -> None:
    run = tmp_path / "photos-isd"
    run.mkdir()
    (logger,) = open_loggers([name, name], run, {"seed": 0})  # named twice, opened once
    logger.log(7, METRICS)
    logger.close()
    assert service.given("log") == ({"loss": 0.5, "images": 1792.0}, 7)
    assert service.calls[-1] == ("finish", None)
    assert "photos-isd" in service.given("init").values()
    config = service.given("params") if name == "mlflow" else service.given("init")["config"]
    assert config == ({"seed": "0"} if name == "mlflow" else {"seed": 0})


@pytest.mark.parametrize(
    ("service", "name", "expected"),
    [
        ("wandb", "wandb", {"id": "id-1", "resume": "allow"}),
        ("mlflow", "mlflow", {"run_id": "id-1"}),
        ("trackio", "trackio", {"name": "name-1", "resume": "allow"}),
    ],
    indirect=["service"],
)
def test_a_resumed_run_continues_the_same_curves(
    service: Service, name: str, expected: dict[str, str], tmp_path: Path
) -> None:
    open_loggers([name], tmp_path, {})[0].close()
    first = service.given("init")
    assert any(first.get(key) != value for key, value in expected.items()), "a new run must not continue another"
    open_loggers([name], tmp_path, {}, first_step=20)[0].close()
    assert expected.items() <= service.given("init").items()
    assert json.loads((tmp_path / "loggers.json").read_text()) == {name: "name-1" if name == "trackio" else "id-1"}


def test_settings_become_one_level_of_plain_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Service()
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    config = {"settings": {"queue": {"size": 4096}, "views": ("weak", "strong")}, "out": Path("runs"), "seed": 0}
    many = {f"choice_{number}": number for number in range(150)}
    open_loggers(["mlflow"], tmp_path, {**config, **many})[0].close()
    calls = [value for name, value in fake.calls if name == "params"]
    assert [len(call) for call in calls] == [100, 54]
    assert list(calls[0].items())[:4] == [
        ("settings.queue.size", "4096"),
        ("settings.views", "['weak', 'strong']"),
        ("out", "runs"),
        ("seed", "0"),
    ]


def test_every_logger_is_known_by_its_name() -> None:
    assert list(LOGGERS) == ["tensorboard", *SERVICES]
