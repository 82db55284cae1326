"""Whether each method's claim shows at small scale: `python -m benchmarks.claims [METHOD ...] [--seeds 3] [--list]`.

The claims are data in `benchmarks.trends`. Every cell (an arm with one seed) is a process of its own, one at a time,
and is stored as soon as it is done: a call that was interrupted goes on where it stopped, and an arm that several
claims share is trained once. `python -m benchmarks --write` puts the table into `RESULTS.md`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np

from benchmarks.results import STORE as RESULTS
from benchmarks.results import table
from benchmarks.trends import BUDGET, CLAIMS, METRIC, SETTINGS, VIEWS, Claim, Keywords

STORE = RESULTS / "claims"
TEACHERS = RESULTS / ".claims_teachers"
"""Runs of trained teachers and starts; they may be deleted when all cells are done."""
TRAINED_FIRST = ("teacher", "start")
"""Arguments of `likewise.train` that an arm may give as the keywords of another training."""
CONFIDENCE = 0.95
"""That a difference of this sign is not chance (Student's t, one-sided)."""
LATE = 0.75
"""Metrics are averaged from this share of the budget on."""
QUICK: Keywords = {"width": 8, "image_size": 16, "epochs": 1, "batch_size": 16}
QUICK_IMAGES, CLASSES = 320, 10
Verdict = Literal["holds", "does not hold", "within noise", "not run"]


# Cells -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that a cell depends on."""

    keywords: dict[str, Any]
    """For `likewise.train`."""
    subset: str
    """Draw that is trained on."""
    seed: int
    """Of the run and of the draw."""
    quick: bool = False
    """On a few made-up images."""

    @property
    def name(self) -> str:
        """As its file is called."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:10]
        return f"{self.keywords['method']}-{self.subset.replace(':', '')}-{digest}-{self.seed}"


def job_of(claim: Claim, arm: str, seed: int, *, quick: bool = False) -> Job:
    """One arm of a claim with one seed."""
    changes = QUICK if quick else {}
    keywords = {**BUDGET, **claim.arms[arm], **changes}
    for name in TRAINED_FIRST:
        if isinstance(keywords.get(name), Mapping):
            keywords[name] = {**BUDGET, **keywords[name], **changes}
    subset = "perclass:16" if quick and claim.subset.startswith("perclass") else claim.subset
    plain = json.loads(json.dumps(keywords))  # tuples become lists, as they are stored
    return Job(keywords=plain, subset=subset, seed=seed, quick=quick)


def arguments_of(keywords: Keywords) -> dict[str, Any]:
    """Keywords as `likewise.train` takes them: lists of a stored cell become tuples again."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in keywords.items()}


def as_trained(keywords: Keywords) -> dict[str, Any]:
    """Keywords of an arm with what holds for every arm, for `likewise.train`."""
    return {**VIEWS, **SETTINGS.get(keywords["method"], {}), **arguments_of(keywords)}


def data_of(job: Job, folder: Path) -> Path:
    """CIFAR-10, or a file of made-up images in `folder`."""
    from benchmarks.images import cifar10_file, small_images

    if not job.quick:
        return cifar10_file()
    path = folder / "pictures.npz"
    np.savez(path, images=small_images(QUICK_IMAGES), labels=np.arange(QUICK_IMAGES) % CLASSES)
    return path


def train_one(keywords: Keywords, job: Job, data: Path, out: Path) -> str | None:
    """Train one encoder into `out`; why it stopped early, or None. A run that collapsed is scored like any other."""
    from likewise import train
    from likewise.errors import TrainingStopped

    labels = "labels" if job.quick else "label"
    asked = arguments_of(keywords) if job.quick else as_trained(keywords)
    try:
        train(data, **asked, labels=labels, subset=job.subset, subset_seed=job.seed,
              seed=job.seed, device="cpu", quiet=True, report=False, loggers=(), online_probe=False,
              out=str(out))  # fmt: skip
    except TrainingStopped as stopped:
        return str(stopped)
    return None


def teacher_of(keywords: Keywords, job: Job, data: Path, folder: Path) -> Path:
    """The run of a teacher or a start on the draw of this job, trained now unless it is there."""
    name = Job(keywords=dict(keywords), subset=job.subset, seed=job.seed, quick=job.quick).name
    path = (folder if job.quick else TEACHERS) / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{name}")
        shutil.rmtree(unfinished, ignore_errors=True)
        if (stopped := train_one(keywords, job, data, unfinished)) is not None:
            raise SystemExit(f"the teacher {name} was not trained: {stopped}")
        unfinished.rename(path)
    return path


def run_cell(job: Job) -> dict[str, Any]:
    """Train and score one cell in this process."""
    from benchmarks.harness import rounded, versions

    began = time.monotonic()
    with TemporaryDirectory() as name:
        folder = Path(name)
        data, keywords = data_of(job, folder), dict(job.keywords)
        for role in TRAINED_FIRST:
            if isinstance(keywords.get(role), Mapping):
                shared = replace(job, seed=0) if role == "start" else job  # one start for all seeds
                keywords[role] = str(teacher_of(keywords[role], shared, data, folder))
        stopped = train_one(keywords, job, data, folder / "run")
        lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
        scores = {**late_means(lines), **scored(folder / "run", data, job)}
    return {"job": asdict(job), "scores": scores, "stopped": stopped, "pictures": lines[-1]["images"],
            "seconds": rounded(time.monotonic() - began), "versions": versions()}  # fmt: skip


def late_means(lines: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Means of all scalars over the lines of the last quarter of a training, or over the last line."""
    late = [line for line in lines if line.get("fraction", 1.0) >= LATE] or lines[-1:]
    names = {name for line in late for name, value in line.items() if isinstance(value, int | float)}
    return {
        f"{METRIC}{name}": statistics.fmean(float(line[name]) for line in late if line.get(name) is not None)
        for name in sorted(names)
    }


def scored(run: Path, data: Path, job: Job) -> dict[str, float]:
    """Scores of a run on the test images, with the whole balanced training set as the bank."""
    from likewise import evaluate
    from likewise.data.caching.places import cache_root

    cache = run.parent / "cache" if job.quick else cache_root() / "claims"
    labels = "labels" if job.quick else "label"
    found = {}
    probes = ("knn", "clustering")
    for score in evaluate(run, data, probe=probes, labels=labels, cache_dir=cache, report=False, quiet=True):
        name = f"{score.k}-NN" if score.name == "knn" else score.measure
        name = "clustering" if name == "accuracy" else name
        found[name] = score.value
        for group, of_group in (score.groups or {}).items():
            found[f"{name} {group}"] = of_group.value
    if "1-NN rare" in found:
        found["1-NN rare less all"] = found["1-NN rare"] - found["1-NN"]
    shutil.rmtree(cache / "features", ignore_errors=True)  # of each cell 60,000 rows that nobody reads again
    return found


def measure(job: Job, threads: int, store: Path) -> None:
    """Run one cell in a process of its own and store it, unless it is stored."""
    path = store / f"{job.name}.json"
    if path.exists():
        return
    print(f"{job.name} ...", file=sys.stderr, flush=True)
    call = [sys.executable, "-m", "benchmarks.claims", "--job", json.dumps(asdict(job)), "--threads", str(threads)]
    done = subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True, cwd=RESULTS.parents[1])
    store.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}")
    fresh.write_text(done.stdout, encoding="utf-8")
    fresh.replace(path)


# Judging -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """What became of a claim."""

    verdict: Verdict
    """Over all rivals: the least of them."""
    difference: float | None
    """By how much the arm that must win is ahead of the nearest rival, in the direction that is better."""
    error: float | None
    """Standard error of that difference; None for a single seed."""


def compared(ahead: Sequence[float], behind: Sequence[float], slack: float = 0.0) -> Judged:
    """One arm against a rival, seed by seed: they share draw and seed, so their differences are what varies.

    `holds` where the mean difference is above -slack by more than its standard error times Student's t, `does not hold`
    where it is as clearly below, else `within noise`; a single seed is always within noise.
    """
    from scipy import stats

    differences = [a - b for a, b in zip(ahead, behind, strict=True)]
    if not differences:
        return Judged("not run", None, None)
    mean, n = statistics.fmean(differences), len(differences)
    if n < 2:
        return Judged("within noise", mean, None)
    error = statistics.stdev(differences) / math.sqrt(n)
    least = float(stats.t.ppf(CONFIDENCE, n - 1)) * error
    beyond = mean + slack
    if beyond > least:
        return Judged("holds", mean, error)
    return Judged("does not hold" if beyond < -least else "within noise", mean, error)


def judge(claim: Claim, values: Mapping[str, Sequence[float]]) -> Judged:
    """The claim against scores of its arms, the same seeds of each. The rival that it fails against most counts."""
    sign = -1.0 if claim.lower else 1.0
    ahead = [sign * value for value in values[claim.better]]
    found = [
        compared(ahead, [sign * value for value in rival], claim.slack)
        for arm, rival in values.items()
        if arm != claim.better
    ]
    order: list[Verdict] = ["not run", "does not hold", "within noise", "holds"]
    return min(found, key=lambda one: (order.index(one.verdict), one.difference or 0.0))


def stored(claim: Claim, store: Path) -> tuple[list[int], dict[str, list[float]]]:
    """Seeds of which all arms are stored, and the score of each arm for them."""
    cells: dict[str, dict[int, float]] = {arm: {} for arm in claim.arms}
    for arm in claim.arms:
        for path in store.glob(f"{claim.arms[arm]['method']}-*.json"):
            cell = json.loads(path.read_text(encoding="utf-8"))
            seed = cell["job"]["seed"]
            if cell["job"] == asdict(job_of(claim, arm, seed)):
                cells[arm][seed] = cell["scores"][claim.score]
    seeds = sorted(set.intersection(*(set(found) for found in cells.values())))
    return seeds, {arm: [found[seed] for seed in seeds] for arm, found in cells.items()}


def figure(values: Sequence[float], score: str) -> str:
    """Mean and standard deviation over seeds."""
    mean, spread = statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None
    if score.startswith(METRIC):
        return f"{mean:.3g}" + ("" if spread is None else f" ± {spread:.2g}")
    return f"{100 * mean:.1f}" + ("" if spread is None else f" ± {100 * spread:.1f}") + " %"


def row(claim: Claim, store: Path) -> list[str]:
    """One line of the table."""
    seeds, values = stored(claim, store)
    judged = judge(claim, values)
    if not seeds or judged.difference is None:
        return [claim.method, claim.text, "-", "-", "-", judged.verdict]
    measured = "; ".join(f"{arm} {figure(of_arm, claim.score)}" for arm, of_arm in values.items())
    scale, unit = (1.0, "") if claim.score.startswith(METRIC) else (100.0, " points")
    error = "" if judged.error is None else f" ± {scale * judged.error:.2g}"
    allowed = f", {scale * claim.slack:g} allowed" if claim.slack else ""
    difference = f"{scale * judged.difference:+.2g}{error}{unit}{allowed}"
    score = claim.score.removeprefix(METRIC) + (", lower is better" if claim.lower else "")
    return [claim.method, claim.text, f"{score}: {measured}", difference, str(len(seeds)), judged.verdict]


def claims_table(claims: Sequence[Claim] = CLAIMS, store: Path = STORE) -> str:
    """What was found, as a Markdown table."""
    columns = ["method", "claim", "measured", "ahead of the nearest rival by", "seeds", ""]
    return table(columns, [row(claim, store) for claim in claims])


# From the command line ---------------------------------------------------------------------------------------------


def chosen(names: Sequence[str]) -> list[Claim]:
    """Claims of these methods, of all where none is named. Raises InputError for a method without one."""
    from likewise.errors import unknown

    known = list(dict.fromkeys(claim.method for claim in CLAIMS))
    for name in names:
        if name not in known:
            raise unknown("method with a claim", name, known)
    return [claim for claim in CLAIMS if not names or claim.method in names]


def jobs_of(claims: Sequence[Claim], seeds: int | None, first: int, *, quick: bool) -> list[Job]:
    """All cells that the claims need, each once, claim by claim."""
    jobs = {}
    for claim in claims:
        count = 1 if quick else seeds or claim.seeds
        for seed in range(first, first + count):
            for arm in claim.arms:
                job = job_of(claim, arm, seed, quick=quick)
                jobs[job.name] = job
    return list(jobs.values())


def listing(claims: Sequence[Claim], options: argparse.Namespace) -> str:
    """Claims with their arms, and how many cells are stored of those that they need."""
    lines = []
    for claim in claims:
        jobs = jobs_of([claim], options.seeds, options.first_seed, quick=False)
        have = sum((options.store / f"{job.name}.json").exists() for job in jobs)
        lines.append(f"{claim.method}: {claim.text}")
        lines.append(f"    {claim.score} on {claim.subset}: {' | '.join(claim.arms)}; {have} of {len(jobs)} cells")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing and print the table. Returns the exit status."""
    from benchmarks.harness import processors
    from likewise.errors import InputError

    parser = argparse.ArgumentParser(prog="python -m benchmarks.claims", description=__doc__.partition("\n")[0])
    parser.add_argument("methods", nargs="*", metavar="METHOD", help="by default all")
    parser.add_argument("--seeds", type=int, default=None, help="of each arm; by default what the claim says, 3 or 5")
    parser.add_argument("--first-seed", type=int, default=0, help="another one repeats the claims on other draws")
    parser.add_argument("--quick", action="store_true", help="seconds, made-up images, nothing stored")
    parser.add_argument("--list", action="store_true", help="only say what would be run and what is stored")
    parser.add_argument("--threads", type=int, default=processors(), help="threads of every cell")
    parser.add_argument("--store", type=Path, default=STORE, help="folder of the finished cells")
    parser.add_argument("--job", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.job is not None:
        import torch

        torch.set_num_threads(options.threads)
        print(json.dumps(run_cell(Job(**json.loads(options.job)))))
        return 0
    if options.seeds is not None and options.seeds < 1:
        parser.error(f"--seeds {options.seeds} must be at least 1")
    try:
        claims = chosen(options.methods)
    except InputError as error:
        parser.error(str(error))
    if options.list:
        print(listing(claims, options))
        return 0
    jobs = jobs_of(claims, options.seeds, options.first_seed, quick=options.quick)
    if options.quick:
        for job in jobs:
            cell = run_cell(job)
            print(f"{job.name}: {cell['pictures']} images in {cell['seconds']:.3g} s", flush=True)
        return 0
    for job in jobs:
        measure(job, options.threads, options.store)
    print(claims_table(claims, options.store))
    return 0


if __name__ == "__main__":
    sys.exit(main())
