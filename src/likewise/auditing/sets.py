"""Sets of stimuli: made from any images, or read from a folder of existing stimuli.

Shapes: N stimuli of S x S pixels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.auditing.distortions import amplitudes, grey
from likewise.auditing.experiments import EXPERIMENTS, Setting, experiment, stimuli
from likewise.auditing.reference import CONSTANTS, reference
from likewise.auditing.trials import Numbers, Texts, image_id
from likewise.data import Images, cached_side, open_source, prepare
from likewise.data.source import Part, spread
from likewise.errors import InputError, unknown
from likewise.views import centre, make_views

REFERENCE_IMAGES = 500
"""Training images whose mean amplitude spectrum is what power equalisation gives to all."""
_PUBLISHED = re.compile(r"^\d+_[^_]+_[^_]+_(?P<condition>[^_]+)_(?P<category>[a-z]+)_[^_]+_")
"""NNNN_<code>_sNN_<condition>_<category>_<nn>_<image id>"""
_CONFLICT = re.compile(r"^(?P<shape>[a-z]+)\d+-[a-z]+\d+\.")


@dataclass(frozen=True)
class StimulusSet:
    """The stimuli of one experiment."""

    experiment: str
    """One of the 17."""
    pixels_NSS3: NDArray[np.uint8]
    """As they are shown."""
    image_N: Texts
    """Name of each without its trial."""
    condition_N: Texts
    """Level of each."""
    truth_N: Numbers
    """Category of each by number."""

    def __len__(self) -> int:
        return len(self.image_N)

    def gather(self, index: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Pixels (B, S, S, 3) and sizes (B, 2), as of `likewise.data.Images`."""
        pixels = self.pixels_NSS3[index]
        sizes = np.broadcast_to(np.asarray(pixels.shape[1:3]), (len(pixels), 2)).copy()
        return torch.from_numpy(pixels), torch.from_numpy(sizes)


def squares(images: Images, positions: NDArray[np.int64], side: int, fraction: float) -> NDArray[np.uint8]:
    """(N, S, S, 3) middle squares of some images, as an encoder sees them, in 8 bits."""
    view = centre(side, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), fraction=fraction)
    found = np.empty((len(positions), side, side, 3), dtype=np.uint8)
    for start in range(0, len(positions), 64):
        pixels, sizes = images.gather(positions[start : start + 64])
        shown = make_views({"centre": view}, pixels, sizes, seed=0, step=0)["centre"].image
        rounded = (shown.float() * 255.0).round().clamp(0, 255).to(torch.uint8)
        found[start : start + len(pixels)] = rounded.permute(0, 2, 3, 1).numpy()
    return found


def setting_of(bank: Images, side: int, fraction: float, constants: Path | None = None) -> Setting:
    """What stimuli share: the mean spectrum of training images, or at 224 px the published one where it is given."""
    if constants is not None and side == 224:
        with np.load(constants) as stored:
            spectrum = stored["mean_amplitude_spectrum_224"].astype(np.float64)
        return Setting(side, spectrum, reference().monitor_256)
    some = squares(bank, spread(len(bank), REFERENCE_IMAGES), side, fraction)
    mean = np.mean([amplitudes(grey(one / 255.0)) for one in some], axis=0)
    return Setting(side, mean, reference().monitor_256)


def constants_in(human: str | Path | None) -> Path | None:
    """The file of the published spectrum beside the trials of people, or None."""
    if human is None:
        return None
    folder = Path(human) if Path(human).is_dir() else Path(human).parent
    return folder / CONSTANTS if (folder / CONSTANTS).is_file() else None


def levels_for(truth_N: Numbers, levels: Sequence[str], seed: int) -> NDArray[np.str_]:
    """One level for each image, every level equally often within a class, as far as its number allows."""
    draw = np.random.default_rng(seed)
    found = np.empty(len(truth_N), dtype=object)
    first = 0
    for value in np.unique(truth_N):
        rows = draw.permutation(np.flatnonzero(truth_N == value))
        order = draw.permutation(len(levels))
        found[rows] = [levels[order[(first + place) % len(levels)]] for place in range(len(rows))]
        first += len(rows)  # so that small classes do not all begin with the same level
    return found.astype(np.str_)


def made(
    name: str,
    pixels_NSS3: NDArray[np.uint8],
    truth_N: Numbers,
    setting: Setting,
    *,
    seed: int,
    every_level: bool = False,
) -> StimulusSet:
    """The stimuli of one experiment: each image at ONE level, as the benchmark does it, or at all of them.

    Names are positions of the images. The seed of the noise of image i is `seed` + i, at every level.
    """
    levels = experiment(name).conditions
    rows = np.arange(len(truth_N))
    if every_level:
        rows = np.tile(rows, len(levels))
        condition = np.repeat(np.asarray(levels, dtype=np.str_), len(truth_N))
    else:
        condition = levels_for(truth_N, levels, seed + list(EXPERIMENTS).index(name))
    pixels = stimuli(name, pixels_NSS3[rows], condition.tolist(), (rows + seed).tolist(), setting)
    return StimulusSet(name, pixels, rows.astype(np.str_), condition, truth_N[rows])


def read_sets(
    given: Sequence[str], categories: Sequence[str], side: int, *, cache_dir: Path | None = None
) -> tuple[list[StimulusSet], list[str]]:
    """Stimuli that others made, and notes: of a folder with a sub-folder for each experiment, or `EXPERIMENT=DATA`.

    Level, category and image are read off the published names (`NNNN_<code>_sNN_<level>_<category>_<nn>_<image>`), of
    cue conflicts off `dog10-bicycle1.png`, and else the folder above is the category. Images of other categories than
    `categories` are left out. Raises InputError where nothing is found.
    """
    found, notes = [], []
    for one in given:
        name, separator, path = one.partition("=")
        named = {name: path} if separator else _folders(Path(one))
        for each, where in named.items():
            experiment(each)
            stimulus_set, result = _read(each, where, categories, side, cache_dir)
            found.append(stimulus_set)
            notes += result
    twice = [one.experiment for one in found if [other.experiment for other in found].count(one.experiment) > 1]
    if twice:
        raise InputError(f"stimuli of {twice[0]} are given twice: name them once")
    return found, notes


def _folders(path: Path) -> dict[str, str]:
    if not path.is_dir():
        raise InputError(f"stimuli {path}: no such folder; allowed are a folder of experiments and EXPERIMENT=DATA")
    found = {name: str(path / name) for name in EXPERIMENTS if (path / name).is_dir()}
    if not found:
        there = sorted(one.name for one in path.iterdir() if one.is_dir())
        raise unknown("experiment in the names of folders", there[0] if there else "", EXPERIMENTS)
    return found


def _read(
    name: str, where: str, categories: Sequence[str], side: int, cache_dir: Path | None
) -> tuple[StimulusSet, list[str]]:
    source = open_source(where, labels="none")
    result = [_described(name, path) for path in source.names]
    number = {category: place for place, category in enumerate(categories)}
    kept = np.asarray([place for place, (level, category, _) in enumerate(result)
                       if category in number and level in EXPERIMENTS[name].conditions], dtype=np.int64)  # fmt: skip
    if not len(kept):
        first = source.names[0] if len(source) else where
        raise InputError(
            f"no stimulus of {name} in {where} names one of its levels and one of the categories "
            f"{', '.join(list(categories)[:6])}, ...: the first is {first}"
        )
    images = prepare(Part.of(source, kept), short_side=cached_side(side), cache_dir=cache_dir)
    pixels = squares(images, np.arange(len(images)), side, 1.0)
    rows = [_described(name, path) for path in images.names]
    notes = [
        f"{name}: {len(result) - len(rows):,} of {len(result):,} images are of no category or level that is asked for"
    ]
    return StimulusSet(
        name,
        pixels,
        np.asarray([image for _, _, image in rows], dtype=np.str_),
        np.asarray([level for level, _, _ in rows], dtype=np.str_),
        np.asarray([number[category] for _, category, _ in rows], dtype=np.int64),
    ), notes if len(result) > len(rows) else []


def _described(name: str, path: str) -> tuple[str, str, str]:
    """Level, category and image of a stimulus by its name."""
    place = Path(path)
    if (published := _PUBLISHED.match(place.name)) is not None:
        return published["condition"], published["category"], image_id(place.name)
    if name == "cue-conflict":
        conflict = _CONFLICT.match(place.name)
        return ("0", conflict["shape"] if conflict else "", place.name)
    return (
        EXPERIMENTS[name].conditions[0] if len(EXPERIMENTS[name].conditions) == 1 else "",
        place.parent.name,
        path,  # whole: cat/1.png and dog/1.png are two images
    )
