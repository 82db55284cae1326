"""Several crops through one network: passes, order, sizes, and depth that is skipped now and then."""

from __future__ import annotations

import pytest
import torch
from timm.layers import DropPath
from torch import Tensor, nn

from likewise.encoders import Encoder, EncoderSpec, build
from likewise.encoders.passes.crops import MultiCrop, drop_paths, small_side
from likewise.errors import InputError

SPEC = EncoderSpec(name="resnet18", width=8, stem="small", image_size=16)
TRANSFORMER = EncoderSpec(name="vit_tiny_patch16_224", stem="small", image_size=32)


class Counting(nn.Module):
    """Passes its input on and remembers how many rows each pass had."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.rows.append(len(x))
        return x


def test_one_pass_per_size_and_one_of_the_head() -> None:
    encoder, head, before = build(SPEC), Counting(), Counting()
    encoder.register_forward_pre_hook(lambda _, inputs: (before(inputs[0]),))
    sides = [16, 16, 8, 8, 8, 12]
    z_VBD = MultiCrop(encoder, head)([torch.randn(3, 3, side, side) for side in sides])
    assert z_VBD.shape == (6, 3, encoder.features)
    assert before.rows == [6, 9, 3]
    assert head.rows == [18]


def test_each_view_stands_where_it_was_given() -> None:
    encoder = build(SPEC).eval()
    crops = [torch.randn(2, 3, side, side) for side in (16, 8, 8, 16)]
    with torch.no_grad():
        z_VBD = MultiCrop(encoder, nn.Identity()).eval()(crops)
        for z_BD, crop in zip(z_VBD, crops, strict=True):
            torch.testing.assert_close(z_BD, encoder(crop))


@pytest.mark.parametrize(("size", "side"), [(224, 96), (128, 56), (64, 32), (32, 16), (20, 8)])
def test_small_crops_are_what_96_is_to_224_or_half(size: int, side: int) -> None:
    assert small_side(build(SPEC), size) == side


def test_transformers_take_whole_patches() -> None:
    encoder = build(TRANSFORMER)
    assert small_side(encoder, 32) == 16
    assert small_side(encoder, 32, 20) == 20
    with pytest.raises(InputError, match=r"small_size=18 is not whole 4 px patches .* nearest that is is 16"):
        small_side(encoder, 32, 18)
    assert MultiCrop(encoder, nn.Identity())([torch.randn(2, 3, 16, 16)]).shape == (1, 2, encoder.features)


def test_an_encoder_of_one_size_is_refused_in_one_line() -> None:
    encoder = build(EncoderSpec(name="mixer_s16_224", image_size=224))
    with pytest.raises(InputError, match="images of 224 px only: small_crops must be 0"):
        small_side(encoder, 224)


def test_depth_is_skipped_more_in_later_blocks_and_only_in_training() -> None:
    encoder = build(TRANSFORMER)
    plain = build(TRANSFORMER).eval()
    drop_paths(encoder, 0.3)
    rates = [layer.drop_prob for layer in encoder.modules() if isinstance(layer, DropPath)]
    assert rates == sorted(rates)
    assert rates[-1] == 0.3
    assert encoder.state_dict().keys() == plain.state_dict().keys()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert not torch.allclose(encoder.train()(x), plain(x))
        torch.testing.assert_close(encoder.eval()(x), plain(x))


def test_an_encoder_without_such_branches_is_refused() -> None:
    encoder: Encoder = build(SPEC)
    with pytest.raises(InputError, match=r"drop_path=0.1 is for transformers: encoder 'resnet18'"):
        drop_paths(encoder, 0.1)
