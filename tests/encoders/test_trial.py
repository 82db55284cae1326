"""Any timm model by name: one pass without data says whether it can be trained, and what it takes where it cannot."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from likewise.encoders import Encoder, EncoderSpec, build
from likewise.encoders.build import check
from likewise.encoders.passes import trial
from likewise.encoders.passes.crops import small_side
from likewise.errors import InputError


class Backbone(nn.Module):
    """What an encoder asks of a timm model, and no more."""

    head_hidden_size = num_features = 3

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward_features(self, x_B3HW: Tensor) -> Tensor:
        return x_B3HW * self.scale.view(3, 1, 1)

    def forward_head(self, x_B3HW: Tensor, pre_logits: bool = True) -> Tensor:
        return x_B3HW.mean((2, 3))


class Silent(Backbone):
    def forward_features(self, x_B3HW: Tensor) -> Tensor:
        if x_B3HW.shape[-1] % 24:
            raise ValueError
        return super().forward_features(x_B3HW)


class Evaluated(Backbone):
    def forward_features(self, x_B3HW: Tensor) -> Tensor:
        if not self.training:
            raise RuntimeError("no look\nat all")
        return super().forward_features(x_B3HW)


class WithValues(Backbone):
    def forward_features(self, x_B3HW: Tensor) -> Tensor:
        assert float(self.scale.detach().sum()) == 3.0
        return super().forward_features(x_B3HW)


class Wider(Backbone):
    head_hidden_size = 4


def encoder(kind: type[Backbone]) -> Encoder:
    return Encoder(EncoderSpec(image_size=32), kind())


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (Backbone, None),
        (WithValues, None),
        (Silent, "ValueError"),
        (Evaluated, "no look"),
        (Wider, "its features have the shape (2, 3), not (2, 4)"),
    ],
)
def test_what_keeps_a_model_from_training_is_told_in_a_few_words(kind: type[Backbone], told: str | None) -> None:
    assert trial.fault(lambda: encoder(kind), 32) == told


@pytest.mark.parametrize("without", [torch.no_grad, torch.inference_mode])
def test_an_encoder_may_be_made_where_no_gradient_is_computed(without: type[torch.no_grad]) -> None:
    with without():
        assert trial.fault(lambda: encoder(Backbone), 32) is None


def test_a_model_that_needs_values_while_it_is_made_is_made_of_real_ones() -> None:
    """timm's refusals have become one kind of error by then, with their reason behind it."""

    def make() -> Encoder:
        try:
            torch.zeros(1).item()
        except RuntimeError as error:
            raise InputError("cannot be made") from error
        return encoder(Backbone)

    assert trial.fault(make, 32) is None


@pytest.mark.parametrize(("side", "near"), [(32, 24), (40, 48), (100, 96), (1, 24)])
def test_the_nearest_side_that_is_taken_is_found(side: int, near: int) -> None:
    assert trial.nearest(lambda _: encoder(Silent), side, [240]) == near


def test_where_no_side_is_taken_none_is_named() -> None:
    assert trial.nearest(lambda _: encoder(Wider), 32, [224]) is None


@pytest.mark.parametrize(("name", "size"), [("xcit_nano_12_p16_224", 64), ("efficientvit_m0", 128), ("pvt_v2_b0", 64)])
def test_families_whose_patches_are_their_own_train(name: str, size: int) -> None:
    made = build(EncoderSpec(name=name, image_size=size))
    x = torch.randn(2, 3, size, size)
    features, grid = made.with_map(x)
    assert features.shape == (2, made.features)
    assert grid.shape[:2] == (2, made.map_features)
    features.square().sum().backward()


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("halonet_h1", 224, "'halonet_h1' does not take images of 224 px (_assert(H % self.block_size == 0"),
        ("halonet_h1", 224, "256 px can be taken"),
        ("crossvit_tiny_240", 232, "240 px can be taken"),
        ("efficientformer_l1", 128, "224 px can be taken"),
        ("deepseek_vit_412m", 64, "70 px can be taken"),
    ],
)
def test_sizes_that_a_model_does_not_take_are_one_line_with_one_that_it_does(name: str, size: int, words: str) -> None:
    with pytest.raises(InputError) as caught:
        check(EncoderSpec(name=name, image_size=size))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_small_crops_that_a_model_does_not_take_are_refused() -> None:
    spec = EncoderSpec(name="efficientformer_l1", image_size=224)
    with torch.device("meta"):
        made = build(spec)
    with pytest.raises(InputError, match="'efficientformer_l1' does not take images of 96 px"):
        small_side(made, 224)
