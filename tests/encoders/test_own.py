"""Backbones of our own, as timm takes them; and the stages of all encoders."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import likewise._torchvision  # noqa: F401  (has to be imported before timm)

# isort: split
import timm

from likewise.encoders import Encoder, EncoderSpec, build, has_small_stem, has_width, load_encoder, save_encoder
from likewise.encoders.own.resnet12 import RISE, DropBlock
from likewise.errors import InputError
from likewise.verbs.keeping.export import export

OWN = ("wrn16_2", "wrn28_2_leaky", "resnet10", "resnet12", "convnet4")


def small(name: str, image_size: int = 32) -> Encoder:
    return build(EncoderSpec(name=name, stem="small", image_size=image_size), seed=0)


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "classes", "published"),
    [
        ("wrn28_2", 10, 1_467_610),  # as printed by the implementations of MixMatch and FixMatch
        ("wrn28_2_leaky", 10, 1_467_610),
        ("wrn16_2", 100, 703_284),  # as printed by those of knowledge distillation
        ("wrn40_2", 100, 2_255_156),
        ("wrn40_1", 100, 569_780),
        ("resnet12", 0, 12_424_320),
        ("resnet10", 1000, 5_418_792),
        ("convnet4", 0, 113_088),
    ],
)
def test_numbers_of_parameters_are_the_published_ones(name: str, classes: int, published: int) -> None:
    with torch.device("meta"):
        assert count(timm.create_model(name, num_classes=classes)) == published


def test_the_widest_has_twenty_three_million_parameters_and_512_features() -> None:
    with torch.device("meta"):
        model = timm.create_model("wrn28_8_leaky", num_classes=100)
    assert round(count(model) / 1e5) == 234
    assert model.head_hidden_size == 512
    momenta = {part.momentum for part in model.modules() if isinstance(part, nn.BatchNorm2d)}
    assert momenta == {0.001}
    slopes = {part.negative_slope for part in model.modules() if isinstance(part, nn.LeakyReLU)}
    assert slopes == {0.1}
    assert not any(isinstance(part, nn.ReLU) for part in model.modules())


@pytest.mark.parametrize(
    ("name", "size", "features", "maps"),
    [
        ("wrn28_2", 32, 128, [(16, 32), (32, 32), (64, 16), (128, 8)]),
        ("resnet10", 32, 512, [(64, 32), (64, 32), (128, 16), (256, 8), (512, 4)]),
        ("resnet12", 84, 640, [(64, 42), (160, 21), (320, 10), (640, 5)]),
        ("convnet4", 84, 1600, [(64, 42), (64, 21), (64, 10), (64, 5)]),
        ("convnet4", 32, 256, [(64, 16), (64, 8), (64, 4), (64, 2)]),
        ("convnext_atto", 32, 320, [(40, 32), (80, 16), (160, 8), (320, 4)]),
        ("vit_tiny_patch16_224", 32, 192, [(192, 8)] * 12),
        ("vit_micro", 32, 128, [(128, 8)] * 4),
    ],
)
@torch.no_grad()
def test_stages_go_from_the_first_to_the_last(name: str, size: int, features: int, maps: list[tuple[int, int]]) -> None:
    encoder = small(name, size).eval()
    x = torch.randn(2, 3, size, size)
    stages = encoder.stages(x)
    assert [tuple(stage.shape) for stage in stages] == [(2, chs, side, side) for chs, side in maps]
    pooled, again = encoder.with_stages(x)
    assert torch.equal(pooled, encoder(x))
    assert all(torch.equal(one, other) for one, other in zip(stages, again, strict=True))
    assert pooled.shape == (2, features) == (2, encoder.features)
    if name.startswith(("resnet", "convn")):
        assert torch.equal(stages[-1], encoder.map(x))


def test_gradient_of_a_stage_reaches_what_lies_before_it() -> None:
    encoder = small("wrn16_2")
    encoder.stages(torch.randn(2, 3, 32, 32))[1].sum().backward()
    reached = {name for name, p in encoder.backbone.named_parameters() if p.grad is not None}
    assert any(name.startswith("groups.0") for name in reached)
    assert not any(name.startswith(("groups.1", "norm.")) for name in reached)


def test_a_model_without_stages_says_so() -> None:
    encoder = small("resnet10")
    encoder.backbone = nn.Sequential()
    with pytest.raises(InputError, match="'resnet10' has no stages"):
        encoder.stages(torch.randn(1, 3, 32, 32))


@torch.no_grad()
def test_a_wide_resnet_equals_its_definition() -> None:
    for name, leaky in (("wrn16_2", False), ("wrn16_2_leaky", True)):
        encoder = small(name).eval()
        model = encoder.backbone

        def act(x: Tensor, norm: nn.Module, leaky: bool = leaky) -> Tensor:
            x = norm(x)
            return functional.leaky_relu(x, 0.1) if leaky else x.relu()

        x = torch.randn(2, 3, 32, 32)
        y = model.stem(x)
        for group in range(3):
            for number, block in enumerate(model.groups[group]):
                active = act(y, block.norm1)
                stride = 2 if group and not number else 1
                deep = functional.conv2d(active, block.conv1.weight, stride=stride, padding=1)
                deep = functional.conv2d(act(deep, block.norm2), block.conv2.weight, padding=1)
                if number == 0:
                    taken = active if group == 0 or not leaky else y
                    y = functional.conv2d(taken, block.shortcut.weight, stride=stride)
                y = y + deep
        torch.testing.assert_close(encoder(x), act(y, model.norm).mean(dim=(2, 3)))


@pytest.mark.parametrize("name", OWN)
def test_every_parameter_learns_and_weights_follow_from_the_seed(name: str) -> None:
    encoder = small(name)
    encoder(torch.randn(4, 3, 32, 32)).square().sum().backward()
    assert [key for key, p in encoder.named_parameters() if p.grad is None] == []
    again, other = small(name).state_dict(), build(encoder.spec, seed=1).state_dict()
    assert all(torch.equal(again[key], value) for key, value in small(name).state_dict().items())
    assert not all(torch.equal(other[key], value) for key, value in again.items())


def test_convolutions_are_drawn_with_fan_out() -> None:
    for name in ("wrn28_2", "resnet12"):
        conv = [part for part in small(name).modules() if isinstance(part, nn.Conv2d) and part.kernel_size == (3, 3)][
            -1
        ]
        expected = (2 / (conv.out_channels * 9)) ** 0.5
        assert float(conv.weight.detach().std()) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("name", OWN)
def test_they_are_kept_like_any_other(name: str, tmp_path: Path) -> None:
    encoder = small(name)
    encoder(torch.randn(8, 3, 32, 32))
    save_encoder(encoder.eval(), tmp_path / "encoder.safetensors")
    again = load_encoder(tmp_path / "encoder.safetensors")
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(again(x), encoder(x))


def test_they_are_exported_like_any_other(tmp_path: Path) -> None:
    save_encoder(small("convnet4"), tmp_path / "encoder.safetensors")
    report = export(tmp_path / "encoder.safetensors", format="onnx", out=tmp_path / "encoder.onnx")
    assert report.max_error < 1e-4


def test_what_they_can_have_is_known() -> None:
    assert all(has_small_stem(name) for name in OWN)
    assert [has_width(name) for name in OWN] == [False, False, True, False, False]
    assert build(EncoderSpec(name="resnet10", width=16, stem="small", image_size=32)).features == 128
    with pytest.raises(InputError, match="did you mean 'wrn28_2'"):
        build(EncoderSpec(name="wrn28_22"))
    with pytest.raises(InputError, match="no published weights for 'wrn28_2'"):
        build(EncoderSpec(name="wrn28_2", pretrained=True))


def test_features_of_convnet4_do_not_depend_on_the_size_of_the_view() -> None:
    encoder = small("convnet4").eval()
    assert [encoder(torch.randn(1, 3, side, side)).shape[1] for side in (16, 24, 32, 48)] == [256] * 4
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(encoder(x), encoder.map(x).flatten(1))


def test_dropping_squares_rises_to_a_tenth_and_keeps_the_mean() -> None:
    drop, x = DropBlock(), torch.ones(64, 32, 10, 10)
    torch.manual_seed(0)
    assert float((drop(x) == 0).float().mean()) < 0.001
    drop.passes.fill_(RISE // 2)
    assert float((drop(x) == 0).float().mean()) == pytest.approx(0.05, abs=0.01)
    drop.passes.fill_(2 * RISE)
    dropped = drop(x)
    holes = dropped == 0
    assert float(holes.float().mean()) == pytest.approx(0.1, abs=0.015)  # squares overlap a little
    assert float(dropped.mean()) == pytest.approx(1.0, abs=1e-3)
    alone = holes.float().sum(dim=(2, 3))
    assert set(alone[alone > 0].tolist()) >= {25.0}
    assert float(alone[alone > 0].min()) == 25.0
    assert drop(torch.ones(2, 3, 2, 2)).shape == (2, 3, 2, 2)
    assert torch.equal(drop.eval()(x), x)
