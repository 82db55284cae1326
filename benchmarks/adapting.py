"""A trained encoder meets new images: keep it, distil it, train alone, or continue it near where it is.

    python -m benchmarks.adapting trial anchor --data rsscn7_64 caltech101_small --minutes 3

`trial`: the scores and the verdict of `likewise trial` on the training images, and those of runs of `--minutes` on all
of them, judged on others. `anchor`: EfficientNet-Lite0 continued by ISD, free and anchored; "among old" is what new
vectors find among those that the encoder gave before.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks import arms
from benchmarks.few_images import Keywords, divided, opened
from benchmarks.harness import processors
from benchmarks.results import STORE as RESULTS
from likewise import load, train
from likewise.data import cached_side, prepare
from likewise.data.source import Part
from likewise.encoders import Encoder, build, load_encoder, save_encoder
from likewise.evaluation import extract
from likewise.similarity import knn
from likewise.similarity.nearest import neighbours
from likewise.verbs.keeping.convert import lite
from likewise.verbs.learning.trial import trial

STORE = RESULTS / "adapting.json"
SETS = ("rsscn7_64", "caltech101_small", "orl_faces", "omniglot_small")
NEIGHBOURS = 10
MOST = 4000
"""Training images at most."""
LEAST = 0.01
"""Minutes of a run that only says what the untrained encoder is."""
SIDE = 64
CONTINUED: Keywords = {"method": "isd", "optimiser": "sgd", "learning_rate": 0.01, "batch_size": 64}
"""How the trained encoder is continued."""
FORMS: dict[str, Keywords] = {
    "free, Muon": {"optimiser": "muon", "learning_rate": 0.1},
    "free": {},
    "anchor 1": {"anchor": 1.0},
    "anchor 10": {"anchor": 10.0},
}
QUIET: Keywords = {"quiet": True, "report": False, "loggers": (), "online_probe": False, "device": "cpu"}
Arm = Callable[[], dict[str, float]]


def section(file: Path) -> str:
    """The part of `RESULTS.md`."""
    about = (
        "`python -m benchmarks.adapting`: EfficientNet-Lite0, trained on ImageNet with labels, meets other images, of "
        f"which three tenths are only asked about; accuracy of {NEIGHBOURS} neighbours."
    )
    return arms.section(file, "Trained encoders on new images", about)


def right(asked: Encoder, test: Part, among: Encoder, bank: Part) -> float:
    """Accuracy of neighbours: vectors of one encoder for the test images, of another for the training images."""
    vectors = []
    for encoder, part in ((asked, test), (among, bank)):
        images = prepare(part, short_side=cached_side(encoder.spec.image_size))
        vectors.append((extract(encoder, images), torch.from_numpy(images.labels)))
    (query_QD, truth_Q), (bank_ND, labels_N) = vectors
    near = neighbours(query_QD, bank_ND, NEIGHBOURS)
    return float((knn.majority(near, labels_N, NEIGHBOURS) == truth_Q).double().mean())


def tried(bank: Part, test: Part, teacher: str, minutes: float) -> tuple[str, dict[str, Arm]]:
    """The advice of a trial of as many minutes as one run, and for each of its arms the scores."""
    said = trial(bank, minutes=minutes, teacher=teacher, device="cpu")
    named = next(arm.about.partition(" ")[0] for arm in said.arms if arm.name == "untrained")
    methods: dict[str, Keywords] = {"self-supervised": {"method": "isd"}, "distilled": {"method": "simreg"}}
    methods["distilled"] |= {"teacher": teacher, "cached": True}

    def full(name: str) -> Encoder:
        if name == "pretrained":
            return load_encoder(Path(teacher))
        with TemporaryDirectory() as folder:
            asked = {**methods.get(name, {"method": "isd"}), "encoder": named, **QUIET}
            budget = minutes if name in methods else LEAST
            encoder = load(train(bank, **asked, minutes=budget, out=f"{folder}/run").path)
        return build(encoder.spec, seed=0) if name == "untrained" else encoder

    def scored(arm: Any) -> dict[str, float]:
        encoder = full(arm.name)
        found = {"trial": arm.measured.score, "from": arm.measured.low, "to": arm.measured.high}
        return {**found, "full run": right(encoder, test, encoder, bank)}

    return said.verdict, {arm.name: lambda arm=arm: scored(arm) for arm in said.arms}


def continued(bank: Part, test: Part, start: str, minutes: float) -> dict[str, Arm]:
    """Scores of the encoder as it was, and continued with each weight of the anchor."""
    whole, smaller = load_encoder(Path(start)), Path(start).with_name("smaller.safetensors")
    old = Encoder(replace(whole.spec, image_size=SIDE), whole.backbone)  # what smaller images cost is not the question
    save_encoder(old, smaller)

    def scored(encoder: Encoder, before: Encoder) -> dict[str, float]:
        return {"among new": right(encoder, test, encoder, bank), "among old": right(encoder, test, before, bank)}

    def one(form: Keywords) -> dict[str, float]:
        with TemporaryDirectory() as folder:
            asked = {**CONTINUED, **form, **QUIET, "start": str(smaller), "minutes": minutes}
            encoder = load(train(bank, **asked, out=f"{folder}/run").path)
        return scored(encoder, old)

    return {"as it was": lambda: scored(old, old)} | {name: lambda form=form: one(form) for name, form in FORMS.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, score and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adapting", description=__doc__.partition("\n")[0])
    parser.add_argument("trends", nargs="*", default=["trial", "anchor"], help="trial, anchor")
    parser.add_argument("--data", nargs="+", choices=SETS, default=SETS, help="images of LIKEWISE_DATA")
    parser.add_argument("--minutes", type=float, default=3.0, help="of a trial, and of every training")
    parser.add_argument("--threads", type=int, default=processors(), help="of every training")
    parser.add_argument("--out", type=Path, default=STORE, help="JSON file that the scores are added to")
    options = parser.parse_args(arguments)
    if wrong := sorted({*options.trends} - {"trial", "anchor"}):
        parser.error(f"there is no {wrong[0]}: allowed are trial, anchor")
    torch.set_num_threads(options.threads)
    budget = f"{options.minutes:g} minutes, {options.threads} thread{'s' * (options.threads > 1)}"
    with TemporaryDirectory() as folder:
        teacher = str(lite(0, Path(folder) / "lite0.safetensors").path)
        for name in options.data:
            bank, test = divided(opened(name, None, "label"), MOST)
            for trend in options.trends:
                words = f"{trend} on {name}"
                if trend == "trial":
                    verdict, called = tried(bank, test, teacher, options.minutes)
                    words += f": {verdict}"
                else:
                    called = continued(bank, test, teacher, options.minutes)
                for arm, measured in called.items():
                    scores = measured()
                    arms.add(options.out, words, budget, arm, 0, scores)
                    print(f"{words}, {arm}: {', '.join(f'{k} {v:.3f}' for k, v in scores.items())}", flush=True)


if __name__ == "__main__":
    main()
