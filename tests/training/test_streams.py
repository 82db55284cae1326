"""Second streams, columns, clips, a second data set, and a start reach a method in a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from likewise import methods
from likewise.cli import main
from likewise.data import open_source, prepare
from likewise.data.batches.orders import Endless, falling_gap
from likewise.data.batches.streams import MAIN, Rows, Stream, clips, endless, order_of, shuffled, stratified, together
from likewise.encoders import Encoder, EncoderSpec, build, load_encoder, save_encoder
from likewise.errors import InputError
from likewise.evaluation.probes.own import logits_of, renumbered
from likewise.methods.method import Batch, Card, Facts, Method, Preset, Terms, Views
from likewise.methods.whole import restore
from likewise.verbs.judging.evaluate import evaluate
from likewise.verbs.learning.train import train
from likewise.views import make_clip_views, weak

FAST = {"encoder": "resnet10t", "width": 8, "image_size": 16, "batch_size": 8, "device": "cpu", "precision": "float32"}
SILENT: dict[str, Any] = {"quiet": True, "report": False, "loggers": (), "online_probe": False}
SEEN: list[Batch] = []


class Two(Method):
    """Learns to classify a stratified second batch, and watches a third one of another data set."""

    card = Card(title="Double", paper="none", summary="A double.", needs=("some labels",))

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """None but the column."""

        scan: str = "scan"

    presets: ClassVar = {"small": Preset(settings=Settings())}

    @classmethod
    def streams(cls, settings: Settings, facts: Facts) -> Mapping[str, Stream]:
        return {
            MAIN: Stream(draw=shuffled, keep="unlabelled"),
            "support": Stream(views=("support",), keep="labelled", draw=stratified(3, 2)),
            "base": Stream(views=("base",), of="beside", batch_size=4, draw=endless),
        }

    @classmethod
    def columns(cls, settings: Settings) -> tuple[str, ...]:
        return (settings.scan,)

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        assert facts.beside is not None
        self.encoder, self.facts = encoder, facts
        self.classifier = nn.Linear(encoder.features, facts.classes)
        size = facts.image_size
        self.views = {role: weak(size) for role in ("query", "support", "base")}

    def step(self, views: Views, batch: Batch) -> Terms:
        SEEN.append(batch)
        assert len(views["base"].image) == 4
        support = batch.others["support"]
        assert support.labels is not None
        loss = functional.cross_entropy(self.logits(views["support"].image), support.labels)
        return Terms(loss + 0 * self.encoder(views["query"].image).sum(), {}, None)

    def logits(self, image: Tensor) -> Tensor:
        result: Tensor = self.classifier(self.encoder(image))
        return result

    def encoders(self) -> dict[str, nn.Module]:
        return {"student": self.encoder}


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    SEEN.clear()
    find = methods.find
    monkeypatch.setattr(methods, "find", lambda name: Two if name == "two" else find(name))


def archive(path: Path, *, seed: int = 0, side: int = 16) -> Path:
    """72 images of 3 classes and 9 scans."""
    pixels = np.random.default_rng(seed).integers(0, 256, (72, side, side, 3)).astype(np.uint8)
    np.savez(path, images=pixels, labels=np.arange(72) % 3, scan=np.arange(72) // 8)
    return path


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    return archive(tmp_path / "images.npz")


def test_a_method_draws_from_three_streams_and_sees_columns(two: None, data: Path, tmp_path: Path) -> None:
    beside = archive(tmp_path / "other.npz", seed=1)
    how = {**FAST, **SILENT, "method": "two", "beside": str(beside), "subset": "labels:perclass:4"}
    with pytest.raises(InputError, match="name it with --beside"):
        train(data, **{**how, "beside": None}, epochs=1)
    run = train(data, **how, epochs=2, out=str(tmp_path / "run"))
    assert len(SEEN) == 2 * (60 // 8)
    every = torch.cat([batch.ids for batch in SEEN[: 60 // 8]])
    assert len(every.unique()) == len(every), "an epoch shows an image once"
    for batch in SEEN:
        assert batch.labels is not None
        assert (batch.labels == -1).all(), "only images without a label"
        assert batch.columns["scan"].equal(batch.ids // 8)
        assert batch.columns["truth"].equal(batch.ids % 3), "kept for scoring"
        support = batch.others["support"]
        assert support.labels is not None
        assert support.labels.reshape(2, 3).sort(1).values.equal(torch.arange(3).expand(2, 3))
        assert support.labels.equal(support.ids % 3)
        assert batch.others["base"].ids.shape == (4,)
    assert run.read()["data"]["beside"]["images"] == 72
    straight = [batch.ids.tolist() + batch.others["base"].ids.tolist() for batch in SEEN]
    SEEN.clear()
    train(data, **{**how, "beside": None}, epochs=3, out=run.path, resume=True)
    assert len(SEEN) == 60 // 8
    SEEN.clear()
    train(data, **how, epochs=3, out=str(tmp_path / "again"))
    assert [batch.ids.tolist() + batch.others["base"].ids.tolist() for batch in SEEN][: len(straight)] == straight
    with pytest.raises(InputError, match="is not the second data set"):
        train(data, **{**how, "beside": str(data)}, epochs=4, out=run.path, resume=True)
    with pytest.raises(InputError, match="no image with a label, which the stream 'support'"):
        train(data, **{**how, "labels": "none", "subset": None}, epochs=1)
    with pytest.raises(InputError, match="scam"):
        train(data, **how, scan="scam", epochs=1)


def test_an_endless_order_shows_every_image_equally_often() -> None:
    order = Endless(5, 8, seed=1)
    drawn = np.concatenate([order.batch(step) for step in range(10)])
    assert (np.bincount(drawn) == 16).all()
    assert (Endless(5, 8, seed=1).batch(7) == order.batch(7)).all()
    assert not (Endless(5, 8, seed=2).batch(7) == order.batch(7)).all()


def test_clips_share_one_draw_of_a_view(data: Path, tmp_path: Path) -> None:
    pixels = np.zeros((24, 20, 20, 3), np.uint8)
    pixels[:] = np.random.default_rng(0).integers(0, 256, (20, 20, 3))  # nothing moves
    np.savez(tmp_path / "video.npz", images=pixels, video=np.arange(24) // 6, frame=np.arange(24) % 6)
    source = open_source(tmp_path / "video.npz", columns=("video", "frame"))
    images = prepare(source, short_side=None)
    law = clips("video", "frame", count=2, frames=3, law=falling_gap)
    order = order_of(MAIN, Stream(draw=law), images, 4, 0)
    index = order.batch(0)
    assert index.shape == (4, 2, 3)
    gathered, sizes = (part.reshape(4, 2, 3, *part.shape[1:]) for part in images.gather(index.reshape(-1)))
    policies = {role: weak(16, mean=(0.5,) * 3, std=(0.5,) * 3) for role in ("first", "second")}
    views = make_clip_views(policies, gathered, sizes, seed=0, step=0)
    image = views["first"].image
    assert image.shape == (4, 3, 3, 16, 16)
    assert (image == image[:, :, :1]).all()
    assert not (image == views["second"].image).all()
    halves = [
        make_clip_views(policies, gathered[rank::2], sizes[rank::2], seed=0, step=0, rank=rank, world=2)
        for rank in range(2)
    ]
    assert all(half["first"].image.equal(image[rank::2]) for rank, half in enumerate(halves))
    sizes[0, 0, 1] = 10
    with pytest.raises(InputError, match="different sizes"):
        make_clip_views(policies, gathered, sizes, seed=0, step=0)


def test_a_start_gives_the_encoder_and_what_fits(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = train(data, method="byol", epochs=1, **FAST, **SILENT, out=str(tmp_path / "before"))
    words = f"--method byol --start {before.path} --epochs 0.01 --batch-size 8 --device cpu --no-report".split()
    assert main(["train", str(data), *words, "--learning-rate", "1e-9", "--out", str(tmp_path / "a")]) == 0
    assert "start: the encoder and " in capsys.readouterr().err
    old, new = restore(before.path).state_dict(), restore(tmp_path / "a").state_dict()
    away = {key: float((old[key] - new[key]).abs().max()) for key in old if key.endswith("weight")}
    assert max(away.values()) < 2e-3, away  # the teacher has moved a little
    other = train(data, method="simclr", start=str(before.path), epochs=1, **SILENT, batch_size=8, device="cpu")
    assert "the other networks of byol are left there" in other.read()["start"]
    assert json.loads((other.path / "run.json").read_text())["encoder"]["width"] == 8
    with pytest.raises(InputError, match="width=16 is not that of the start"):
        train(data, method="byol", start=str(before.path), width=16, **SILENT)
    with pytest.raises(InputError, match=r"normalisation=data is not that of the start .* leave it out"):
        train(data, method="byol", start=str(before.path), normalisation="data", **SILENT)
    with pytest.raises(InputError, match="does not exist"):
        train(data, method="byol", start=str(tmp_path / "none"), **SILENT)


def test_a_start_gives_its_neck_and_names_the_run(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = EncoderSpec(name="resnet10t", width=8, stem="small", image_size=16, neck=24)
    begun = build(spec, seed=5)
    save_encoder(begun, tmp_path / "start.safetensors")
    monkeypatch.chdir(tmp_path)
    how: dict[str, Any] = {"method": "byol", "start": str(tmp_path / "start.safetensors"), "batch_size": 8, **SILENT}
    run = train(data, epochs=0.01, learning_rate=1e-9, device="cpu", **how)
    assert begun.neck is not None
    found = load_encoder(run.path / "encoder.safetensors").neck
    assert found is not None
    assert torch.allclose(found.weight, begun.neck.weight, atol=1e-6)
    train(data, method="byol", epochs=0.01, **FAST | {"encoder": "resnet18"}, **SILENT)  # a run of the usual name
    assert train(data, resume=True, **how).path == run.path


def test_the_classifier_that_a_method_trained_is_scored(data: Path, tmp_path: Path) -> None:
    run = train(data, method="mcl_supervised", epochs=1, **FAST, **SILENT, out=str(tmp_path / "run"))
    scores = evaluate(run, data, probe=("own", "knn"), untrained=True, quiet=True).scores
    own = [score for score in scores if score.name == "own"]
    assert [score.which for score in own] == ["student"], "an untrained encoder has no classifier"
    images = prepare(open_source(data), short_side=18)
    assert logits_of(run, images).shape == (72, 3)
    other = train(data, method="byol", epochs=1, **FAST, **SILENT, out=str(tmp_path / "other"))
    with pytest.raises(InputError, match="no classifier of its own"):
        evaluate(other, data, probe="own", quiet=True)
    with pytest.raises(InputError, match="name a run directory"):
        evaluate(other.path / "encoder.safetensors", data, probe="own", quiet=True)


def test_classes_of_a_run_are_found_by_name() -> None:
    predicted = torch.tensor([0, 1, 2])
    assert renumbered(predicted, ["a", "b", "c"], ["c", "a"]).tolist() == [1, -1, 0]
    assert renumbered(predicted, None, ["c", "a"]).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("classes", "batch", "in_batch"), [(100, 128, 64), (10, 128, 8), (3, 8, 2), (1, 8, 1), (5, 10, 5)]
)
def test_images_of_a_class_come_together_in_full_batches(classes: int, batch: int, in_batch: int) -> None:
    labels = np.append(np.repeat(np.arange(classes), 30), [-1] * 7)
    order = together(2)(Rows(labels, {}), batch, 0)
    for step in range(5):
        ids = order.batch(step)
        assert len(set(ids.tolist())) == batch
        assert np.unique(labels[ids], return_counts=True)[1].tolist() == [batch // in_batch] * in_batch
