"""Loggers of curves beside the run's own metrics: TensorBoard, and small adapters for services.

Every logger takes the same lines of metrics and picks the numbers out of them.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from likewise.errors import InputError, missing, unknown
from likewise.files import write_aside
from likewise.runs import plain

PROJECT = "likewise"
IDENTITIES = "loggers.json"
"""File of a run that says what the services call it."""

PARAMS_AT_ONCE = 100
"""MLflow refuses more settings than this in one call."""


class Logger(Protocol):
    """Logs numbers during a run."""

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """One line of metrics after `step` optimiser steps. What is not a number is left out."""

    def close(self) -> None:
        """Write out what is still held."""


def numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers among the metrics, `step` itself left out."""
    return {
        name: float(value)
        for name, value in metrics.items()
        if name != "step" and isinstance(value, int | float) and math.isfinite(value)
    }


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level with dotted names (`settings.queue_size`), which services can filter runs by."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def _import(module: str, extra: str) -> Any:
    """A module of an extra. Raises `InputError` naming the extra where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise missing(module, extra, f"logging to {extra}") from error


def _identity(run: Path, service: str) -> str | None:
    """What a service called this run when it was first logged there, or None."""
    path = run / IDENTITIES
    known = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return known.get(service)


def _remember(run: Path, service: str, identity: str) -> None:
    """Keep a service's name for this run, so that a resumed run continues the same curves."""
    path = run / IDENTITIES
    known = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    with write_aside(path) as file:
        file.write(json.dumps({**known, service: identity}, indent=2).encode())


class TensorBoard:
    """Event files in the run (extra `tensorboard`); `tensorboard --logdir runs` shows them.

    A resumed run hides what came after its start.
    """

    def __init__(self, run: Path, config: Mapping[str, Any], first_step: int = 0) -> None:
        _import("tensorboard", "tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(run / "tensorboard"), purge_step=first_step + 1, flush_secs=15)

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        for name, value in numbers(metrics).items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class Wandb:
    """Weights & Biases (extra `wandb`); its own environment variables choose the server, or none."""

    def __init__(self, run: Path, config: Mapping[str, Any], first_step: int = 0) -> None:
        wandb = _import("wandb", "wandb")
        identity = _identity(run, "wandb")
        self._run = wandb.init(
            project=PROJECT,
            name=run.name,
            dir=str(run),
            config=dict(config),
            id=identity,
            resume="allow" if identity else None,
        )
        _remember(run, "wandb", str(self._run.id))

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        self._run.log(numbers(metrics), step=step)

    def close(self) -> None:
        self._run.finish()


class Mlflow:
    """MLflow (extra `mlflow`), at the server that MLFLOW_TRACKING_URI names or in ./mlruns."""

    def __init__(self, run: Path, config: Mapping[str, Any], first_step: int = 0) -> None:
        self._mlflow = _import("mlflow", "mlflow")
        self._mlflow.set_experiment(PROJECT)
        identity = _identity(run, "mlflow")
        if identity:
            self._mlflow.start_run(run_id=identity)
            return
        started = self._mlflow.start_run(run_name=run.name)
        params = [(name, str(value)[:500]) for name, value in config.items()]
        for first in range(0, len(params), PARAMS_AT_ONCE):
            self._mlflow.log_params(dict(params[first : first + PARAMS_AT_ONCE]))
        _remember(run, "mlflow", str(started.info.run_id))

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        self._mlflow.log_metrics(numbers(metrics), step=step)

    def close(self) -> None:
        self._mlflow.end_run()


class Trackio:
    """Trackio (extra `trackio`): a local dashboard, `trackio show --project likewise`."""

    def __init__(self, run: Path, config: Mapping[str, Any], first_step: int = 0) -> None:
        trackio = _import("trackio", "trackio")
        identity = _identity(run, "trackio")
        self._run = trackio.init(
            project=PROJECT,
            name=identity or run.name,
            config=dict(config),
            resume="allow" if identity else "never",
            embed=False,
        )
        _remember(run, "trackio", str(self._run.name))  # a name already taken is changed by trackio

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        self._run.log(numbers(metrics), step=step)

    def close(self) -> None:
        self._run.finish()


class Guarded:
    """A logger that ends by itself where it fails, with a warning: a server or a full disk must not end a training."""

    def __init__(self, name: str, logger: Logger) -> None:
        self._name, self._logger = name, logger
        self._failed = False

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        self._do(lambda: self._logger.log(step, metrics))

    def close(self) -> None:
        self._do(self._logger.close)

    def _do(self, action: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            action()
        except Exception as error:  # noqa: BLE001  # each service has its own
            self._failed = True
            why = f"logging to {self._name} failed and ends here, training goes on: {_reason(error)}"
            warnings.warn(why, stacklevel=4)


LOGGERS: dict[str, Callable[[Path, Mapping[str, Any], int], Logger]] = {
    "tensorboard": TensorBoard,
    "wandb": Wandb,
    "mlflow": Mlflow,
    "trackio": Trackio,
}


def usual() -> tuple[str, ...]:
    """The default loggers: TensorBoard where it is installed."""
    return ("tensorboard",) if importlib.util.find_spec("tensorboard") else ()


def open_loggers(names: Sequence[str], run: Path, config: Mapping[str, Any], first_step: int = 0) -> list[Logger]:
    """The loggers called for, by name, opened for the run directory `run`.

    `config` holds the settings worth filtering runs by, nested or not; `first_step` is where a resumed run goes on, 0
    for a new one. Raises `InputError` for an unknown name, an extra that is not installed, and a service that cannot be
    had, leaving none open.
    """
    for name in names:
        if name not in LOGGERS:
            raise unknown("logger", name, LOGGERS)
    opened: list[Logger] = []
    settings = flat(plain(config))
    for name in dict.fromkeys(names):
        try:
            opened.append(Guarded(name, LOGGERS[name](run, settings, first_step)))
        except Exception as error:
            close(opened)
            if isinstance(error, InputError):
                raise
            raise InputError(f"logging to {name} cannot begin: {_reason(error)}") from error
    return opened


def close(loggers: Sequence[Logger]) -> None:
    """End all of them."""
    for logger in loggers:
        logger.close()


def _reason(error: Exception) -> str:
    """The first line of what a service says."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
