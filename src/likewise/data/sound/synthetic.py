"""`synthetic:ultrasound`: a camera moves over handwritten digits; speech names them late or not at all.

Each scan is a path over a canvas with real 8 x 8 digits (of scikit-learn, enlarged), seen through a fan with speckle
noise and blur; it stays 3 to 6 s at a digit. Of the sentences that are spoken, 0 to 1.5 s after it arrived, a third are
unrelated talk; voices change within a scan. A row of the data is a frame, at 2 Hz, with the columns `scan`, `time` (ms)
and `speech` (the scan's sound file); its label is the digit in the middle, unknown while the camera moves.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.data.caching.places import cache_root
from likewise.data.fingerprints import digest
from likewise.data.labels import NONE
from likewise.data.sound.spectrograms import RATE
from likewise.data.sound.voices import PROGRAM, VOICES, speak, speaks, tones
from likewise.data.source import Column, Joined, Source
from likewise.data.sources.arrays import open_arrays
from likewise.data.splitting.splits import check_split
from likewise.errors import InputError
from likewise.files import write_aside

NAME = "synthetic:ultrasound"
TONES = "tones"
SPLITS = ("train", "test")
SCANS, LEAST, MOST = 40, 2, 2000
SIDE, RATE_HZ, SECONDS = 32, 2, 60
_CELL, _CELLS = 28, 5
_UNRELATED = 0.35
_SPOKEN = 0.85
_VERSION = 1
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NAMING = ("this is a {}", "here we see the {}", "now the {} comes into view")
OTHER = (
    "please lie still for a moment",
    "let me warm up the gel",
    "the weather is lovely today",
    "I will take a measurement",
    "we are nearly finished",
    "can you breathe in deeply",
)
_LOG = logging.getLogger(__name__)


class Scan(NamedTuple):
    """One recording."""

    frames: NDArray[np.uint8]
    """(T, 32, 32)."""
    labels: NDArray[np.int64]
    """(T,) the digit, -1 on the way."""
    sound: NDArray[np.int16]
    """(S,) at 16 kHz."""


def is_ultrasound(text: str) -> bool:
    """Whether a name is one of these."""
    return text == NAME or text.startswith(f"{NAME}:")


def parsed(text: str) -> tuple[int, bool]:
    """Training scans of `synthetic:ultrasound[:SCANS][:tones]`, and whether tones stand for speech.

    Raises InputError for other names.
    """
    given = [part for part in text.removeprefix(NAME).split(":") if part]
    numbers = [int(part) for part in given if part.isdigit()]
    scans = numbers[0] if numbers else SCANS
    if len(numbers) > 1 or any(part != TONES and not part.isdigit() for part in given) or not LEAST <= scans <= MOST:
        raise InputError(
            f"{text!r}: a number of scans from {LEAST} to {MOST} may follow, and 'tones', as in {NAME}:{SCANS}:tones"
        )
    return scans, TONES in given


def splits_of(text: str) -> tuple[str, ...]:
    """Splits of a name. Raises InputError where there is no such name."""
    parsed(text)
    return SPLITS


def open_ultrasound(text: str, *, split: str | None = None, labels: str | None = None) -> Source:
    """The frames of one split or of both; test scans are a quarter as many as those for training.

    Labels are the digits in view, or one of the columns. Raises InputError for other names and splits.
    """
    scans, with_tones = parsed(text)
    check_split(split, SPLITS, text)
    if not with_tones and not speaks():
        _LOG.warning("%s is not installed: codes of tones stand for speech in %s", PROGRAM, text)
        with_tones = True
    parts = [_part(each, scans, labels, with_tones=with_tones) for each in ([split] if split else SPLITS)]
    return parts[0] if len(parts) == 1 else _joined(parts)


def _part(split: str, scans: int, labels: str | None, *, with_tones: bool) -> Source:
    counts = {"train": scans, "test": max(1, scans // 4)}
    folder = cache_root() / "synthetic" / f"ultrasound-{digest('ultrasound', _VERSION, with_tones)[:12]}"
    numbers = range(counts["train"]) if split == "train" else range(MOST, MOST + counts["test"])
    kept = [_kept(folder, number, with_tones=with_tones) for number in numbers]
    frames, marks = (np.concatenate([scan[part] for scan, _ in kept]) for part in (0, 1))
    each = len(kept[0][0][0])
    scan_N = np.repeat(np.arange(len(kept)), each)
    columns = {
        "scan": Column(scan_N),
        "time": Column(np.tile(np.arange(each) * (1000 // RATE_HZ), len(kept))),
        "speech": Column(scan_N, tuple(str(sound) for _, sound in kept)),
        "digit": Column(marks, DIGITS),
    }
    chosen = "digit" if labels in {None, "label", "labels"} else str(labels)
    if chosen not in {*columns, NONE}:
        raise InputError(f"labels of {NAME}: unknown {chosen!r}, allowed are {', '.join(columns)} and {NONE}")
    found = open_arrays(
        {"images": frames}, name="ultrasound", fingerprint=digest(NAME, _VERSION, with_tones, split, scans), labels=NONE
    )
    label = columns.get(chosen, Column(np.full(len(frames), -1)))
    return replace(
        found,
        names=[f"{split}/{scan:04d}/{at * (1000 // RATE_HZ):06d}" for scan in range(len(kept)) for at in range(each)],
        labels=None if chosen == NONE else label.values,
        class_names=label.names if chosen != NONE else None,
        columns=columns,
        splits=SPLITS,
        split=split,
        split_counts={name: count * each for name, count in counts.items()},
    )


def _joined(parts: list[Source]) -> Source:
    """Both splits; scans of the second are numbered after those of the first."""
    whole, scans = Joined.of(parts), int(parts[0].columns["scan"].values.max()) + 1
    first, second = (part.columns for part in parts)
    shift = {"scan": scans, "speech": scans}
    columns = {
        name: Column(
            np.concatenate([first[name].values, second[name].values + shift.get(name, 0)]),
            (*(first[name].names or ()), *(second[name].names or ())) if name == "speech" else first[name].names,
        )
        for name in first
    }
    return replace(whole, columns=columns)


# Making ------------------------------------------------------------------------------------------------------------


def _kept(folder: Path, number: int, *, with_tones: bool) -> tuple[tuple[NDArray[np.uint8], NDArray[np.int64]], Path]:
    """Frames and labels of a scan, and its sound file, made once."""
    table, sound = folder / f"{number:05d}.npz", folder / f"{number:05d}.wav"
    if not (table.is_file() and sound.is_file()):
        folder.mkdir(parents=True, exist_ok=True)
        made = scan(number, with_tones=with_tones)
        from scipy.io import wavfile

        with write_aside(sound) as file:
            wavfile.write(file, RATE, made.sound)
        with write_aside(table) as file:
            np.savez(file, frames=made.frames, labels=made.labels)
    with np.load(table) as found:
        return (found["frames"], found["labels"]), sound


def scan(number: int, *, with_tones: bool) -> Scan:
    """One scan, a pure function of its number."""
    generator = np.random.default_rng((_VERSION, number))
    images, marks = _digits()
    chosen = generator.integers(0, len(marks), _CELLS * _CELLS)
    canvas = _canvas(images[chosen], generator)
    stops, arrived = _path(generator)
    cell = np.array([_CELL * (at // _CELLS) + _CELL // 2 for at in range(_CELLS**2)])
    times = np.arange(SECONDS * RATE_HZ) / RATE_HZ
    frames, labels = [], []
    for time in times:
        at = int(np.searchsorted(arrived, time, side="right")) - 1
        left = arrived[at + 1] - time
        share = 1.0 - min(1.0, left / 1.0)  # the last second of a stop is the way to the next
        ends = [np.array([cell[stop], _CELL * (stop % _CELLS) + _CELL // 2]) for stop in (stops[at], stops[at + 1])]
        middle = ends[0] * (1 - share) + ends[1] * share + generator.normal(0, 0.8, 2)
        frames.append(_seen(canvas, middle, generator))
        labels.append(int(marks[chosen[stops[at]]]) if share == 0 else -1)
    sound = _narrated([int(marks[chosen[stop]]) for stop in stops], arrived, generator, with_tones=with_tones)
    return Scan(np.stack(frames), np.array(labels, np.int64), sound)


@cache
def _digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(1797, 20, 20) in [0, 1] and their labels."""
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits

    found: Any = load_digits()
    large = zoom(found.images.astype(np.float32) / 16.0, (1, 2.5, 2.5), order=1)
    return np.asarray(large.clip(0, 1), np.float32), np.asarray(found.target, np.int64)


def _canvas(images: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    """The digits in a square of cells, on a faint ground."""
    side = _CELL * _CELLS
    canvas = np.full((side, side), 0.12, np.float32)
    for at, image in enumerate(images):
        top, left = _CELL * (at // _CELLS) + 4, _CELL * (at % _CELLS) + 4
        down, across = generator.integers(-2, 3, 2)
        canvas[top + down : top + down + 20, left + across : left + across + 20] += image * generator.uniform(0.6, 0.9)
    return np.pad(canvas, SIDE, constant_values=0.12)


def _path(generator: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The digits that are stopped at, and when each is arrived at; a stop lasts 3 to 6 s, the way to the next 1 s."""
    arrived = [0.0]
    while arrived[-1] <= SECONDS + 7:
        arrived.append(arrived[-1] + generator.uniform(3.0, 6.0) + 1.0)
    return generator.integers(0, _CELLS**2, len(arrived)), np.array(arrived)


@cache
def _fan() -> NDArray[np.float32]:
    """(32, 32) what the probe sees: a sector from the top."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    down, across = rows + 6.0, columns - (SIDE - 1) / 2
    inside = (np.abs(np.arctan2(across, down)) < 0.75) & (np.hypot(down, across) < SIDE + 7)
    return np.asarray(inside, np.float32)


def _seen(
    canvas: NDArray[np.float32], middle: NDArray[np.float64], generator: np.random.Generator
) -> NDArray[np.uint8]:
    """(32, 32) the window around a place, with speckle and blur, through the fan."""
    from scipy.ndimage import gaussian_filter

    top, left = (np.rint(middle).astype(int) + SIDE - SIDE // 2).tolist()
    window = canvas[top : top + SIDE, left : left + SIDE]
    speckled = gaussian_filter(window * generator.gamma(4.0, 0.25, window.shape), 0.6)
    return np.asarray((255 * speckled.clip(0, 1) * _fan()).round(), np.uint8)


def _narrated(
    digits: list[int], arrived: NDArray[np.float64], generator: np.random.Generator, *, with_tones: bool
) -> NDArray[np.int16]:
    """(S,) the sound of a scan: a sentence at most stops, late, and some of them about something else."""
    sound = generator.normal(0, 0.002, SECONDS * RATE).astype(np.float32)
    for digit, time in zip(digits, arrived, strict=True):
        delay, is_said, other = generator.uniform(0, 1.5), generator.random(), generator.random()
        voice, form = int(generator.integers(len(VOICES))), int(generator.integers(6))
        start = int((time + delay) * RATE)
        if is_said > _SPOKEN or start >= len(sound):
            continue
        said = _sentence(-1 if other < _UNRELATED else digit, form, voice, with_tones=with_tones)[: len(sound) - start]
        sound[start : start + len(said)] += said
    return np.asarray((32767 * sound.clip(-1, 1)).round(), np.int16)


@cache
def _sentence(digit: int, form: int, voice: int, *, with_tones: bool) -> NDArray[np.float32]:
    """What is said of a digit, or of something else (-1)."""
    if with_tones:
        return tones(digit if digit >= 0 else 10 + form, 1.0 + 0.02 * voice)
    text = OTHER[form % len(OTHER)] if digit < 0 else NAMING[form % len(NAMING)].format(DIGITS[digit])
    return speak(text, VOICES[voice])
