"""The linear probe: likewise's solver, its search for the weight decay included, against SGD on cached features."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.features import Features, features
from benchmarks.harness import Outcome, in_turn, parser_of, ratio, rounded, run
from likewise.evaluation.probes.linear import fit
from likewise.similarity import unit
from likewise.similarity.knn import accuracy

MINUTES = 3
BATCH, RATE, MOMENTUM = 256, 0.1, 0.9


def standardised(data: Features) -> tuple[Tensor, Tensor]:
    """Features as ISD's protocol feeds them to the layer: normalised, then mean 0 and deviation 1."""
    bank_ND, query_QD = unit(data.bank_ND), unit(data.query_QD)
    mean_D, scale_D = bank_ND.mean(0), (bank_ND.var(0) + 1e-5).sqrt()
    return (bank_ND - mean_D) / scale_D, (query_QD - mean_D) / scale_D


def by_sgd(data: Features, epochs: int, rate: float) -> float:
    """Accuracy of a layer trained by SGD with a cosine schedule, batches gathered from the table in memory."""
    bank_ND, query_QD = standardised(data)
    torch.manual_seed(0)
    layer = nn.Linear(bank_ND.shape[1], int(data.bank_labels_N.max()) + 1)
    optimizer = torch.optim.SGD(layer.parameters(), rate, momentum=MOMENTUM)
    steps = max(1, len(bank_ND) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(bank_ND))[: steps * BATCH].split(BATCH):
            loss = cross_entropy(layer(bank_ND[rows]), data.bank_labels_N[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        return accuracy(layer(query_QD).argmax(1), data.query_labels_Q)


def measure(options: argparse.Namespace) -> Outcome:
    """Time and accuracy of both."""
    data = features(quick=options.quick)
    epochs = 2 if options.quick else 100
    found = Outcome(
        "Linear probe",
        f"{len(data.bank_ND):,} features of {data.bank_ND.shape[1]} dimensions ({data.origin}), "
        f"{len(data.query_QD):,} tested. SGD: {epochs} epochs, batch {BATCH}, momentum {MOMENTUM}, cosine from {RATE} "
        "and from a tenth of it, one run each, no search. likewise: L-BFGS, five weight decays tried on a held-out "
        "tenth.",
    )
    scores: dict[str, float] = {}

    def ours() -> None:
        probe = fit(data.bank_ND, data.bank_labels_N)
        scores["likewise"] = accuracy(probe.predict(data.query_QD), data.query_labels_Q)

    def sgd(name: str, rate: float) -> Callable[[], None]:
        def work() -> None:
            scores[name] = by_sgd(data, epochs, rate)

        return work

    trained = {f"SGD, rate {rate:g}": rate for rate in (RATE, RATE / 10)}
    sides = {"likewise": ours, **{name: sgd(name, rate) for name, rate in trained.items()}}
    if not options.quick:
        ours()  # once untimed; SGD is too long to need it
    timings = in_turn(sides, rounds=1 if options.quick else 2, warm=0)
    found.table(
        "Fit and test",
        ["side", "s", "processor time, s", "accuracy"],
        [[name, rounded(timing.seconds), rounded(timing.busy_seconds), f"{scores[name]:.2%}"]
         for name, timing in timings.items()],
    )  # fmt: skip
    best = max((name for name in sides if name != "likewise"), key=lambda name: scores[name])
    times = ratio(timings[best], timings["likewise"])
    found.figures |= {
        "seconds": {name: timing.to_json() for name, timing in timings.items()},
        "accuracy": scores,
        "SGD / likewise": times,
    }
    value = times["ratio_of_rounds"]
    found.target("SGD's time over ours", ">= 10", value, met=None if options.quick else value >= 10)
    gain = scores["likewise"] - scores[best]
    error = (0.25 / len(data.query_QD)) ** 0.5  # of one accuracy, at most
    met = None if options.quick else gain >= -error
    found.target("accuracy less that of the better SGD", f">= -{error:.3f}, one standard error", gain, met=met)
    return found


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and print."""
    return run("linear", measure, parser_of("linear", MINUTES), arguments)


if __name__ == "__main__":
    main()
