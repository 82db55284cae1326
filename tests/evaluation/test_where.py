"""Correspondence of tokens, and images on other backgrounds."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from likewise.data import Images, open_source, prepare
from likewise.encoders import Encoder, EncoderSpec, build
from likewise.errors import InputError
from likewise.evaluation.backgrounds import KINDS, recomposed
from likewise.evaluation.probes import correspondence as module
from likewise.evaluation.probes.correspondence import correspondence
from likewise.views import strong


class Places(nn.Module):
    """A backbone whose tokens say nothing but the colour of their place."""

    head_hidden_size = num_features = 3

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward_features(self, x_B3HW: Tensor) -> Tensor:
        return cast("Tensor", nn.functional.avg_pool2d(x_B3HW, 4) * self.scale)

    def forward_head(self, last: Tensor, pre_logits: bool = True) -> Tensor:
        return last.mean((2, 3))


@pytest.fixture
def gradients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Images:
    """Images whose colour says where one is."""
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path))
    y, x = np.mgrid[:32, :32] / 31
    one = np.stack([np.cos(3 * y) * np.cos(1.5 * x), np.sin(3 * y) * np.cos(1.5 * x), np.sin(1.5 * x)], 2)
    return prepare(open_source(np.repeat((127.5 + 127 * one)[None], 12, 0).astype(np.uint8)), short_side=None)


def test_tokens_that_know_their_place_find_it(gradients: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = EncoderSpec(name="resnet18", image_size=32, mean=(0.5,) * 3, std=(0.25,) * 3)
    colours = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0, "grey": 0.0}
    monkeypatch.setattr(module, "strong", partial(strong, **colours))
    found = correspondence(Encoder(spec, Places()), gradients)
    assert found.tokens > 12 * 16
    assert 0.05 < found.chance < 0.35
    assert found.accuracy > 0.95

    class Shuffled(Places):
        def forward_features(self, x_B3HW: Tensor) -> Tensor:
            map_BCHW = super().forward_features(x_B3HW)
            order = torch.randperm(64, generator=torch.Generator().manual_seed(len(x_B3HW)))
            return map_BCHW.flatten(2)[:, :, order].view_as(map_BCHW)

    assert correspondence(Encoder(spec, Shuffled()), gradients).accuracy < 0.6


def test_maps_of_a_few_tokens_are_refused(gradients: Images) -> None:
    with pytest.raises(InputError, match="9 are the least"):
        correspondence(build(EncoderSpec(name="resnet18", width=8, image_size=32)), gradients)


def test_backgrounds_are_those_that_the_kind_says() -> None:
    labels = torch.arange(12) % 3
    image = (
        (labels.view(-1, 1, 1, 1) / 4 + 0.1 + torch.arange(12).view(-1, 1, 1, 1) / 100).expand(-1, 3, 12, 12).clone()
    )
    mask = torch.zeros(12, 1, 12, 12)
    mask[:, :, 4:8, 4:8] = 1.0
    image = torch.where(mask > 0, 1.0, image)
    own = image[:, 0, 0, 0]
    for kind in KINDS:
        made = recomposed(image, mask, labels, kind)
        behind, inside = made[:, 0, 0, 0], made[:, 0, 5, 5]
        assert (inside == 1).all() or kind == "only_bg"
        if kind == "original":
            assert made.equal(image)
        elif kind == "only_fg":
            assert not behind.any()
        elif kind == "only_bg":
            assert behind.equal(own)
            assert inside.equal(own)
        else:
            assert (behind != own).all()
            assert sorted(behind.tolist()) == sorted(own.tolist())
            same = (behind.unsqueeze(1) - own.unsqueeze(0)).abs().argmin(1) % 3 == labels
            assert bool(same.all()) == (kind == "mixed_same")


def test_what_does_not_fit_is_refused() -> None:
    image = torch.zeros(3, 3, 8, 8)
    with pytest.raises(InputError, match="mixed_rand"):
        recomposed(image, image[:, :1], torch.zeros(3), "mixed_random")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="3 images have 2 masks"):
        recomposed(image, image[:2, :1], torch.zeros(3), "only_fg")
