"""EsViT where no official numbers are: both tasks, the order inside a step, the schedule, and its transformers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from timm.layers import DropPath

from likewise.encoders import EncoderSpec, build
from likewise.errors import InputError
from likewise.methods.dino import DINO
from likewise.methods.esvit import ESViT
from likewise.methods.method import Facts, Progress
from likewise.similarity.dense.regions import best_tokens
from tests.contract.gauntlet import BATCH, IMAGES, SIDE, batch_at, make, one_step, optimizer_of


def esvit(**changes: Any) -> ESViT:
    method = make("esvit", **changes)
    assert isinstance(method, ESViT)
    return method


def of(name: str, **changes: Any) -> ESViT:
    spec = EncoderSpec(name=name, stem="small", image_size=SIDE)
    settings = replace(ESViT.Settings(prototypes=32, hidden=32, bottleneck=16, norm_in_head=False), **changes)
    torch.manual_seed(0)
    return ESViT(build(spec), settings, Facts(images=IMAGES, batch_size=BATCH, image_size=SIDE)).train()


@pytest.mark.parametrize("name", ["swin_micro", "vit_tiny_patch16_224"])
def test_transformers_learn_from_both_tasks(name: str) -> None:
    method = of(name)
    optimizer = optimizer_of(method)
    terms = one_step(method, optimizer, 0)
    assert terms.loss.isfinite()
    assert all(p.grad is not None for p in method.student.parameters() if p.requires_grad)
    assert float(terms.parts["region"]) != float(terms.parts["view"])


def test_small_crops_have_fewer_tokens_than_large_ones() -> None:
    method = of("swin_micro")
    views, _ = batch_at(method, 0)
    found = method.student([view.image for view in views.values()])
    sides = [views[role].image.shape[-1] for role in method.views]
    assert sides == [16, 16, 8, 8]
    assert [part.shape[1] for part in found.tokens] == [(side // 8) ** 2 for side in sides]
    assert [part.shape[:2] for part in found.regions] == [part.shape[:2] for part in found.tokens]


def test_without_the_region_task_it_is_dino() -> None:
    ours, dino = esvit(region_weight=0.0), make("dino")
    assert isinstance(dino, DINO)
    crops, head = ours.student.crops, dino.student
    crops.encoder.load_state_dict(head.encoder.state_dict())
    crops.head.load_state_dict(head.head.state_dict())
    ours.student.prototypes.load_state_dict(dino.prototypes.state_dict())
    ours.teacher.update(ours.student, 0.0)
    for method in (ours, dino):
        method.before_step(Progress(0, 0.0, 0))
    views, batch = batch_at(dino, 0)
    torch.testing.assert_close(ours(views, batch).loss, dino(views, batch).loss)


def test_the_region_task_begins_when_it_is_told_to() -> None:
    method = esvit(region_from=0.5)
    for fraction, weight in ((0.0, 0.0), (0.49, 0.0), (0.5, 0.5), (1.0, 0.5)):
        method.before_step(Progress(10, fraction, 0))
        terms = method(*batch_at(method, 0))
        told = (1 - weight) * terms.parts["view"] + weight * terms.parts["region"]
        torch.testing.assert_close(terms.loss.detach(), told)


def test_both_centres_move_after_their_step() -> None:
    method = esvit()
    views = batch_at(method, 0)
    first = method(*views).loss
    assert method.centre.mean.abs().sum() > 0
    assert method.region_centre.mean.abs().sum() > 0
    assert not method.centre.mean.equal(method.region_centre.mean)
    for centre in (method.centre, method.region_centre):
        centre.mean.zero_()
    torch.testing.assert_close(method(*views).loss, first)


def test_the_teacher_moves_after_the_step_and_skips_no_branch() -> None:
    method = of("swin_micro", drop_path=0.2, momentum=0.0)
    rates = [part.drop_prob for part in method.student.modules() if isinstance(part, DropPath)]
    assert max(rates) == pytest.approx(0.2)
    assert not any(isinstance(part, DropPath) and part.drop_prob for part in method.teacher.modules())
    one_step(method, optimizer_of(method), 0)
    for a, b in zip(method.teacher.network.parameters(), method.student.parameters(), strict=True):
        assert a.equal(b)


def test_tokens_of_a_moved_image_find_their_places() -> None:
    """A map shifted by one column matches one column on: what the region task is taught by."""
    map_BHWC = torch.randn(2, 4, 4, 16)
    moved = map_BHWC.roll(1, dims=2)
    found = best_tokens(map_BHWC.flatten(1, 2), moved.flatten(1, 2)).view(2, 4, 4)
    columns = torch.arange(4)
    assert (found % 4).equal(((columns + 1) % 4).expand(2, 4, 4))


def test_encoders_without_a_map_and_odd_settings_are_refused() -> None:
    with pytest.raises(InputError, match="region_weight"):
        ESViT.Settings(region_weight=1.5)
    with pytest.raises(InputError, match="no place for it"):
        make("esvit", drop_path=0.1)


def test_swins_of_timm_take_small_crops() -> None:
    encoder = build(EncoderSpec(name="swin_tiny_patch4_window7_224", image_size=56))
    method = ESViT(encoder, replace(ESViT.Settings(), prototypes=8), Facts(images=4, batch_size=2, image_size=56))
    assert {policy.size for policy in method.views.values()} == {56, 28}
