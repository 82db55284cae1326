"""Two unequal large crops and several small ones."""

from __future__ import annotations

import pytest

from likewise.views import Crop, ViewPolicy
from likewise.views.policies.crops import unequal_crops


def crops(size: int, small: int, count: int) -> dict[str, ViewPolicy]:
    return unequal_crops(size, small, count, large_scale=(0.4, 1.0), small_scale=(0.1, 0.4))


def test_roles_sizes_and_looks_of_the_papers() -> None:
    views = crops(224, 96, 3)
    assert list(views) == ["large_0", "large_1", "small_0", "small_1", "small_2"]
    assert [view.size for view in views.values()] == [224, 224, 96, 96, 96]
    assert [view.blur.probability for view in views.values() if view.blur] == [1.0, 0.1, 0.5, 0.5, 0.5]
    assert [view.solarise.probability if view.solarise else 0 for view in views.values()] == [0, 0.2, 0, 0, 0]
    assert {view.crop for view in views.values()} == {Crop(scale=(0.4, 1.0)), Crop(scale=(0.1, 0.4))}
    assert {view.interpolation for view in views.values()} == {"bicubic"}


@pytest.mark.parametrize("count", [0, 2])
def test_small_images_are_not_blurred(count: int) -> None:
    views = crops(32, 16, count)
    assert len(views) == 2 + count
    assert all(view.blur is None for view in views.values())
