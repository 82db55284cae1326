"""Background augmentations: what is composed, what stays as it is, and the negatives of MoCo v2."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from likewise.errors import InputError
from likewise.methods.bgaug import NEGATIVE, BackgroundAugmentation
from likewise.methods.method import Batch, Views
from likewise.methods.moco_v2 import MoCoV2
from likewise.similarity import contrast, unit
from likewise.views.backgrounds import background_only
from likewise.views.view import View
from tests.contract.gauntlet import BATCH, batch_at, make, one_step, optimizer_of

SIDE = 12


def bgaug(**changes: object) -> BackgroundAugmentation:
    method = make("bgaug", **changes)
    assert isinstance(method, BackgroundAugmentation)
    return method


def crops(method: BackgroundAugmentation, mask: Tensor | None = None) -> Views:
    """Images of one colour each, with a white square as object."""
    generator = torch.Generator().manual_seed(2)
    made = {}
    for role in method.views:
        image = torch.rand(BATCH, 3, 1, 1, generator=generator).expand(-1, -1, SIDE, SIDE).clone() * 0.8
        marks = torch.zeros(BATCH, 1, SIDE, SIDE)
        marks[:, :, 3:7, 4:9] = 1.0
        marks = marks if mask is None else mask.expand_as(marks)
        made[role] = View(torch.where(marks > 0, torch.ones(()), image), mask=marks)
    return made


def composed(method: BackgroundAugmentation, seen: Views, seed: int = 0) -> dict[str, Tensor]:
    return method.compose(seen, Batch(torch.arange(BATCH)), torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("augment", ["bg_rm", "bg_random", "bg_swaps"])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_empty_and_full_masks_pass_unchanged(augment: str, value: float) -> None:
    method = bgaug(augment=augment, p_positive=1.0)
    seen = crops(method, torch.full((), value))
    made = composed(method, seen)
    for role in ("first", "second"):
        assert made[role].equal(seen[role].image)


@pytest.mark.parametrize("augment", ["bg_rm", "bg_random", "bg_swaps"])
def test_the_object_stays_and_the_background_changes(augment: str) -> None:
    method = bgaug(augment=augment, p_positive=1.0)
    seen = crops(method)
    made = composed(method, seen)
    inside = seen["first"].mask.expand(-1, 3, -1, -1) > 0
    for role in ("first", "second"):
        assert made[role][inside].eq(1.0).all()
        assert made[role][:, :, 0, 0].ne(seen[role].image[:, :, 0, 0]).any(1).all()
    first, second = (made[role][:, :, 0, 0] for role in ("first", "second"))
    assert (first != second).any(1).float().mean() > 0.8, "both views of an image have their own"
    if augment == "bg_rm":
        assert torch.allclose(first[:, :1].expand(-1, 3), first)
    else:
        others = seen["first"].image[:, :, 0, 0]
        assert all(any(row.equal(other) for other in others) for row in first), "backgrounds are those of the batch"


def test_coins_are_thrown_for_each_view_by_itself() -> None:
    method = bgaug(augment="bg_rm", p_positive=0.5)
    seen = crops(method)
    changed = []
    for seed in range(40):
        made = composed(method, seen, seed)
        changed.append([(made[role] != seen[role].image).flatten(1).any(1) for role in ("first", "second")])
    first, second = (torch.stack(each).flatten().float() for each in zip(*changed, strict=True))
    assert 0.4 < first.mean() < 0.6
    assert 0.15 < (first * second).mean() < 0.35


def test_the_negative_has_the_background_of_its_query() -> None:
    for p_positive in (0.0, 1.0):
        method = bgaug(p_positive=p_positive, p_negative=1.0)
        seen = crops(method)
        made = composed(method, seen)
        assert method.with_negative.all()
        assert made[NEGATIVE][:, :, 0, 0].equal(made["first"][:, :, 0, 0])
        assert made[NEGATIVE][:, :, 5, 5].eq(1.0).all()
    method = bgaug(p_negative=0.0)
    composed(method, crops(method))
    assert not method.with_negative.any()


def test_the_loss_has_the_negative_and_the_queue_has_not() -> None:
    alike = ("split_batch_norm=1", "shuffle=False")  # one forward pass is then as another
    method = bgaug(p_positive=1.0, p_negative=1.0, base_settings=alike)
    base = method.base
    assert isinstance(base, MoCoV2)
    views, batch = batch_at(method, 0)
    with torch.no_grad():
        query, key, own = (
            network(views[role].image)
            for network, role in ((base.student, "first"), (base.teacher, "second"), (base.teacher, NEGATIVE))
        )
    rows = base.queue.rows.clone()
    expected = contrast(
        query, unit(key), rows, base.settings.temperature, own_negative_BD=own, with_own_B=method.with_negative
    )
    found = method(views, batch).loss
    torch.testing.assert_close(found, expected)
    assert int(base.queue.filled) == BATCH
    plain = contrast(query, unit(key), rows, base.settings.temperature)
    assert found > plain, "one more negative"


def test_the_base_moves_its_teacher_and_is_what_is_deployed() -> None:
    for name in ("moco_v2", "byol", "swav"):
        augment = "bg_swaps" if name == "moco_v2" else "bg_random"
        method = bgaug(base=name, augment=augment)
        before = [p.clone() for p in method.encoders()["student"].parameters()]
        optimizer = optimizer_of(method)
        one_step(method, optimizer, 0)
        one_step(method, optimizer, 1)
        assert method.encoders().keys() == method.base.encoders().keys()
        after = method.encoders()["student"].parameters()
        assert any(not a.equal(b) for a, b in zip(before, after, strict=True))


def test_small_crops_of_swav_keep_their_backgrounds() -> None:
    method = bgaug(base="swav", augment="bg_random")
    assert set(method.positives) == {"large_0", "large_1"}


def test_strips_of_background_fill_the_place_of_the_object() -> None:
    method = bgaug()
    view = crops(method)["first"]
    found = background_only(view.image, view.mask)
    assert found.there.all()
    assert found.image[:, :, 4, 5].equal(view.image[:, :, 0, 0])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"base": "byol"}, "nearest is augment='bg_random'"),
        ({"masks": "mdb"}, "mbd"),
        ({"base_settings": ("temperatur=0.1",)}, "temperature"),
        ({"base_settings": ("temperature",)}, "name=value"),
        ({"base_settings": ("temperature=-1",)}, "temperature"),
        ({"base_settings": ("temperature=hot",)}, "temperature"),
        ({"base_preset": "smal"}, "small"),
        ({"p_negative": 1.5}, "p_negative"),
    ],
)
def test_settings_that_cannot_be_are_one_line(changes: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        BackgroundAugmentation.Settings(**changes)
