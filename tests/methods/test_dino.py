"""DINO where no official numbers are: the order inside a step, the schedule, transformers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from timm.layers import DropPath

from likewise.encoders import EncoderSpec, build
from likewise.errors import InputError
from likewise.methods.dino import DINO, teacher_temperature
from likewise.methods.method import Facts, Progress
from likewise.similarity.prototypes.centring import Centre, centred
from tests.contract.gauntlet import BATCH, IMAGES, batch_at, make, one_step, optimizer_of


def dino(**changes: Any) -> DINO:
    method = make("dino", **changes)
    assert isinstance(method, DINO)
    return method


def transformer(**changes: Any) -> DINO:
    spec = EncoderSpec(name="vit_tiny_patch16_224", stem="small", image_size=16)
    settings = replace(DINO.Settings(prototypes=32, small_crops=2), **changes)
    torch.manual_seed(0)
    return DINO(build(spec), settings, Facts(images=IMAGES, batch_size=BATCH, image_size=16)).train()


def test_the_centre_moves_after_its_step_by_raw_scores() -> None:
    method = dino()
    views = batch_at(method, 0)
    first = method(*views)
    moved = method.centre.mean.clone()
    assert moved.abs().sum() > 0
    method.centre.mean.zero_()
    torch.testing.assert_close(method(*views).loss, first.loss)  # the step itself still had the centre from before
    method.centre.mean.copy_(moved)
    assert not torch.isclose(method(*views).loss, first.loss, rtol=1e-6)


def test_the_centre_spreads_a_teacher_that_prefers_one_prototype() -> None:
    torch.manual_seed(0)
    scores = 0.1 * torch.randn(2, 50, 8)
    scores[..., 3] += 0.5
    centre = Centre(8, momentum=0.0)
    assert centred(scores, centre.mean, 0.04).mean((0, 1))[3] > 0.95
    centre.update(scores)
    assert centred(scores, centre.mean, 0.04).mean((0, 1)).max() < 0.3


def test_the_teacher_moves_after_the_step_with_its_prototypes() -> None:
    method = dino(momentum=0.0)
    one_step(method, optimizer_of(method), 0)
    for teacher, student in ((method.teacher, method.student), (method.teacher_prototypes, method.prototypes)):
        assert all(a.equal(b) for a, b in zip(teacher.parameters(), student.parameters(), strict=True))


def test_prototypes_stay_while_they_are_frozen() -> None:
    method = dino(frozen=0.1)
    optimizer = optimizer_of(method)
    before = method.prototypes.weight_v.detach().clone()
    one_step(method, optimizer, 0)
    assert method.prototypes.weight_v.equal(before)
    one_step(method, optimizer, 1)
    assert not method.prototypes.weight_v.equal(before)


def test_lengths_of_prototypes_are_learned_on_request_and_the_teachers_follow() -> None:
    for learned in (False, True):
        method = dino(norm_last_layer=not learned, momentum=0.5)
        one_step(method, optimizer_of(method), 0)
        teacher = method.teacher_prototypes.network.weight_g
        assert method.prototypes.weight_g.equal(torch.ones_like(teacher)) != learned  # type: ignore[arg-type]
        assert teacher.equal(torch.ones_like(teacher)) != learned  # type: ignore[operator, arg-type]


def test_gradients_are_clipped_tensor_by_tensor() -> None:
    method = dino(clip=1e-3)
    method(*batch_at(method, 0)).loss.backward()
    method.after_backward(Progress(0, 0.0, 0))
    norms = [p.grad.norm() for p in method.parameters() if p.grad is not None]
    assert max(norms) <= 1e-3 * (1 + 1e-5)
    assert sum(norm > 0.99e-3 for norm in norms) > 3


def test_the_teachers_temperature_rises_and_stays() -> None:
    smooth = DINO.Settings(temperature_teacher=0.07, warmup_temperature=0.04, temperature_warmup=0.2)
    found = [teacher_temperature(smooth, Progress(s, s / 100, s // 10), 10) for s in (0, 5, 10, 20, 99)]
    assert found == pytest.approx([0.04, 0.0475, 0.055, 0.07, 0.07])
    stairs = replace(smooth, temperature_stairs=True)  # the line has two ends: one epoch at each, ten steps an epoch
    found = [teacher_temperature(stairs, Progress(s, s / 100, s // 10), 10) for s in (0, 9, 10, 19, 99)]
    assert found == pytest.approx([0.04, 0.04, 0.07, 0.07, 0.07])
    assert teacher_temperature(replace(smooth, temperature_warmup=0.0), Progress(0, 0.0, 0), 10) == 0.07


@pytest.mark.parametrize("drop_path", [0.0, 0.2])
def test_transformers_learn_and_only_the_student_skips_depth(drop_path: float) -> None:
    method = transformer(drop_path=drop_path)
    before = {key: value.clone() for key, value in method.encoders()["teacher"].state_dict().items()}
    optimizer = optimizer_of(method)
    for step in range(2):
        assert one_step(method, optimizer, step).loss.isfinite()
    after = method.encoders()["teacher"].state_dict()
    assert not after["backbone.blocks.0.attn.qkv.weight"].equal(before["backbone.blocks.0.attn.qkv.weight"])
    skipping = {role: any(isinstance(m, DropPath) for m in e.modules()) for role, e in method.encoders().items()}
    assert skipping == {"student": drop_path > 0, "teacher": False}


def test_what_does_not_fit_the_encoder_is_one_line() -> None:
    with pytest.raises(InputError, match="small_size=7 is not whole 2 px patches"):
        transformer(small_size=7)
    with pytest.raises(InputError, match=r"drop_path=0.1 is for transformers"):
        dino(drop_path=0.1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"temperature_teacher": 0.0}, "temperature_teacher=0.0 must be greater than 0"),
        ({"centre_momentum": 1.1}, "centre_momentum=1.1 is out of range"),
        ({"clip": -1.0}, "clip=-1.0 is too small"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        DINO.Settings(**changes)
