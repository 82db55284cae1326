"""Losses of a whole batch as tables: assignments, correlations, pairs, and cells of two crops.

Shapes: B images, K prototypes, D dimensions, N cells of a map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from likewise.methods.drawing import svg
from likewise.similarity import similarities, unit
from likewise.similarity.dense.sets import geometric, placed
from likewise.similarity.prototypes.assign import sinkhorn
from likewise.similarity.texts.image_text import pair_contrast, scale_of

TOP = 74.0


def assignments() -> str:
    """Scores of 7 images with 4 prototypes, one of which is near to all, by softmax alone and balanced."""
    images_BD = _random(7, 4, seed=3)
    prototypes_KD = unit(_random(4, 4, seed=4) + images_BD.mean(0) * torch.tensor([[2.5], [0.0], [0.0], [0.0]]))
    scores_BK = similarities(unit(images_BD), prototypes_KD)
    plain_BK, balanced_BK = sinkhorn(scores_BK, epsilon=0.25, iterations=0), sinkhorn(scores_BK, epsilon=0.25)
    parts = [
        _titled(40, "softmax of the scores", plain_BK, svg.ROW, cell=23, sums=True),
        _titled(290, "balanced: the target", balanced_BK, svg.TEACHER, cell=23, sums=True),
        svg.words(506, TOP + 14, "Rows are images, columns prototypes;", colour=svg.INK),
        svg.words(506, TOP + 34, "below, how many images each has.", colour=svg.INK),
        svg.words(506, TOP + 66, "The target of one view is what the", colour=svg.INK),
        svg.words(506, TOP + 86, "other view has to predict.", colour=svg.INK),
    ]
    return svg.figure("Images assigned to prototypes, by softmax and balanced", *parts)


def correlations() -> str:
    """Cross-correlation of two views' dimensions, before and after the loss was followed downhill."""
    from likewise.methods.barlow_twins import cross_correlation, reduce_redundancy, standardise

    base_BD = _random(64, 6, seed=1) @ (torch.eye(6, dtype=torch.float64) + 0.8)
    views = [base_BD + 0.7 * _random(64, 6, seed=seed) for seed in (2, 5)]
    started = [one.clone() for one in views]
    after = _downhill(views, lambda first, second: reduce_redundancy(first, second, 0.05).loss, steps=200, rate=8.0)

    def table(pair: Sequence[Tensor]) -> Tensor:
        return cross_correlation(*(standardise(one) for one in pair))

    parts = [
        _titled(40, "before", table(started), svg.ROW, cell=24),
        _titled(290, "after 200 steps of its gradient", table(after), svg.TEACHER, cell=24),
        svg.words(506, TOP + 14, "Rows are the dimensions of one view,", colour=svg.INK),
        svg.words(506, TOP + 34, "columns those of the other; full is a", colour=svg.INK),
        svg.words(506, TOP + 54, "correlation of 1. On the diagonal views", colour=svg.INK),
        svg.words(506, TOP + 74, "agree, beside it nothing is said twice.", colour=svg.INK),
    ]
    return svg.figure("Correlations of the dimensions of two views", *parts)


def pairs() -> str:
    """Probabilities of 6 texts for 6 images, before and after the contrast of pairs was followed downhill."""
    images_ND, texts_ND = _random(6, 8, seed=7), _random(6, 8, seed=8)
    scale = torch.tensor(1.6, dtype=torch.float64)

    def table(image_ND: Tensor, text_ND: Tensor) -> Tensor:
        return (similarities(unit(image_ND), unit(text_ND)) * scale_of(scale)).softmax(1)

    before_NN = table(images_ND, texts_ND)
    after = _downhill([images_ND, texts_ND], lambda one, other: pair_contrast(one, other, scale), steps=60, rate=2.0)
    parts = [
        _titled(40, "before", before_NN, svg.ROW, cell=24),
        _titled(290, "after 60 steps of its gradient", table(*after), svg.TEACHER, cell=24),
        svg.words(506, TOP + 14, "Rows are images, columns texts (or", colour=svg.INK),
        svg.words(506, TOP + 34, "sounds): how likely each is, by", colour=svg.INK),
        svg.words(506, TOP + 54, "similarity. Those that belong together", colour=svg.INK),
        svg.words(506, TOP + 74, "are on the diagonal.", colour=svg.INK),
    ]
    return svg.figure("Images and texts that find each other", *parts)


def cells() -> str:
    """Cells of two crops of an image, one of them mirrored, that lie at the same place."""
    corners = torch.tensor([[0.05, 0.1, 0.65, 0.8], [0.95, 0.3, 0.35, 1.0]], dtype=torch.float64)
    first, second = (placed(corners[row : row + 1], 4, 4) for row in (0, 1))
    match_NN = geometric(first, second, 0.5)[0]
    left, top, wide, tall = 40.0, 34.0, 260.0, 208.0

    def point(centre: Tensor) -> tuple[float, float]:
        return left + wide * float(centre[0]), top + tall * float(centre[1])

    parts = [svg.box(left, top, wide, tall, colour=svg.LINE, depth=0.35)]
    for row, colour in enumerate((svg.STUDENT, svg.TEACHER)):
        x1, y1, x2, y2 = corners[row].tolist()
        x, y = left + wide * min(x1, x2), top + tall * y1
        parts.append(svg.box(x, y, wide * abs(x2 - x1), tall * (y2 - y1), colour=colour, depth=0.06, edge=colour))
    for one, other in match_NN.nonzero().tolist():
        parts.append(svg.line(*point(first.centres[0, one]), *point(second.centres[0, other]), colour=svg.INK, wide=2))
    for places, colour in ((first, svg.STUDENT), (second, svg.TEACHER)):
        parts += [svg.dot(*point(centre), 4, colour=colour) for centre in places.centres[0]]
    parts += [
        svg.words(40, 22, "two crops of one image, their cells", bold=True, colour=svg.INK),
        _titled(338, "cells that belong together", match_NN.double(), svg.TEACHER, cell=9, top=52),
        svg.words(506, TOP + 14, "Rows are the cells of the first crop,", colour=svg.INK),
        svg.words(506, TOP + 34, "columns those of the second, which is", colour=svg.INK),
        svg.words(506, TOP + 54, "mirrored. Each cell is compared with", colour=svg.INK),
        svg.words(506, TOP + 74, "what the other crop shows there.", colour=svg.INK),
    ]
    return svg.figure("Cells of two crops that lie at the same place", *parts)


def _titled(
    x: float, title: str, table: Tensor, colour: str, *, cell: float, sums: bool = False, top: float = TOP - 30
) -> str:
    rows = table.tolist()
    parts = [
        svg.words(x, top - 22, title, bold=True, colour=svg.INK),
        svg.matrix(x, top, rows, cell=cell, colour=colour),
    ]
    if sums:
        below = top + cell * len(rows) + 16
        parts += [
            svg.words(x + cell * (column + 0.5) - 1, below, f"{float(value):.1f}", anchor="middle")
            for column, value in enumerate(table.sum(0))
        ]
    return "".join(parts)


def _random(rows: int, columns: int, *, seed: int) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _downhill(
    tensors: Sequence[Tensor], loss: Callable[[Tensor, Tensor], Tensor], *, steps: int, rate: float
) -> list[Tensor]:
    """Two tensors after steps of gradient descent on the loss."""
    moved = [one.clone().requires_grad_() for one in tensors]
    for _ in range(steps):
        gradients = torch.autograd.grad(loss(moved[0], moved[1]), moved)
        with torch.no_grad():
            moved = [(one - rate * gradient).requires_grad_() for one, gradient in zip(moved, gradients, strict=True)]
    return [one.detach() for one in moved]
