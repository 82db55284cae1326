"""What all benchmarks share: timing in turn, peak memory of the process, what was measured where, and one JSON object.

A machine is seldom idle, so the sides of a comparison take turns, the order changes from round to round, and medians
are compared. Wall time is what a user waits; the processor time of the process beside it says how much of the wall time
other programs took away.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import importlib.metadata
import json
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import likewise

PACKAGES = ("torch", "torchvision", "numpy", "pillow", "timm", "lightly", "kornia", "faiss-cpu")
MIB = 2**20


@dataclass(frozen=True)
class Timing:
    """Seconds of one piece of work over all rounds."""

    wall: tuple[float, ...]
    """Time that passed."""
    busy: tuple[float, ...]
    """Processor time of this process, all threads together."""

    @property
    def seconds(self) -> float:
        """Median of the wall time."""
        return statistics.median(self.wall)

    @property
    def busy_seconds(self) -> float:
        """Median of the processor time."""
        return statistics.median(self.busy)

    def to_json(self) -> dict[str, float]:
        """Medians and the spread."""
        return {
            "seconds": rounded(self.seconds),
            "busy_seconds": rounded(self.busy_seconds),
            "fastest": rounded(min(self.wall)),
            "slowest": rounded(max(self.wall)),
            "rounds": len(self.wall),
        }


def in_turn(sides: Mapping[str, Callable[[], object]], *, rounds: int, warm: int = 1) -> dict[str, Timing]:
    """Time every side once a round, in an order that is reversed from round to round, after `warm` untimed rounds."""
    walls: dict[str, list[float]] = {name: [] for name in sides}
    busies: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(warm + rounds):
        for name in names if number % 2 == 0 else reversed(names):
            gc.collect()
            wall, busy = time.perf_counter(), time.process_time()
            sides[name]()
            wall, busy = time.perf_counter() - wall, time.process_time() - busy
            if number >= warm:
                walls[name].append(wall)
                busies[name].append(busy)
    return {name: Timing(tuple(walls[name]), tuple(busies[name])) for name in names}


def ratio(numerator: Timing, denominator: Timing) -> dict[str, float]:
    """How many times as long one side takes as another: of wall times, of processor times, and round by round."""
    pairs = [slow / fast for slow, fast in zip(numerator.wall, denominator.wall, strict=True)]
    return {
        "ratio": rounded(numerator.seconds / denominator.seconds),
        "ratio_busy": rounded(numerator.busy_seconds / max(denominator.busy_seconds, 1e-9)),
        "ratio_of_rounds": rounded(statistics.median(pairs)),
    }


def peak_extra_mib(work: Callable[[], object]) -> float | None:
    """By how much the resident memory of this process rises while `work` runs, in MiB; None where it cannot be told.

    Memory that the allocator keeps from earlier work is given back first, or it would be used without being seen.
    """
    status = Path("/proc/self/status")
    try:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts again from here
        before = _kib(status, "VmRSS")
        work()
        return (_kib(status, "VmHWM") - before) / 1024
    except (OSError, AttributeError, StopIteration):
        return None


def _kib(status: Path, name: str) -> int:
    line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])


def rounded(value: float, digits: int = 4) -> float:
    """The value with so many significant digits."""
    return float(f"{value:.{digits}g}")


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> dict[str, Any]:
    """Where the figures come from."""
    model = platform.processor() or platform.machine()
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        names = [line.partition(":")[2].strip() for line in facts.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return {
        "processor": model,
        "processors": processors(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Of this package and of everything that is compared or decides about speed."""
    found = {"likewise": likewise.__version__}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


@dataclass
class Outcome:
    """What a benchmark found: tables for people, and the targets with what became of them."""

    title: str
    """One line."""
    protocol: str
    """What was measured how, in a few sentences."""
    tables: list[dict[str, Any]] = field(default_factory=list)
    targets: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    """File names of plots beside the results."""
    figures: dict[str, Any] = field(default_factory=dict)
    """Everything that was measured, for programs."""

    def table(self, caption: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Add a table."""
        self.tables.append({"caption": caption, "columns": list(columns), "rows": [list(row) for row in rows]})

    def target(self, what: str, wanted: str, found: float | None, *, met: bool | None) -> None:
        """Add a target; `met` is None where a peer was missing or the form was quick."""
        self.targets.append({"what": what, "wanted": wanted, "found": None if found is None else rounded(found),
                             "met": met})  # fmt: skip


Measure = Callable[[argparse.Namespace], Outcome]
"""Takes the options (`quick`, `threads`, and the benchmark's own)."""


def parser_of(name: str, minutes: float) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}", description=f"Measure {name}; the full form takes about {minutes:g} min."
    )
    parser.add_argument("--quick", action="store_true", help="seconds, tiny sizes: shows that it works, not how fast")
    parser.add_argument("--threads", type=int, default=processors(), help="threads of every side")
    parser.add_argument("--out", type=Path, default=None, help="also write the JSON object here")
    return parser


def run(
    name: str, measure: Measure, parser: argparse.ArgumentParser, arguments: Sequence[str] | None
) -> dict[str, Any]:
    """Parse the options, measure, print the JSON object, and return it."""
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    began, load = time.time(), os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    outcome = measure(options)
    found = {
        "benchmark": name,
        "call": _call(name, sys.argv[1:] if arguments is None else arguments),
        "quick": options.quick,
        "threads": torch.get_num_threads(),
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "took_seconds": rounded(time.time() - began),
        "load_before": None if load is None else rounded(load),
        "machine": machine(),
        "versions": versions(),
        **vars(outcome),
    }
    text = json.dumps(found, indent=1, allow_nan=False)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(text + "\n")
    return found


def _call(name: str, words: Sequence[str]) -> str:
    """The command, without the places of its result and of what it keeps."""
    kept = list(words)
    for place in ("--out", "--work"):
        if place in kept:
            at = kept.index(place)
            del kept[at : at + 2]
    return shlex.join(["python", "-m", f"benchmarks.{name}", *kept])
