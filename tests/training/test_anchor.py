"""An anchored encoder stays where it began, at no weight changes nothing, and goes on after an interruption."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn

import likewise
from likewise import methods
from likewise.data import open_source, prepare
from likewise.encoders import Encoder, EncoderSpec, build, load_encoder, save_encoder
from likewise.encoders.embedding import embed
from likewise.encoders.neck import without_neck
from likewise.errors import InputError, TrainingStopped
from likewise.evaluation import extract
from likewise.methods.method import Facts
from likewise.methods.simclr import SimCLR
from likewise.report.words import anchored_words
from likewise.runs import RunDirectory
from likewise.similarity import unit
from likewise.teachers import of_encoder
from likewise.training.anchor import Anchor, anchored_part
from likewise.upgrading.adapters import ridge
from likewise.verbs.learning.anchoring import KEPT
from tests.contract.gauntlet import make

SPEC = EncoderSpec(name="resnet10t", width=8, stem="small", image_size=16)
QUICK: dict[str, Any] = {"batch_size": 16, "quiet": True, "report": False, "loggers": (), "online_probe": False}


@pytest.fixture
def pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NDArray[np.uint8]:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    return np.random.default_rng(0).integers(0, 255, (48, 16, 16, 3), dtype=np.uint8)


@pytest.fixture
def start(tmp_path: Path) -> str:
    save_encoder(build(SPEC, seed=3), tmp_path / "start" / "encoder.safetensors")
    return str(tmp_path / "start" / "encoder.safetensors")


def trained(pixels: NDArray[np.uint8], place: Path, **asked: Any) -> RunDirectory:
    return likewise.train(pixels, out=str(place), **{**QUICK, "method": "simclr", "epochs": 2, **asked})


def weights(run: RunDirectory) -> dict[str, torch.Tensor]:
    return load_file(run.weights())


def test_the_term_is_the_documented_formula() -> None:
    torch.manual_seed(0)
    method = SimCLR(build(SPEC, seed=0), SimCLR.Settings(), Facts(images=16, batch_size=8, image_size=16))
    encoder = method.encoders()["student"]
    assert isinstance(encoder, Encoder)
    known = of_encoder(build(SPEC, seed=1), name="old", key="old", image_size=16, mean=(0.5,) * 3, std=(0.5,) * 3)
    known.looks_up = True
    known.keep(torch.randn(5, encoder.features))
    anchor, moved_BF = Anchor(3.0, method, known), torch.randn(2, encoder.features)
    assert {norm.momentum for norm in encoder.modules() if isinstance(norm, nn.BatchNorm2d)} == {0.1 / 4}
    index_B = torch.tensor([4, 1])
    expected = (unit(moved_BF) - unit(known.look_up(index_B))).square().sum(1).mean()
    torch.testing.assert_close(anchor.distance(moved_BF, index_B), expected)


def test_no_weight_is_no_anchor_bit_for_bit(pixels: NDArray[np.uint8], start: str, tmp_path: Path) -> None:
    without = trained(pixels, tmp_path / "without", start=start, optimiser="sgd")
    zero = trained(pixels, tmp_path / "zero", start=start, optimiser="sgd", anchor=0.0)
    assert all(value.equal(weights(zero)[key]) for key, value in weights(without).items())
    assert not (zero.path / KEPT).exists()


@pytest.mark.parametrize("method", ["simclr", "isd"])
def test_a_heavy_anchor_leaves_the_embedding_where_it_was(
    method: str, pixels: NDArray[np.uint8], start: str, tmp_path: Path
) -> None:
    cosine = {}
    for weight in (0.01, 1000.0):
        run = trained(pixels, tmp_path / f"{weight}", method=method, start=start, anchor=weight, epochs=12)
        cosine[weight] = run.read()["anchored"]["cosine"]
        old, new = (embed(load_encoder(path), SPEC, pixels) for path in (Path(start), run.weights()))
        measured = float((unit(old) * unit(new)).sum(1).mean())
        assert measured == pytest.approx(cosine[weight], abs=1e-4)
    assert cosine[1000.0] > 0.99
    assert cosine[0.01] < cosine[1000.0]
    assert "anchor" in run.metrics()[-1]
    assert "of their 10 nearest found by new queries" in anchored_words(run.read()["anchored"])


def test_an_anchored_run_goes_on_as_if_uninterrupted_and_without_its_start(
    pixels: NDArray[np.uint8], start: str, tmp_path: Path
) -> None:
    whole = trained(pixels, tmp_path / "whole", start=start, anchor=2.0, epochs=3)
    asked = {"start": start, "anchor": 2.0}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("likewise.training.loop.Loop._log", _stop_after_three)
        with pytest.raises(TrainingStopped):
            trained(pixels, tmp_path / "part", epochs=3, **asked)
    Path(start).unlink()
    on = trained(pixels, tmp_path / "part", epochs=3, resume=True)
    assert on.read()["steps"] == whole.read()["steps"]
    assert all(value.equal(weights(on)[key]) for key, value in weights(whole).items())


def _stop_after_three(loop: Any) -> None:
    if loop.clock.step == 3:
        raise TrainingStopped("for the test")


def test_an_anchor_is_refused_in_one_line(pixels: NDArray[np.uint8], start: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"name it with --start RUN"):
        trained(pixels, tmp_path / "run", anchor=1.0)
    with pytest.raises(InputError, match=r"anchor=-1 is out of range"):
        trained(pixels, tmp_path / "run", anchor=-1.0, start=start)


def test_every_method_has_an_encoder_that_can_be_held() -> None:
    for name in methods.names():
        encoder = anchored_part(make(name))
        assert any(weight.requires_grad for weight in encoder.parameters()), name


def test_any_method_learns_a_space_that_older_vectors_are_searched_in(
    pixels: NDArray[np.uint8], tmp_path: Path
) -> None:
    """The older encoder is wider and sees images of another size; the new one begins at random."""
    old = tmp_path / "old.safetensors"
    save_encoder(build(replace(SPEC, width=16, image_size=12), seed=5), old)
    new = {"encoder": "resnet10t", "width": 8, "optimiser": "sgd", "learning_rate": 0.05, "epochs": 15}
    run = trained(pixels, tmp_path / "held", compatible_with=str(old), anchor=20.0, **new)
    known, made = load_encoder(old), load_encoder(run.weights())
    assert made.spec.neck == made.features == known.features != made.pooled_features
    images = prepare(open_source(pixels), short_side=None)
    matrix, _ = ridge(extract(without_neck(made), images), extract(known, images))
    assert made.neck is not None
    alike = torch.cosine_similarity(made.neck.weight.flatten(), matrix.T.flatten(), dim=0)
    assert alike > 0.99, "once trained, the last layer is the ridge map to the older vectors"
    assert load_encoder(run.path / KEPT).spec == known.spec
    assert run.read()["anchored"]["cosine"] > 0.9
    assert run.read()["anchored"]["recall"]["low"] > 0.25, "of ten neighbours among 48, where chance is a fifth"


def test_an_interrupted_run_goes_on_beside_the_older_encoder(
    pixels: NDArray[np.uint8], start: str, tmp_path: Path
) -> None:
    how = {"compatible_with": start, "encoder": "resnet10t", "width": 16}
    whole = trained(pixels, tmp_path / "whole", **how)
    assert whole.read()["anchor"] == 1.0, "the weight where none is given"
    half = trained(pixels, tmp_path / "half", **{**how, "epochs": 1})
    half = trained(pixels, tmp_path / "half", resume=True, **{**how, "epochs": 2})
    assert weights(half).keys() == weights(whole).keys()
    assert half.read()["anchored"]["cosine"] > 0.0


@pytest.mark.parametrize("name", ["nowhere", "vectors.npz", "resnet1"])
def test_what_is_no_older_encoder_is_refused(pixels: NDArray[np.uint8], tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"compatible_with='{name}"):
        trained(pixels, tmp_path / "run", compatible_with=name)
    assert not (tmp_path / "run").exists()


def test_the_anchor_is_what_the_start_gave_at_its_own_image_size(
    pixels: NDArray[np.uint8], start: str, tmp_path: Path
) -> None:
    run = trained(pixels, tmp_path / "smaller", start=start, anchor=1.0, image_size=8)
    kept = load_encoder(run.path / KEPT)
    assert kept.spec.image_size == SPEC.image_size
    assert load_encoder(run.weights()).spec.image_size == 8
    old, new = (
        embed(load_encoder(Path(start)), SPEC, pixels),
        embed(load_encoder(run.weights()), replace(SPEC, image_size=8), pixels),
    )
    assert run.read()["anchored"]["cosine"] == pytest.approx(float((unit(old) * unit(new)).sum(1).mean()), abs=1e-4)


def test_a_start_brings_its_last_layer(pixels: NDArray[np.uint8], start: str, tmp_path: Path) -> None:
    first = trained(pixels, tmp_path / "first", encoder="resnet10t", width=8, compatible_with=start, epochs=1)
    second = trained(
        pixels, tmp_path / "second", start=str(first.path), method="simclr", learning_rate=1e-9, epochs=0.4
    )
    neck = load_encoder(first.weights()).neck
    assert neck is not None
    torch.testing.assert_close(load_encoder(second.weights()).neck.weight, neck.weight)
