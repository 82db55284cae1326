"""Encoders of clips: their size, what they see of clips and of images, and that frames of a clip are looked at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from likewise.encoders import EncoderSpec, build, load_encoder, save_encoder
from likewise.encoders.build import check, has_width
from likewise.encoders.encoder import in_channels_last
from likewise.encoders.own import R3D
from likewise.errors import InputError

TINY = EncoderSpec(name="r3d_tiny", stem="small", image_size=16)


def test_the_small_one_has_the_published_number_of_weights() -> None:
    encoder = build(TINY)
    assert sum(p.numel() for p in encoder.parameters()) == 492_720
    assert encoder.features == 128
    check(TINY)
    assert not has_width("r3d_tiny")


def test_the_large_one_thins_frames_out_in_its_first_layer_alone() -> None:
    with torch.device("meta"):
        model = R3D((64, 128, 256, 512), depths=(3, 4, 6, 3), large=True)
        stages = model.forward_stages(torch.empty(2, 3, 16, 224, 224))
    assert [tuple(stage.shape[1:]) for stage in stages] == [
        (64, 8, 56, 56), (256, 8, 56, 56), (512, 8, 28, 28), (1024, 8, 14, 14), (2048, 8, 7, 7)
    ]  # fmt: skip


def test_an_image_is_a_clip_of_one_frame() -> None:
    encoder = build(TINY).eval()
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(encoder(images), encoder(images.unsqueeze(2)))
    assert [tuple(stage.shape[1:]) for stage in encoder.stages(images)] == [
        (16, 8, 8), (16, 8, 8), (32, 4, 4), (64, 2, 2), (128, 1, 1)
    ]  # fmt: skip
    assert encoder.map(images).shape == (2, 128, 1, 1)


def test_the_order_of_frames_matters_to_a_3d_encoder_alone() -> None:
    clips = torch.randn(2, 3, 4, 16, 16)
    shuffled = clips[:, :, [2, 0, 3, 1]]
    deep, flat = build(TINY).eval(), build(replace(TINY, name="resnet10t", width=8)).eval()
    assert not torch.allclose(deep(clips), deep(shuffled), atol=1e-4)
    torch.testing.assert_close(flat(clips), flat(shuffled))
    frames = torch.stack([flat(clips[:, :, frame]) for frame in range(4)])
    torch.testing.assert_close(flat(clips), frames.mean(0))


def test_frames_are_part_of_what_an_encoder_is(tmp_path: Path) -> None:
    encoder = build(replace(TINY, frames=8, stride=2))
    save_encoder(encoder, tmp_path / "encoder.safetensors")
    loaded = load_encoder(tmp_path / "encoder.safetensors")
    assert (loaded.spec.frames, loaded.spec.stride) == (8, 2)
    with pytest.raises(InputError, match="encoder frames"):
        EncoderSpec(frames=0)


def test_kernels_of_images_alone_are_laid_out_anew() -> None:
    encoder = build(TINY)
    in_channels_last(encoder)
    flat = build(replace(TINY, name="resnet10t", width=8))
    before = {name: p.clone() for name, p in flat.named_parameters()}
    in_channels_last(flat)
    assert flat.backbone.layer1[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)  # type: ignore[index,union-attr,operator]
    assert all(torch.equal(p, before[name]) for name, p in flat.named_parameters())
