"""The 200 nearest of 50,000 for each of 10,000 images, exactly, by cosine: likewise against faiss's flat index."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn.functional import normalize

from benchmarks.features import features
from benchmarks.harness import Outcome, in_turn, parser_of, peak_extra_mib, ratio, rounded, run
from benchmarks.peers import peer
from likewise.similarity import Neighbours
from likewise.similarity.knn import accuracy, majority
from likewise.similarity.nearest import neighbours

MINUTES = 3
K = 200


def measure(options: argparse.Namespace) -> Outcome:
    """Time, memory, and agreement of the answers."""
    data = features(quick=options.quick)
    found = Outcome(
        "Nearest neighbours",
        f"The {K} nearest by cosine, exact, {len(data.query_QD):,} queries, {len(data.bank_ND):,} images, "
        f"{data.bank_ND.shape[1]} dimensions ({data.origin}); normalising and building the index included.",
    )
    answers: dict[str, Neighbours] = {}

    def ours() -> None:
        answers["likewise"] = neighbours(data.query_QD, data.bank_ND, K)

    sides: dict[str, Callable[[], object]] = {"likewise": ours}
    if (faiss := peer("faiss", found.notes)) is not None:
        faiss.omp_set_num_threads(options.threads)

        def by_faiss() -> None:
            index = faiss.IndexFlatIP(data.bank_ND.shape[1])
            index.add(normalize(data.bank_ND, dim=1).numpy())
            values, rows = index.search(normalize(data.query_QD, dim=1).numpy(), K)
            answers["faiss"] = Neighbours(torch.from_numpy(values), torch.from_numpy(rows))

        sides["faiss flat"] = by_faiss
    timings = in_turn(sides, rounds=1 if options.quick else 3)
    extra = {name: peak_extra_mib(side) for name, side in sides.items()}
    scores = {
        name: accuracy(majority(answer, data.bank_labels_N, 20), data.query_labels_Q)
        for name, answer in zip(sides, answers.values(), strict=True)
    }
    found.table(
        "Search",
        ["side", "s", "processor time, s", "extra memory, MiB", "20-NN accuracy"],
        [
            [name, rounded(timing.seconds), rounded(timing.busy_seconds),
             None if extra[name] is None else rounded(extra[name] or 0.0), f"{scores[name]:.2%}"]
            for name, timing in timings.items()
        ],
    )  # fmt: skip
    found.figures |= {"seconds": {name: timing.to_json() for name, timing in timings.items()}, "extra_mib": extra}
    if "faiss flat" in timings:
        times = ratio(timings["faiss flat"], timings["likewise"])
        found.figures["faiss / likewise"] = times
        value = times["ratio_of_rounds"]
        found.target("faiss's time over ours", ">= 1", value, met=None if options.quick else value >= 1)
    most = extra["likewise"]
    met = None if options.quick or most is None else most < 512
    found.target("extra memory, MiB", "< 512", most, met=met)
    return found


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and print."""
    return run("knn", measure, parser_of("knn", MINUTES), arguments)


if __name__ == "__main__":
    main()
