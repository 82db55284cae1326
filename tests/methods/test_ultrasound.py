"""ultrasound in its order: levels, stages of the curriculum, drawn negatives, the speech around a frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from likewise.data.batches.streams import MAIN, order_of
from likewise.errors import InputError
from likewise.methods.method import Progress
from likewise.methods.parts.texts.narration import Curriculum, Speech, negatives
from likewise.methods.ultrasound import Ultrasound
from likewise.similarity.texts.narration import affinity_levels, contrast_by_level
from tests.contract.gauntlet import Data, batch_at, column_called, facts_of, make, small_settings

NAMES = ("scan", "time", "speech")


def ultrasound(**changes: Any) -> Ultrasound:
    method = make("ultrasound", **changes)
    assert isinstance(method, Ultrasound)
    return method


@pytest.mark.parametrize("curriculum", [True, False])
def test_the_contrast_is_that_of_the_stage(curriculum: bool) -> None:
    method = ultrasound(curriculum=curriculum, classification_weight=0.0).eval()
    views, batch = batch_at(method, 0)
    seconds = batch.columns["time"] * 0.001
    levels = affinity_levels(batch.columns["scan"], seconds, (2.0, 10.0, 40.0))
    assert method.seen_head is not None
    assert method.heard_head is not None
    v = method.seen_head(method.encoder(views["frame"].image))
    s = method.heard_head(method.listener(method.speech.around(seconds, batch.columns["speech"])))
    expected = contrast_by_level(v, s, levels, 0 if curriculum else 3, 0.1).loss
    torch.testing.assert_close(method(views, batch).loss, expected)


def test_a_stage_follows_where_the_loss_stands_still_and_at_the_latest_each_quarter() -> None:
    falling, still = Curriculum(), Curriculum()
    stages = []
    for epoch in range(12):
        for curriculum, loss in ((falling, 0.5**epoch), (still, 1.0)):
            curriculum.begin(epoch, epoch / 100)
            curriculum.watch(torch.tensor(loss))
        stages.append((int(falling.stage), int(still.stage)))
    assert [stage for stage, _ in stages] == [0] * 12
    assert [stage for _, stage in stages] == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3]
    falling.begin(12, 0.51)
    assert int(falling.stage) == 2
    falling.begin(13, 1.0)
    assert int(falling.stage) == 3


def test_drawn_negatives_are_allowed_and_half_of_the_hardest() -> None:
    level = affinity_levels(torch.arange(12) // 6, torch.arange(12) % 6 * 9.0, (2.0, 10.0, 40.0))
    frames, other = negatives(level, 3, torch.rand(12, 12))
    assert frames.tolist() == list(range(12))
    drawn = level[frames, other]
    assert ((drawn >= 0) & (drawn <= 3)).all()
    assert int((drawn == 3).sum()) >= 6
    none, _ = negatives(affinity_levels(torch.zeros(4), torch.zeros(4), (2.0, 10.0, 40.0)), 3, torch.rand(4, 4))
    assert not len(none)


def test_a_batch_of_one_scan_has_nothing_to_tell_apart_at_the_first_stage() -> None:
    method = ultrasound()
    views, batch = batch_at(method, 0)
    one = {**batch.columns, "scan": torch.zeros_like(batch.columns["scan"])}
    terms = method(views, batch._replace(columns=one))
    terms.loss.backward()
    assert float(terms.loss) == 0.0
    assert float(terms.parts["anchors"]) == 0.0


def test_frames_come_by_scan_and_those_without_speech_do_not() -> None:
    settings = small_settings(Ultrasound, per_scan=4)
    data, facts = Data(NAMES), facts_of(NAMES)
    order = order_of(MAIN, Ultrasound.streams(settings, facts)[MAIN], data, 8, 0)  # type: ignore[arg-type]
    batch = order.batch(0)
    assert len(batch) == 8
    assert max(torch.tensor(batch % 8).bincount().unique().tolist()) >= 4
    drawn = {int(at) for step in range(40) for at in order.batch(step)}
    assert not drawn & {0, 4}, "the softest tone is a quarter as loud as the loudest, and they begin with it"
    assert len(drawn) == 94


@pytest.mark.parametrize("curriculum", [True, False])
def test_a_batch_has_two_scans_and_one_scan_alone_is_refused(curriculum: bool) -> None:
    data, facts = Data(NAMES), facts_of(NAMES)
    settings = small_settings(Ultrasound, per_scan=8, curriculum=curriculum)
    stream = Ultrasound.streams(settings, facts)[MAIN]
    order = order_of(MAIN, stream, data, 8, 0)  # type: ignore[arg-type]
    largest = [int(torch.tensor(order.batch(step) % 8).bincount().max()) for step in range(20)]
    assert min(largest) == 4, "two scans but where two parts of one meet"
    data.columns["scan"] = column_called("scan")._replace(values=np.zeros(len(data), np.int64))
    if curriculum:
        with pytest.raises(InputError, match=r"of one scan by the column 'scan'.* two scans or more, or --no-curr"):
            order_of(MAIN, stream, data, 8, 0)  # type: ignore[arg-type]
    else:
        assert len(order_of(MAIN, stream, data, 8, 0).batch(0)) == 8  # type: ignore[arg-type]


def test_the_speech_is_that_around_the_moment_and_held_inside_the_recording() -> None:
    speech = Speech(column_called("speech"), 8, 2.0)
    found = speech.around(torch.tensor([10.0, 0.0, 84.0]), torch.tensor([2, 2, 2]))
    assert found.shape == (3, 1, 200, 8)
    start = int(speech.first[2])
    torch.testing.assert_close(found[0, 0], speech.frames[start + 900 : start + 1100])
    torch.testing.assert_close(found[1, 0], speech.frames[start : start + 200])
    torch.testing.assert_close(found[2, 0], speech.frames[start + 8200 : start + 8400])


def test_the_stage_is_watched_in_steps_and_reported() -> None:
    method = ultrasound()
    method.before_step(Progress(5, 0.8, 4))
    terms = method(*batch_at(method, 0))
    assert float(terms.parts["stage"]) == 3.0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"edges": (2.0, 1.0, 40.0)}, "three rising numbers"),
        ({"contrast_weight": 0.0, "classification_weight": 0.0}, "both 0"),
        ({"seconds": 0.0}, "seconds=0.0"),
    ],
)
def test_settings_that_cannot_be_are_one_line(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        Ultrasound.Settings(**changes)


def test_a_column_of_numbers_is_no_speech() -> None:
    with pytest.raises(InputError, match=r"holds numbers: it names a \.wav file"):
        Speech(column_called("scan"), 8, 2.0)
