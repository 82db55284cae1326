"""Adapters, the sheet of arms and the orders, on vectors whose truth is known."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from likewise.errors import InputError
from likewise.similarity import unit
from likewise.upgrading.adapters import FORMS, fit, held_out
from likewise.upgrading.measures import Truth, answerable, bootstrap, found_of, nearest
from likewise.upgrading.order import area, choose, curve, order_of, scores
from likewise.upgrading.sheet import Cost, Sheet, plan_sheet

CLASSES, COUNT, DIM = 12, 360, 16


def clouds(noise: float, seed: int, dim: int = DIM) -> Tensor:
    """Vectors of images of twelve classes around means that are the same for every `seed`, with noise that is not."""
    labels = torch.arange(COUNT) % CLASSES
    means = torch.randn(CLASSES, dim, generator=torch.Generator().manual_seed(99))
    return means[labels] + noise * torch.randn(COUNT, dim, generator=torch.Generator().manual_seed(seed))


LABELS = torch.arange(COUNT) % CLASSES
TURN = torch.linalg.qr(torch.randn(DIM, DIM, generator=torch.Generator().manual_seed(5))).Q
OLD, NEW = clouds(1.6, 1), clouds(0.8, 2)


def quick(old: Tensor, new: Tensor, labels: Tensor | None = None, **more: Any) -> Sheet:
    """A sheet with the adapters that take no time."""
    return plan_sheet(old, new, labels, **{"forms": ("orthogonal",), **more})


# Adapters ------------------------------------------------------------------------------------------------------------


def test_an_orthogonal_map_is_found_exactly() -> None:
    x = torch.randn(200, DIM, generator=torch.Generator().manual_seed(3))
    found = fit("orthogonal", x, x @ TURN)
    torch.testing.assert_close(found.apply(x), unit(x @ TURN), atol=1e-5, rtol=0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dims", [(16, 10), (10, 16)])
def test_every_map_takes_vectors_of_one_length_to_another(form: Any, dims: tuple[int, int]) -> None:
    x, y = clouds(0.5, 4, dims[0]), clouds(0.5, 4, dims[1])
    mapped = fit(form, x, y).apply(x)
    assert mapped.shape == y.shape
    torch.testing.assert_close(mapped.norm(dim=1), torch.ones(COUNT))
    assert torch.equal(mapped, fit(form, x, y).apply(x)), "the same pairs give the same map"


@pytest.mark.parametrize("form", ["ridge", "mlp"])
def test_what_is_no_turn_is_mapped_better_by_the_freer_maps(form: Any) -> None:
    x = torch.randn(600, 8, generator=torch.Generator().manual_seed(6))
    y = torch.cat([x * torch.linspace(0.2, 3, 8), 3 * (x[:, :4] * x[:, 4:]) * (form == "mlp")], 1)
    kept = slice(0, 400)

    def agreement(name: Any) -> float:
        return float((fit(name, x[kept], y[kept]).apply(x[400:]) * unit(y[400:])).sum(1).mean())

    assert agreement(form) > agreement("orthogonal") + 0.01
    assert form != "mlp" or agreement("mlp") > agreement("ridge") + 0.01


def test_held_out_vectors_are_mapped_by_what_never_saw_them() -> None:
    x, y = torch.randn(60, 40), torch.randn(60, 40)  # nothing to learn
    mapped, whole = held_out("ridge", x, y)
    assert float((whole.apply(x) * unit(y)).sum(1).mean()) > 0.2
    assert abs(float((mapped * unit(y)).sum(1).mean())) < 0.1


@pytest.mark.parametrize(
    ("form", "rows", "words"),
    [("ridge", 5, "too few"), ("riddge", 20, "did you mean 'ridge'"), ("mlp", 19, "one each is needed")],
)
def test_a_map_that_cannot_be_is_one_line(form: Any, rows: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        fit(form, torch.randn(rows, 4), torch.randn(5 if rows == 5 else 20, 4))


# Measures ------------------------------------------------------------------------------------------------------------


def test_a_query_never_finds_itself() -> None:
    own = torch.arange(COUNT)
    found = nearest(OLD, OLD, own, 5)
    assert not (found == own.unsqueeze(1)).any()
    by_hand = unit(OLD) @ unit(OLD).T
    by_hand.fill_diagonal_(-2)
    assert torch.equal(found[:, 0], by_hand.argmax(1))


def test_queries_without_another_of_their_class_are_left_out() -> None:
    labels = torch.tensor([0, 0, 1, -1, -1])
    assert answerable(torch.arange(5), labels).tolist() == [0, 1]
    with pytest.raises(InputError, match="no image has another of its class"):
        answerable(torch.arange(2), torch.tensor([0, 1]))


def test_an_interval_holds_the_mean_and_narrows_with_more_queries() -> None:
    values = (np.random.default_rng(0).random(800) < 0.7).astype(float)
    few, many = bootstrap(values[:50]), bootstrap(values)
    assert many.low < many.mean < many.high
    assert many.high - many.low < (few.high - few.low) / 2
    expected = 1.96 * math.sqrt(many.mean * (1 - many.mean) / 800)
    assert many.high - many.mean == pytest.approx(expected, rel=0.2)


# The sheet -----------------------------------------------------------------------------------------------------------


def test_the_sheet_tells_what_is_compatible_from_what_is_not() -> None:
    free = plan_sheet(OLD, NEW @ TURN, LABELS)
    by_name = {arm.name: arm for arm in free.arms}
    assert set(by_name) == {"keep", "compatible", "re-embed", *FORMS, *(f"{form}-gallery" for form in FORMS)}
    assert by_name["keep"].new_old == by_name["keep"].old_old
    assert by_name["keep"].gain == 0.0
    assert by_name["re-embed"].new_old == by_name["re-embed"].new_new > by_name["keep"].new_old + 0.1
    assert by_name["re-embed"].gain == 1.0
    assert by_name["compatible"].new_old < by_name["keep"].new_old
    assert not by_name["compatible"].passes
    assert by_name["orthogonal"].passes
    assert 0 < by_name["orthogonal"].gain < 1
    fits = {arm.name: arm for arm in quick(OLD, NEW, LABELS).arms}
    assert fits["compatible"].passes
    assert fits["compatible"].seconds == 0.0


def test_the_record_is_json_with_what_scripts_read() -> None:
    sheet = quick(OLD, NEW, LABELS, cost=Cost(images=1000, seconds_an_image=0.5), forms=("ridge",))
    told = json.loads(json.dumps(sheet.record(), allow_nan=False))
    for arm in told["arms"]:
        assert {"name", "new_old", "old_old", "new_new", "gain", "seconds", "low", "high"} <= set(arm)
        assert arm["low"] <= arm["new_old"] <= arm["high"]
    whole = told["arms"][-1]
    assert (whole["name"], whole["seconds"], whole["bytes"]) == ("re-embed", 500.0, 1000 * DIM * 4)
    assert told["gate"]["least"] == 0.0
    assert told["gate"]["best"] in told["gate"]["passed"]


def test_flips_are_counted_over_the_same_queries() -> None:
    sheet = quick(OLD, NEW, LABELS)
    arm = sheet.arm("re-embed")
    assert arm is not None
    own = torch.arange(COUNT)
    before, now = (found_of(x, x, own, Truth(LABELS)) for x in (OLD, NEW))
    assert arm.negative_flips == pytest.approx(float((now < before).double().mean()))
    assert arm.positive_flips - arm.negative_flips == pytest.approx(arm.difference.mean)


def test_without_labels_the_neighbours_of_re_embedding_are_the_truth() -> None:
    sheet = quick(OLD, NEW)
    whole, keep = sheet.arm("re-embed"), sheet.arm("keep")
    assert whole is not None
    assert keep is not None
    assert whole.new_old == 1.0
    assert 0 < keep.new_old < 1


def test_images_without_a_label_are_no_wrong_answers() -> None:
    labels = torch.where(torch.arange(COUNT) < COUNT // 2, LABELS, -1)
    some, half = quick(OLD, NEW, labels), quick(OLD[: COUNT // 2], NEW[: COUNT // 2], LABELS[: COUNT // 2])
    for name in ("keep", "re-embed"):
        one, other = some.arm(name), half.arm(name)
        assert one is not None
        assert other is not None
        assert one.new_old == other.new_old


def test_vectors_of_other_lengths_are_compared_by_adapters_alone() -> None:
    sheet = quick(OLD, clouds(0.8, 2, 10), LABELS)
    assert sheet.arm("compatible") is None
    assert "10 dimensions" in sheet.notes[0]
    assert sheet.arm("orthogonal") is not None


def test_a_worse_encoder_does_not_pass_and_has_no_gain() -> None:
    sheet = quick(NEW, OLD, LABELS)
    whole = sheet.arm("re-embed")
    assert whole is not None
    assert not whole.passes
    assert math.isnan(whole.gain)
    assert sheet.record()["arms"][-1]["gain"] is None
    assert sheet.best.name == "keep"
    assert all(arm.passes for arm in quick(NEW, OLD, LABELS, gate=-1.0).arms)


@pytest.mark.parametrize(
    ("old", "new", "labels", "gate", "words"),
    [
        (OLD[:9], NEW[:9], None, 0.0, "9 images are too few"),
        (OLD, NEW[:-1], None, 0.0, "a row for each image"),
        (OLD, NEW, LABELS[:3], 0.0, "3 labels of 360 images"),
        (OLD, NEW * math.nan, None, 0.0, "new vectors are not all finite"),
        (OLD, NEW, None, 2.0, "gate=2.0 is out of range"),
    ],
)
def test_what_cannot_be_planned_is_one_line(
    old: Tensor, new: Tensor, labels: Tensor | None, gate: float, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        quick(old, new, labels, gate=gate)


# Orders --------------------------------------------------------------------------------------------------------------


def test_the_curve_goes_from_old_to_new_vectors() -> None:
    own, truth = torch.arange(COUNT), Truth(LABELS)
    points = curve(NEW, OLD, NEW, own, truth, torch.randperm(COUNT))
    assert [point.fraction for point in points] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert points[0].found == float(found_of(NEW, OLD, own, truth).mean())
    assert points[-1].found == float(found_of(NEW, NEW, own, truth).mean())
    assert points[-1].found > points[0].found


def test_the_order_that_is_ahead_on_the_sample_is_taken() -> None:
    worst = torch.arange(COUNT) % 4 == 0
    old = torch.where(worst.unsqueeze(1), clouds(6.0, 7), clouds(0.8, 8))  # a quarter of the old vectors is bad
    own, everyone = torch.arange(COUNT), torch.arange(COUNT)
    told = {"random": torch.rand(COUNT, generator=torch.Generator().manual_seed(1)), "moved": worst.float()}
    found = choose(everyone, old, NEW, own, Truth(LABELS), told)  # type: ignore[arg-type]
    assert found.name == "moved"
    assert area(found.curve) > area(found.random)
    same = choose(everyone, NEW, NEW, own, Truth(LABELS), told)  # type: ignore[arg-type]
    assert same.name == "random"


def test_orders_hold_every_image_once() -> None:
    told = scores(OLD, fit("ridge", OLD, NEW))
    assert set(told) == {"random", "popular", "unpopular", "moved", "steady"}
    for score in told.values():
        assert order_of(score).sort().values.equal(torch.arange(COUNT))
    assert set(scores(OLD, None)) == {"random", "popular", "unpopular"}


def test_a_curve_is_not_told_by_the_queries_that_chose_its_order() -> None:
    """Of many orders at random, the one that is best for some queries is no better for others."""
    own, everyone, draw = torch.arange(0, COUNT, 9), torch.arange(COUNT), torch.Generator().manual_seed(5)
    told = {f"draw {number}": torch.rand(COUNT, generator=draw) for number in range(40)}
    told["random"] = told["draw 0"]
    ahead = []
    for seed in range(6):
        old = clouds(2.0, 20 + seed)
        courses = {name: curve(NEW[own], old, NEW, own, Truth(LABELS), order_of(score)) for name, score in told.items()}
        found = choose(everyone, old, NEW, own, Truth(LABELS), told)  # type: ignore[arg-type]
        middle = np.mean([area(points) for points in courses.values()])
        ahead.append([area(points) - middle for points in (courses[found.name], found.curve)])
        assert found.curve[-1].found == pytest.approx(courses[found.name][-1].found)
    by_own, by_others = np.mean(ahead, 0)
    assert by_own > 0.01
    assert abs(by_others) < by_own / 2
