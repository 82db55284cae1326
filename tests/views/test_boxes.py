"""Boxes: always within the image, and distributed as torchvision distributes them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor
from torchvision.transforms import CenterCrop, RandomResizedCrop

from likewise.views import Centre, Crop
from likewise.views.geometry.boxes import ATTEMPTS, centre_boxes, random_boxes

DRAWS = 3000


def boxes(sizes_B2: Tensor, crop: Crop, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(len(sizes_B2), 2 * ATTEMPTS + 2, generator=generator, dtype=torch.float64)
    area, ratio, place = uniform.split([ATTEMPTS, ATTEMPTS, 2], dim=1)
    return random_boxes(area, ratio, place, sizes_B2, crop)


def torchvision_boxes(height: int, width: int, crop: Crop) -> Tensor:
    image = torch.zeros(3, height, width)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        drawn = [RandomResizedCrop.get_params(image, list(crop.scale), list(crop.ratio)) for _ in range(DRAWS)]
    return torch.tensor(drawn)


spans = st.tuples(st.floats(0.001, 1.0), st.floats(0.001, 1.0)).map(lambda pair: (min(pair), max(pair)))
ratios = st.tuples(st.floats(0.05, 20.0), st.floats(0.05, 20.0)).map(lambda pair: (min(pair), max(pair)))
sides = st.integers(1, 500)


@settings(deadline=None)
@given(st.lists(st.tuples(sides, sides), min_size=1, max_size=8), spans, ratios, st.integers(0, 2**32 - 1))
def test_boxes_lie_within_the_image(sizes, scale, ratio, seed):
    sizes_B2 = torch.tensor(sizes)
    top, left, height, width = boxes(sizes_B2, Crop(scale=scale, ratio=ratio), seed).unbind(1)
    assert bool((top >= 0).all() and (left >= 0).all() and (height >= 1).all() and (width >= 1).all())
    assert bool((top + height <= sizes_B2[:, 0]).all() and (left + width <= sizes_B2[:, 1]).all())


@pytest.mark.parametrize("edge", [0.0, 1.0 - 2**-53])
def test_the_extremes_of_the_uniform_numbers_are_within_too(edge):
    uniform = torch.full((1, ATTEMPTS), edge, dtype=torch.float64)
    top, left, height, width = random_boxes(uniform, uniform, uniform[:, :2], torch.tensor([[31, 57]]), Crop())[0]
    assert 0 <= top <= 31 - height
    assert 0 <= left <= 57 - width


@pytest.mark.parametrize(
    ("size", "crop"),
    [
        ((32, 32), Crop()),
        ((32, 32), Crop(scale=(0.08, 1.0))),
        ((300, 200), Crop(scale=(0.05, 0.14))),
        ((60, 150), Crop(scale=(0.4, 1.0))),  # often falls back to the middle
        ((37, 20), Crop(scale=(0.2, 0.9), ratio=(0.3, 0.5))),
    ],
)
def test_areas_ratios_and_positions_are_distributed_as_in_torchvision(size, crop):
    ours, theirs = boxes(torch.tensor([size] * DRAWS), crop).double(), torchvision_boxes(*size, crop).double()
    for name, of_box in {
        "area": lambda box: box[:, 2] * box[:, 3],
        "ratio": lambda box: box[:, 3] / box[:, 2],
        "top": lambda box: box[:, 0],
        "left": lambda box: box[:, 1],
        "vertical place": lambda box: box[:, 0] / (size[0] - box[:, 2]).clamp(min=1),
        "horizontal place": lambda box: box[:, 1] / (size[1] - box[:, 3]).clamp(min=1),
    }.items():
        assert stats.ks_2samp(of_box(ours), of_box(theirs)).pvalue > 1e-3, name
    for one, other in ((0, 2), (2, 3), (0, 1)):  # and they hang together in the same way
        ours_r, theirs_r = (float(torch.corrcoef(box[:, [one, other]].T)[0, 1]) for box in (ours, theirs))
        assert ours_r == pytest.approx(theirs_r, abs=0.08)


@pytest.mark.parametrize("size", [(10, 200), (200, 10), (7, 7), (1, 20_000), (1, 1)])
def test_where_nothing_fits_the_middle_is_taken_as_in_torchvision(size):
    crop = Crop(scale=(1.0, 1.0))
    theirs = torchvision_boxes(*size, crop)
    middle = theirs.unique(dim=0)
    assert len(middle) == 1
    assert boxes(torch.tensor([size]), crop).tolist() == middle.tolist()


@pytest.mark.parametrize(
    ("size", "fraction", "side"), [((256, 320), 0.875, 224), ((32, 32), 1.0, 32), ((9, 4), 0.5, 2)]
)
def test_centre_is_the_middle_square(size, fraction, side):
    top, left, height, width = centre_boxes(torch.tensor([size]), Centre(fraction=fraction))[0].tolist()
    assert (height, width) == (side, side)
    image = torch.arange(size[0] * size[1]).view(1, *size)
    theirs = CenterCrop(side)(image)[0]
    even = (size[0] - side) % 2 == 0 and (size[1] - side) % 2 == 0
    assert abs(int(theirs[0, 0]) - (top * size[1] + left)) <= (0 if even else size[1] + 1)


def test_centre_of_a_pixel_is_the_pixel():
    assert centre_boxes(torch.tensor([[1, 1]]), Centre(fraction=0.1)).tolist() == [[0, 0, 1, 1]]
