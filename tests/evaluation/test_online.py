"""The score while training: right, cheap, on the same images every time, and without a trace in what is trained."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.neighbors import KNeighborsClassifier

from likewise.data import Images
from likewise.encoders import Encoder
from likewise.errors import InputError
from likewise.evaluation import extract, leave_one_out, online
from likewise.evaluation.online import OnlineProbe, sample_rows
from likewise.training.loop import Loop
from likewise.verbs.learning.train import Interrupted, train
from tests.evaluation.conftest import MakeImages, drawn


def test_it_is_the_nearest_neighbour_classifier_without_the_image_itself(
    encoder: Encoder, make_images: MakeImages
) -> None:
    images = make_images(40)
    generator = np.random.default_rng(3)
    images.labels = generator.permutation(np.asarray(images.labels))  # mostly wrong, so that each vote counts
    x_NF = torch.nn.functional.normalize(extract(encoder, images), dim=1).numpy()
    right = []
    for row in range(len(x_NF)):
        others = np.delete(np.arange(len(x_NF)), row)
        judge = KNeighborsClassifier(1, metric="cosine").fit(x_NF[others], images.labels[others])
        right.append(judge.predict(x_NF[row : row + 1])[0] == images.labels[row])
    assert leave_one_out(encoder, images, k=1, precision="float32") == pytest.approx(np.mean(right))


def test_colours_are_told_apart_and_copies_do_not_confuse(encoder: Encoder, make_images: MakeImages) -> None:
    images = make_images(30)
    assert leave_one_out(encoder, images, k=3, precision="float32") > 0.9
    assert 0.0 <= leave_one_out(encoder, images, k=500) <= 1.0
    copies = images.subset(np.zeros(12, dtype=np.int64))
    assert leave_one_out(encoder, copies, k=3) == 1.0


def test_images_without_labels_are_one_line(encoder: Encoder, make_images: MakeImages) -> None:
    for labels in (None, np.array([0, 1, -1, 2])):
        with pytest.raises(InputError, match="labels"):
            leave_one_out(encoder, make_images(4, labels=labels))
    with pytest.raises(InputError, match="two images"):
        leave_one_out(encoder, make_images(1))


def test_nothing_of_the_encoder_changes(encoder: Encoder, make_images: MakeImages) -> None:
    images = make_images(30)
    encoder.train()
    encoder.backbone.eval()  # as a method that freezes parts leaves it
    modes = [part.training for part in encoder.modules()]
    state = {name: value.clone() for name, value in encoder.state_dict().items()}
    random = torch.random.get_rng_state()
    probe = OnlineProbe(encoder, images, seen=1e6)
    assert probe.begin()
    probe.measure(0.5)
    assert [part.training for part in encoder.modules()] == modes
    assert all(value.equal(state[name]) for name, value in encoder.state_dict().items())
    assert torch.random.get_rng_state().equal(random)
    assert all(value.grad is None for value in encoder.parameters())


def test_a_compiled_encoder_is_not_compiled_again(encoder: Encoder, make_images: MakeImages) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the compiled call was used")

    encoder._compiled_call_impl = refuse
    assert leave_one_out(encoder, make_images(12), k=1) >= 0.0


def labelled(count: int, classes: int, make_images: MakeImages) -> Images:
    return make_images(count, labels=np.arange(count) % classes)


def test_the_size_of_the_sample_follows_from_the_budget(
    encoder: Encoder, make_images: MakeImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OnlineProbe, "measure", lambda *_: 0.25)
    monkeypatch.setattr(online, "LEAST_IMAGES", 20)
    images = labelled(400, 4, make_images)
    passes = online.SHARE * online.PASSES

    def begun(**budget: float) -> dict[str, Any]:
        return OnlineProbe(encoder, images, **budget).begin()

    assert begun(seen=39 / passes) == {}  # less than a sample before and one after
    assert begun(seen=45 / passes) == {"pictures": 20, "k": 1, "measures": 2, "before": 0.25}
    assert begun(seen=1001 / passes) == {"pictures": 100, "k": 5, "measures": 10, "before": 0.25}
    assert begun(seen=1e9) == {"pictures": 400, "k": 20, "measures": 50, "before": 0.25}
    assert begun(minutes=0.0001) == {}
    assert begun(minutes=60.0)["pictures"] == 400


@pytest.mark.parametrize("labels", [None, np.full(40, -1), np.zeros(40, dtype=np.int64)])
def test_without_classes_there_is_nothing_to_measure(labels: Any, encoder: Encoder, make_images: MakeImages) -> None:
    probe = OnlineProbe(encoder, make_images(40, labels=labels), seen=1e9)
    assert probe.begin() == {}
    assert not probe.due(1.0, 1e9)
    assert not probe.last(1.0, 1e9)


def test_the_sample_is_stratified_and_always_the_same(make_images: MakeImages) -> None:
    labels = np.repeat([0, 1, 2, -1], [60, 30, 10, 20])
    images = make_images(120, labels=labels)
    rows = sample_rows(images, 50)
    assert np.bincount(labels[rows]).tolist() == [30, 15, 5]
    assert rows.tolist() == sample_rows(images, 50).tolist()
    assert len(sample_rows(images, 500)) == 100


def test_it_waits_its_turn_and_keeps_to_its_share(
    encoder: Encoder, make_images: MakeImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(online.time, "perf_counter", lambda: clock[0])

    def slow(*_: Any, **__: Any) -> np.ndarray:
        clock[0] += 3.0
        return np.array([True, False])

    monkeypatch.setattr(online, "answered", slow)
    probe = OnlineProbe(encoder, make_images(60), seen=1e6)
    assert probe.begin()["measures"] == 50
    assert not probe.due(0.01, 1e9), "not before a fiftieth of the budget"
    assert not probe.due(0.5, 6.0 / online.SHARE - 1), "not before the time of two is within the share"
    assert probe.due(0.5, 6.0 / online.SHARE + 1)
    probe.measure(0.5)
    assert probe.seconds == 6.0
    assert not probe.due(0.5, 1e9)
    assert probe.last(1.0, 9.0 / online.LIMIT + 1)
    assert not probe.last(1.0, 9.0 / online.LIMIT - 1)
    assert not probe.last(0.5, 1e9), "nothing has changed since"


# In a run ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    images, labels = drawn(60, 5)
    path = tmp_path / "colours.npz"
    np.savez(path, images=images, labels=labels)
    return path


def small_run(data: Path, out: Path, **more: Any) -> Any:
    common = {"encoder": "resnet18", "width": 8, "batch_size": 12, "epochs": 4, "quiet": True, "report": False}
    return train(data, out=str(out), loggers=(), checkpoint_minutes=60.0, **{**common, **more})


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "encoder.safetensors") | {
        f"teacher {name}": value for name, value in load_file(run / "teacher.safetensors").items()
    }


@pytest.fixture
def generous(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(online, "SHARE", 5.0)
    monkeypatch.setattr(online, "LIMIT", 5.0)


@pytest.mark.usefixtures("generous")
def test_training_is_the_same_bit_for_bit_with_and_without(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored = small_run(colours, tmp_path / "with")
    plain = small_run(colours, tmp_path / "without", online_probe=False)
    expected, found = weights(plain.path), weights(scored.path)
    assert all(expected[name].equal(found[name]) for name in expected)
    assert [line.get("loss") for line in plain.metrics()] == [line.get("loss") for line in scored.metrics()]
    assert "online" not in plain.read()
    facts, values = scored.read()["online"], [line["knn"] for line in scored.metrics() if "knn" in line]
    assert facts["pictures"] == 60
    assert len(values) >= 3
    assert all(0.0 <= value <= 1.0 for value in (facts["before"], *values))
    assert "knn" in scored.metrics()[-1]

    whole = Loop._step

    def step(self: Loop, loaded: Any) -> None:
        whole(self, loaded)
        if self.clock.step == 9:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_step", step)
        with pytest.raises(Interrupted):
            small_run(colours, tmp_path / "resumed")
    before = small_run(colours, tmp_path / "resumed", resume=True).read()["online"]
    resumed = weights(tmp_path / "resumed")
    assert all(expected[name].equal(resumed[name]) for name in expected)
    assert before == facts


def test_data_without_labels_are_not_scored(tmp_path: Path) -> None:
    path = tmp_path / "plain.npz"
    np.savez(path, images=drawn(60, 5)[0])
    run = small_run(path, tmp_path / "run", epochs=1)
    assert not any("knn" in line for line in run.metrics())
    assert "online" not in run.read()
