"""The 17 experiments of the model-vs-human benchmark: their levels, and how a stimulus of each is made.

Geirhos et al., NeurIPS 2018 (arXiv 1808.08750), ICLR 2019 (arXiv 1811.12231) and NeurIPS 2021 (arXiv 2106.07411).
Levels are strings, as in the published files. Shapes: S pixels, the side of a stimulus.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from likewise.auditing import distortions
from likewise.auditing.eidolon import Eidolon, eidolon
from likewise.errors import unknown

Pixels = NDArray[np.uint8]

PUBLISHED_SIDE, EIDOLON_SIDE = 224, 256
"""Sides in pixels that the published lengths belong to."""


@dataclass(frozen=True)
class Setting:
    """Settings that the stimuli of all experiments share."""

    side: int
    """S; lengths are the published ones times S/224, those of eidolons S/256."""
    amplitude_SS: NDArray[np.float64]
    """Mean amplitude spectrum of a reference set, frequency 0 in the middle, for power equalisation."""
    monitor_256: NDArray[np.float64]
    """Light of the experiments' monitor for each 8-bit value, for false colours."""

    @property
    def scale(self) -> float:
        """Of a length in pixels."""
        return self.side / PUBLISHED_SIDE


Maker = Callable[[Pixels, str, int, Setting], Pixels]


@dataclass(frozen=True)
class Experiment:
    """One of the 17."""

    name: str
    """As in the published files."""
    words: str
    """What is done to the image, for people: `under uniform noise`."""
    conditions: tuple[str, ...]
    """Levels, the weakest first."""
    excluded: tuple[str, ...] = ()
    """Left out of the benchmark's means: undistorted, or people are right in fewer than 20 %."""
    undistorted: str | None = None
    """The level that shows the image as it is, or its grey values."""
    axis: str = ""
    """What a level is."""
    make: Maker | None = None
    """(S, S, 3) stimulus of an image, a level and a seed; None for those that no formula makes."""

    @property
    def distorted(self) -> tuple[str, ...]:
        """All levels but the undistorted one."""
        return tuple(level for level in self.conditions if level != self.undistorted)


def _grey(pixels_SS3: Pixels) -> NDArray[np.float64]:
    return distortions.grey(pixels_SS3 / 255.0)


def _stored(grey_SS: NDArray[np.float64]) -> Pixels:
    return np.repeat(distortions.as_uint8(grey_SS)[..., None], 3, axis=2)


def _colour(pixels: Pixels, level: str, seed: int, setting: Setting) -> Pixels:
    return pixels if level == "cr" else _stored(_grey(pixels))


def _contrast(pixels: Pixels, level: str, seed: int, setting: Setting) -> Pixels:
    return _stored(distortions.contrast(_grey(pixels), int(level[1:]) / 100))


def _high_pass(pixels: Pixels, level: str, seed: int, setting: Setting) -> Pixels:
    return _stored(distortions.high_pass(_grey(pixels), float(level) * setting.scale))


def _low_pass(pixels: Pixels, level: str, seed: int, setting: Setting) -> Pixels:
    return _stored(distortions.low_pass(_grey(pixels), float(level) * setting.scale))


def _phase(pixels: Pixels, level: str, seed: int, setting: Setting) -> Pixels:
    return _stored(distortions.phase_noise(_grey(pixels), float(level), seed))


def _power(pixels: Pixels, level: str, seed: int, setting: Setting) -> Pixels:
    grey = _grey(pixels)
    return _stored(grey if level == "0" else distortions.equalised(grey, setting.amplitude_SS))


def _false_colour(pixels: Pixels, level: str, seed: int, setting: Setting) -> Pixels:
    if level == "True":
        return pixels
    return distortions.as_uint8(distortions.opponent_colour(pixels, setting.monitor_256))


def _rotation(pixels: Pixels, level: str, seed: int, setting: Setting) -> Pixels:
    return _stored(distortions.rotated(_grey(pixels), int(level)))


def _noise(pixels: Pixels, level: str, seed: int, setting: Setting) -> Pixels:
    return _stored(distortions.uniform_noise(_grey(pixels), float(level), seed))


def _eidolon(pixels: Pixels, level: str, seed: int, setting: Setting) -> Pixels:
    reach, coherence, grain = (float(part) for part in level.split("-"))
    # 224 px are the published stimuli, which were made at 256; other images are made at their own size.
    size = EIDOLON_SIDE if setting.side == PUBLISHED_SIDE else setting.side
    factor = size / EIDOLON_SIDE
    how = Eidolon(reach=reach * factor, coherence=coherence / 10, grain=grain * factor)
    made = Image.fromarray(eidolon(pixels, how, seed, size=size))
    if made.size != (setting.side, setting.side):
        made = made.resize((setting.side, setting.side), Image.Resampling.LANCZOS)
    return np.repeat(np.asarray(made)[..., None], 3, axis=2)


def _reaches(coherence: int) -> tuple[str, ...]:
    return tuple(f"{2**power}-{coherence}-10" for power in range(8))


_TABLE = (
    Experiment("colour", "without colours", ("cr", "bw"), ("cr",), "cr", "colour or grey", _colour),
    Experiment(
        "contrast",
        "at low contrast",
        ("c100", "c50", "c30", "c15", "c10", "c05", "c03", "c01"),
        ("c100", "c03", "c01"),
        "c100",
        "contrast in %",
        _contrast,
    ),
    Experiment(
        "high-pass",
        "without coarse structure",
        ("inf", "3.0", "1.5", "1.0", "0.7", "0.55", "0.45", "0.4"),
        ("inf", "0.55", "0.45", "0.4"),
        "inf",
        "width of the filter in pixels of 224",
        _high_pass,
    ),
    Experiment(
        "low-pass",
        "under blur",
        ("0", "1", "3", "5", "7", "10", "15", "40"),
        ("0", "15", "40"),
        "0",
        "width of the blur in pixels of 224",
        _low_pass,
    ),
    Experiment(
        "phase-scrambling",
        "with scrambled phases",
        ("0", "30", "60", "90", "120", "150", "180"),
        ("0", "150", "180"),
        "0",
        "width of the phase noise in degrees",
        _phase,
    ),
    Experiment("power-equalisation", "with equal spectra", ("0", "pow"), ("0",), "0", "original or equalised", _power),
    Experiment(
        "false-colour",
        "in false colours",
        ("True", "False"),
        ("True",),
        "True",
        "true or opponent colours",
        _false_colour,
    ),
    Experiment("rotation", "when turned", ("0", "90", "180", "270"), ("0",), "0", "degrees", _rotation),
    Experiment(
        "eidolonI", "in coherent disarray", _reaches(10), ("1-10-10", "64-10-10", "128-10-10"), None, "reach", _eidolon
    ),
    Experiment(
        "eidolonII",
        "in partly coherent disarray",
        _reaches(3),
        ("1-3-10", "32-3-10", "64-3-10", "128-3-10"),
        None,
        "reach",
        _eidolon,
    ),
    Experiment(
        "eidolonIII",
        "in incoherent disarray",
        _reaches(0),
        ("1-0-10", "16-0-10", "32-0-10", "64-0-10", "128-0-10"),
        None,
        "reach",
        _eidolon,
    ),
    Experiment(
        "uniform-noise",
        "under noise",
        ("0.0", "0.03", "0.05", "0.1", "0.2", "0.35", "0.6", "0.9"),
        ("0.0", "0.6", "0.9"),
        "0.0",
        "half width of the noise",
        _noise,
    ),
    Experiment("sketch", "in sketches", ("0",)),
    Experiment("stylized", "in stylised images", ("0",)),
    Experiment("edge", "in edge drawings", ("0",)),
    Experiment("silhouette", "in silhouettes", ("0",)),
    Experiment("cue-conflict", "where shape and texture disagree", ("0",)),
)
EXPERIMENTS: Mapping[str, Experiment] = {one.name: one for one in _TABLE}
"""All 17, in the order of the benchmark."""
MADE = tuple(one.name for one in _TABLE if one.make is not None)
"""Those whose stimuli are made from any images; the others come from a folder."""
SHARED_SEEDS = 8
"""Noise fields of eidolons are costly, so images share those of so many seeds."""


def experiment(name: str) -> Experiment:
    """The experiment of that name. Raises InputError for others, with the nearest one."""
    if name not in EXPERIMENTS:
        raise unknown("experiment", name, EXPERIMENTS)
    return EXPERIMENTS[name]


def stimuli(
    name: str, images_NSS3: NDArray[np.uint8], levels_N: Sequence[str], seeds_N: Sequence[int], setting: Setting
) -> NDArray[np.uint8]:
    """(N, S, S, 3) stimuli of one experiment, a level and a seed for each image.

    Seeds of eidolons are taken modulo `SHARED_SEEDS`. Raises InputError for an experiment that no formula makes, and as
    the distortions do.
    """
    made_by = experiment(name).make
    if made_by is None:
        raise unknown("experiment with stimuli that are made", name, MADE)
    seeds = [seed % SHARED_SEEDS if name.startswith("eidolon") else seed for seed in seeds_N]
    found = np.empty_like(images_NSS3)
    for place in np.argsort(seeds, kind="stable"):  # those of one seed together: their fields are drawn once
        found[place] = made_by(images_NSS3[place], levels_N[place], seeds[place], setting)
    return found
