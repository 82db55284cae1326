"""From images to scores: splits, labels, the untrained baseline, and what is written down."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from likewise.data import open_source, prepare
from likewise.encoders import Encoder, EncoderSpec, build
from likewise.errors import InputError
from likewise.evaluation import cached_features, extract
from likewise.evaluation.bank_and_query import stratified
from likewise.verbs.judging.evaluate import evaluate

SPEC = EncoderSpec(name="resnet18", width=8, stem="small", image_size=16)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))


def some_images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 2, count)
    images = draw.integers(0, 100, (count, 16, 16, 3)) + 150 * labels[:, None, None, None]
    return images.astype(np.uint8), labels


@pytest.fixture
def split_data(tmp_path: Path) -> Path:
    (train, train_labels), (test, test_labels) = some_images(60, 1), some_images(30, 2)
    path = tmp_path / "d.npz"
    np.savez(path, train_images=train, train_labels=train_labels, test_images=test, test_labels=test_labels)
    return path


def test_train_to_test_where_there_are_splits(split_data: Path) -> None:
    result = evaluate(build(SPEC, seed=0), split_data, quiet=True)
    assert {(score.name, score.k) for score in result.scores} == {
        ("knn", 1),
        ("knn", 20),
        ("knn", 200),
        ("linear", None),
    }
    for score in result.scores:
        assert (score.split, score.n, score.which) == ("test", 30, "student")
        if score.k != 200:  # where everybody votes, nothing is told apart
            assert score.value > 0.8  # bright against dark is seen by any network
        assert score.protocol


def test_a_fifth_of_each_class_is_held_out_where_there_are_none(tmp_path: Path) -> None:
    images, labels = some_images(50, 3)
    np.savez(tmp_path / "d.npz", images=images, labels=labels)
    result = evaluate(build(SPEC, seed=0), tmp_path / "d.npz", probe=("knn",), quiet=True)
    assert result.scores[0].split == "held out"
    assert "a stratified 20% held out" in result.scores[0].protocol
    kept, chosen = stratified(labels, 0.2, 0)
    assert len(chosen) == result.scores[0].n
    assert sorted([*kept, *chosen]) == list(range(50))
    for label in (0, 1):
        assert (labels[chosen] == label).sum() == round(0.2 * (labels == label).sum())


def test_the_untrained_encoder_is_the_baseline(split_data: Path) -> None:
    result = evaluate(build(SPEC, seed=0), split_data, probe=("knn",), untrained=True, quiet=True)
    values = {(score.which, score.k): score.value for score in result.scores}
    assert values[("untrained", 1)] == values[("student", 1)]


def test_without_labels_or_with_an_unknown_probe_it_is_one_line(tmp_path: Path) -> None:
    images, _ = some_images(20, 4)
    np.save(tmp_path / "d.npy", images)
    with pytest.raises(InputError, match="no labels"):
        evaluate(build(SPEC, seed=0), tmp_path / "d.npy", quiet=True)
    with pytest.raises(InputError, match="unknown probe 'kn'"):
        evaluate(build(SPEC, seed=0), tmp_path / "d.npy", probe=("kn",), quiet=True)  # type: ignore[arg-type]


def test_classes_that_train_lacks_are_told(tmp_path: Path) -> None:
    images, _ = some_images(30, 5)
    labels = np.arange(20) % 2
    np.savez(
        tmp_path / "d.npz",
        train_images=images[:20],
        train_labels=labels,
        test_images=images[20:],
        test_labels=np.full(10, 2),
    )
    result = evaluate(build(SPEC, seed=0), tmp_path / "d.npz", probe=("knn",), quiet=True)
    assert "not in the bank, so their 10 images count as wrong" in result.notes[0]
    assert all(score.value == 0 for score in result.scores)


def test_features_are_extracted_once_and_do_not_depend_on_batches(
    split_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = prepare(open_source(split_data, split="train"), short_side=None)
    encoder = build(SPEC, seed=0).train()
    features = extract(encoder, images)
    assert encoder.training
    torch.testing.assert_close(extract(encoder, images, batch_size=7), features, rtol=1e-4, atol=1e-5)
    assert torch.equal(cached_features(encoder, images), features)
    calls: list[int] = []
    whole = Encoder.forward
    monkeypatch.setattr(Encoder, "forward", lambda self, x: calls.append(len(x)) or whole(self, x))
    assert torch.equal(cached_features(encoder, images), features)
    assert not calls
    with torch.no_grad():
        next(encoder.parameters()).add_(1.0)
    assert not torch.equal(cached_features(encoder, images), features)
    assert calls
