"""Checkpoints with the key names of other code bases, made of an encoder whose features are known."""

from __future__ import annotations

import argparse
import copy
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from likewise.cli import main
from likewise.encoders import Encoder, EncoderSpec, build, load_encoder
from likewise.errors import InputError
from likewise.verbs.keeping.convert import convert
from likewise.views import CIFAR10_MEAN

State = dict[str, Tensor]
LAYERS = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}


@cache
def resnet(seed: int, stem: str = "imagenet") -> Encoder:
    encoder = build(EncoderSpec(name="resnet18", image_size=32, stem=stem), seed=seed)  # type: ignore[arg-type]
    with torch.no_grad():
        for name, value in encoder.backbone.named_buffers():  # statistics that matter
            if "running" in name:
                value.copy_(torch.rand(value.shape, generator=torch.Generator().manual_seed(seed)) + 0.5)
    return encoder.eval()


def under(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


def in_sequence(state: State, layers: dict[str, str] = LAYERS) -> State:
    """Keys of list(resnet.children())[:-1] in a Sequential."""
    return {re.sub(r"^(\w+)\.", lambda found: f"{layers[found[1]]}.", key): value for key, value in state.items()}


def head(prefix: str) -> State:
    return {f"{prefix}0.weight": torch.zeros(4, 512), f"{prefix}0.bias": torch.zeros(4)}


Make = Callable[[State, State], dict[str, Any]]
FORMS: dict[str, tuple[str, Make]] = {
    "lightly, examples": (
        "lightly",
        lambda student, teacher: {
            "epoch": 3,
            "pytorch-lightning_version": "2.1.0",
            "state_dict": {
                **under("backbone.", in_sequence(student)),
                **head("projection_head.layers."),
                **under("backbone_momentum.", in_sequence(teacher)),
                **head("projection_head_momentum.layers."),
                "criterion.memory_bank.bank": torch.zeros(4, 8),
            },
        },
    ),
    "lightly, benchmarks": (
        "lightly",
        lambda student, teacher: {
            "state_dict": {
                **under("backbone.", student),
                **head("online_classifier.linear."),
                **under("teacher_backbone.", teacher),
            }
        },
    ),
    "solo-learn": (
        "solo-learn",
        lambda student, teacher: {
            "state_dict": {
                **under("backbone.", student),
                **head("projector."),
                "classifier.weight": torch.zeros(10, 512),
                **under("momentum_backbone.", teacher),
                **head("momentum_projector."),
                "queue": torch.zeros(2, 4),
            }
        },
    ),
    "MoCo v2": (
        "moco",
        lambda student, teacher: {
            "epoch": 200,
            "arch": "resnet18",
            "state_dict": {
                **under("module.encoder_q.", {**student, **head("fc.")}),
                **under("module.encoder_k.", {**teacher, **head("fc.")}),
                "module.queue": torch.zeros(128, 16),
                "module.queue_ptr": torch.zeros(1, dtype=torch.long),
            },
            "optimizer": {"state": {}, "param_groups": [{"lr": 0.03}]},
        },
    ),
    "MoCo v3": (
        "moco",
        lambda student, teacher: {
            "state_dict": {
                **under("module.base_encoder.", {**student, **head("fc.")}),
                **under("module.momentum_encoder.", {**teacher, **head("fc.")}),
                **head("module.predictor."),
            }
        },
    ),
    "SwAV, as published": (
        "swav",
        lambda student, teacher: {
            **under("module.", student),
            **head("module.projection_head."),
            "module.prototypes.weight": torch.zeros(30, 4),
        },
    ),
    "SwAV, checkpoint": (
        "swav",
        lambda student, teacher: {
            "epoch": 1,
            "state_dict": {**under("module.", student), **head("module.projection_head.")},
        },
    ),
    "DINO": (
        "dino",
        lambda student, teacher: {
            "student": {**under("module.backbone.", student), **head("module.head.mlp.")},
            "teacher": {**under("backbone.", teacher), **head("head.mlp.")},
            "args": argparse.Namespace(arch="resnet18"),
            "dino_loss": {"center": torch.zeros(1, 8)},
        },
    ),
    "ISD": (
        "isd",
        lambda student, teacher: {
            "opt": argparse.Namespace(arch="resnet18", queue_size=128),
            "state_dict": {
                **under("encoder_q.module.", {**student, **head("fc.")}),
                **under("encoder_k.module.", {**teacher, **head("fc.")}),
                **head("predict_q.module."),
                "queue": torch.zeros(8, 4),
                "queue_ptr": torch.zeros(1, dtype=torch.long),
                "labels": torch.zeros(8, dtype=torch.long),
            },
            "epoch": 130,
        },
    ),
}
WITH_TEACHER = [name for name in FORMS if "SwAV" not in name]


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], tuple[str, Path]]:
    def write(name: str) -> tuple[str, Path]:
        origin, make = FORMS[name]
        torch.save(make(resnet(1).backbone.state_dict(), resnet(2).backbone.state_dict()), tmp_path / "c.pth")
        return origin, tmp_path / "c.pth"

    return write


def features(encoder: Encoder) -> Tensor:
    with torch.no_grad():
        return encoder(torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("name", FORMS)
def test_students_come_over_whole(name: str, written: Callable[[str], tuple[str, Path]], tmp_path: Path) -> None:
    origin, path = written(name)
    report = convert(path, origin=origin, encoder="resnet18", out=tmp_path / "e.safetensors", image_size=32)  # type: ignore[arg-type]
    assert torch.equal(features(load_encoder(tmp_path / "e.safetensors")), features(resnet(1)))
    assert report.matched == len(resnet(1).backbone.state_dict())
    assert report.left_out
    assert "matched 120 of 120 keys" in str(report)


@pytest.mark.parametrize("name", WITH_TEACHER)
def test_teachers_too(name: str, written: Callable[[str], tuple[str, Path]], tmp_path: Path) -> None:
    origin, path = written(name)
    out = tmp_path / "t.safetensors"
    convert(path, origin=origin, encoder="resnet18", out=out, which="teacher", image_size=32)  # type: ignore[arg-type]
    expected = copy.deepcopy(resnet(2))
    if origin == "isd":  # officially the teacher is evaluated with the student's batch statistics
        buffers = dict(resnet(1).backbone.named_buffers())
        for key, value in expected.backbone.named_buffers():
            value.copy_(buffers[key])
    assert torch.equal(features(load_encoder(out)), features(expected))


def test_small_resnets_of_lightly(tmp_path: Path) -> None:
    layers = {"conv1": "0", "bn1": "1", "layer1": "2", "layer2": "3", "layer3": "4", "layer4": "5"}
    state = in_sequence(resnet(1, "small").backbone.state_dict(), layers)
    state = {f"backbone.{key.replace('downsample', 'shortcut')}": value for key, value in state.items()}
    torch.save({"state_dict": state}, tmp_path / "c.ckpt")
    out = tmp_path / "e.safetensors"
    convert(tmp_path / "c.ckpt", origin="lightly", encoder="resnet18", out=out, image_size=32, stem="small")
    assert torch.equal(features(load_encoder(out)), features(resnet(1, "small")))


def test_the_file_stands_alone_and_says_how_its_input_is_normalised(tmp_path: Path) -> None:
    torch.save(resnet(1).backbone.state_dict(), tmp_path / "c.pth")
    (tmp_path / "model.json").write_text("{}")  # of somebody else
    out, how = tmp_path / "e.safetensors", {"encoder": "resnet18", "image_size": 32}
    convert(tmp_path / "c.pth", origin="swav", out=out, normalisation="cifar10", **how)  # type: ignore[arg-type]
    assert load_encoder(out).spec.mean == CIFAR10_MEAN
    assert (tmp_path / "model.json").read_text() == "{}"
    with pytest.raises(InputError, match="has a normalisation of its own"):
        convert(out, origin="efficientnet-lite0", out=tmp_path / "f.safetensors", normalisation="cifar10")


def test_vits_of_dino(tmp_path: Path) -> None:
    vit = build(EncoderSpec(name="vit_tiny_patch16_224", image_size=32), seed=4).eval()
    torch.save({"teacher": {**under("backbone.", vit.backbone.state_dict()), **head("head.")}}, tmp_path / "c.pth")
    torch.save(vit.backbone.state_dict(), tmp_path / "alone.pth")
    for file in ("c.pth", "alone.pth"):
        out = tmp_path / f"{file}.safetensors"
        which = "teacher" if file == "c.pth" else "student"
        convert(tmp_path / file, origin="dino", encoder="vit_tiny_patch16_224", out=out, image_size=32, which=which)  # type: ignore[arg-type]
        assert torch.equal(features(load_encoder(out)), features(vit))


def test_nothing_is_ever_left_random(written: Callable[[str], tuple[str, Path]], tmp_path: Path) -> None:
    _, path = written("MoCo v2")
    out = tmp_path / "e.safetensors"

    def refuse(words: str, file: Path = path, **how: Any) -> None:
        with pytest.raises(InputError, match=words) as caught:
            convert(file, **{"origin": "moco", "encoder": "resnet18", "out": out, **how})
        assert "\n" not in str(caught.value)
        assert not out.exists()

    refuse(r"no key begins with backbone\. or", origin="solo-learn")
    refuse(r"it misses \d+ keys \(.*\); it has other shapes for", encoder="resnet50")
    refuse("did you mean 'moco'", origin="mocco")
    refuse("name it, such as resnet50", encoder=None)
    refuse("there is no checkpoint", tmp_path / "none.pth")
    refuse("must end in .safetensors", out=tmp_path / "e.pth")
    state = torch.load(path, weights_only=True)["state_dict"]
    missing = {key: value for key, value in state.items() if key != "module.encoder_q.layer3.0.conv1.weight"}
    torch.save({"state_dict": missing}, tmp_path / "missing.pth")
    refuse(r"it misses 1 keys \(layer3.0.conv1.weight\)", tmp_path / "missing.pth")
    torch.save({"state_dict": {**state, "module.encoder_q.extra.weight": torch.zeros(1)}}, tmp_path / "more.pth")
    refuse(r"it has besides 1 keys \(extra.weight\)", tmp_path / "more.pth")
    (tmp_path / "torn.pth").write_bytes(path.read_bytes()[:5000])
    refuse("no whole PyTorch checkpoint", tmp_path / "torn.pth")
    torch.save({"state_dict": state, "hyper": Path("x")}, tmp_path / "code.pth")
    refuse("cannot be loaded without running code from it .*it holds a pathlib", tmp_path / "code.pth")


def test_counters_of_old_checkpoints_start_at_zero(tmp_path: Path) -> None:
    state = {key: value for key, value in resnet(1).backbone.state_dict().items() if "num_batches" not in key}
    torch.save(state, tmp_path / "c.pth")
    report = convert(
        tmp_path / "c.pth", origin="swav", encoder="resnet18", out=tmp_path / "e.safetensors", image_size=32
    )
    assert len(report.completed) == 20
    assert torch.equal(features(load_encoder(tmp_path / "e.safetensors")), features(resnet(1)))


def test_the_command(
    written: Callable[[str], tuple[str, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, path = written("ISD")
    out = tmp_path / "isd.safetensors"
    words = ["convert", str(path), "--from", "isd", "--encoder", "resnet18", "--out", str(out), "--image-size", "32"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "matched" in said
    assert f"next    likewise export {out} --format onnx" in said
    assert main(words) == 2
    assert "exists" in capsys.readouterr().err
    assert main([*words[:2], "--form", "isd", "--out", str(out)]) == 2
    assert "did you mean '--from'" in capsys.readouterr().err
