"""Encoders of clips are judged by videos: features averaged over clips, one label a video, whole videos held out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from likewise.data import open_source, prepare
from likewise.data.videos.watching import Videos, Watch
from likewise.encoders import Encoder, EncoderSpec, build
from likewise.errors import InputError
from likewise.evaluation.features import extract
from likewise.verbs.judging.evaluate import evaluate

NAME = "synthetic:clips:16:16"
SPEC = EncoderSpec(name="r3d_tiny", stem="small", image_size=16, frames=3, stride=2)


@pytest.fixture
def encoder() -> Encoder:
    return build(SPEC).eval()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path))


def test_features_are_the_mean_over_clips(encoder: Encoder) -> None:
    images = prepare(open_source(NAME, split="test"), short_side=None)
    videos = Videos.of(images, Watch(clips=2, frames=3, stride=2))
    found = extract(encoder, videos, batch_size=5)
    pixels = videos.clips(np.array([3]))[0][0].float() / 255.0  # (C, F, H, W, 3)
    mean, std = (torch.tensor(part).view(1, 3, 1, 1, 1) for part in (SPEC.mean, SPEC.std))
    with torch.no_grad():
        expected = encoder((pixels.permute(0, 4, 1, 2, 3) - mean) / std).mean(0)
    torch.testing.assert_close(found[3], expected, rtol=1e-4, atol=1e-5)


def test_an_encoder_of_clips_is_judged_by_videos(encoder: Encoder) -> None:
    result = evaluate(encoder, NAME, probe=("knn",), quiet=True)
    assert all(score.n == 4 for score in result.scores)
    assert "from train (16 images) to test (4), mean over 4 clips of 3 frames, 2 apart" in result.scores[0].protocol
    single = evaluate(encoder, NAME, probe=("knn",), clips=0, quiet=True)
    assert all(score.n == 160 for score in single.scores)


def test_an_encoder_of_images_can_be_judged_by_frames_of_videos() -> None:
    flat = build(replace(SPEC, name="resnet10t", width=8, frames=1, stride=1))
    labels = {"labels": "appearance", "probe": ("knn",), "quiet": True}
    assert evaluate(flat, NAME, **labels).scores[0].n == 160  # type: ignore[arg-type]
    found = evaluate(flat, NAME, clips=2, **labels)  # type: ignore[arg-type]
    assert found.scores[0].n == 4
    assert "mean over 2 frames of each video" in found.scores[0].protocol


def test_whole_videos_are_held_out(encoder: Encoder, tmp_path: Path) -> None:
    from PIL import Image

    for number in range(10):
        folder = tmp_path / "data" / ("red" if number % 2 else "blue") / f"v{number}"
        folder.mkdir(parents=True)
        for frame in range(4):
            colour = (200, 10 * number, 0) if number % 2 else (0, 10 * number, 200)
            Image.new("RGB", (16, 16), colour).save(folder / f"{frame}.png")
    result = evaluate(encoder, tmp_path / "data", labels="folders:1", probe=("knn",), quiet=True)
    assert result.scores[0].n == 2
    assert result.scores[0].value == 1.0


def test_probes_of_single_images_and_data_without_videos_are_refused(encoder: Encoder) -> None:
    with pytest.raises(InputError, match="looks at single images, not at clips: pass clips 0"):
        evaluate(encoder, NAME, probe=("finetune",), quiet=True)
    with pytest.raises(InputError, match="no column 'video'"):
        evaluate(encoder, "digits", quiet=True)
    with pytest.raises(InputError, match="clips=-1"):
        evaluate(encoder, NAME, clips=-1, quiet=True)
