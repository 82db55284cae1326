"""Charts and numbers: axes that fit, curves that stay inside, values as people read them."""

from __future__ import annotations

import math
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from likewise.report.numbers import minutes, percent, plain, short, ticks
from likewise.report.plots import charts

values = st.floats(-1e6, 1e6, allow_nan=False)


@given(low=values, span=st.floats(1e-3, 1e6), about=st.integers(2, 8))
def test_ticks_are_few_even_and_hold_the_span(low: float, span: float, about: int) -> None:
    high = low + span
    marks = ticks(low, high, about)
    step = marks[1] - marks[0]
    assert 2 <= len(marks) <= about + 2
    assert marks[0] <= low + 1e-6 * step + 1e-9 * abs(low)
    assert marks[-1] >= high - 1e-6 * step - 1e-9 * abs(high)
    for first, second in pairwise(marks):
        assert second - first == pytest.approx(step, rel=1e-3)


@given(y=st.lists(values, min_size=2, max_size=400))
def test_curves_stay_inside_the_drawing(y: list[float]) -> None:
    check_inside(y)


def test_an_extreme_start_neither_flattens_the_rest_nor_leaves_the_drawing() -> None:
    check_inside([1e5, *([1.0, 2.0] * 60)])
    assert ">2<" in charts.line_chart("a", list(map(float, range(121))), [1e5, *([1.0, 2.0] * 60)])


def check_inside(y: list[float]) -> None:
    drawing = charts.line_chart("a", [float(n) for n in range(len(y))], y, smooth=True)
    for path in re.findall(r'class="(?:line|raw|area)" d="M([^"Z]*)Z?"', drawing):
        for point in path.split("L"):
            across, down = map(float, point.split(","))
            assert charts.LEFT - 0.1 <= across <= charts.WIDTH - charts.RIGHT + 0.1
            assert 0 <= down <= charts.HEIGHT


def test_one_point_is_no_curve() -> None:
    assert charts.line_chart("a", [1.0], [2.0]) == ""
    assert charts.line_chart("a", [], []) == ""


def test_a_chart_says_what_it_shows() -> None:
    drawing = charts.line_chart(
        "a < b",
        [0.0, 1.0],
        [1.0, 3.0],
        note="x & y",
        reference=charts.Reference(4.0, "limit <"),
        form=lambda v: f"{v:g}%",
    )
    for expected in ("a &lt; b", "x &amp; y", "limit &lt;", ">3%<", "from 1% to 3%"):
        assert expected in drawing


@given(y=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=300), most=st.integers(1, 50))
def test_thinning_keeps_the_mean(y: list[float], most: int) -> None:
    x = [float(n) for n in range(len(y))]
    thin_x, thin_y = charts.thinned(x, y, most)
    assert len(thin_x) == len(thin_y) == min(len(y), most)
    assert thin_x == sorted(thin_x)
    if len(y) % most == 0:
        assert sum(thin_y) / len(thin_y) == pytest.approx(sum(y) / len(y), abs=1e-6)


def test_averages_keep_straight_lines_and_quiet_noise() -> None:
    line = [2.0 * n for n in range(200)]
    smooth = charts.averaged(line)
    assert smooth[:190] == pytest.approx(line[:190])
    assert smooth[-1] == pytest.approx(line[-1], rel=0.03)
    noise = [(-1.0) ** n for n in range(200)]
    assert max(abs(value) for value in charts.averaged(noise)[20:]) < 0.2


def test_shares_and_bars_are_as_large_as_their_values() -> None:
    shares = charts.stacked_bar([charts.Segment("data", 0.25, "25 %"), charts.Segment("model", 0.75, "75 %")])
    assert "flex-grow:0.2500" in shares
    assert "flex-grow:0.7500" in shares
    bars = charts.bars(["a", "b"], [50, 200])
    assert re.findall(r"width:([\d.]+)%", bars) == ["25.00", "100.00"]
    assert charts.profile([3.0, 9.0, 1.0], "many").count("<rect") == 3


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, "0"), (3e-5, "3e-5"), (0.0123, "0.0123"), (1.5, "1.5"), (4000, "4,000"), (12345, "12.3k"), (2e6, "2M")],
)
def test_short_numbers(value: float, expected: str) -> None:
    assert short(value) == expected
    assert short(-value) == ("0" if value == 0 else f"-{expected}")


def test_words_for_numbers() -> None:
    assert short(math.inf) == "-"
    assert percent(0.5814) == "58.1\u00a0%"
    assert [minutes(value) for value in (0.5, 6.0, 9.83, 9.98, 45, 119.7, 192)] == [
        "30 seconds",
        "6 minutes",
        "9.8 minutes",
        "10 minutes",
        "45 minutes",
        "2 h 0 min",
        "3 h 12 min",
    ]
    assert plain([[0.5, 1], [2, None]]) == "(0.5, 1), (2, none)"
    assert plain({"a": True, "b": ()}) == "a yes, b none"
