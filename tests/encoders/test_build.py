"""Any timm model, narrow, with a small stem, reproducible, and refused in one line where it cannot be."""

from __future__ import annotations

import importlib

import pytest
import torch
from torch import nn

import likewise._torchvision  # noqa: F401  (has to be imported before timm)

# isort: split
import timm

from likewise.encoders import Encoder, EncoderSpec, build, has_small_stem, has_width, normalisation
from likewise.errors import InputError

NAMES = (
    "resnet18",
    "resnet50",
    "convnext_atto",
    "vit_tiny_patch16_224",
    "mobilenetv3_small_050",
    "efficientnet_lite0",
)


def small(name: str, **changes: object) -> EncoderSpec:
    values: dict[str, object] = {"name": name, "stem": "small", "image_size": 32, **changes}
    return EncoderSpec.from_mapping(values)


@pytest.fixture(params=NAMES)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return build(small(request.param)).eval()


@torch.no_grad()
def test_shapes_and_agreement_of_features_map_and_tokens(encoder: Encoder) -> None:
    x = torch.randn(2, 3, 32, 32)
    features, grid, tokens = encoder(x), encoder.map(x), encoder.tokens(x)
    assert features.shape == (2, encoder.features)
    assert grid.shape[:2] == (2, encoder.map_features)
    assert tokens.shape == (2, grid.shape[2] * grid.shape[3], encoder.map_features)
    assert torch.equal(tokens[:, 1], grid[:, :, 0, 1])
    assert grid.shape[2] >= 2, "a small stem has to leave something of a small image"
    both = encoder.with_map(x)
    assert torch.equal(both[0], features)
    assert torch.equal(both[1], grid)


@torch.no_grad()
def test_features_are_what_timm_computes(encoder: Encoder) -> None:
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(encoder(x), encoder.backbone(x))


def test_every_parameter_learns(encoder: Encoder) -> None:
    encoder.train()
    encoder(torch.randn(4, 3, 32, 32)).square().sum().backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None] == []


def test_rows_of_the_map_of_a_transformer_are_rows_of_the_image() -> None:
    encoder = build(small("vit_tiny_patch16_224")).eval()
    x = torch.zeros(1, 3, 32, 64)  # positions are interpolated for sizes other than that of the spec
    assert encoder.map(x).shape == (1, 192, 8, 16)


def test_channels_last_maps_are_turned() -> None:
    encoder = build(EncoderSpec(name="swin_tiny_patch4_window7_224", image_size=56)).eval()
    assert encoder.map(torch.zeros(1, 3, 56, 56)).shape == (1, 768, 2, 2)


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("resnet18", 16),
        ("resnet18", 48),
        ("resnet18", 128),
        ("resnet50", 16),
        ("resnet10t", 32),
        ("seresnet18", 16),
        ("resnext50_32x4d", 32),
    ],
)
def test_width_scales_every_channel_count_and_nothing_else(name: str, width: int) -> None:
    usual, narrow = build(EncoderSpec(name=name)), build(EncoderSpec(name=name, width=width))
    shapes = {key: value.shape for key, value in usual.backbone.state_dict().items()}
    for key, value in narrow.backbone.state_dict().items():
        expected = [count * width // 64 for count in shapes[key][:1]] + list(shapes[key][1:])
        if value.ndim == 4 and shapes[key][1] != 3:
            expected[1] = shapes[key][1] * width // 64
        assert list(value.shape) == expected, key
    assert narrow.backbone.state_dict().keys() == shapes.keys()
    assert narrow.features * 64 == usual.features * width


def test_a_narrow_resnet_has_no_needless_downsampling() -> None:
    keys = build(EncoderSpec(name="resnet18", width=16)).backbone.state_dict()
    assert not any(key.startswith("layer1") and "downsample" in key for key in keys)


@pytest.mark.parametrize("width", [16, 64])
def test_convolutions_are_drawn_with_fan_out_and_norms_start_at_one(width: int) -> None:
    encoder = build(small("resnet50", width=width))
    for name, layer in encoder.backbone.named_modules():
        if isinstance(layer, nn.Conv2d) and layer.weight.numel() > 2000:
            fan_out = layer.out_channels * layer.kernel_size[0] * layer.kernel_size[1] / layer.groups
            assert layer.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1), name
        elif isinstance(layer, nn.BatchNorm2d):
            assert (layer.weight == 1).all(), name


def test_small_stem_of_full_width_loads_into_timm_with_another_first_convolution() -> None:
    encoder = build(small("resnet18")).eval()
    plain = timm.create_model("resnet18", num_classes=0).eval()
    plain.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    plain.maxpool = nn.Identity()
    plain.load_state_dict(encoder.backbone.state_dict())
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(plain(x), encoder(x))


@pytest.mark.parametrize("name", NAMES)
def test_keys_are_those_of_timm(name: str) -> None:
    plain = timm.create_model(name, num_classes=0)
    assert build(small(name)).backbone.state_dict().keys() == plain.state_dict().keys()
    unchanged = build(EncoderSpec(name=name)).backbone
    unchanged.load_state_dict(plain.state_dict())


def test_small_stem_keeps_the_centre_of_published_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    published = timm.create_model("resnet18", num_classes=0)
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: published)
    module = importlib.import_module("likewise.encoders.build")  # the package has a function of that name
    monkeypatch.setattr(module, "at_hand", lambda _: {})
    monkeypatch.setattr(module, "check", lambda _: None)  # which would change the same network
    centre = published.conv1.weight[:, :, 2:5, 2:5].clone()
    encoder = build(small("resnet18", pretrained=True))
    assert torch.equal(encoder.backbone.get_parameter("conv1.weight"), centre)


def test_seed_decides_and_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    spec = small("resnet18", width=16)
    first, again, other = (build(spec, seed).backbone.state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])
    assert not torch.equal(first["layer1.0.conv1.weight"], other["layer1.0.conv1.weight"])


@pytest.mark.parametrize(("size", "patches"), [(28, 7), (32, 8), (48, 8), (64, 8)])
def test_small_patches_cut_about_eight_by_eight(size: int, patches: int) -> None:
    encoder = build(small("vit_tiny_patch16_224", image_size=size))
    assert encoder.map(torch.zeros(1, 3, size, size)).shape[2:] == (patches, patches)


def test_what_a_model_can_have_is_known_before_it_is_made() -> None:
    assert [has_small_stem(name) for name in NAMES] == [True] * len(NAMES)
    assert [has_width(name) for name in NAMES] == [True, True, False, False, False, False]
    assert not has_small_stem("vgg11")
    assert not has_width("res2net50_26w_4s")


def test_normalisation_is_that_of_the_published_weights() -> None:
    assert normalisation("resnet18") == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert normalisation("vit_tiny_patch16_224") == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"name": "resnet19"}, "unknown encoder 'resnet19': did you mean 'resnet1"),
        (
            {"name": "resnet18.a1_in1", "image_size": 32},
            "unknown weights of resnet18 'a1_in1': did you mean 'a1_in1k'?",
        ),
        ({"name": "resnet18", "stem": "tiny"}, "unknown stem 'tiny'"),
        ({"name": "resnet18", "width": 0}, "width must be a whole number from 1"),
        ({"name": "resnet10t", "width": 20}, "width 20 does not divide the channels of 'resnet10t' evenly; 16 does"),
        ({"name": "vit_tiny_patch16_224", "width": 16}, "has no width"),
        ({"name": "ecaresnet26t", "width": 16}, "has no width"),
        ({"name": "vgg11", "stem": "small", "image_size": 32}, "has no small stem"),
        ({"name": "mixer_s16_224", "stem": "small", "image_size": 32}, "has no small stem"),
        ({"name": "vit_tiny_patch16_224", "stem": "small", "image_size": 31}, "32 px does"),
        ({"name": "vit_tiny_patch16_224", "image_size": 100}, "16 px patches of 'vit_tiny_patch16_224'; 96 is"),
        ({"name": "resnet18", "width": 16, "pretrained": True}, "have width 64, not 16"),
        ({"name": "test_resnet", "pretrained": True, "image_size": -1}, "image_size must be"),
        ({"name": "resnet18", "std": [0.0, 1.0, 1.0]}, "std must be above 0"),
        ({"name": "resnet18", "mean": [0.5]}, "three values"),
        ({"width": 64}, "has no 'name'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(values: dict[str, object], words: str) -> None:
    with pytest.raises(InputError) as caught:
        build(EncoderSpec.from_mapping(values))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
