"""kNN accuracy during training, on a fixed sample of images with known labels.

Every image of the sample is classified by its nearest others (leave-one-out), so each is a query and a neighbour.
Labels are only looked at. Training is not touched: eval mode and back, no random numbers, and a cost that is bounded
beforehand and watched afterwards.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from likewise.data import Images
from likewise.encoders import Encoder
from likewise.errors import InputError
from likewise.evaluation.bank_and_query import stratified
from likewise.evaluation.features import Precision, extract
from likewise.evaluation.gain import Change, verdict
from likewise.evaluation.significance import mcnemar
from likewise.similarity import Neighbours, knn
from likewise.similarity.nearest import neighbours

SHARE = 0.015
"""Of the time of training that is planned for it."""
LIMIT = 0.02
"""Of the time of training that it may take where moments were slower than planned."""
MOST_IMAGES, LEAST_IMAGES = 2500, 256
"""In the sample: more would say little more, and from fewer the curve is mostly noise."""
FEWEST, USUAL, MOST = 2, 10, 50
"""Measurements of a run: before and after, enough for a curve, and no more than anybody looks at."""
PASSES = 4
"""Forward passes that training spends on an image at least: one view forward and backward, another by a teacher."""
_TIMED = 64
_SEED = 0
"""The sample depends on the images alone, so that all runs on them are measured by the same."""


def leave_one_out(encoder: Encoder, images: Images, *, k: int = 20, precision: Precision = "bf16") -> float:
    """Accuracy, 0 to 1, of the majority of the `k` nearest others of each image, by cosine.

    In bfloat16 by default, so not quite the number that `evaluate` would give. The encoder is left in the mode it was
    in. Raises InputError where images have no labels, or there are fewer than two.
    """
    return float(answered(encoder, images, k=k, precision=precision).mean())


def answered(encoder: Encoder, images: Images, *, k: int, precision: Precision) -> NDArray[np.bool_]:
    """(N,) whether each image is classified correctly by its nearest others, as `leave_one_out` counts it."""
    if images.labels is None or (images.labels < 0).any():
        raise InputError("a score while training needs images that all have labels: take a subset of labelled ones")
    if len(images) < 2:
        raise InputError(f"a score while training needs two images or more, not {len(images)}")
    k = min(k, len(images) - 1)
    features_NF = extract(uncompiled(encoder), images, precision=precision)
    labels_N = torch.from_numpy(images.labels)
    found = neighbours(features_NF, features_NF, k + 1)
    other = found.rows != torch.arange(len(images))[:, None]
    other[other.all(1), -1] = False  # an image with k copies need not be among its own nearest
    shape = (len(images), k)
    others = Neighbours(found.similarity[other].view(shape), found.rows[other].view(shape))
    return np.asarray(knn.majority(others, labels_N, k).eq(labels_N).numpy(), dtype=np.bool_)


def uncompiled(encoder: Encoder) -> Encoder:
    """The same encoder, parts and weights shared, that torch.compile need not compile again for other batches."""
    return copy.copy(encoder)  # copies leave the compiled call behind


class OnlineProbe:
    """Measures one encoder now and then. Use `begin` once, then `measure` whenever `due`."""

    def __init__(
        self,
        encoder: Encoder,
        images: Images,
        *,
        seen: float | None = None,
        minutes: float | None = None,
        precision: Precision = "float32",
        stored: Mapping[str, Any] | None = None,
    ) -> None:
        """The budget of training is either `seen`, images times epochs, or `minutes`.

        `stored` is what `begin` returned in an earlier session of the same run: its sample is taken again.
        """
        self._encoder, self._images, self._precision = encoder, images, precision
        self._seen, self._minutes, self._stored = seen, minutes, stored
        self._sample: Images | None = None
        self._k, self._wait = 0, 1.0
        self._last_fraction = 0.0
        self._cost = 0.0
        self._right = np.zeros(0, np.bool_)
        self._before: str | None = None
        self.seconds = 0.0
        """Spent so far in this session."""

    def begin(self, fraction: float = 0.0) -> dict[str, Any]:
        """Choose the sample, or take that of an earlier session; `fraction` of the budget is used.

        Returns what is worth writing down: `pictures`, `k`, `measures`, and of a run that has just begun `before`, its
        accuracy, and `before_right`, a bit for each image (hexadecimal). Empty, and nothing will be measured, where
        too few labels are known or training is too short.
        """
        began = time.perf_counter()
        facts = self._sized() if self._stored is None else dict(self._stored)
        self.seconds += time.perf_counter() - began
        if not facts:
            return {}
        self._sample = self._images.subset(sample_rows(self._images, int(facts["pictures"])))
        self._k, self._wait = int(facts["k"]), 1.0 / (int(facts["measures"]) - 1)
        self._last_fraction = fraction
        if fraction == 0.0:
            facts["before"] = self.measure(fraction)
            facts |= {"before_right": _packed(self._right)} if len(self._right) else {}
        self._before = facts.get("before_right")
        return facts

    def change(self) -> dict[str, Any]:
        """The change by training so far, over the same images: `after`, `low`, `high`, and `change` in words.

        Empty where nothing was measured since the beginning, or the answers from then are not known.
        """
        if not self._before or self._sample is None or self._last_fraction == 0.0 or not len(self._right):
            return {}
        then, now = _unpacked(self._before, len(self._right)), self._right
        test = mcnemar(then, now)
        found = Change(
            label=f"knn k={self._k}",
            which="student",
            against="untrained",
            data=self._sample.name,
            split="sample",
            before=float(then.mean()),
            after=float(now.mean()),
            low=test.low,
            high=test.high,
            how=test.how,
        )
        words = f"{found.label} {100 * found.before:.1f} to {100 * found.after:.1f} %, {found.figure()}"
        result = f"{words} on {len(now):,} images while training: {verdict([found])}"
        return {"after": found.after, "low": found.low, "high": found.high, "outcome": found.outcome, "change": result}

    def _sized(self) -> dict[str, Any]:
        labels = self._images.labels
        known = 0 if labels is None else int((labels >= 0).sum())
        if labels is None or known < 2 or len(np.unique(labels[labels >= 0])) < 2:
            return {}
        affordable = SHARE * PASSES * self._seen if self._seen is not None else self._by_the_clock()
        images = min(MOST_IMAGES, known, max(LEAST_IMAGES, int(affordable / USUAL)))
        measures = min(MOST, int(affordable / images))
        if measures < FEWEST or images < min(LEAST_IMAGES, known):
            return {}
        rows = sample_rows(self._images, images)
        each = len(rows) // len(np.unique(labels[rows]))
        return {"pictures": len(rows), "k": max(1, min(20, each // 5)), "measures": measures}

    def _by_the_clock(self) -> float:
        """Images that can be looked at in the share of the minutes: the second pass over a few is timed."""
        assert self._minutes is not None
        few = self._images.subset(np.arange(min(_TIMED, len(self._images))))
        encoder = uncompiled(self._encoder)
        extract(encoder, few, precision=self._precision)
        began = time.perf_counter()
        extract(encoder, few, precision=self._precision)
        each = (time.perf_counter() - began) / len(few)
        return max(0.0, SHARE * 60.0 * self._minutes / each - 2 * len(few))

    def due(self, fraction: float, seconds: float) -> bool:
        """Whether to measure now, `fraction` of the budget and `seconds` of training into the session.

        Measurements are spread evenly over the budget, and are put off where they turn out to cost more than they may.
        """
        if self._sample is None or fraction - self._last_fraction < self._wait:
            return False
        return self.seconds + self._cost <= SHARE * seconds

    def last(self, fraction: float, seconds: float) -> bool:
        """Whether to measure once more at the end: not what was measured just now, nor beyond the limit."""
        if self._sample is None or fraction <= self._last_fraction:
            return False
        return self.seconds + self._cost <= LIMIT * seconds

    def measure(self, fraction: float) -> float:
        """The accuracy of the encoder as it is now, `fraction` of the budget used."""
        assert self._sample is not None
        began = time.perf_counter()
        self._right = answered(self._encoder, self._sample, k=self._k, precision=self._precision)
        self._cost = time.perf_counter() - began
        self.seconds += self._cost
        self._last_fraction = fraction
        return float(self._right.mean())


def _packed(right_N: NDArray[np.bool_]) -> str:
    return np.packbits(right_N).tobytes().hex()


def _unpacked(words: str, count: int) -> NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(bytes.fromhex(words), np.uint8), count=count).astype(np.bool_)


def sample_rows(images: Images, count: int) -> NDArray[np.int64]:
    """Positions of about `count` labelled images, of each class its share, always the same; of exact copies one."""
    assert images.labels is not None
    labels = np.full(len(images), -1)
    first = np.unique(images.digests, return_index=True)[1]
    labels[first] = images.labels[first]
    known = int((labels >= 0).sum())
    if count >= known:
        return np.flatnonzero(labels >= 0)
    return stratified(labels, count / known, _SEED)[1]
