"""Errors of an encoder: confused classes, rare classes, and misclassified images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.data import Images
from likewise.report.markup import section, tag, text
from likewise.report.neighbours import SIDE
from likewise.report.numbers import count
from likewise.report.plots import bars_by_class, confusion
from likewise.report.thumbnails import image
from likewise.similarity import neighbours, unit

HARDEST, FAILURES, NEIGHBOURS = 24, 8, 6
VOTERS = 20
"""Nearest images that say how hard an image is."""
SHARE_OF_ONE_CLASS = 4
"""Of the hardest images a class has at most one in so many, so that one bad class does not hide the others."""


@dataclass(frozen=True)
class Judged:
    """Images that were classified, by images whose class is known."""

    query: Images
    bank: Images
    query_QF: Tensor
    bank_NF: Tensor
    predicted_Q: NDArray[np.int64]
    frequency_C: NDArray[np.int64]
    """Images of each class to learn from."""
    probe: str
    """What classified them, in a few words."""
    data: str = ""
    """What the images are of, by path or name."""

    @property
    def truth(self) -> NDArray[np.int64]:
        """(Q,) the class that each has."""
        assert self.query.labels is not None
        return self.query.labels

    @cached_property
    def classes(self) -> int:
        """Number of classes."""
        return max(len(self.frequency_C), int(self.truth.max()) + 1, int(self.predicted_Q.max()) + 1)

    @cached_property
    def names(self) -> list[str]:
        """Of every class."""
        known = self.query.class_names or self.bank.class_names or ()
        return [known[value] if value < len(known) else f"class {value}" for value in range(self.classes)]

    @cached_property
    def by_frequency(self) -> list[int]:
        """Classes that were asked for, the most frequent first."""
        counts = np.pad(self.frequency_C, (0, self.classes - len(self.frequency_C)))
        present = np.unique(self.truth)
        return [int(value) for value in present[np.argsort(-counts[present], kind="stable")]]

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """(C, C) how often class (row) was given as class (column)."""
        flat = np.bincount(self.truth * self.classes + self.predicted_Q, minlength=self.classes**2)
        return flat.reshape(self.classes, self.classes)


def mistakes(judged: Judged) -> str:
    """The section; empty for fewer than two classes."""
    if len(judged.by_frequency) < 2 or len(judged.query) != len(judged.predicted_Q):
        return ""
    wrong = int((judged.predicted_Q != judged.truth).sum())
    of = f"{count(wrong)} of {count(len(judged.query))} images{f' of {judged.data}' if judged.data else ''}"
    lead = f"By {judged.probe}, {of} are given a class that is not theirs."
    frequency = np.pad(judged.frequency_C, (0, judged.classes - len(judged.frequency_C)))
    parts = [
        bars_by_class.chart(judged.counts, judged.by_frequency, frequency, judged.names),
        confusion.matrix(judged.counts, judged.by_frequency, judged.names),
    ]
    if wrong:
        parts += [_hard_images(judged)]
    return section("mistakes", "Where it goes wrong", lead, *parts)


def _hard_images(judged: Judged) -> str:
    """The hardest images, and what failures were taken for."""
    assert judged.bank.labels is not None
    voters = min(max(VOTERS, NEIGHBOURS), len(judged.bank_NF))
    failed = np.flatnonzero(judged.predicted_Q != judged.truth)
    query_WF = unit(judged.query_QF[torch.from_numpy(failed)].float().cpu())
    found = neighbours(query_WF, unit(judged.bank_NF.float().cpu()), voters)
    rows_WK, similarity_WK = found.rows.numpy(), found.similarity.numpy()
    own_W = (judged.bank.labels[rows_WK] == judged.truth[failed][:, None]).mean(1)
    hardest = hardest_of(judged.truth[failed], own_W, similarity_WK[:, 0], HARDEST)
    tiles = "".join(_tile(judged, int(failed[place])) for place in hardest)
    shown = clearest_of_pairs(judged.truth[failed], judged.predicted_Q[failed], judged.bank.labels[rows_WK], FAILURES)
    lines = "".join(
        _line(judged, int(failed[place]), rows_WK[place, :NEIGHBOURS], similarity_WK[place, :NEIGHBOURS])
        for place in shown
    )
    return (
        tag("h3", "The hardest images")
        + tag("p", text(_HARD), class_="small")
        + tag("ul", tiles, class_="tiles")
        + tag("h3", "What failures look like to the encoder")
        + tag("p", text(_SEEN), class_="small")
        + tag("ul", lines, class_="neighbours")
    )


_HARD = (
    f"None or few of their {VOTERS} nearest images with a known class have theirs, though something is very near. "
    "Look here for wrong labels, too."
)
_SEEN = (
    "The clearest failure of each of the most frequent mistakes, with the nearest images whose class is known. Green "
    "shares its class, dashed red is of the class named below."
)


def hardest_of(
    truth_W: NDArray[np.int64], own_W: NDArray[np.float64], nearest_W: NDArray[np.float32], most: int
) -> NDArray[np.int64]:
    """Places of the hardest failures: fewest neighbours of their class, of equals those with the nearest neighbour."""
    order = np.lexsort((-nearest_W, own_W))
    kinds = len(np.unique(truth_W))
    each = most if kinds < SHARE_OF_ONE_CLASS else most // SHARE_OF_ONE_CLASS
    taken: dict[int, int] = {}
    chosen: list[int] = []
    for place in order:
        value = int(truth_W[place])
        if taken.get(value, 0) < each:
            taken[value] = taken.get(value, 0) + 1
            chosen.append(int(place))
        if len(chosen) == most:
            break
    return np.array(chosen, dtype=np.int64)


def clearest_of_pairs(
    truth_W: NDArray[np.int64], predicted_W: NDArray[np.int64], votes_WK: NDArray[np.int64], most: int
) -> NDArray[np.int64]:
    """Places of one failure for each of the most frequent pairs of classes: that with most votes for the wrong one."""
    pairs, kind_W, counts = np.unique(np.stack([truth_W, predicted_W]), axis=1, return_inverse=True, return_counts=True)
    votes_W = (votes_WK == predicted_W[:, None]).sum(1)
    chosen = []
    for pair in np.argsort(-counts, kind="stable")[: min(most, pairs.shape[1])]:
        members = np.flatnonzero(kind_W.reshape(-1) == pair)
        chosen.append(int(members[votes_W[members].argmax()]))
    return np.array(chosen, dtype=np.int64)


def _tile(judged: Judged, position: int) -> str:
    own, taken = (judged.names[int(values[position])] for values in (judged.truth, judged.predicted_Q))
    words = text(own) + tag("b", text(taken))
    hint = f"{judged.query.names[position]}: {own}, taken for {taken}"
    return tag("li", tag("figure", image(judged.query, position, SIDE, own), tag("figcaption", words)), title=hint)


def _line(judged: Judged, position: int, rows: NDArray[np.int64], similarity: NDArray[np.float32]) -> str:
    """A failure and its nearest images of the bank."""
    assert judged.bank.labels is not None
    own, taken = int(judged.truth[position]), judged.names[int(judged.predicted_Q[position])]
    caption = text(judged.names[own]) + tag("span", text(f"taken for {taken}"), class_="taken")
    first = tag(
        "figure",
        image(judged.query, position, SIDE, judged.names[own]),
        tag("figcaption", caption, title=str(judged.query.names[position])),
        class_="query",
    )
    others = []
    for row, value in zip(rows, similarity, strict=True):
        other = int(judged.bank.labels[row])
        strange = tag("b", text(judged.names[other])) if other != own else ""
        others.append(
            tag(
                "figure",
                image(judged.bank, int(row), SIDE, judged.names[other]),
                tag("figcaption", f"{value:.2f}", strange),
                class_="same" if other == own else "differs",
                title=f"{judged.names[other]}, {judged.bank.names[row]}, similarity {value:.3f}",
            )
        )
    return tag("li", first, tag("div", "".join(others), class_="others"))
