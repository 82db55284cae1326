"""Values, shapes and sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from likewise.data.decoding.pixels import LONGEST, Range, channels_last, fit, from_array, to_uint8, value_range
from likewise.data.source import BrokenImage
from tests.data.images import noise


@pytest.mark.parametrize(
    ("kind", "low", "high", "expected"),
    [
        ("b", 0, 1, Range(0, 1)),
        ("u", 0, 1, Range(0, 255)),
        ("i", 0, 255, Range(0, 255)),
        ("u", 0, 256, Range(0, 1023)),
        ("u", 3, 4000, Range(0, 4095)),
        ("u", 0, 65535, Range(0, 65535)),
        ("i", -5, 300, Range(-5, 300)),
        ("i", 0, 70000, Range(0, 70000)),
        ("f", 0, 1, Range(0, 1)),
        ("f", -1, 0.9, Range(-1, 1)),
        ("f", 0, 240, Range(0, 255)),
        ("f", -2, 2.5, Range(-2, 2.5)),
    ],
)
def test_value_range_finds_what_was_meant(kind: str, low: float, high: float, expected: Range) -> None:
    assert value_range(kind, low, high) == expected


def test_one_value_everywhere_is_black_not_an_error() -> None:
    assert not to_uint8(np.full((2, 2), 700.0), Range(700.0, 700.0)).any()


def test_infinities_are_clipped() -> None:
    values = np.array([-np.inf, 0.5, np.inf, np.nan])
    np.testing.assert_array_equal(to_uint8(values, Range(0, 1)), [0, 128, 255, 0])


@given(nps.arrays(np.uint8, nps.array_shapes(min_dims=2, max_dims=2, max_side=6)))
def test_bytes_stay_as_they_are(values: np.ndarray) -> None:
    np.testing.assert_array_equal(from_array(values)[..., 0], values)
    np.testing.assert_array_equal(from_array(values.astype(np.float32) / 255, Range(0, 1))[..., 1], values)
    np.testing.assert_array_equal(from_array(values.astype(np.int64) * 257, Range(0, 65535))[..., 2], values)


def test_channels_first_and_last_are_the_same_image() -> None:
    np.testing.assert_array_equal(from_array(noise().transpose(2, 0, 1)), noise())
    np.testing.assert_array_equal(from_array(noise()[..., :1]), from_array(noise()[..., 0]))


@pytest.mark.parametrize("shape", [(5,), (2, 5, 5), (5, 5, 2), (1, 3, 5, 5), (0, 5), (0, 5, 3)])
def test_other_shapes_are_broken(shape: tuple[int, ...]) -> None:
    with pytest.raises(BrokenImage, match="is no image"):
        channels_last(np.zeros(shape))


def test_words_are_no_image() -> None:
    with pytest.raises(BrokenImage, match="numbers are"):
        from_array(np.array([["a", "b"]]))


def test_alpha_of_an_array_is_laid_on_white() -> None:
    values = np.array([[[0, 0, 0, 0], [10, 20, 30, 255]]], dtype=np.uint8)
    np.testing.assert_array_equal(from_array(values), [[[255, 255, 255], [10, 20, 30]]])


# Sizes -------------------------------------------------------------------------------------------------------------


@given(st.integers(1, 90), st.integers(1, 90), st.one_of(st.none(), st.integers(1, 40)))
def test_fit_keeps_the_aspect_and_never_enlarges(height: int, width: int, short_side: int | None) -> None:
    pixels = fit(noise(height, width), short_side)
    rows, columns = pixels.shape[:2]
    short, long = min(height, width), min(max(height, width), LONGEST * min(height, width))
    assert min(rows, columns) == (short if short_side is None else min(short, short_side))
    assert max(rows, columns) <= LONGEST * min(rows, columns)
    assert abs(max(rows, columns) - long * min(rows, columns) / short) <= 0.5
    assert (rows >= columns) == (height >= width) or rows == columns


def test_fit_leaves_small_images_alone() -> None:
    np.testing.assert_array_equal(fit(noise(), 12), noise())
    np.testing.assert_array_equal(fit(noise(), None), noise())


def test_fit_cuts_panoramas_about_their_centre() -> None:
    pixels = np.zeros((2, 20, 3), dtype=np.uint8)
    pixels[:, 7:13] = 200
    assert fit(pixels, None).shape == (2, 6, 3)
    assert (fit(pixels, None) == 200).all()
    assert fit(pixels.transpose(1, 0, 2), None).shape == (6, 2, 3)


def test_fit_reduces_with_antialiasing() -> None:
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    np.testing.assert_allclose(fit(stripes, 8)[2:-2, 2:-2], 127, atol=3)
