"""Flow: estimates against flow that is known, checks, camera motion, and the array that is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from likewise.data import Images, open_source, prepare
from likewise.data.flow.estimating import estimator, reliable, without_camera
from likewise.data.flow.fields import FlowPlan, flow_fields, pairs
from likewise.data.videos.drawing import clip
from likewise.errors import InputError

MOVING = (1, 4, 6)  # sideways, in circles, growing
NAME = "synthetic:clips:16:2"


def images(tmp_path: Path) -> Images:
    return prepare(open_source(NAME, split="train"), short_side=None, cache_dir=tmp_path)


@pytest.mark.parametrize("source", ["dis", "farneback", "lk"])
def test_estimates_are_near_what_is_known(source: str) -> None:
    if source != "lk":
        pytest.importorskip("cv2")
    estimate = estimator(source)  # type: ignore[arg-type]
    away, none = [], []
    for number in MOVING:
        one = clip(0, number)
        found = estimate(one.frames[:8:2], one.frames[1:9:2])
        away.append(np.linalg.norm(found - one.flow[:8:2], axis=-1))
        none.append(np.linalg.norm(one.flow[:8:2], axis=-1))
    assert np.mean(away) < 0.5 * np.mean(none)
    assert np.median(away) < 0.3


def test_flow_that_does_not_lead_back_is_not_relied_on() -> None:
    there = np.zeros((1, 8, 8, 2), np.float32)
    there[..., 0] = 2.0
    back = -there
    back[0, :, 5:] = 3.0
    known = reliable(there, back)
    assert known[0, :, :2].all()
    assert not known[0, :, 4:].any()


def test_the_camera_is_taken_off_and_what_moves_stays() -> None:
    down, right = np.meshgrid(np.linspace(-1, 1, 24), np.linspace(-1, 1, 24), indexing="ij")
    camera = np.stack([0.8 + 0.5 * right - 0.3 * down, -0.4 + 0.3 * right + 0.5 * down], -1)
    flow = camera.copy()
    flow[6:12, 8:16] += 2.0
    left = without_camera(flow[None].astype(np.float32), np.ones((1, 24, 24), bool))[0]
    inside = np.zeros((24, 24), bool)
    inside[6:12, 8:16] = True
    assert abs(left[~inside]).max() < 0.1
    assert abs(left[inside] - 2.0).max() < 0.1


def test_flow_is_between_neighbouring_frames_of_one_video() -> None:
    video, frame = np.array([1, 0, 1, 0, 0, 2]), np.array([5, 2, 4, 0, 1, 0])
    first, second = pairs(video, frame)
    assert first.tolist() == [2, 4, 2, 3, 4, 5]  # the last frame of a video has the flow that leads to it
    assert second.tolist() == [0, 1, 0, 4, 1, 5]


def test_exact_flow_is_kept_and_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = images(tmp_path)
    plan = FlowPlan(source="exact", camera=False)
    found = flow_fields(data, plan, cache_dir=tmp_path)
    assert found.shape == (80, 3, 16, 16)
    assert found.dtype == np.float16
    expected = clip(0, 1, 16).flow[:39].transpose(0, 3, 1, 2)
    assert np.allclose(found[40:79, :2], expected, atol=2e-3)
    assert np.allclose(found[79, :2], expected[-1], atol=2e-3)
    monkeypatch.setattr("likewise.data.flow.fields._Fields.of", lambda *_: pytest.fail("computed again"))
    assert np.array_equal(flow_fields(data, plan, cache_dir=tmp_path), found)


def test_an_estimate_needs_neither_columns_of_other_names_nor_drawn_videos(tmp_path: Path) -> None:
    data = images(tmp_path)
    data.names = [f"frame {number}" for number in range(len(data))]
    found = flow_fields(data, FlowPlan(source="lk"), cache_dir=tmp_path)
    assert np.isfinite(found).all()
    assert set(np.unique(found[:, 2])) <= {0.0, 1.0}
    with pytest.raises(InputError, match="does not know its flow; allowed are dis"):
        flow_fields(data, FlowPlan(source="exact"), cache_dir=tmp_path)
    with pytest.raises(InputError, match="no column 'scene'"):
        flow_fields(data, FlowPlan(video="scene"), cache_dir=tmp_path)
