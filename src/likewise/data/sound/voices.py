"""Sentences as sound: spoken by espeak-ng where it is installed, else as codes of two tones."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.data.sound.spectrograms import RATE, read_sound
from likewise.errors import InputError

PROGRAM = "espeak-ng"
_SECONDS = 60


class Voice(NamedTuple):
    """The settings of a voice."""

    name: str
    """A voice of espeak-ng: `en-us+m3`."""
    words_a_minute: int
    pitch: int
    """0 to 99."""


VOICES = (
    Voice("en-us+m1", 165, 45),
    Voice("en-us+f2", 150, 60),
    Voice("en-gb+m3", 185, 35),
    Voice("en-us+f4", 175, 70),
)


def speaks() -> bool:
    """Whether the program (espeak-ng) is installed."""
    return shutil.which(PROGRAM) is not None


def speak(sentence: str, voice: Voice) -> NDArray[np.float32]:
    """(S,) a sentence by espeak-ng. Raises InputError where the program is missing or fails."""
    if not speaks():
        raise InputError(f"{PROGRAM} is not installed: install it (apt-get install {PROGRAM}), or ask for tones")
    with tempfile.TemporaryDirectory(prefix="likewise-voice-") as folder:
        file = Path(folder) / "said.wav"
        words = [PROGRAM, "-v", voice.name, "-s", str(voice.words_a_minute), "-p", str(voice.pitch), "-w", str(file)]
        done = subprocess.run(  # noqa: S603  # sentences of this project, and no shell
            [*words, "--", sentence], check=False, capture_output=True, text=True, timeout=_SECONDS
        )
        if done.returncode:
            raise InputError(f"{PROGRAM} failed: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")
        return read_sound(file)


def tones(number: int, pitch: float = 1.0) -> NDArray[np.float32]:
    """(S,) 0.9 s of two tones that say a number, like the keys of a telephone; `pitch` moves both."""
    low, high = 400.0 * 1.18 ** (number % 5), 1300.0 * 1.15 ** (number // 5 % 6)
    time = np.arange(int(0.9 * RATE), dtype=np.float64) / RATE
    shape = np.minimum(1.0, np.minimum(time, time[::-1]) * 20.0)
    wave = np.sin(2 * np.pi * low * pitch * time) + np.sin(2 * np.pi * high * pitch * time)
    return np.asarray(0.3 * shape * wave, np.float32)
