"""Spectrograms of sound files, which moments have speech, and the composed scans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from likewise.data import open_source, split_names
from likewise.data.sound.spectrograms import RATE, log_mel, mel_filters, read_sound, recordings, spoken
from likewise.data.sound.voices import VOICES, speak, speaks, tones
from likewise.errors import InputError


def tone(hertz: float, seconds: float, rate: int) -> np.ndarray:
    return np.asarray(0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate), np.float32)


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.uint8, np.float32])
def test_all_kinds_of_samples_and_rates_are_the_same_sound(tmp_path: Path, kind: type) -> None:
    wave = tone(440, 1.0, 22_050)
    scaled = wave if kind is np.float32 else wave * 127 + 128 if kind is np.uint8 else wave * np.iinfo(kind).max
    wavfile.write(tmp_path / "a.wav", 22_050, np.stack([scaled.astype(kind)] * 2, 1))
    found = read_sound(tmp_path / "a.wav")
    assert abs(len(found) - RATE) <= 1
    expected = tone(440, 1.0, RATE)
    assert np.abs(found[200:-200] - expected[200 : len(found) - 200]).max() < 0.02


def test_a_tone_lies_in_its_band_and_the_frames_are_ten_milliseconds() -> None:
    found = log_mel(tone(1000, 0.5, RATE), 40)
    assert found.shape == (50, 40)
    middle = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 42)[1:-1]
    assert abs(int(found[25].argmax()) - int(np.abs(middle - 2595 * np.log10(1 + 1000 / 700)).argmin())) <= 1
    assert (mel_filters(80).sum(0) > 0).all(), "no band hears nothing"


def test_moments_without_speech_are_told(tmp_path: Path) -> None:
    wave = np.concatenate([tone(300, 2, RATE), np.zeros(6 * RATE, np.float32)])
    wavfile.write(tmp_path / "a.wav", RATE, wave)
    made = recordings((str(tmp_path / "a.wav"),), 8)
    found = spoken(np.array([0.0, 1.0, 5.0, 99.0, 1.0]), np.array([0, 0, 0, 0, -1]), 100, made, 0.5)
    assert found.tolist() == [True, True, False, False, False]


@pytest.mark.parametrize("content", [b"", b"RIFF....WAVE", b"no sound"])
def test_a_file_that_is_no_sound_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.wav"):
        read_sound(tmp_path / "a.wav")


def test_composed_scans_are_the_same_each_time_and_split_by_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path))
    name = "synthetic:ultrasound:2:tones"
    assert split_names(name) == ("train", "test")
    train, test = (open_source(name, split=split) for split in ("train", "test"))
    assert (len(train), len(test)) == (240, 120)
    assert train.columns["time"].values[:3].tolist() == [0, 500, 1000]
    sounds = {*(train.columns["speech"].names or ()), *(test.columns["speech"].names or ())}
    assert len(sounds) == 3
    assert all(len(read_sound(sound)) == 60 * RATE for sound in sounds)
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "again"))
    again = open_source(name, split="train")
    assert np.array_equal(again.read(7), train.read(7))
    assert again.fingerprint == train.fingerprint
    whole = open_source(name)
    assert len(np.unique(whole.columns["scan"].values)) == 3


@pytest.mark.parametrize("name", ["synthetic:ultrasound:1", "synthetic:ultrasound:x", "synthetic:ultrasound:4:5"])
def test_other_names_are_one_line(name: str) -> None:
    with pytest.raises(InputError, match="a number of scans"):
        open_source(name)


def test_tones_tell_numbers_apart() -> None:
    bands = {int(log_mel(tones(number), 40).mean(0).argsort()[-2:].sum()) for number in range(10)}
    assert len(bands) >= 6


@pytest.mark.skipif(not speaks(), reason="espeak-ng is not installed")
def test_a_sentence_is_spoken() -> None:
    said = speak("this is a seven", VOICES[0])
    assert 0.5 * RATE < len(said) < 4 * RATE
    assert np.abs(said).max() > 0.05
