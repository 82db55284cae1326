"""clipdistill in its order: the teacher first, hard and soft pairs of the whole batch, captions by turns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from likewise.data.batches.streams import MAIN, order_of
from likewise.errors import InputError
from likewise.methods.clipdistill import CLIPDistill
from likewise.methods.method import Progress
from likewise.methods.parts.texts.captions import Captions, draws, without_words
from likewise.similarity.texts.image_text import divergence, pair_contrast, soft_targets
from tests.contract.gauntlet import Data, batch_at, column_called, facts_of, make, one_step, optimizer_of, teacher


def clip(**changes: Any) -> CLIPDistill:
    method = make("clipdistill", **changes)
    assert isinstance(method, CLIPDistill)
    return method


@pytest.mark.parametrize("targets", ["transport", "softmax", "none"])
def test_the_loss_is_that_of_the_papers_on_the_vectors_of_both_networks(targets: Any) -> None:
    method = clip(targets=targets).eval()
    views, batch = batch_at(method, 0)
    codes = batch.columns["caption"]
    texts = method.captions.read(method.captions.pick(codes, draws(0, codes, 1)[:, 0]))
    v, x = method.towers(views["image"].image, texts)
    expected = pair_contrast(v, x, method.log_scale)
    if targets != "none":
        assert method.teacher is not None
        found = soft_targets(*method.teacher.network(views["image"].image, texts), targets)
        expected = 0.5 * expected + 0.5 * divergence(v, x, method.log_scale_soft, found)
    torch.testing.assert_close(method(views, batch).loss, expected)


def test_the_teacher_moves_before_the_step_and_closely_at_first() -> None:
    method = clip(momentum=0.9)
    assert method.teacher is not None
    with torch.no_grad():
        method.towers.image[1][0].weight += 1.0
    own, slow = method.towers.image[1][0].weight, method.teacher.network.image[1][0].weight
    before = slow.clone()
    method.before_step(Progress(0, 0.0, 0))
    torch.testing.assert_close(slow, before.lerp(own, 1 - 2 / 11))
    slow.copy_(before)
    method.before_step(Progress(10_000, 0.5, 3))
    torch.testing.assert_close(slow, before.lerp(own, 0.1))


def test_images_without_a_caption_are_not_drawn() -> None:
    settings = CLIPDistill.Settings()
    data, facts = Data(("caption",)), facts_of(("caption",))
    order = order_of(MAIN, CLIPDistill.streams(settings, facts)[MAIN], data, 8, 0)  # type: ignore[arg-type]
    drawn = {int(at) for step in range(11) for at in order.batch(step)}
    assert len(drawn) == 88
    assert not {at for at in drawn if at % 12 == 11}


def test_data_without_any_caption_is_one_line() -> None:
    settings = CLIPDistill.Settings(captions="said")
    facts = replace(
        facts_of(), columns={"said": column_called("caption")._replace(names=(), values=-torch.ones(96).long().numpy())}
    )
    with pytest.raises(InputError, match="no image has a caption in the column 'said'"):
        CLIPDistill.streams(settings, facts)


def test_soft_targets_by_frozen_encoders_differ_from_those_of_the_average() -> None:
    views, batch = batch_at(clip(), 0)
    average, frozen = (clip(**how)(views, batch).loss for how in ({}, {"alike": "frozen", "teacher": teacher()}))
    assert average != frozen
    with pytest.raises(InputError, match="alike=frozen needs trained encoders"):
        CLIPDistill.Settings(alike="frozen")


def test_captions_of_an_image_come_by_turns_and_each_process_draws_its_rows() -> None:
    captions = Captions(column_called("caption"), CLIPDistill.Settings())
    codes = torch.full((400,), 3)
    picked = captions.pick(codes, draws(0, codes, 1)[:, 0])
    assert min(picked.bincount()[picked.unique()].tolist()) > 90, "three captions, about evenly"
    first, second = captions.pick_two(codes, draws(1, codes, 2))
    assert not (first == second).any()
    alone = torch.full((5,), 1)
    assert torch.equal(*captions.pick_two(alone, draws(1, alone, 2)))


def test_words_are_left_out_but_never_all() -> None:
    codes = torch.tensor([[5, 6, 7, 0], [9, 0, 0, 0]]).repeat(500, 1)
    found = without_words(codes, torch.rand(codes.shape), 0.4)
    assert (found != 0).any(1).all()
    assert 0.5 < float((found[::2, :3] != 0).float().mean()) < 0.75
    assert torch.equal(found[found != 0], codes[found != 0])


def test_texts_and_images_share_a_space_and_any_text_has_a_place() -> None:
    method = clip().eval()
    one_step(method, optimizer_of(method), 0)
    texts = ["a dark square", "赤い", "x" * 10_000, "never seen words"]
    found = method.text_joint(texts)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(4))
    features = method.encoders()["student"](batch_at(method, 0)[0]["image"].image)
    assert method.image_joint(features).shape == (8, found.shape[1])
