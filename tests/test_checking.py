"""Values from Python are checked against the types of the fields that they are for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from likewise.checking import check_kinds
from likewise.errors import InputError


@dataclass
class Shape:
    count: int = 1
    share: float = 0.5
    word: Literal["near", "far"] = "near"
    maybe: Literal["cpu", "cuda"] | None = None
    scale: tuple[float, float] = (0.0, 1.0)
    sizes: tuple[int, ...] = ()
    out: str | None = None
    folder: Path | None = None
    flag: bool = False


@pytest.mark.parametrize(
    "values",
    [
        {"count": 3, "share": 1, "word": "far", "maybe": None, "out": None},
        {"count": np.int64(3), "share": np.float32(0.5), "flag": True},
        {"scale": [0, 1.0], "sizes": [1, np.int32(2)], "maybe": "cuda"},
        {"out": Path("runs"), "folder": Path("cache")},
        {"unknown": object()},
    ],
)
def test_what_fits_passes(values: dict[str, Any]) -> None:
    check_kinds(Shape, values)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"count": 1.5}, "count=1.5 is not of the kind that is wanted: allowed is int"),
        ({"count": "3"}, "count='3' is not"),
        ({"share": "half"}, "share='half' is not of the kind that is wanted: allowed is float"),
        ({"word": "fra"}, "unknown word 'fra': did you mean 'far'"),
        ({"maybe": "gpu"}, "unknown maybe 'gpu'"),
        ({"scale": (0.1,)}, r"scale=\(0.1,\) is not"),
        ({"sizes": [1, 2.5]}, "sizes="),
        ({"out": 3}, "out=3 is not of the kind that is wanted: allowed is str | None"),
        ({"flag": 1}, "flag=1 is not"),
    ],
)
def test_what_does_not_fit_is_one_line(values: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text) as caught:
        check_kinds(Shape, values)
    assert "\n" not in str(caught.value)
