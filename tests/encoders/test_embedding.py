"""An encoder with its preprocessing: images in, vectors out, the same as evaluation computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import Compose

from likewise.data import cached_side, open_source, prepare
from likewise.encoders import Encoder, EncoderSpec, build, embedding
from likewise.errors import InputError
from likewise.evaluation import extract

SPEC = EncoderSpec(name="resnet18", width=8, stem="small", image_size=16, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
SIDES = ((40, 30), (16, 16), (90, 20), (33, 77), (12, 9))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def encoder() -> Encoder:
    made = build(SPEC, seed=3)
    made(torch.randn(8, 3, 16, 16))
    return made


@pytest.fixture
def photos() -> list[Image.Image]:
    draw = np.random.default_rng(0)
    return [Image.fromarray(draw.integers(0, 256, (*side, 3), np.uint8)) for side in SIDES]


@pytest.fixture
def folder(photos: list[Image.Image], tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for number, image in enumerate(photos):
        image.save(tmp_path / "photos" / f"{number}.png")
    return tmp_path / "photos"


def test_preprocess_makes_what_evaluation_looks_at(encoder: Encoder, photos: list[Image.Image]) -> None:
    images = prepare(open_source(photos), short_side=cached_side(16))
    batch = torch.stack([encoder.preprocess(image) for image in photos])
    assert batch.shape == (5, 3, 16, 16)
    assert batch.dtype == torch.float32
    with torch.no_grad():
        torch.testing.assert_close(encoder.eval()(batch), extract(encoder, images))


def test_preprocess_is_a_transform_like_others(encoder: Encoder, photos: list[Image.Image]) -> None:
    grey = Compose([lambda image: image.convert("L"), encoder.preprocess])(photos[0])
    assert grey.shape == (3, 16, 16)
    plain = grey * torch.tensor(SPEC.std).view(3, 1, 1) + torch.tensor(SPEC.mean).view(3, 1, 1)
    torch.testing.assert_close(plain[0], plain[1])
    assert "16 px" in repr(encoder.preprocess)
    with pytest.raises(InputError, match="takes a PIL image, not a str"):
        encoder.preprocess("photos/a.jpg")


def test_embed_gives_a_row_for_each_image_in_order(encoder: Encoder, photos: list[Image.Image], folder: Path) -> None:
    encoder.train()
    statistics = encoder.backbone.get_buffer("bn1.running_mean").clone()
    found = encoder.embed(photos)
    assert found.shape == (5, encoder.features)
    assert not found.requires_grad
    assert encoder.training
    assert torch.equal(encoder.backbone.get_buffer("bn1.running_mean"), statistics)
    encoder.eval()
    with torch.no_grad():
        each = torch.cat([encoder(encoder.preprocess(image).unsqueeze(0)) for image in photos])
    torch.testing.assert_close(found, each)
    others: list[Any] = [folder, str(folder), sorted(folder.iterdir()), prepare(open_source(folder), short_side=None)]
    torch.testing.assert_close(encoder.embed(others[0], batch_size=2), found)
    for data in others[1:3]:
        assert torch.equal(encoder.embed(data), encoder.embed(folder))
    assert encoder.embed(others[3]).shape == found.shape
    torch.testing.assert_close(encoder.embed(photos[2]), found[2:3])


def test_no_row_is_missing_without_a_word(encoder: Encoder, folder: Path) -> None:
    (folder / "2.png").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"1 of 5 images cannot be read, the first 2.png \(.*\): .*prepare") as caught:
        encoder.embed(folder)
    assert "\n" not in str(caught.value)
    images = prepare(open_source(folder), short_side=cached_side(16))
    assert len(encoder.embed(images)) == len(images.names) == 4


class Forgetful(nn.Module):
    """As attention biases of some timm models: kept while evaluating, until training begins again."""

    kept: Tensor | None = None

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))

    def train(self, mode: bool = True) -> Forgetful:
        super().train(mode)
        if mode:
            self.kept = None
        return self

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return x + self.bias
        self.kept = self.bias.detach() + 0 if self.kept is None else self.kept
        return x + self.kept


def test_what_a_model_keeps_while_evaluating_is_forgotten_when_training_goes_on() -> None:
    model = nn.Sequential(Forgetful())
    for value in (0.0, 1.0):
        nn.init.constant_(model.get_parameter("0.bias"), value)
        with embedding.evaluating(model):
            assert float(model(torch.zeros(1)).detach()) == value
        assert model.training
