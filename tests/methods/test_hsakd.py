"""HSAKD: what each role learns, what stays frozen, and which teachers are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from torch.nn import functional

from likewise.encoders import EncoderSpec, build
from likewise.encoders.own.branches import branches, maps
from likewise.errors import InputError
from likewise.methods.hsakd import HSAKD, Outputs
from likewise.methods.whole import restore
from likewise.similarity.labelled.rotations import joint_labels, rotated
from tests.contract.gauntlet import BATCH, CLASSES, SPEC, batch_at, facts_of, make, teacher


def hsakd(**changes: Any) -> HSAKD:
    method = make("hsakd", **changes)
    assert isinstance(method, HSAKD)
    return method


def outputs_of(method: HSAKD) -> tuple[Outputs, torch.Tensor, Any, Any]:
    views, batch = batch_at(method, 0)
    copies = rotated(views["image"].image)
    return cast("Outputs", method.student(copies)), copies, views, batch


def divergence(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    log_s, log_t = (functional.log_softmax(x / 3, -1) for x in (student, teacher))
    return 9 * functional.kl_div(log_s, log_t, log_target=True, reduction="batchmean")


def test_a_student_learns_upright_classes_and_what_the_teacher_says_of_all_rotations() -> None:
    method = hsakd().eval()
    outputs, copies, views, batch = outputs_of(method)
    theirs = method.frozen(copies)
    expected = functional.cross_entropy(outputs.classes[::4], batch.labels)
    expected = expected + divergence(outputs.classes, theirs.classes)
    for ours, other in zip(outputs.joint, theirs.joint, strict=True):
        expected = expected + divergence(ours, other)
    torch.testing.assert_close(method.step(views, batch).loss, expected)
    assert outputs.joint.shape == (4, 4 * BATCH, 4 * CLASSES)


def test_a_teacher_learns_classes_and_joint_labels() -> None:
    method = hsakd(role="teacher", teacher="").eval()
    outputs, _, views, batch = outputs_of(method)
    joint = joint_labels(batch.labels)
    expected = functional.cross_entropy(outputs.classes[::4], batch.labels)
    expected = expected + sum(functional.cross_entropy(branch, joint) for branch in outputs.joint)
    torch.testing.assert_close(method.step(views, batch).loss, expected)


def test_plain_distillation_and_labels_alone_see_upright_images_and_have_no_branches() -> None:
    plain = hsakd(distil="class").eval()
    views, batch = batch_at(plain, 0)
    image = views["image"].image
    outputs, theirs = plain.student(image), plain.frozen(image)
    labels = functional.cross_entropy(outputs.classes, batch.labels)
    torch.testing.assert_close(plain.step(views, batch).loss, labels + divergence(outputs.classes, theirs.classes))
    assert plain.student.branches is None
    alone = hsakd(distil="none", teacher="").eval()
    alone.student.load_state_dict(plain.student.state_dict())
    torch.testing.assert_close(alone.step(views, batch).loss, labels)
    assert not hasattr(alone, "frozen")


def test_two_networks_online_both_learn() -> None:
    method = hsakd(role="online", teacher="")
    weights = zip(method.student.parameters(), method.peer.parameters(), strict=True)
    assert any(not ours.equal(theirs) for ours, theirs in weights)
    method(*batch_at(method, 0)).loss.backward()
    for network in (method.student, method.peer):
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.encoder.parameters())


def test_the_branches_gradient_reaches_the_encoder_and_images_without_label_teach_too() -> None:
    method = hsakd()
    views, batch = batch_at(method, 0)
    method.step(views, batch._replace(labels=torch.full((BATCH,), -1))).loss.backward()
    assert all(p.grad is not None for p in method.student.encoder.parameters())


def test_scores_are_those_of_the_upright_image() -> None:
    method = hsakd().eval()
    outputs, copies, _, _ = outputs_of(method)
    torch.testing.assert_close(method.logits(copies[::4]), outputs.classes[::4])


@pytest.mark.parametrize("name", ["wrn16_2", "resnet18", "resnet10t"])
def test_branches_have_the_shape_of_the_stages_that_remain(name: str) -> None:
    encoder = build(EncoderSpec(name=name, stem="small" if name.startswith("resnet") else "imagenet", image_size=16))
    made = branches(encoder, 20)
    features, stages = maps(encoder, torch.zeros(2, 3, 16, 16))
    assert made(stages).shape == (len(stages), 2, 20)
    assert features.shape == (2, encoder.features)
    counts = [sum(p.numel() for p in branch.parameters()) for branch in made]
    assert counts[:-1] == sorted(counts[:-1], reverse=True)
    own, first = {id(p) for p in encoder.parameters()}, list(made.parameters())
    assert not own & {id(p) for p in first}


def test_wrong_teachers_are_one_line() -> None:
    with pytest.raises(InputError, match="is a run of moco_v2, and a classifier with branches is needed"):
        HSAKD.Settings(teacher=teacher("moco_v2"))
    with pytest.raises(InputError, match=r"hsakd needs a teacher: train one with --role teacher"):
        hsakd(teacher="")
    with pytest.raises(InputError, match="has no classifier for role=frozen_teacher"):
        HSAKD.Settings(teacher=teacher("moco_v2"), role="frozen_teacher")
    with pytest.raises(InputError, match="no stages to branch off"):
        branches(build(EncoderSpec(name="convnet4", image_size=32)), 4)


def test_a_teacher_of_other_classes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    known = restore(teacher("hsakd"))
    monkeypatch.setattr(known, "class_names", ("cat", "dog", "owl"))
    monkeypatch.setattr("likewise.methods.hsakd.restore", lambda _: known)
    facts = replace(facts_of(), class_names=("cat", "owl", "dog"))
    settings = HSAKD.Settings(teacher=teacher("hsakd"))
    with pytest.raises(InputError, match="in another order: its class 1 is 'dog', and that of the data 'owl'"):
        HSAKD(build(SPEC), settings, facts)
    HSAKD(build(SPEC), settings, replace(facts, class_names=()))
