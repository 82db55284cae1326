"""What a trial concludes, and one of a few seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from safetensors.torch import save_file

import likewise._torchvision  # noqa: F401  (has to be imported before timm)

# isort: split
import timm

from likewise.encoders import Encoder, EncoderSpec
from likewise.encoders.files import published
from likewise.errors import InputError
from likewise.verbs.learning import trial as trying
from likewise.verbs.learning.trial import trial
from likewise.verbs.learning.trying.measures import EncoderScore
from likewise.verbs.learning.trying.verdict import Arm, conclude
from tests.contract.gauntlet import some_images, teacher


def arm(name: str, right: int, *, rank: float = 20.0, parameters: int = 100) -> Arm:
    values = np.zeros(200)
    values[:right] = 1.0
    score = right / 200
    return Arm(cast("Any", name), EncoderScore(score, score - 0.05, score + 0.05, values, rank), 1.0, parameters, name)


@pytest.mark.parametrize(
    ("arms", "images", "verdict"),
    [
        ([arm("untrained", 60), arm("self-supervised", 120)], 1000, "train without labels"),
        ([arm("untrained", 60), arm("self-supervised", 61)], 1000, "no clear difference"),
        ([arm("untrained", 60), arm("self-supervised", 61)], 100, "too few images to train"),
        ([arm("untrained", 60)], 30, "too few images to train"),
        ([arm("untrained", 60), arm("pretrained", 150)], 30, "keep the pretrained encoder"),
        ([arm("untrained", 60), arm("pretrained", 150), arm("self-supervised", 120)], 1000, "keep the pretrained"),
        ([arm("untrained", 60), arm("pretrained", 150), arm("self-supervised", 152)], 1000, "no clear difference"),
        ([arm("untrained", 60), arm("pretrained", 150), arm("self-supervised", 149)], 1000, "no clear difference"),
        ([arm("untrained", 60), arm("pretrained", 150), arm("self-supervised", 152)], 100, "no clear difference"),
        ([arm("untrained", 60), arm("pretrained", 5), arm("distilled", 62)], 100, "too few images to train"),
        ([arm("untrained", 60), arm("pretrained", 90), arm("distilled", 130)], 1000, "distil"),
        ([arm("untrained", 60), arm("self-supervised", 190, rank=1.0)], 1000, "no clear difference"),
    ],
)
def test_a_verdict_follows_from_the_interval_of_the_difference(arms: list[Arm], images: int, verdict: str) -> None:
    found, reason = conclude(arms, images)
    assert found.startswith(verdict)
    assert reason


def test_the_reason_says_what_a_smaller_student_keeps() -> None:
    arms = [arm("untrained", 60), arm("pretrained", 160, parameters=1000), arm("distilled", 152)]
    assert "distilled has 10% of its parameters and 95% of its score" in conclude(arms, 1000)[1]


@pytest.mark.trains
def test_a_short_trial_has_all_arms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    pixels, labels = some_images()
    np.savez(tmp_path / "waves.npz", images=pixels.numpy(), labels=labels.numpy())
    found = trial(tmp_path / "waves.npz", minutes=0.1, teacher=teacher(), encoder="resnet10t", device="cpu")
    told = found.to_json()
    assert [one["name"] for one in told["arms"]] == ["untrained", "pretrained", "self-supervised", "distilled"]
    assert all(one["low"] <= one["score"] <= one["high"] for one in told["arms"])
    assert "1 a class" in told["arms"][0]["labels"]
    assert told["verdict"] in found.to_text()


def test_without_labels_neighbours_of_two_crops_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    pixels, _ = some_images()
    found = trial(pixels.numpy()[:50], minutes=0.05, encoder="resnet10t", device="cpu")
    assert found.measure.startswith("neighbours that two crops")
    assert found.verdict == "too few images to train"
    assert 0 < found.arms[0].measured.score <= 1


def test_bad_input_is_one_line() -> None:
    with pytest.raises(InputError, match="minutes=0 must be greater than 0 and finite"):
        trial(np.zeros((8, 4, 4, 3), np.uint8), minutes=0)
    with pytest.raises(InputError, match="needs 4 at least"):
        trial(np.zeros((3, 4, 4, 3), np.uint8))


def test_a_table_without_names_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    np.save(tmp_path / "all.npy", np.eye(100, 4, dtype=np.float32) + 1)
    pixels = np.random.default_rng(0).integers(0, 255, (100, 8, 8, 3), dtype=np.uint8)
    with pytest.raises(InputError, match="holds 100 vectors without names, and there are 70 images"):
        trial(pixels, minutes=0.05, teacher=str(tmp_path / "all.npy"), device="cpu")


def test_of_a_slow_teacher_fewer_images_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(trying, "speed", lambda _: 68.0)  # 0.05 minutes, of which it may look for 1.2 s
    monkeypatch.setattr(trying, "ENOUGH", 8)
    pixels, _ = some_images()
    found = trial(pixels.numpy(), minutes=0.05, teacher=teacher(), encoder="resnet10t", device="cpu")
    assert found.images + found.held_out == 48


def test_published_weights_see_images_as_they_were_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    save_file(timm.create_model("test_resnet.r160_in1k").state_dict(), tmp_path / "model.safetensors")
    monkeypatch.setattr(published, "try_to_load_from_cache", lambda _, file, **__: str(tmp_path / file))
    seen: list[EncoderSpec] = []
    whole = trying._arm

    def arm(name: str, encoder: Encoder, *rest: Any) -> Arm:
        seen.append(encoder.spec)
        return whole(name, encoder, *rest)

    monkeypatch.setattr(trying, "_arm", arm)
    trial(some_images()[0].numpy()[:20], minutes=0.05, encoder="test_resnet.r160_in1k", device="cpu")
    untrained, known = seen
    assert (untrained.image_size, known.image_size) == (20, 160)
    assert (known.mean, known.std) == ((0.5,) * 3, (0.5,) * 3)  # this model's own
