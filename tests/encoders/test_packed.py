"""A binary network in a file of one bit a weight, and as ONNX."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from likewise.encoders import EncoderSpec, build, load_encoder, save_encoder
from likewise.encoders.encoder import Encoder
from likewise.encoders.neck import with_neck
from likewise.encoders.own.binary import BinaryConv2d
from likewise.errors import InputError
from likewise.verbs.keeping.export import export


@pytest.fixture(scope="module")
def trained() -> Encoder:
    """A binary network after a few steps, so that its signs differ."""
    encoder = build(EncoderSpec(name="reactnet_small", image_size=16), seed=3)
    optimiser = torch.optim.Adam(encoder.parameters(), lr=1e-3)
    for step in range(3):
        loss = encoder(pixels(16, step)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return encoder.eval()


def pixels(count: int, seed: int) -> Tensor:
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def test_a_packed_network_is_the_trained_one_on_a_thousand_images(trained: Encoder, tmp_path: Path) -> None:
    save_encoder(trained, tmp_path / "encoder.safetensors")
    report = export(tmp_path, format="packed", out=tmp_path / "packed.safetensors")
    again = load_encoder(tmp_path / "packed.safetensors")
    images = pixels(1000, 9)
    with torch.no_grad():
        assert again(images).equal(trained(images))
    assert report.max_error == 0.0
    weights = sum(conv.weight.numel() for conv in trained.modules() if isinstance(conv, BinaryConv2d))
    assert report.float_bytes is not None
    assert report.float_bytes - report.bytes > weights * (4 - 1 / 8) - 8192  # less scales and names
    assert "as float32" in str(report)


def test_a_packed_network_is_exported_again_in_either_form(trained: Encoder, tmp_path: Path) -> None:
    save_encoder(trained, tmp_path / "encoder.safetensors")
    packed, plain, again = (tmp_path / f"{name}.safetensors" for name in ("packed", "plain", "again"))
    export(tmp_path, format="packed", out=packed)
    export(packed, format="safetensors", out=plain)
    export(packed, format="packed", out=again)
    images = pixels(8, 9)
    with torch.no_grad():
        assert load_encoder(again)(images).equal(trained(images))
        assert torch.allclose(load_encoder(plain)(images), trained(images), atol=1e-5)


def test_an_unpacked_network_that_is_trained_on_is_binary_again(trained: Encoder, tmp_path: Path) -> None:
    save_encoder(trained, tmp_path / "encoder.safetensors")
    export(tmp_path, format="packed", out=tmp_path / "packed.safetensors")
    encoder = load_encoder(tmp_path / "packed.safetensors").train()
    optimiser = torch.optim.Adam(encoder.parameters(), lr=1e-3)
    encoder(pixels(16, 5)).square().mean().backward()
    optimiser.step()
    save_encoder(encoder.eval(), tmp_path / "tuned.safetensors")
    images = pixels(8, 9)
    with torch.no_grad():
        assert load_encoder(tmp_path / "tuned.safetensors")(images).equal(encoder(images))


def test_the_neck_of_a_packed_network_is_packed_with_it(trained: Encoder, tmp_path: Path) -> None:
    encoder = with_neck(trained, 24).eval()
    save_encoder(encoder, tmp_path / "encoder.safetensors")
    export(tmp_path, format="packed", out=tmp_path / "packed.safetensors")
    images = pixels(8, 9)
    with torch.no_grad():
        assert load_encoder(tmp_path / "packed.safetensors")(images).equal(encoder(images))


def test_an_output_channel_holds_two_values(trained: Encoder, tmp_path: Path) -> None:
    save_encoder(trained, tmp_path / "encoder.safetensors")
    export(tmp_path, format="packed", out=tmp_path / "packed.safetensors")
    convs = [part for part in load_encoder(tmp_path / "packed.safetensors").modules() if isinstance(part, BinaryConv2d)]
    assert len(convs) == 13
    for conv in convs:
        assert all(len(channel.unique()) <= 2 and len(channel.abs().unique()) == 1 for channel in conv.weight)


def test_a_real_network_has_nothing_to_pack(tmp_path: Path) -> None:
    save_encoder(build(EncoderSpec(name="reactnet_small_real", image_size=16)), tmp_path / "encoder.safetensors")
    with pytest.raises(InputError, match="'reactnet_small_real' has no binary weights to pack"):
        export(tmp_path, format="packed", out=tmp_path / "packed.safetensors")


def test_a_binary_network_is_exported_as_onnx(trained: Encoder, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    save_encoder(trained, tmp_path / "encoder.safetensors")
    report = export(tmp_path, format="onnx", out=tmp_path / "encoder.onnx")
    assert report.max_error < 1e-3


def test_weights_of_zero_and_a_neck_are_kept(trained: Encoder, tmp_path: Path) -> None:
    encoder = build(EncoderSpec(name="reactnet_small", image_size=16, neck=5), seed=3).eval()
    with torch.no_grad():
        for conv in encoder.modules():
            if isinstance(conv, BinaryConv2d):
                conv.weight.normal_(generator=torch.Generator().manual_seed(1))[:, ::3] = 0.0
    save_encoder(encoder, tmp_path / "encoder.safetensors")
    assert export(tmp_path, format="packed", out=tmp_path / "packed.safetensors").max_error == 0.0
    with torch.no_grad():
        assert load_encoder(tmp_path / "packed.safetensors")(pixels(4, 1)).equal(encoder(pixels(4, 1)))
