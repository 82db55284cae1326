"""Truncated triplet: the band in batches of any size, the open hinge, and the random sizes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from likewise.encoders import EncoderSpec, build
from likewise.errors import InputError
from likewise.methods.method import Facts, Progress
from likewise.methods.triplet import Triplet, band, resized, truncated_triplet
from likewise.similarity import unit
from tests.contract.gauntlet import batch_at, make


@pytest.mark.parametrize(
    ("negatives", "low", "high", "others", "expected"),
    [
        ("band", 2, 10, 195, (2, 10)),
        ("band", 2, 10, 10, (2, 10)),
        ("band", 2, 10, 4, (2, 4)),
        ("band", 2, 10, 1, (1, 1)),
        ("band", 5, 5, 30, (5, 5)),
        ("band", 2, 0, 255, (2, 13)),
        ("band", 2, 0, 19, (2, 3)),
        ("median", 2, 10, 9, (5, 5)),
        ("median", 2, 10, 10, (5, 5)),
        ("all", 2, 10, 9, (1, 9)),
    ],
)
def test_the_band(negatives: str, low: int, high: int, others: int, expected: tuple[int, int]) -> None:
    assert band(negatives, low, high, others) == expected  # type: ignore[arg-type]


def plain(prediction: Tensor, target: Tensor, margin: float, gamma: float, negatives: str) -> Tensor:
    """One image at a time, with sorted distances; ranks 2 to 4."""
    p, g = unit(prediction), unit(target)
    losses = []
    for i in range(len(p)):
        others = torch.stack([-2 * p[i] @ g[j] for j in range(len(p)) if j != i])
        kinds = {"band": others.sort().values[1:4].mean(), "median": others.median(), "all": others.mean()}
        losses.append((margin + gamma * -2 * (p[i] @ g[i]) - kinds[negatives]).clamp_min(0))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("negatives", ["band", "median", "all"])
@pytest.mark.parametrize("count", [5, 8, 9])
@pytest.mark.parametrize("margin", [100.0, 0.5])
def test_the_loss_is_the_one_of_sorted_distances(negatives: str, count: int, margin: float) -> None:
    torch.manual_seed(count)
    prediction, target = torch.randn(2, count, 6, dtype=torch.float64)
    found = truncated_triplet(
        prediction,
        target,
        margin=margin,
        gamma=2.0,
        low=2,
        high=4,
        negatives=negatives,  # type: ignore[arg-type]
    )
    torch.testing.assert_close(found, plain(prediction, target, margin, 2.0, negatives))


def test_batches_are_resized_between_the_smallest_share_and_all() -> None:
    torch.manual_seed(0)
    image = torch.randn(2, 3, 16, 16)
    sides = {resized(image, 0.75).shape[-1] for _ in range(100)}
    assert sides == {12, 13, 14, 15, 16}
    assert resized(image, 1.0) is image


def test_a_step_works_at_random_sizes() -> None:
    method = make("triplet", resize_student=0.5, resize_teacher=0.5)
    terms = method(*batch_at(method, 0))
    assert 190 < terms.loss < 210


def test_the_teacher_stops_at_the_end_of_the_budget_and_moves_after_the_step() -> None:
    method = make("triplet")
    with torch.no_grad():
        for parameter in method.get_submodule("student").parameters():
            parameter.add_(1.0)
    teacher = list(method.get_submodule("teacher").parameters())
    before = [p.clone() for p in teacher]
    method.before_step(Progress(0, 0.0, 0))
    method.after_step(Progress(9, 1.0, 1))
    assert all(p.equal(old) for p, old in zip(teacher, before, strict=True))
    method.after_step(Progress(0, 0.0, 0))
    assert not any(p.equal(old) for p, old in zip(teacher, before, strict=True))


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(InputError, match="rank_high=3 is below rank_low=5"):
        Triplet.Settings(rank_low=5, rank_high=3)
    transformer = build(EncoderSpec(name="vit_tiny_patch16_224", stem="small", image_size=32))
    with pytest.raises(InputError, match="looks at patches"):
        Triplet(transformer, Triplet.Settings(resize_student=0.5), Facts(images=9, batch_size=4, image_size=32))
