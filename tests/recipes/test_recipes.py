"""Presets named after a published recipe are that recipe in every number, or their page says where they are not.

To add a recipe, write `sheets/METHOD.py` from the paper alone: for each preset the data set and the encoder it was
published for, and one value for every row of `reader.sheet`, in the words that `reader` uses. Rates and the teacher's
momentum are those at the first step, after warm-up, in the middle and at the last step. Where the preset differs on
purpose, the row is `Ours(value, published=...)`, and the preset's `differs` says it to people under the row's name.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from likewise import methods
from tests.recipes.reader import Ours, Published, equal, sheet

SHEETS: dict[tuple[str, str], tuple[Published, dict[str, Any]]] = {
    (path.stem, variant): written
    for path in sorted((Path(__file__).parent / "sheets").glob("*.py"))
    for variant, written in importlib.import_module(f"tests.recipes.sheets.{path.stem}").SHEETS.items()
}


@pytest.mark.parametrize(("name", "variant"), SHEETS)
def test_a_preset_is_the_published_recipe(name: str, variant: str) -> None:
    on, rows = SHEETS[name, variant]
    found = sheet(name, methods.find(name), variant, on)
    assert list(found) == list(rows), "a row is missing, unknown or out of order"
    wrong = {}
    for row, value in rows.items():
        expected = value.value if isinstance(value, Ours) else value
        if not equal(found[row], expected):
            wrong[row] = {"preset": found[row], "sheet": expected}
    assert wrong == {}


@pytest.mark.parametrize(("name", "variant"), SHEETS)
def test_the_page_says_where_a_preset_differs(name: str, variant: str) -> None:
    marked = {row for row, value in SHEETS[name, variant][1].items() if isinstance(value, Ours)}
    assert set(methods.find(name).presets[variant].differs) == marked
