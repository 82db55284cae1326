"""Few labels: what methods make of them beside a probe, by trends that show at a small scale.

Each part is one claim: `--parts labels40 hiermatch nncsl uml dyndistill promptcal`. Every training is kept under
`--work`, and so is its score, so a call that is repeated goes on with what is missing. `--short` is what `RESULTS.md`
shows: minutes of training in place of epochs, one seed, and of the arms those that a claim is about.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from tempfile import mkdtemp
from typing import Any

import numpy as np
import torch

from benchmarks.few_images import (
    QUICK,
    SHORT_ARMS,
    Keywords,
    Scale,
    archive,
    drawn,
    opened,
    short,
    tests,
    with_labels,
)
from benchmarks.harness import Outcome, parser_of, run
from likewise.data import Images, prepare
from likewise.data.source import Part, Source
from likewise.data.splitting.few_labels import only
from likewise.data.splitting.subsets import part_of, per_class
from likewise.discovery import scoring
from likewise.discovery.finding import find
from likewise.encoders import load_encoder
from likewise.evaluation.features import extract
from likewise.evaluation.intervals import of_mean
from likewise.evaluation.probes import fewshot, linear
from likewise.evaluation.probes.own import logits_of
from likewise.recipes import Stage, carry_out, dyndistill, nncsl
from likewise.runs import RunDirectory
from likewise.similarity import unit

MINUTES = 240
HALF = ", half of its 95 % interval"
"""After the name of a score of episodes."""
PARTS = ("labels40", "hiermatch", "nncsl", "uml", "dyndistill", "promptcal")
Scores = dict[str, float]


class Work:
    """Where runs and scores are kept."""

    def __init__(self, folder: Path, scale: Scale) -> None:
        self.folder, self.scale = folder, scale

    def scores(self, name: str, measured: Callable[[Path], Scores]) -> Scores:
        """What `measured` gives for its folder, or gave before."""
        place = self.folder / name
        kept = place / "scores.json"
        if not kept.exists():
            place.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(measured(place)), encoding="utf-8")
        return dict(json.loads(kept.read_text(encoding="utf-8")))

    def arms(self, part: str, arms: Mapping[str, Callable[[Path, int], Scores]]) -> dict[str, list[Scores]]:
        """The scores of each arm, one for each seed."""
        wanted = arms if self.scale.minutes is None else SHORT_ARMS[part]
        return {
            name: [
                self.scores(f"{part}/{name}-{seed}", lambda place, arm=arms[name], seed=seed: arm(place, seed))
                for seed in range(self.scale.seeds)
            ]
            for name in wanted
        }


def trained(place: Path, data: Source, **asked: Any) -> RunDirectory:
    """The run in a folder, which goes on where it was interrupted."""
    return carry_out(place, [Stage("run", data, asked)])[0]


# Scores --------------------------------------------------------------------------------------------------------------


def own(found: RunDirectory, images: Images) -> float:
    """Accuracy of the classifier that the method trained."""
    assert images.labels is not None
    return float((logits_of(found, images).argmax(1).cpu() == torch.from_numpy(images.labels)).double().mean())


def probed(found: RunDirectory, labelled: Source, images: Images, role: str = "student") -> float:
    """Accuracy of a linear probe on the labelled images alone."""
    encoder = load_encoder(found.weights(role))
    bank = prepare(labelled, short_side=None)
    probe = linear.fit(extract(encoder, bank), torch.from_numpy(bank.labels))
    predicted = probe.predict(extract(encoder, images))
    assert images.labels is not None
    return float((predicted == torch.from_numpy(images.labels)).double().mean())


def episodes(found: RunDirectory, images: Images, scale: Scale, shots: Sequence[int]) -> Scores:
    """Accuracy of 5-way episodes on features as they are, by class means and by logistic regression."""
    x_NF = extract(load_encoder(found.weights("student")), images)
    assert images.labels is not None
    count = 20 if scale is QUICK else 600
    result: Scores = {}
    for shot in shots:
        told = fewshot.draw(images.labels, ways=5, shots=shot, episodes=count, seed=0)
        for name, values in (
            ("prototype", fewshot.prototype(x_NF, told, raw=True)),
            ("logistic", fewshot.logistic(x_NF, told, raw=True)),
        ):
            interval = of_mean(values)
            result[f"{name} {shot}-shot"] = float(values.mean())
            result[f"{name} {shot}-shot{HALF}"] = (interval.high - interval.low) / 2
    return result


# Parts ---------------------------------------------------------------------------------------------------------------


def labels40(work: Work) -> tuple[dict[str, list[Scores]], str]:
    """40 labels of CIFAR-10: PAWS, its memory of supports, CMSF; beside them a linear probe of MSF on these labels."""
    scale = work.scale
    whole, test = opened("cifar10", "train", "label"), tests(opened("cifar10", "test", "label"), scale)
    budget = {**scale.budget("labels40"), "batch_size": scale.batch_size, **scale.run}

    def arm(place: Path, seed: int, method: str, more: Keywords) -> Scores:
        images = drawn(whole, scale.images, seed)
        assert images.labels is not None
        kept = per_class(images.labels, 4, seed)
        few = with_labels(images, only(images.labels, kept), {})
        found = trained(place, few, method=method, seed=seed, **{**budget, **more})
        role = "teacher" if method == "cmsf_semi" else "student"
        scores = {"linear": probed(found, Part.of(images, kept), test, role)}
        return scores if method == "msf" else {"own": own(found, test), **scores}

    small: dict[str, Any] = {"small_crops": 0} if scale is QUICK else {}
    queue = {"queue_size": 40} if scale is QUICK else {}
    if scale.minutes is not None:  # a few hundred steps: at the preset's rate all soft classes became uniform
        small = {"small_crops": 0, "learning_rate": 0.01}
    arms: dict[str, tuple[str, Keywords]] = {
        "msf": ("msf", queue),
        "paws": ("paws", {"per_class": 4, **small}),
        "paws, batch 64": ("paws", {"per_class": 4, "batch_size": 64, **small}),
        "paws, batch 64, support memory": ("paws", {"per_class": 4, "batch_size": 64, "support_memory": 640, **small}),
        "cmsf_semi": ("cmsf_semi", {**queue, "head_epochs": 100}),  # 40 vectors are one step of the classifier
    }
    arms = {name: arms[name] for name in ("msf", "paws", "cmsf_semi")} if scale is QUICK else arms
    called = {name: lambda place, seed, one=one: arm(place, seed, *one) for name, one in arms.items()}
    return work.arms("labels40", called), f"{scale.images:,} images of CIFAR-10, 4 labels of each class"


def hiermatch(work: Work) -> tuple[dict[str, list[Scores]], str]:
    """CIFAR-100: all fine labels, half of them, and half of them with coarse labels in place of the others."""
    scale = work.scale
    each = 2 if scale is QUICK else 10
    whole = opened("cifar100", "train", "fine_label", ("coarse_label",))
    test = tests(opened("cifar100", "test", "fine_label"), scale)
    budget = {
        "encoder": "wrn16_2_leaky", **{k: v for k, v in scale.run.items() if k != "width"},
        **scale.budget("hiermatch"), "batch_size": min(64, scale.batch_size),
    }  # fmt: skip

    def arm(place: Path, seed: int, fine: int, coarse: bool) -> Scores:
        images = drawn(whole, scale.images, seed)
        assert images.labels is not None
        known, both = per_class(images.labels, fine, seed), per_class(images.labels, 2 * each, seed)
        tree = only(images.columns["coarse_label"].values, both)
        data = with_labels(images, only(images.labels, known), {"coarse_label": tree})
        more = {"levels": ("coarse_label",), "partial": True} if coarse else {}
        return {"own": own(trained(place, data, method="hiermatch", seed=seed, **budget, **more), test)}

    arms = {
        f"{2 * each} fine": lambda place, seed: arm(place, seed, 2 * each, False),
        f"{each} fine": lambda place, seed: arm(place, seed, each, False),
        f"{each} fine, {each} coarse": lambda place, seed: arm(place, seed, each, True),
    }
    return work.arms("hiermatch", arms), f"{scale.images:,} images of CIFAR-100; labels of each class"


def continual(work: Work) -> tuple[dict[str, list[Scores]], str]:
    """CIFAR-10 in five tasks: NNCSL, CSL, and soft neighbours among all supports as PAWS has it."""
    scale = work.scale
    whole, test = opened("cifar10", "train", "label"), tests(opened("cifar10", "test", "label"), scale)
    count = 2 if scale is QUICK else 5

    def arm(place: Path, seed: int, more: Keywords) -> Scores:
        data = archive(
            work.folder / f"nncsl/images-{seed}.npz", prepare(drawn(whole, scale.images, seed), short_side=None)
        )
        recipe = nncsl.Recipe(data=data, out=str(place), tasks=count, share=0.1, seed=seed, **more)
        budget = {**scale.budget("nncsl", epochs=1 / 3, minutes=1 / count), "batch_size": scale.batch_size // 2}
        small = {"small_crops": 0} if scale is QUICK else {}
        runs = carry_out(recipe.out, nncsl.stages(recipe, **scale.run, **small, **budget))
        assert test.labels is not None
        labels_Q = torch.from_numpy(test.labels)
        right = torch.zeros(len(runs), len(runs))
        for row, one in enumerate(runs):
            predicted_Q = logits_of(one, test).argmax(1).cpu()
            for column, task in enumerate(runs):
                of_task = torch.isin(labels_Q, torch.tensor(task.read()["settings"]["current"]))
                right[row, column] = (predicted_Q == labels_Q)[of_task].float().mean()
        forgot = (right[:-1].max(0).values - right[-1])[:-1].mean()
        return {"own": float(right[-1].mean()), "forgetting": float(forgot)}

    arms: dict[str, Keywords] = {
        "nncsl": {},
        "csl": {"distillation_weight": 0.0},
        "every support": {"distillation_weight": 0.0, "every_support": True},
    }
    called = {name: lambda place, seed, more=more: arm(place, seed, more) for name, more in arms.items()}
    return work.arms("nncsl", called), f"{scale.images:,} images of CIFAR-10, a tenth of the labels, {count} tasks"


def meta(work: Work) -> tuple[dict[str, list[Scores]], str]:
    """60 classes of CIFAR-100 without labels, episodes of the other 40."""
    scale = work.scale
    whole = opened("cifar100", "train", "fine_label")
    novel = opened("cifar100", "test", "fine_label")
    assert whole.labels is not None
    assert novel.labels is not None
    base = Part.of(whole, np.flatnonzero(whole.labels < 60))
    others = Part.of(novel, np.flatnonzero(novel.labels >= 60))
    test = prepare(drawn(others, min(4000, 4 * scale.images), 0), short_side=None)

    def arm(place: Path, seed: int, more: Keywords) -> Scores:
        images = drawn(base, scale.images // 2, seed)
        data = with_labels(images, np.full(len(images), -1), {})
        batch = min(32, scale.batch_size)
        budget = {**scale.run, **scale.budget("uml", epochs=1 / 3), "batch_size": batch}
        found = trained(place, data, method="uml", seed=seed, **budget, **more)
        return episodes(found, test, scale, (1, 5))

    arms: dict[str, Keywords] = {
        "1 task": {"tasks": 1},
        "8 tasks": {"tasks": 8},
        "64 tasks": {},
        "64 tasks, cosine": {"similarity": "cosine"},
        "64 tasks, hard supports": {"hard_supports": 10},
        "64 tasks, projection": {"projection_heads": 1},
    }
    arms = dict(list(arms.items())[:3:2]) if scale is QUICK else arms
    called = {name: lambda place, seed, more=more: arm(place, seed, more) for name, more in arms.items()}
    return work.arms("uml", called), f"{scale.images // 2:,} unlabelled images of 60 classes of CIFAR-100"


def across(work: Work) -> tuple[dict[str, list[Scores]], str]:
    """Photographs with labels and sketches without: a moving teacher, a fixed one, and the photographs alone."""
    scale = work.scale
    whole = opened("pacs_small", None, "label", ("domain",))
    domain = whole.columns["domain"]
    of = {name: np.flatnonzero(domain.values == number) for number, name in enumerate(domain.names or ())}
    side = 2 * scale.side if scale.minutes is not None else scale.side if scale is QUICK else 48
    photos = archive(work.folder / "dyndistill/photo.npz", prepare(Part.of(whole, of["photo"]), short_side=side))
    first, second = of["sketch"][::2], of["sketch"][1::2]
    sketches = archive(work.folder / "dyndistill/sketch.npz", prepare(Part.of(whole, first), short_side=side))
    test = prepare(Part.of(whole, second), short_side=side)
    budget = scale.budget("dyndistill", epochs=1 if scale is QUICK else 2)

    def arm(place: Path, seed: int, momentum: float | None) -> Scores:
        recipe = dyndistill.Recipe(
            data=sketches,
            base=photos,
            out=str(place.parent / f"chain-{seed}"),
            momentum=1.0 if momentum is None else momentum,
            seed=seed,
        )
        more = {**scale.run, **budget, "image_size": side, "batch_size": min(32, scale.batch_size)}
        base, target = dyndistill.stages(recipe, **more)
        target = target._replace(name=f"target-{momentum}")
        return episodes(carry_out(recipe.out, [base] if momentum is None else [base, target])[-1], test, scale, (1, 5))

    arms = {
        "base alone": lambda place, seed: arm(place, seed, None),
        "fixed teacher": lambda place, seed: arm(place, seed, 1.0),
        "moving teacher": lambda place, seed: arm(place, seed, 0.99),
    }
    return work.arms("dyndistill", arms), f"{len(of['photo'])} photographs, {len(first)} sketches of PACS"


def unnamed(work: Work) -> tuple[dict[str, list[Scores]], str]:
    """Half of the classes of CIFAR-10 named: the second stage of PromptCAL, and the first one as long again."""
    scale = work.scale
    whole = opened("cifar10", "train", "label")

    def arm(place: Path, seed: int, stage: int) -> Scores:
        images = drawn(whole, scale.images // 2, seed)
        assert images.labels is not None
        data = with_labels(images, images.labels, {})
        folder = place.parent / f"chain-{seed}"
        common = {**scale.run, **scale.budget("promptcal", epochs=1 / 3), "batch_size": scale.batch_size, "seed": seed}
        common |= {"method": "promptcal", "subset": "gcd:0.5", "subset_seed": seed}
        stages = [
            Stage("first", data, {**common, "stage": 1}),
            Stage(f"second-{stage}", data, {**common, "stage": stage, "start": str(folder / "first")}),
        ]
        found = carry_out(folder, stages)[-1]
        part, told = part_of(data, "gcd:0.5", seed)
        x_NF = unit(extract(load_encoder(found.weights("student")), prepare(part, short_side=None)))
        clusters = find(x_NF, told.labels, len(np.unique(told.truth)), runs=3, seed=seed).clusters
        scores = scoring.score(told.truth, told.labels, clusters, np.zeros(len(clusters), bool))
        return {one.name: one.value for one in scores if one.name in {"All", "Old", "New"}}

    arms = {
        "stage 1 twice": lambda place, seed: arm(place, seed, 1),
        "stage 1, then 2": lambda place, seed: arm(place, seed, 2),
    }
    return work.arms("promptcal", arms), f"{scale.images // 2:,} images of CIFAR-10, gcd:0.5; v2 accuracy"


MEASURED = dict(zip(PARTS, (labels40, hiermatch, continual, meta, across, unnamed), strict=True))
CLAIMS: Mapping[str, Sequence[tuple[str, str, str, str]]] = {
    "labels40": (("paws", "own", "msf", "linear"), ("cmsf_semi", "own", "msf", "linear")),
    "hiermatch": (("10 fine, 10 coarse", "own", "10 fine", "own"),),
    "nncsl": (("nncsl", "own", "every support", "own"), ("nncsl", "own", "csl", "own")),
    "uml": tuple(
        ("64 tasks", f"prototype {shot}-shot", other, f"prototype {shot}-shot")
        for shot in (1, 5)
        for other in ("1 task", "64 tasks, cosine")
    ),
    "promptcal": (("stage 1, then 2", "New", "stage 1 twice", "New"),),
    "dyndistill": tuple(
        (better, f"logistic {shot}-shot", worse, f"logistic {shot}-shot")
        for shot in (1, 5)
        for better, worse in (("moving teacher", "fixed teacher"), ("fixed teacher", "base alone"))
    ),
}
"""Of each part: the arm and score that must be above another arm's score."""


def mean_of(scores: Sequence[Scores], name: str) -> float:
    """Over the seeds."""
    return fmean(one[name] for one in scores)


def shown(scores: Sequence[Scores], name: str) -> str:
    """Mean and deviation over the seeds, in %; nothing where the arm has no such score."""
    if name not in scores[0]:
        return "-"
    deviation = f" ± {100 * stdev(one[name] for one in scores):.1f}" if len(scores) > 1 else ""
    return f"{100 * mean_of(scores, name):.1f}{deviation}"


def measure(options: argparse.Namespace) -> Outcome:
    """The parts that are asked for."""
    scale = QUICK if options.quick else Scale(options.images, options.epochs, options.seeds)
    if options.short:
        scale = short(options.images, options.longer)
    folder = Path(mkdtemp(prefix="likewise-few-labels-")) if options.work is None else options.work
    work = Work(folder, scale)
    found = Outcome(
        "Few labels",
        f"ResNet-18 of width {scale.width} at {scale.side} px unless said otherwise; accuracy in %, mean and deviation "
        f"over {scale.seeds} seeds, which draw other images and labels as well. `own` is the classifier that the "
        "method trains, `linear` a probe on the same labels; episodes are 5-way, on features as they are."
        + (" The short form: every arm has the same time." if options.short else ""),
    )
    for part in options.parts:
        arms, words = MEASURED[part](work)
        words += f"; {scale.minutes[part]:g} minutes an arm" if scale.minutes is not None else ""
        names = list(dict.fromkeys(name for scores in arms.values() for name in scores[0] if HALF not in name))
        rows = [[arm, *(shown(scores, name) for name in names)] for arm, scores in arms.items()]
        found.table(f"{part}: {words}", ["", *names], rows)
        found.figures[part] = arms
        for better, score, worse, other in CLAIMS[part]:
            if better in arms and worse in arms:
                gain = 100 * (mean_of(arms[better], score) - mean_of(arms[worse], other))
                met = None if options.quick else gain > 0
                found.target(f"{part}: {score} of {better} over {other} of {worse}, points", "> 0", gain, met=met)
    return found


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and print."""
    parser = parser_of("few_labels", MINUTES)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="which claims")
    parser.add_argument("--work", type=Path, default=None, help="where runs and scores are kept, to go on there")
    parser.add_argument("--short", action="store_true", help="minutes of training and one seed, for RESULTS.md")
    parser.add_argument("--longer", type=float, default=1.0, help="times the minutes of the short form")
    parser.add_argument("--images", type=int, default=Scale.images, help="training images")
    parser.add_argument("--epochs", type=float, default=Scale.epochs, help="of most trainings; some take a third")
    parser.add_argument("--seeds", type=int, default=Scale.seeds, help="draws of images and labels")
    return run("few_labels", measure, parser, arguments)


if __name__ == "__main__":
    main()
