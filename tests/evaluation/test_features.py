"""Features: the same whatever the batch, the mode put back, kept once and never mixed up."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from likewise.encoders import Encoder, build, embedding, load_encoder, save_encoder
from likewise.errors import InputError
from likewise.evaluation import cached_features, extract, feature_file
from tests.evaluation.conftest import SPEC, MakeImages


def kept(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "features").glob("*.npy"))


def test_every_part_is_in_its_own_mode_again(encoder: Encoder, make_images: MakeImages) -> None:
    encoder.train()
    frozen = next(part for part in encoder.modules() if isinstance(part, nn.BatchNorm2d))
    frozen.eval()
    before = frozen.running_mean.clone() if frozen.running_mean is not None else None
    other = [part for part in encoder.modules() if isinstance(part, nn.BatchNorm2d)][1]
    statistics = other.running_mean.clone() if other.running_mean is not None else None
    extract(encoder, make_images())
    assert encoder.training
    assert not frozen.training
    assert torch.equal(frozen.running_mean, before)
    assert torch.equal(other.running_mean, statistics)


def test_features_can_be_trained_on(encoder: Encoder, make_images: MakeImages) -> None:
    found = extract(encoder, make_images())
    assert found.dtype == torch.float32
    assert found.shape == (24, encoder.features)
    weight = torch.ones(encoder.features, requires_grad=True)
    (found @ weight).sum().backward()
    assert weight.grad is not None


def test_bfloat16_is_near_but_not_the_same(encoder: Encoder, make_images: MakeImages) -> None:
    images = make_images()
    exact, fast = extract(encoder, images), extract(encoder, images, precision="bf16")
    assert fast.dtype == torch.float32
    assert not fast.equal(exact)
    assert torch.nn.functional.cosine_similarity(fast, exact).min() > 0.99
    with pytest.raises(InputError, match="did you mean 'bf16'"):
        extract(encoder, images, precision="bf61")  # type: ignore[arg-type]


def test_normalisation_and_size_are_the_encoders_unless_given(encoder: Encoder, make_images: MakeImages) -> None:
    images, spec = make_images(), encoder.spec
    own = extract(encoder, images)
    assert extract(encoder, images, image_size=16, mean=spec.mean, std=spec.std).equal(own)
    assert not extract(encoder, images, mean=(0.0, 0.0, 0.0)).equal(own)


def test_large_images_are_seen_by_their_middle() -> None:
    assert embedding.view_fraction(64) == 1.0
    assert embedding.view_fraction(224) == 0.875


def test_progress_ends_at_all(encoder: Encoder, make_images: MakeImages) -> None:
    said: list[tuple[int, int]] = []
    extract(encoder, make_images(), batch_size=10, progress=lambda done, of: said.append((done, of)))
    assert said == [(10, 24), (20, 24), (24, 24)]


def test_kept_features_are_those_of_the_weights(tmp_path: Path, encoder: Encoder, make_images: MakeImages) -> None:
    images = make_images()
    first = cached_features(encoder, images)
    save_encoder(encoder, tmp_path / "moved" / "encoder.safetensors")
    again = cached_features(load_encoder(tmp_path / "moved" / "encoder.safetensors"), images)
    assert again.equal(first)
    assert len(kept(tmp_path)) == 1
    assert not cached_features(build(SPEC, seed=1), images).equal(first)
    assert not cached_features(encoder, make_images(seed=5)).equal(first)
    assert not cached_features(encoder, images, precision="bf16").equal(first)
    assert not cached_features(encoder, images.subset(np.arange(24)[::-1])).equal(first)
    assert len(kept(tmp_path)) == 5


def test_a_changed_tensor_does_not_change_the_file(encoder: Encoder, make_images: MakeImages) -> None:
    images = make_images()
    first = cached_features(encoder, images).clone()
    cached_features(encoder, images).zero_()
    assert cached_features(encoder, images).equal(first)


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"no array at all"])
def test_a_damaged_file_is_made_again(tmp_path: Path, encoder: Encoder, make_images: MakeImages, damage: bytes) -> None:
    images = make_images()
    first = cached_features(encoder, images).clone()
    (file,) = kept(tmp_path)
    file.write_bytes(damage)
    assert cached_features(encoder, images).equal(first)
    assert np.load(file).shape == first.shape


def test_what_was_not_used_for_longest_is_forgotten(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "older", "oldest")):
        (tmp_path / f"{name}.npy").write_bytes(bytes(100))
        os.utime(tmp_path / f"{name}.npy", (1000 - age, 1000 - age))
    feature_file.forget(tmp_path, 200)
    assert sorted(path.stem for path in tmp_path.glob("*.npy")) == ["new", "older"]
    feature_file.forget(tmp_path, 10)
    assert [path.stem for path in tmp_path.glob("*.npy")] == ["new"]


def test_where_nothing_can_be_kept_one_is_told(tmp_path: Path, encoder: Encoder, make_images: MakeImages) -> None:
    images = make_images()
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="features are not kept"):
        found = cached_features(encoder, images, cache_dir=tmp_path / "file")
    assert found.equal(extract(encoder, images))


def test_an_interrupted_extraction_goes_on(
    tmp_path: Path, encoder: Encoder, make_images: MakeImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = make_images()
    monkeypatch.setattr(feature_file, "SECONDS", 0.0)

    def stop(done: int, of: int) -> None:
        if done >= 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_features(encoder, images, batch_size=5, progress=stop)
    assert not kept(tmp_path)
    said: list[int] = []
    found = cached_features(encoder, images, batch_size=5, progress=lambda done, of: said.append(done))
    assert said == [20, 24]
    assert found.equal(extract(encoder, images, batch_size=5))
    assert not list((tmp_path / "cache").rglob("*.part"))
    assert not list((tmp_path / "cache").rglob("*.rows"))


@pytest.mark.parametrize("rows", ["", "x", "7000", "-1"])
def test_what_an_interruption_left_damaged_is_made_again(
    tmp_path: Path, encoder: Encoder, make_images: MakeImages, rows: str
) -> None:
    images = make_images()
    first = cached_features(encoder, images).clone()
    (file,) = kept(tmp_path)
    file.with_suffix(".part").write_bytes(file.read_bytes()[:-7])
    file.with_suffix(".rows").write_text(rows)
    file.unlink()
    assert cached_features(encoder, images).equal(first)


def test_old_beginnings_are_forgotten(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / f"{name}.part").write_bytes(b"x")
    os.utime(tmp_path / "old.part", (1000, 1000))
    feature_file.forget(tmp_path, 10)
    assert [path.name for path in tmp_path.glob("*.part")] == ["new.part"]
