"""Several curves in one drawing: all inside it, each named, no name on top of another."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from likewise.report.plots.overlay import Series, overlay, svg

values = st.floats(-1e4, 1e4, allow_nan=False)


@given(
    curves=st.lists(st.lists(values, min_size=2, max_size=30), min_size=1, max_size=12),
    log_x=st.booleans(),
    large=st.booleans(),
)
def test_curves_and_names_stay_inside_and_apart(curves: list[list[float]], log_x: bool, large: bool) -> None:
    series = [
        Series(
            f"run {place}",
            [float(n + 1) for n in range(len(y))],
            y,
            band=[(value - 1, value + 2) for value in y],
            colour=place,
            marked=True,
        )
        for place, y in enumerate(curves)
    ]
    drawing = svg("title", series, x_label="steps", log_x=log_x, large=large)
    width, height = (int(side) for side in re.findall(r'viewBox="0 0 (\d+) (\d+)"', drawing)[0])
    for path in re.findall(r'd="M([^"Z]*)Z?"', drawing):
        for point in path.split("L"):
            across, down = map(float, point.split(","))
            assert 0 <= across <= width
            assert 0 <= down <= height
    heights = sorted(float(y) for y in re.findall(r'class="name k\d+" x="[^"]*" y="([^"]*)"', drawing))
    assert len(heights) == len(curves)
    assert all(after - before > 12 for before, after in pairwise(heights))


def test_an_interval_of_a_share_does_not_leave_the_shares() -> None:
    """Wilson's of none of three is 0 to 0.56, and not the same to either side."""
    line = Series("a", [1.0, 2.0, 3.0], [0.0, 0.5, 1.0], band=[(0.0, 0.56), (0.2, 0.8), (0.44, 1.0)])
    drawn = svg("a", [line], x_label="x", form=lambda value: f"{value:.2f}")
    ticks = [float(word) for word in re.findall(r'text-anchor="end">(-?[\d.]+)<', drawn)]
    assert (min(ticks), max(ticks)) == (0.0, 1.0)


def test_a_single_point_is_no_curve_and_names_are_no_markup() -> None:
    assert overlay("a", [Series("b", [1.0], [2.0])], x_label="x") == ""
    drawn = overlay("a<", [Series("<script>", [1.0, 2.0], [2.0, 3.0])], x_label="x&", note="y<")
    assert "<script" not in drawn
    for words in ("a&lt;", "x&amp;", "y&lt;", "&lt;script&gt;"):
        assert words in drawn


def test_a_long_name_is_cut_and_given_whole_to_those_who_listen() -> None:
    name = "a very long name of a run " * 4
    drawn = svg("a", [Series(name, [1.0, 2.0], [2.0, 3.0])], x_label="x")
    assert "\u2026" in drawn
    assert name in drawn


def test_numbers_of_labels_are_the_marks_of_a_logarithmic_axis() -> None:
    drawn = svg("a", [Series("b", [1.0, 5.0, 100.0], [0.1, 0.2, 0.3])], x_label="x", log_x=True)
    places = {word: float(x) for x, word in re.findall(r'class="tick" x="([\d.]+)"[^>]*middle">(\d+)<', drawn)}
    assert set(places) == {"1", "5", "100"}
    share = (places["5"] - places["1"]) / (places["100"] - places["1"])
    assert share == pytest.approx(0.349, abs=0.01)
