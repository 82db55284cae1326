"""Object-aware contrast: crops within boxes, and mixing with its memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from likewise.errors import InputError
from likewise.methods.method import Batch
from likewise.methods.objaware import Drawn, ObjectAware
from likewise.recipes import carry_out
from likewise.recipes.objaware import Recipe, stages
from likewise.views import make_views
from likewise.views.backgrounds import background_only, composite
from likewise.views.view import View
from tests.contract.gauntlet import BATCH, SIDE, batch_at, make, one_step, optimizer_of


def objaware(**changes: Any) -> ObjectAware:
    method = make("objaware", **changes)
    assert isinstance(method, ObjectAware)
    return method


def view(at: int = 3, count: int = BATCH) -> View:
    """Images of one colour each with a square object at `at`."""
    image = torch.randn(count, 3, 1, 1, generator=torch.Generator().manual_seed(1)).expand(-1, -1, SIDE, SIDE).clone()
    mask = torch.zeros(count, 1, SIDE, SIDE)
    mask[:, :, at : at + 6, at : at + 6] = 1.0
    return View(torch.where(mask > 0, 5.0, image), mask=mask)


def drawn(count: int = BATCH, mixes: bool = True) -> Drawn:
    return Drawn(torch.full((count,), mixes), torch.arange(count).roll(1), torch.full((count,), 0.3))


def test_objects_get_the_background_of_their_partner() -> None:
    method, seen = objaware(), view()
    mixed = method._mixed(seen, drawn())
    own = background_only(seen.image, seen.mask, 0.2)
    assert mixed.equal(composite(seen.image, seen.mask, own.image.roll(1, 0)))
    assert mixed[:, :, 4, 4].eq(5.0).all()
    assert mixed[:, :, 0, 0].equal(seen.image[:, :, 0, 0].roll(1, 0))


def test_without_a_mask_or_a_coin_nothing_is_mixed_nor_remembered() -> None:
    method, seen = objaware(), view()
    for value in (0.0, 1.0):
        plain = seen._replace(mask=torch.full_like(seen.mask, value))
        assert method._mixed(plain, drawn()).equal(seen.image)
    assert method._mixed(seen, drawn(mixes=False)).equal(seen.image)
    assert int(method.backgrounds.filled) == 0


def test_a_partner_without_a_background_is_replaced_by_the_memory() -> None:
    method, seen = objaware(), view()
    mask = seen.mask.clone()
    mask[::2] = 0.0  # the partners of the odd ones
    half = seen._replace(mask=mask)
    assert method._mixed(half, drawn()).equal(seen.image), "nothing is remembered yet"
    assert int(method.backgrounds.filled) == BATCH // 2
    again = method._mixed(half, drawn())
    remembered = background_only(seen.image, seen.mask, 0.2).image[int(0.3 * BATCH / 2) * 2 + 1]
    assert again[1, :, 0, 0].equal(remembered[:, 0, 0])
    assert again[0].equal(seen.image[0])


def test_the_memory_takes_views_of_another_size() -> None:
    method = objaware()
    method._mixed(view(), drawn())
    small = View(torch.randn(4, 3, 8, 8), mask=torch.zeros(4, 1, 8, 8))
    small.mask[1::2, :, 2:5, 2:5] = 1.0
    assert method._mixed(small, drawn(4)).shape == (4, 3, 8, 8)


def test_one_view_is_mixed_and_the_other_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    method = objaware(mix=1.0)
    views, batch = batch_at(method, 0)
    seen: dict[str, View] = {}
    plain = method.base.step
    monkeypatch.setattr(method.base, "step", lambda v, b: (seen.update(v), plain(v, b))[1])
    method(views, batch)
    assert seen["second"].image.equal(views["second"].image)
    assert not seen["first"].image.equal(views["first"].image)


def test_all_views_are_cropped_within_one_box() -> None:
    method = objaware(augment="crop")
    assert all(policy.within_region for policy in method.views.values())
    pixels = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    pixels[:, 4:12, 16:28] = 200
    regions = torch.tensor([[[4 / 32, 16 / 32, 8 / 32, 12 / 32]]])
    bare = {role: replace(policy, colour=None, grey=0.0) for role, policy in method.views.items()}
    for step in range(5):
        for seen in make_views(bare, pixels, torch.tensor([[32, 32]]), seed=0, step=step, regions=regions).values():
            assert float(seen.image.flatten(2).std(2).max()) < 1e-4, "the object alone"
            top, left, height, width = seen.box[0].tolist()
            assert top >= 4 / 32 - 1e-6
            assert left >= 16 / 32 - 1e-6
            assert top + height <= 12 / 32 + 1e-6
            assert left + width <= 28 / 32 + 1e-6


def test_both_bases_learn() -> None:
    for base in ("moco_v2", "byol"):
        method = objaware(base=base)
        optimizer = optimizer_of(method)
        assert all(one_step(method, optimizer, step).loss.isfinite() for step in range(2))
        assert int(method.backgrounds.filled) > 0
    assert method.compose({}, Batch(torch.arange(3)), torch.Generator()) == {}


@pytest.mark.parametrize(
    ("changes", "words"), [({"mix": 2.0}, "mix"), ({"memory": 0}, "memory"), ({"masks": "cam"}, "masks")]
)
def test_settings_that_cannot_be_are_one_line(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        ObjectAware.Settings(**changes)


@pytest.mark.parametrize("augment", ["mixup", "crop"])
def test_the_second_stage_takes_the_masks_of_the_first(
    augment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    pixels = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3)).astype(np.uint8)
    np.savez(tmp_path / "images.npz", images=pixels)
    recipe = Recipe(
        data=str(tmp_path / "images.npz"), out=str(tmp_path / "runs"), augment=augment, epochs=1, width=8, image_size=16
    )  # type: ignore[arg-type]  # one of the two
    small = {"batch_size": 8, "device": "cpu", "quiet": True, "report": False, "loggers": ()}
    runs = carry_out(recipe.out, stages(recipe, **small))
    assert [run.read()["method"] for run in runs] == ["moco_v2", "objaware"]
    stored = runs[1].read()["settings"]
    assert stored["masks"] == f"contracam:{tmp_path / 'runs' / 'first'}:{'1:1' if augment == 'mixup' else '1:2'}"
    assert stored["augment"] == augment
    assert runs[1].read()["status"] == "finished"
    swin = Recipe(data=recipe.data, out=recipe.out, augment="crop", rounds=3, encoder="swin_micro")
    assert list(stages(swin))[1].asked["masks"].endswith("first:3:1")
