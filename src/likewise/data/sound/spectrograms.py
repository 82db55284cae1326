"""Sound files as log-mel spectrograms: power in mel bands, in windows of 25 ms every 10 ms.

Shapes: S samples, F frames of 10 ms, M mel bands.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache
from math import gcd
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError

RATE = 16_000
"""Samples a second, to which all sound is brought."""
HOP = 160
WINDOW = 400
FRAMES_A_SECOND = RATE // HOP
_FFT = 512
_FLOOR = 1e-6


class Recordings(NamedTuple):
    """The spectrograms of several recordings, one after the other."""

    frames: NDArray[np.float32]
    """(F, M) log of the power in each band, of all recordings."""
    power: NDArray[np.float32]
    """(F,) mean square of the samples around each frame."""
    first: NDArray[np.int64]
    """(R,) where each recording begins."""
    length: NDArray[np.int64]
    """(R,) frames of each."""


def read_sound(path: Path | str) -> NDArray[np.float32]:
    """(S,) samples of a .wav file between -1 and 1, its channels averaged, at `RATE`.

    Raises InputError where it cannot be read, and where it is empty.
    """
    from scipy.io import wavfile
    from scipy.signal import resample_poly

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # of chunks that hold no sound
            rate, data = wavfile.read(path)
    except (OSError, ValueError, EOFError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"{path} is no .wav file that can be read: {reason.lower()}") from error
    if not len(data) or rate < 1:
        raise InputError(f"{path} holds no sound")
    if data.dtype.kind in "iu":
        middle = 128.0 if data.dtype == np.uint8 else 0.0
        samples = (data.astype(np.float32) - middle) / (128.0 if data.dtype == np.uint8 else np.iinfo(data.dtype).max)
    else:
        samples = data.astype(np.float32)
    samples = samples.mean(1) if samples.ndim == 2 else samples
    if rate != RATE:
        shared = gcd(int(rate), RATE)
        samples = resample_poly(samples, RATE // shared, int(rate) // shared).astype(np.float32)
    return np.asarray(np.nan_to_num(samples), np.float32)


def log_mel(samples_S: NDArray[np.float32], bands: int) -> NDArray[np.float32]:
    """(F, M) natural logarithm of the power in `bands` mel bands from 0 to 8 kHz; F = S / `HOP`, rounded up."""
    count = -(-len(samples_S) // HOP)
    padded = np.pad(samples_S, (WINDOW // 2, WINDOW // 2 + HOP))
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:count]
    shape, filters = np.hanning(WINDOW).astype(np.float32), mel_filters(bands)
    found = np.empty((count, bands), np.float32)
    for start in range(0, count, 4096):
        power = np.abs(np.fft.rfft(windows[start : start + 4096] * shape, _FFT)) ** 2
        found[start : start + 4096] = np.log(power @ filters + _FLOOR)
    return found


@lru_cache(maxsize=8)
def mel_filters(bands: int) -> NDArray[np.float32]:
    """(257, M) triangles evenly spaced on the mel scale 2595 log10(1 + f / 700), each touching its neighbours' middles.

    A band narrower than the distance of two frequencies has the nearest one.
    """
    top = 2595.0 * np.log10(1.0 + RATE / 2 / 700.0)
    middles = 700.0 * (10.0 ** (np.linspace(0.0, top, bands + 2) / 2595.0) - 1.0)
    frequencies = np.linspace(0.0, RATE / 2, _FFT // 2 + 1)[:, None]
    rising = (frequencies - middles[:-2]) / (middles[1:-1] - middles[:-2])
    falling = (middles[2:] - frequencies) / (middles[2:] - middles[1:-1])
    filters = np.clip(np.minimum(rising, falling), 0.0, None)
    empty = ~filters.any(0)
    filters[np.abs(frequencies - middles[1:-1]).argmin(0)[empty], np.flatnonzero(empty)] = 1.0
    return filters.astype(np.float32)


@lru_cache(maxsize=2)
def recordings(paths: Sequence[str], bands: int) -> Recordings:
    """The spectrograms of sound files, in their order. Raises InputError for one that cannot be read."""
    parts, powers = [], []
    for path in paths:
        samples = read_sound(path)
        parts.append(log_mel(samples, bands))
        squares = np.pad(samples**2, (0, len(parts[-1]) * HOP - len(samples)))
        powers.append(squares.reshape(-1, HOP).mean(1).astype(np.float32))
    count = np.array([len(part) for part in parts], np.int64)
    frames = np.concatenate(parts) if parts else np.zeros((0, bands), np.float32)
    power = np.concatenate(powers) if powers else np.zeros(0, np.float32)
    return Recordings(frames, power, np.cumsum(count) - count, count)


def starts_of(
    seconds_N: NDArray[np.float64], code_N: NDArray[np.int64], length: int, of: Recordings
) -> NDArray[np.int64]:
    """(N,) first frame of `length` frames around a moment of recording `code_N`, in `Recordings.frames`.

    Where they would reach beyond the recording they are moved into it.
    """
    start_N = np.rint(seconds_N * FRAMES_A_SECOND).astype(np.int64) - length // 2
    found_N: NDArray[np.int64] = of.first[code_N] + start_N.clip(0, np.maximum(of.length[code_N] - length, 0))
    return found_N


def spoken(
    seconds_N: NDArray[np.float64], code_N: NDArray[np.int64], length: int, of: Recordings, quiet: float
) -> NDArray[np.bool_]:
    """(N,) whether there is speech around each moment: loudness (root mean square) from `quiet` times the recording's
    on. Never where there is no recording (-1).
    """
    has_N = code_N >= 0
    if not len(of.length):
        return np.zeros(len(code_N), bool)
    known_N = np.where(has_N, code_N, 0)
    summed = np.concatenate([[0.0], np.cumsum(of.power, dtype=np.float64)])
    start_N = starts_of(seconds_N, known_N, length, of)
    end_N = np.minimum(start_N + length, of.first[known_N] + of.length[known_N])
    mean_N = (summed[end_N] - summed[start_N]) / np.maximum(end_N - start_N, 1)
    whole_R = (summed[of.first + of.length] - summed[of.first]) / of.length
    return np.asarray(has_N & (mean_N > 0) & (mean_N >= quiet**2 * whole_R[known_N]))
