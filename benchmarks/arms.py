"""Comparisons of a few small trainings ("arms"): their scores in one JSON file, and its part of `RESULTS.md`.

The file holds trend -> budget in words -> arm -> "seed N" -> scores, from 0 to 1. A call that is repeated goes on with
what is missing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

from benchmarks.results import table


def read(file: Path) -> dict[str, dict[str, dict[str, dict[str, dict[str, float]]]]]:
    """What the file holds; nothing where there is none."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def has(file: Path, trend: str, budget: str, arm: str, seed: int) -> bool:
    """Whether this arm has been measured with this seed."""
    return f"seed {seed}" in read(file).get(trend, {}).get(budget, {}).get(arm, {})


def add(file: Path, trend: str, budget: str, arm: str, seed: int, scores: Mapping[str, float]) -> None:
    """Put the scores of one arm and seed into the file."""
    found = read(file)
    found.setdefault(trend, {}).setdefault(budget, {}).setdefault(arm, {})[f"seed {seed}"] = dict(scores)
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def section(file: Path, title: str, about: str) -> str:
    """The part of `RESULTS.md`: a table for each trend and budget, of means over the seeds, and the remarks beside."""
    parts = [f"## {title}", about]
    for trend, budgets in read(file).items():
        for budget, arms in budgets.items():
            runs = {arm: list(seeds.values()) for arm, seeds in arms.items()}
            names = list(dict.fromkeys(name for each in runs.values() for name in each[0]))
            rows = [[arm, *(_mean(each, name) for name in names), str(len(each))] for arm, each in runs.items()]
            parts += [f"**{trend}**, {budget}, in %", table(["arm", *names, "seeds"], rows)]
    if (remarks := file.with_suffix(".md")).exists():
        parts.append(remarks.read_text(encoding="utf-8").strip())
    return "\n\n".join(parts)


def _mean(runs: list[dict[str, float]], name: str) -> str:
    values = [run[name] for run in runs if name in run]
    return f"{100 * fmean(values):.1f}" if values else "-"
