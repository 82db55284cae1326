"""Patches to click and masks in the report: the numbers in the page are those of the encoder, and clicks work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from likewise.encoders import Encoder, EncoderSpec, build
from likewise.encoders.embedding import evaluating
from likewise.evaluation.probes.segmentation import maps
from likewise.localisation.masks import Masks
from likewise.report import PlaceFeatures, look, write_report
from likewise.report.places import looking
from likewise.report.places.attention import class_attention
from likewise.report.places.looking import packed
from likewise.report.places.section import masks, patches
from likewise.similarity import unit
from tests.browser import barriers, opened, until
from tests.report.conftest import MakeRun, some_images


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return build(EncoderSpec(name="resnet18", width=8, stem="small", image_size=32), seed=0)


@pytest.fixture
def looked(encoder: Encoder) -> PlaceFeatures:
    images = some_images(8)
    found = look(encoder, images, masks=Masks(images, "center"), source="center")
    assert found is not None
    return found


def test_what_is_kept_gives_the_similarities(encoder: Encoder, looked: PlaceFeatures) -> None:
    cells_MC = unit(maps(encoder, looked.images).permute(0, 2, 3, 1).flatten(0, 2))
    kept_MD = torch.from_numpy(looked.cells_NhwD).flatten(0, 2).float() * looked.scale
    assert looked.kept > 0.999
    assert torch.allclose(kept_MD @ kept_MD.T, cells_MC @ cells_MC.T, atol=0.03)


def test_of_fine_maps_the_main_directions_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "MOST_NUMBERS", 9 * 18)
    map_NChw = torch.randn(2, 64, 3, 3) * torch.linspace(1, 0.01, 64).view(1, 64, 1, 1) ** 4
    cells, scale, kept = packed(map_NChw)
    assert cells.shape == (2, 3, 3, 9)
    assert 0.5 < kept < 1
    assert np.abs(cells).max() == 127
    assert scale > 0


def test_masks_are_shown_where_there_are_some(looked: PlaceFeatures, encoder: Encoder) -> None:
    assert looked.masks_NHW is not None
    assert looked.masks_NHW.shape == (8, 12, 9)
    shown = masks(looked)
    assert shown.count("<img") == 8
    assert "Of center" in shown
    without = look(encoder, looked.images)
    assert without is not None
    assert masks(without) == ""
    assert 'class="patches"' in patches(without)


def test_encoders_without_places_have_no_patches(encoder: Encoder) -> None:
    small = build(EncoderSpec(name="resnet18", width=8, stem="small", image_size=8), seed=0)
    assert look(small, some_images(4)) is None, "a map of one cell"
    assert look(encoder, some_images(1)) is None


def test_attention_is_that_of_the_class_token() -> None:
    spec = EncoderSpec(name="vit_tiny_patch16_224", image_size=32)
    vit = build(spec, seed=0)
    image = torch.randn(2, 3, 32, 32)
    seen: list[torch.Tensor] = []
    block = vit.backbone.blocks[-1]
    block.register_forward_pre_hook(lambda _block, inputs: seen.append(block.norm1(inputs[0])))
    with evaluating(vit), torch.no_grad():
        found = class_attention(vit, image)
        assert found is not None
        x = seen[-1]
        query, key, _ = block.attn.qkv(x).chunk(3, dim=-1)
        by_head = [
            (q[:, :1] @ k.transpose(1, 2) / q.shape[-1] ** 0.5).softmax(-1)
            for q, k in zip(query.chunk(3, -1), key.chunk(3, -1), strict=True)
        ]
    assert torch.allclose(found.flatten(1), torch.stack(by_head).mean(0)[:, 0, 1:], atol=1e-6)
    looked = look(vit, some_images(3))
    assert looked is not None
    assert looked.attention_Nhw is not None
    assert looked.attention_Nhw.max() == 255


def test_a_click_says_what_is_alike_elsewhere(make_run: MakeRun, looked: PlaceFeatures) -> None:
    run = make_run()
    write_report(run, looked=looked)
    path = write_report(run)  # and they stay in a report that is written without
    said = "document.querySelector('#patches .said').textContent"
    with opened(path.as_uri(), width=390) as seen:
        seen.page.locator(".patched").nth(3).click(position={"x": 3, "y": 3})
        until(seen.page, f"{said}.startsWith('Row 1, column 1 of class 0')")
        seen.page.keyboard.press("ArrowRight")
        words = seen.page.evaluate(said)
        assert words.startswith("Row 1, column 2")
        kept = torch.from_numpy(looked.cells_NhwD).flatten(1, 2).float() * looked.scale
        best = max(float((kept[3, 1] @ kept[other].T).max()) for other in range(8) if other != 3)
        assert f"{best:.2f}" in words.partition("elsewhere:")[2].partition(",")[0]
        assert barriers(seen.page) == []
        assert (seen.requests, seen.errors) == ([], [])


def test_training_leaves_patches_and_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import likewise

    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    small = {"encoder": "resnet18", "width": 8, "image_size": 16, "batch_size": 8, "device": "cpu", "loggers": ()}
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 16, 3)).astype(np.uint8)
    likewise.train(
        {"images": pixels}, method="bgaug", masks="center", epochs=1, out=tmp_path / "run", quiet=True, **small
    )
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert 'id="patches"' in page
    assert "Of center" in page
