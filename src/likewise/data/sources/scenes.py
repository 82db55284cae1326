"""Scenes with known masks: one object on a procedural background whose family goes with the object's class.

For methods and measures that ask where an object is, and whether an encoder learns it or what lies behind it. Splits
are those of the Background Challenge (Xiao et al., ICLR 2021, arXiv 2006.09994). A scene is a pure function of its
name.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.data.fingerprints import digest
from likewise.data.labels import NONE
from likewise.data.source import Joined, Pixels, Source
from likewise.data.splitting.splits import check_split
from likewise.errors import InputError

PREFIX = "synthetic:"
KINDS = ("scenes", "mosaics")
SIDE, LEAST, MOST = 32, 16, 256
"""Pixels of a scene's side: by default, at least and at most."""
COUNTS = {"train": 3000, "test": 600, "mixed_same": 600, "mixed_rand": 600, "only_fg": 600}
"""Images of each split: `train` and `test` have the usual background of their class with `CORRELATION`, `mixed_same`
always, `mixed_rand` that of any class, `only_fg` none (black)."""
CORRELATION = 0.9
_VERSION = 1
_OVER = 2  # points on a side of a pixel that shapes are sampled at
_NAME = re.compile(rf"({'|'.join(KINDS)})-(\d+)/(\w+)/(\d+)")

Array = NDArray[np.float64]


class Scene(NamedTuple):
    """One image with what is known of it."""

    pixels: Pixels
    """(S, S, 3) uint8."""
    mask: NDArray[np.uint8]
    """(S, S) uint8, 255 on the object."""
    label: int
    """Class of the object; of a mosaic that of the first."""


# Shapes: whether points, relative to the object's middle and in units of its radius, are inside ---------------------


def _star(y: Array, x: Array) -> NDArray[np.bool_]:
    angle = np.arctan2(y, x)
    return np.asarray(np.hypot(y, x) < 0.62 + 0.36 * np.cos(5 * angle))


SHAPES: dict[str, Callable[[Array, Array], NDArray[np.bool_]]] = {
    "disc": lambda y, x: np.hypot(y, x) < 0.9,
    "square": lambda y, x: np.maximum(abs(y), abs(x)) < 0.75,
    "triangle": lambda y, x: (y < 0.6) & (abs(x) < 0.55 * (y + 0.95)),
    "ring": lambda y, x: abs(np.hypot(y, x) - 0.68) < 0.27,
    "cross": lambda y, x: (np.minimum(abs(y), abs(x)) < 0.27) & (np.maximum(abs(y), abs(x)) < 0.95),
    "star": _star,
}
"""A class is a shape."""
CLASSES = tuple(SHAPES)

# Backgrounds: 0 to 1 at each place, from a few drawn numbers --------------------------------------------------------


def _blobs(y: Array, x: Array, draw: Array) -> Array:
    total = sum(
        np.cos(2 * np.pi * (3 * (2 * draw[k] - 1) * y + 3 * (2 * draw[k + 1] - 1) * x + draw[k + 2])) for k in (0, 3, 6)
    )
    return np.asarray(0.5 + total / 6)


def _dots(y: Array, x: Array, draw: Array) -> Array:
    rate = 4 + 2 * draw[0]
    return np.asarray((np.hypot((rate * y + draw[1]) % 1 - 0.5, (rate * x + draw[2]) % 1 - 0.5) < 0.3) * 1.0)


FAMILIES: dict[str, Callable[[Array, Array, Array], Array]] = {
    "rows": lambda y, x, draw: 0.5 + 0.5 * np.sin(2 * np.pi * ((3 + 2 * draw[0]) * y + draw[1])),
    "columns": lambda y, x, draw: 0.5 + 0.5 * np.sin(2 * np.pi * ((3 + 2 * draw[0]) * x + draw[1])),
    "checks": lambda y, x, draw: (
        (np.floor((5 + 2 * draw[0]) * y + draw[1]) + np.floor((5 + 2 * draw[0]) * x + draw[2])) % 2
    ),
    "blobs": _blobs,
    "dots": _dots,
    "waves": lambda y, x, draw: (
        0.5 + 0.5 * np.sin(2 * np.pi * ((4 + 2 * draw[0]) * np.hypot(y + draw[1], x + draw[2])))
    ),
}
"""The usual background of each class, in the order of the classes."""


def scene(kind: str, side: int, split: str, number: int) -> Scene:
    """One scene; a mosaic is four of half the side. The same for equal arguments on every machine."""
    if kind == "mosaics":
        parts = [scene("scenes", side // 2, split, 4 * number + k) for k in range(4)]
        pixels, mask = (
            np.concatenate(
                [np.concatenate([parts[0][k], parts[1][k]], 1), np.concatenate([parts[2][k], parts[3][k]], 1)]
            )
            for k in (0, 1)
        )
        return Scene(pixels, mask, parts[0].label)
    key = int.from_bytes(bytes.fromhex(digest(_VERSION, split, number)[:16]), "little")
    rng = np.random.default_rng(key)
    label = number % len(CLASSES)
    usual = split == "mixed_same" or (split != "mixed_rand" and rng.random() < CORRELATION)
    family = label if usual else int(rng.integers(len(CLASSES)))
    inside = _placed(rng, CLASSES[label], side)
    background = _background(rng, family, side)
    shade = _grid(side, 1)[0] * (0.4 * rng.random() - 0.2) + 1.0
    colour = _vivid(rng)
    objects = np.clip(colour * shade[..., None] + 0.03 * rng.standard_normal((side, side, 3)), 0.0, 1.0)
    if split == "only_fg":
        background = np.zeros_like(background)
    mixed = inside[..., None] * objects + (1.0 - inside[..., None]) * background
    return Scene((255 * mixed).round().astype(np.uint8), (255 * inside).round().astype(np.uint8), label)


def mask_of(name: str) -> NDArray[np.uint8] | None:
    """(S, S) uint8 mask of the image of a scene by its name; None for names of other data."""
    found = _NAME.fullmatch(name)
    if found is None or found[3] not in COUNTS:
        return None
    return scene(found[1], int(found[2]), found[3], int(found[4])).mask


def _grid(side: int, over: int) -> tuple[Array, Array]:
    """Row and column, 0 to 1, of `over` points a pixel along each axis."""
    at = (np.arange(side * over) + 0.5) / (side * over)
    y, x = np.meshgrid(at, at, indexing="ij")
    return y, x


def _placed(rng: np.random.Generator, shape: str, side: int) -> Array:
    """(S, S) share of each pixel that the object covers: drawn size, place and a little rotation."""
    radius = rng.uniform(0.2, 0.32)
    middle_y, middle_x = rng.uniform(radius, 1 - radius, 2)
    angle = rng.uniform(-0.35, 0.35)
    y, x = _grid(side, _OVER)
    down, right = (y - middle_y) / radius, (x - middle_x) / radius
    turned = down * np.cos(angle) - right * np.sin(angle), down * np.sin(angle) + right * np.cos(angle)
    covered = SHAPES[shape](*turned).astype(float)
    return np.asarray(covered.reshape(side, _OVER, side, _OVER).mean((1, 3)))


def _background(rng: np.random.Generator, family: int, side: int) -> Array:
    """(S, S, 3) in 0..1: two muted colours, mixed as the family does, and some noise."""
    share = list(FAMILIES.values())[family](*_grid(side, 1), rng.random(9))[..., None]
    first, second = 0.35 + 0.3 * rng.random((2, 3)) + np.array([[-0.12], [0.12]])
    mixed = share * first + (1.0 - share) * second + 0.03 * rng.standard_normal((side, side, 3))
    return np.asarray(np.clip(mixed, 0.0, 1.0))


def _vivid(rng: np.random.Generator) -> Array:
    """(3,) a saturated colour of any hue."""
    return np.asarray(0.5 + 0.5 * np.cos(2 * np.pi * (rng.random() + np.array([0.0, 1 / 3, 2 / 3]))))


@dataclass(kw_only=True, eq=False)
class SceneSource(Source):
    """The scenes of one split."""

    kind: str
    """`scenes` or `mosaics`."""
    side: int
    """Pixels."""

    def read(self, position: int, short_side: int | None = None) -> Pixels:
        """Draw one scene."""
        assert self.split is not None
        return scene(self.kind, self.side, self.split, position).pixels


def parsed(text: str) -> tuple[str, int]:
    """Kind and side of a name such as `synthetic:scenes` or `synthetic:scenes:48`. Raises InputError for others."""
    kind, _, side = text.removeprefix(PREFIX).partition(":")
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, n=1, cutoff=0.0)[0]
        raise InputError(
            f"there is no {text!r}: allowed are {' and '.join(PREFIX + k for k in KINDS)}; nearest is {PREFIX}{near}"
        )
    if side and not (side.isdigit() and LEAST <= int(side) <= MOST and int(side) % 2 == 0):
        raise InputError(
            f"{text!r}: the side is an even number of pixels from {LEAST} to {MOST}, such as {PREFIX}{kind}:{SIDE}"
        )
    return kind, int(side) if side else SIDE * (1 + (kind == "mosaics"))


def splits_of(text: str) -> tuple[str, ...]:
    """Splits of a name. Raises InputError where there is no such name."""
    parsed(text)
    return tuple(COUNTS)


def open_scenes(text: str, *, split: str | None = None, labels: str | None = None) -> Source:
    """The scenes of a name: one split or all. Raises InputError for other names, splits and labels."""
    kind, side = parsed(text)
    check_split(split, tuple(COUNTS), text)
    if labels not in {None, NONE, "label", "labels"}:
        raise InputError(
            f"labels={labels!r}: {text} has one kind of labels, which needs no name; {NONE!r} leaves it out"
        )
    sources = [_one(kind, side, each, labelled=labels != NONE) for each in ([split] if split else COUNTS)]
    return sources[0] if len(sources) == 1 else Joined.of(sources)


def _one(kind: str, side: int, split: str, *, labelled: bool) -> SceneSource:
    count = COUNTS[split] // (4 if kind == "mosaics" else 1)
    known: dict[str, Any] = {}
    if labelled and kind == "scenes":
        known = {"labels": np.arange(count) % len(CLASSES), "class_names": CLASSES}
    return SceneSource(
        name=kind,
        fingerprint=digest("scenes", _VERSION, kind, side, split),
        names=[f"{kind}-{side}/{split}/{number}" for number in range(count)],
        splits=tuple(COUNTS),
        split=split,
        kind=kind,
        side=side,
        **known,
    )
