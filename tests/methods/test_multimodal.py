"""multimodal in its order: five terms against the queues as they were, then the keys; what is absent has no parts."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from likewise.errors import InputError
from likewise.memory import Queue
from likewise.methods.method import Progress
from likewise.methods.multimodal import Multimodal
from likewise.similarity import contrast
from likewise.similarity.texts.tags import contrast_matches, shared_tags
from tests.contract.gauntlet import batch_at, make, one_step, optimizer_of

ALONE = {"caption_weight": 0.0, "to_caption_weight": 0.0, "to_image_weight": 0.0}


def multimodal(**changes: Any) -> Multimodal:
    method = make("multimodal", **changes)
    assert isinstance(method, Multimodal)
    return method


def queue(method: Multimodal, name: str) -> Queue:
    found = method.queues[name]
    assert isinstance(found, Queue)
    return found


def test_queues_are_read_as_they_were_and_then_hold_the_keys() -> None:
    method = multimodal(split_batch_norm=1, tags="tags").eval()
    views, batch = batch_at(method, 0)
    before = {name: queue(method, name).rows.clone() for name in method.queues}
    seen, _ = method.networks(views["first"].image, None)
    keys, _ = method.keys(views["second"].image, None)
    terms = method(views, batch)
    torch.testing.assert_close(terms.parts["image"], contrast(seen["own"], keys["own"], before["image"], 0.1).detach())
    assert set(terms.parts) == {"image", "tag", "caption", "to_caption", "to_image"}
    torch.testing.assert_close(queue(method, "image").rows[:8], keys["own"])
    torch.testing.assert_close(queue(method, "tags").column("tags")[:8], method.tag_sets[batch.columns["tags"]])


def test_images_without_a_caption_enter_no_queue_of_captions() -> None:
    method = multimodal()
    views, batch = batch_at(method, 1)  # images 8 to 15, of which 11 has none
    method(views, batch)
    assert int(queue(method, "image").filled) == 8
    assert [int(queue(method, name).filled) for name in ("caption", "captions_of_images", "images_of_captions")] == [
        7
    ] * 3


def test_a_batch_without_any_caption_trains_the_image_alone() -> None:
    method = multimodal()
    views, batch = batch_at(method, 0)
    none = torch.full_like(batch.columns["caption"], -1)
    terms = method(views, batch._replace(columns={"caption": none}))
    assert terms.loss.isfinite()
    assert [float(terms.parts[name]) for name in ("caption", "to_caption", "to_image")] == [0.0] * 3


def test_tags_pull_rows_that_share_more_than_the_threshold() -> None:
    method = multimodal(tags="tags", **ALONE).eval()
    for step in range(2):
        views, batch = batch_at(method, step)
        kept = queue(method, "tags")
        rows, tags = kept.rows.clone(), kept.column("tags").clone()
        query = method.networks(views["first"].image, None)[0]["tags"]
        match = shared_tags(method.tag_sets[batch.columns["tags"]], tags, 1.0)
        expected = contrast_matches(query, rows, match, 0.1)
        terms = method(views, batch)
        torch.testing.assert_close(terms.parts["tag"], expected.detach())
        assert bool(match.any()) == (step == 1)


@pytest.mark.parametrize("form", ["nce", "rank_sum"])
def test_the_same_caption_in_a_queue_is_no_negative(form: str) -> None:
    method = multimodal(cross_form=form, split_batch_norm=1).eval()
    views, batch = batch_at(method, 0)
    method(views, batch)  # the queue now holds these captions
    forgetful = copy.deepcopy(method)
    for name in ("captions_of_images", "images_of_captions"):
        queue(forgetful, name).column("caption").fill_(-1)
    told, forgot = method(views, batch).parts, forgetful(views, batch).parts
    assert float(told["to_caption"]) < float(forgot["to_caption"])
    assert float(told["to_image"]) < float(forgot["to_image"])


def test_a_term_of_weight_nought_has_no_head_and_no_queue() -> None:
    method = multimodal(**ALONE)
    assert set(method.queues) == {"image"}
    assert not any("text" in name for name, _ in method.named_parameters())
    assert Multimodal.columns(method.settings) == ()
    with pytest.raises(InputError, match="only captions would learn"):
        Multimodal.Settings(image_weight=0.0, to_caption_weight=0.0)


@pytest.mark.parametrize("changes", [{"to_image_weight": 0.0, "caption_weight": 0.0}, {"to_caption_weight": 0.0}])
def test_what_only_gives_keys_does_not_learn(changes: dict[str, float]) -> None:
    method = multimodal(**changes)
    one_step(method, optimizer_of(method), 0)
    taught = {name: p.grad is not None for name, p in method.networks.named_parameters() if p.requires_grad}
    assert all(taught.values())
    assert not all(p.requires_grad for p in method.networks.parameters())


def test_the_networks_of_the_keys_move_first() -> None:
    method = multimodal(momentum=0.5)
    with torch.no_grad():
        method.networks.of_image["own"][2].bias += 1.0
    slow = method.teacher.network.of_image["own"][2].bias
    before = slow.clone()
    method.before_step(Progress(0, 0.0, 0))
    torch.testing.assert_close(slow, before + 0.5)
