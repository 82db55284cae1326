"""The same claims from one trained start: `python -m benchmarks.started [METHOD ...] [--minutes 20] [--epochs 4]`.

From a random network the neighbours that many methods are about mean nothing for most of a short training. Here every
arm of every claim begins with the encoder of one SimCLR run of so many minutes, trained on the draw of seed 0; all else
is as in `benchmarks.claims`, whose cells are of another folder. Seeds vary the draw and what follows, not the start.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.claims import STORE as CLAIMS_STORE
from benchmarks.claims import claims_table, jobs_of, measure, run_cell, stored
from benchmarks.trends import CLAIMS, Claim

FOLDER = "claims_started"
BUDGETS = "budgets.json"
"""In that folder: minutes of the start and epochs of the arms of what is stored."""
METHODS = (
    "ascl", "cmsf", "fnc", "ifnd", "interclr", "mcl", "mochi", "msf", "ncc", "nnclr", "swav", "triplet", "xmoco",
)  # fmt: skip
"""Whose claims were within noise, or did not hold, from random weights."""


def started(claim: Claim, minutes: float, epochs: float) -> Claim:
    """The claim with arms that begin with a SimCLR run of so many minutes and go on for so many epochs."""
    start = {"method": "simclr"} | ({"minutes": minutes, "epochs": None} if minutes else {})
    arms = {name: {**asked, "start": start, "epochs": epochs} for name, asked in claim.arms.items()}
    return replace(claim, arms=arms)


def claims_of(names: Sequence[str], minutes: float, epochs: float) -> list[Claim]:
    """The claims of these methods, from the start."""
    return [started(claim, minutes, epochs) for claim in CLAIMS if claim.method in names]


def measured(store: Path) -> Iterator[tuple[float, float, list[Claim]]]:
    """Minutes of the start, epochs of the arms, and the claims of which anything is stored."""
    budgets = store / BUDGETS
    if not budgets.exists():
        return
    for minutes, epochs in json.loads(budgets.read_text(encoding="utf-8")):
        every = {claim.method for claim in CLAIMS}
        if known := [claim for claim in claims_of([*every], minutes, epochs) if stored(claim, store)[0]]:
            yield minutes, epochs, known


def sections(claims_store: Path = CLAIMS_STORE) -> Iterator[str]:
    """The part of `RESULTS.md` about them: one table for each budget of which anything is stored."""
    store = claims_store.with_name(FOLDER)
    for minutes, epochs, known in measured(store):
        yield (
            f"**The same from a trained start**: `python -m benchmarks.started --minutes {minutes:g} --epochs "
            f"{epochs:g}`; every arm begins with the encoder of one SimCLR run of {minutes:g} minutes on the "
            f"draw of seed 0 and goes on for {epochs:g} epochs."
        )
        yield claims_table(known, store)
    if (remarks := store.with_suffix(".md")).exists():
        yield remarks.read_text(encoding="utf-8").strip()


def note(store: Path, minutes: float, epochs: float) -> None:
    """Write down that cells of this budget are stored."""
    path = store / BUDGETS
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    if [minutes, epochs] not in known:
        store.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([*known, [minutes, epochs]]) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing and print the table. Returns the exit status."""
    from benchmarks.harness import processors

    parser = argparse.ArgumentParser(prog="python -m benchmarks.started", description=__doc__.partition("\n")[0])
    parser.add_argument("methods", nargs="*", metavar="METHOD", help=f"by default {', '.join(METHODS)}")
    parser.add_argument("--minutes", type=float, default=20.0, help="of the SimCLR run that all arms begin with")
    parser.add_argument("--epochs", type=float, default=4.0, help="of every arm")
    parser.add_argument("--seeds", type=int, default=3, help="of each arm, all from one start")
    parser.add_argument("--quick", action="store_true", help="seconds, made-up pictures, nothing stored")
    parser.add_argument("--threads", type=int, default=processors(), help="threads of every cell")
    parser.add_argument("--store", type=Path, default=CLAIMS_STORE.with_name(FOLDER), help="folder of the cells")
    options = parser.parse_args(arguments)
    if wrong := sorted({*options.methods} - {claim.method for claim in CLAIMS}):
        parser.error(f"there is no claim of {wrong[0]}: allowed are {', '.join(METHODS)}")
    minutes = 0.0 if options.quick else options.minutes
    claims = claims_of(options.methods or METHODS, minutes, options.epochs)
    for job in jobs_of(claims, options.seeds, 0, quick=options.quick):
        if options.quick:
            print(f"{job.name}: {run_cell(job)['pictures']} pictures", flush=True)
            continue
        note(options.store, minutes, options.epochs)
        measure(job, options.threads, options.store)
    if not options.quick:
        print(claims_table(claims, options.store))
    return 0


if __name__ == "__main__":
    sys.exit(main())
