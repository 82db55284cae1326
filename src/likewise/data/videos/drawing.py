"""Synthetic videos of moving shapes with known motion, masks and labels: a pure function of (seed, number).

One or two shapes move over a texture that drifts or stands still. What moves how is the label `action`; which shape it
is, the label `appearance`; the two, and all textures, are independent of each other. Textures are sums of waves, so
they are known between pixels as well and nothing is interpolated. Plain videos have none: light shapes move over a dark
background that stands still, so that two clips of one video have nothing in common but what moves, and how.

T frames, S pixels of a side. Lengths are in pixels of a side of 32 and grow with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.data.batches.numbers import uniform
from likewise.data.decoding.decoded import Pixels

ACTIONS = ("still", "horizontal", "vertical", "diagonal", "circle", "oscillate", "grow", "shrink")
"""How the shapes move. Mirrored left to right each stays what it is, since views are mirrored."""
LENGTH = 40
"""Frames of a video."""
USUAL_SIDE = 32
_KEY = 0x636C6970
_WAVES = 6
_OVER = 2  # points along a side of a pixel that shapes are sampled at
_SMALLEST, _LARGEST = 3.5, 12.0  # radius at the ends of growing and shrinking
_DARK, _LIGHT = -0.6, 0.8  # of plain videos, before `_squeezed`

Array = NDArray[np.float64]


class Clip(NamedTuple):
    """One video with everything that is known of it."""

    frames: Pixels
    """(T, S, S, 3) uint8."""
    masks: NDArray[np.uint8]
    """(T, S, S) uint8: 255 where a shape covers the pixel."""
    flow: NDArray[np.float32]
    """(T, S, S, 2) motion to the next frame in pixels, to the right and down; the last frame has one, too."""
    action: int
    """Position in `ACTIONS`."""
    appearance: int
    """Position in `APPEARANCES`."""


def _star(y: Array, x: Array) -> NDArray[np.bool_]:
    return np.asarray(np.hypot(y, x) < 0.66 + 0.33 * np.cos(5 * np.arctan2(x, -y)))


SHAPES: dict[str, Callable[[Array, Array], NDArray[np.bool_]]] = {
    "disc": lambda y, x: np.hypot(y, x) < 0.95,
    "square": lambda y, x: np.maximum(abs(y), abs(x)) < 0.8,
    "triangle": lambda y, x: (y < 0.65) & (abs(x) < 0.55 * (y + 0.95)),
    "star": _star,
    "ring": lambda y, x: abs(np.hypot(y, x) - 0.7) < 0.27,
    "cross": lambda y, x: (np.minimum(abs(y), abs(x)) < 0.3) & (np.maximum(abs(y), abs(x)) < 0.95),
}
"""Whether points are inside, relative to the middle of the shape and in units of its radius, y downwards."""
APPEARANCES = tuple(SHAPES)


class _Texture(NamedTuple):
    """Colours in the plane: a sum of waves, squeezed into 0 to 1."""

    waves_K2: Array
    """Radians a pixel, down and to the right."""
    phase_K: Array
    colour_K3: Array
    base_3: Array

    def at(self, y: Array, x: Array) -> Array:
        """(..., 3) the colours at places in pixels."""
        angle = y[..., None] * self.waves_K2[:, 0] + x[..., None] * self.waves_K2[:, 1] + self.phase_K
        return _squeezed(np.cos(angle) @ self.colour_K3 + self.base_3)

    def moved(self, side: int, down_T: Array, right_T: Array) -> Array:
        """(T, S, S, 3) `at` the pixels of an image, moved by some pixels in each frame.

        cos(a + b) for all pixels a and moves b is a product of two small matrices of complex numbers.
        """
        at = np.arange(side) + 0.5
        pixels_KSS = np.exp(1j * (self.waves_K2[:, :1, None] * at[:, None] + self.waves_K2[:, 1:, None] * at))
        moves_TK = np.exp(1j * (np.stack([down_T, right_T], 1) @ self.waves_K2.T + self.phase_K))
        waves_T3K = moves_TK[:, None, :] * self.colour_K3.T
        sums_T3P = (waves_T3K.reshape(-1, len(self.phase_K)) @ pixels_KSS.reshape(len(self.phase_K), -1)).real
        return _squeezed(sums_T3P.reshape(-1, 3, side, side).transpose(0, 2, 3, 1) + self.base_3)


def _squeezed(sums: Array) -> Array:
    return np.asarray(0.5 + 0.5 * np.tanh(sums.astype(np.float32)))


class _Path(NamedTuple):
    """Where the middle of a shape is, and how large it is, in T + 1 frames."""

    y: Array
    x: Array
    radius: Array


def clip(seed: int, number: int, side: int = USUAL_SIDE, length: int = LENGTH, *, plain: bool = False) -> Clip:
    """Video `number` of those of `seed`. Actions take turns, and shapes after each round of them.

    A `plain` one has the same paths without textures, and a background that stands still.
    """
    action, appearance = number % len(ACTIONS), number // len(ACTIONS) % len(APPEARANCES)
    numbers = iter(uniform(256, _KEY, seed, number).tolist())
    unit = side / USUAL_SIDE
    drift_2 = np.zeros(2) if next(numbers) < 0.25 else unit * np.array([2 * next(numbers) - 1, 2 * next(numbers) - 1])
    background = _texture(numbers, unit)
    if plain:
        background, drift_2 = _flat(_DARK), np.zeros(2)
    at_y, at_x = (np.arange(side) + 0.5 for _ in range(2))
    down, right = np.meshgrid(at_y, at_x, indexing="ij")
    colour = background.moved(side, *(drift_2[:, None] * np.arange(length)))
    flow = np.broadcast_to(-drift_2[::-1], (length, side, side, 2)).astype(np.float32)
    covered = np.zeros((length, side, side))
    for _ in range(1 if next(numbers) < 0.5 else 2):
        path = _path(ACTIONS[action], numbers, side, length)
        share = _coverage(SHAPES[APPEARANCES[appearance]], path, side)
        own_y, own_x = (down - path.y[:-1, None, None], right - path.x[:-1, None, None])
        scale = (path.radius[0] / path.radius[:-1])[:, None, None]
        texture = _texture(numbers, unit)
        texture = _flat(_LIGHT) if plain else texture
        if ACTIONS[action] in {"grow", "shrink"}:
            inside = texture.at(own_y * scale, own_x * scale)
        else:
            inside = texture.moved(side, -path.y[:-1], -path.x[:-1])
        colour = share[..., None] * inside + (1.0 - share[..., None]) * colour
        flow = np.where((share > 0.5)[..., None], _motion(path, own_y, own_x), flow)
        covered = np.maximum(covered, share)
    frames, masks = ((255 * part).round().astype(np.uint8) for part in (colour, covered))
    return Clip(frames, masks, flow, action, appearance)


def _texture(numbers: Iterator[float], unit: float) -> _Texture:
    """A texture with waves of 5 to 24 pixels in all directions."""
    draw_K6 = np.array([[next(numbers) for _ in range(6)] for _ in range(_WAVES)])
    rate_K = 2 * np.pi / (unit * 5.0 * (24.0 / 5.0) ** draw_K6[:, 0])
    angle_K = 2 * np.pi * draw_K6[:, 1]
    waves_K2 = rate_K[:, None] * np.stack([np.sin(angle_K), np.cos(angle_K)], 1)
    base_3 = np.array([2.0 * next(numbers) - 1.0 for _ in range(3)])
    return _Texture(waves_K2, 2 * np.pi * draw_K6[:, 2], 1.2 * draw_K6[:, 3:] - 0.6, base_3)


def _flat(level: float) -> _Texture:
    """One grey everywhere."""
    return _Texture(np.zeros((1, 2)), np.zeros(1), np.zeros((1, 3)), np.full(3, level))


def _path(action: str, numbers: Iterator[float], side: int, length: int) -> _Path:
    """A drawn path of one shape; it turns back at the borders."""
    unit = side / USUAL_SIDE
    time = np.arange(length + 1.0)
    radius, speed = unit * (5.0 + 3.0 * next(numbers)), unit * (1.0 + 2.0 * next(numbers))
    start_2 = np.array([next(numbers), next(numbers)])
    signs_2 = np.array([1.0 if next(numbers) < 0.5 else -1.0 for _ in range(2)])
    angle, reach = 2 * np.pi * next(numbers), unit * (4.0 + 3.0 * next(numbers))
    sizes = np.full(length + 1, radius)
    if action in {"grow", "shrink"}:
        sizes = unit * _SMALLEST * (_LARGEST / _SMALLEST) ** (time / length)
        sizes = sizes if action == "grow" else sizes[::-1]
        middle = side / 2 + unit * 6.0 * (start_2 - 0.5)
        return _Path(np.full(length + 1, middle[0]), np.full(length + 1, middle[1]), sizes)
    moving = {"horizontal": (0.0, 1.0), "vertical": (1.0, 0.0), "diagonal": (1.0, 1.0)}.get(action, (0.0, 0.0))
    margin = radius + (reach if action in {"circle", "oscillate"} else 0.0)
    margin = min(margin, 0.5 * side - 0.5)
    places = [
        _folded(margin + start * (side - 2 * margin) + sign * part * speed * time, margin, side - margin)
        for start, sign, part in zip(start_2, signs_2, moving, strict=True)
    ]
    if action == "circle":
        turn = angle + signs_2[0] * speed / reach * time
        places = [places[0] + reach * np.sin(turn), places[1] + reach * np.cos(turn)]
    elif action == "oscillate":
        swing = reach * np.sin(speed / reach * time)
        places = [places[0] + np.sin(angle) * swing, places[1] + np.cos(angle) * swing]
    return _Path(places[0], places[1], sizes)


def _folded(place: Array, low: float, high: float) -> Array:
    """A straight way, reflected at both ends."""
    width = max(high - low, 1e-6)
    return np.asarray(low + width - abs((place - low) % (2 * width) - width))


def _coverage(shape: Callable[[Array, Array], NDArray[np.bool_]], path: _Path, side: int) -> Array:
    """(T, S, S) share of each pixel that the shape covers."""
    points = (np.arange(side * _OVER) + 0.5) / _OVER
    radius = path.radius[:-1, None, None]
    down = (points[None, :, None] - path.y[:-1, None, None]) / radius
    right = (points[None, None, :] - path.x[:-1, None, None]) / radius
    inside = shape(*np.broadcast_arrays(down, right))
    return np.asarray(inside.reshape(len(inside), side, _OVER, side, _OVER).mean((2, 4)))


def _motion(path: _Path, own_y: Array, own_x: Array) -> NDArray[np.float32]:
    """(T, S, S, 2) where a point of the shape goes: with its middle, and away from it as the shape grows."""
    growth = (path.radius[1:] / path.radius[:-1] - 1.0)[:, None, None]
    across, along = (np.diff(part)[:, None, None] for part in (path.x, path.y))
    return np.stack([across + growth * own_x, along + growth * own_y], -1).astype(np.float32)
