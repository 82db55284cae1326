"""All benchmarks one after the other, each in a process of its own, and `RESULTS.md` from what they found.

A call that was interrupted goes on with the benchmarks that are missing; a finished one starts anew next time.
`accuracy_per_minute` takes hours and is run when it is named.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.results import FOLDER, ORDER, STORE, write

LONG = "accuracy_per_minute"
DONE = FOLDER / "results" / ".done"
"""Names of the benchmarks that an unfinished call has behind it."""


def minutes_of(name: str) -> float:
    """How long a benchmark takes on two idle cores."""
    return float(importlib.import_module(f"benchmarks.{name}").MINUTES)


def measure(name: str, options: argparse.Namespace) -> bool:
    """Run one benchmark; whether it succeeded. Its figures are stored only then."""
    print(f"{name}, about {minutes_of(name):g} min", file=sys.stderr, flush=True)
    fresh = STORE / f".{name}.json"
    call = [sys.executable, "-m", f"benchmarks.{name}", "--out", str(fresh)]
    call += ["--quick"] if options.quick else []
    call += ["--minutes", *(f"{minutes:g}" for minutes in options.minutes)] if name == LONG and options.minutes else []
    began = time.monotonic()
    status = subprocess.run(call, check=False, cwd=FOLDER.parent, stdout=subprocess.DEVNULL).returncode
    print(f"{name}: {'done' if status == 0 else f'failed ({status})'} in {(time.monotonic() - began) / 60:.1f} min",
          file=sys.stderr, flush=True)  # fmt: skip
    if status == 0:
        fresh.replace(STORE / f"{name}.json")
    return status == 0


def finished(path: Path) -> list[str]:
    """What an unfinished call has behind it."""
    return path.read_text(encoding="utf-8").split() if path.exists() else []


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was asked for and write the page. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help=f"by default all but {LONG}: {', '.join(ORDER)}")
    parser.add_argument("--again", action="store_true", help="start anew where an earlier call was interrupted")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to try it out")
    parser.add_argument("--minutes", type=float, nargs="+", default=None, help=f"budgets of {LONG}")
    parser.add_argument("--write", action="store_true", help="only write RESULTS.md from what is stored")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in ORDER]
    if unknown:
        parser.error(f"there is no benchmark called {unknown[0]}: allowed are {', '.join(ORDER)}")
    STORE.mkdir(exist_ok=True)
    failed: list[str] = []
    if not options.write:
        names = options.names or [name for name in ORDER if name != LONG]
        behind = [] if options.again or options.names else finished(DONE)
        for name in names:
            if name in behind:
                print(f"{name}: measured by the call before", file=sys.stderr)
            elif measure(name, options):
                if not options.names:
                    behind.append(name)
                    DONE.write_text("\n".join(behind), encoding="utf-8")
            else:
                failed.append(name)
        if not failed and not options.names:
            DONE.unlink(missing_ok=True)
    print(write())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
