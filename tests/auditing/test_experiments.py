"""Stimuli: levels, what stays as it is, seeds, scale, and how images are spread over levels."""

from __future__ import annotations

import numpy as np
import pytest

from likewise.auditing import distortions
from likewise.auditing.experiments import EXPERIMENTS, MADE, Setting, experiment, stimuli
from likewise.auditing.reference import reference
from likewise.auditing.sets import levels_for, made
from likewise.errors import InputError

SIDE = 32
IMAGES = np.random.default_rng(0).integers(0, 256, (10, SIDE, SIDE, 3), dtype=np.uint8)
SETTING = Setting(SIDE, np.ones((SIDE, SIDE)), reference().monitor_256)


def shown(name: str, level: str, seed: int = 0) -> np.ndarray:
    return stimuli(name, IMAGES, [level] * len(IMAGES), [seed] * len(IMAGES), SETTING)


def test_seventeen_experiments_of_which_twelve_are_made():
    assert len(EXPERIMENTS) == 17
    assert len(MADE) == 12
    for one in EXPERIMENTS.values():
        assert set(one.excluded) <= set(one.conditions)
        assert one.undistorted is None or one.undistorted in one.excluded


@pytest.mark.parametrize("name", MADE)
def test_every_level_gives_eight_bits_of_the_same_size(name: str):
    for level in EXPERIMENTS[name].conditions:
        found = shown(name, level)
        assert found.shape == IMAGES.shape
        assert found.dtype == np.uint8


def test_undistorted_levels_are_the_image_or_its_grey_values():
    grey = np.stack([distortions.as_uint8(distortions.grey(image / 255.0)) for image in IMAGES])[..., None]
    for name in MADE:
        level = EXPERIMENTS[name].undistorted
        if level is None or name == "uniform-noise":  # its images are at a contrast of .3, without noise too
            continue
        expected = IMAGES if name in {"colour", "false-colour"} else np.repeat(grey, 3, 3)
        assert np.array_equal(shown(name, level), expected), name


def test_noise_follows_from_its_seed_and_level():
    assert np.array_equal(shown("uniform-noise", "0.35", 3), shown("uniform-noise", "0.35", 3))
    assert not np.array_equal(shown("uniform-noise", "0.35", 3), shown("uniform-noise", "0.35", 4))
    spread = [float(shown("uniform-noise", level).std()) for level in ("0.0", "0.1", "0.9")]
    assert spread == sorted(spread)


def test_lengths_follow_the_side():
    """3 px of 224 are 3/7 px of 32."""
    grey = distortions.grey(IMAGES[0] / 255.0)
    expected = distortions.as_uint8(distortions.low_pass(grey, 3 * SIDE / 224))
    assert np.array_equal(shown("low-pass", "3")[0, ..., 0], expected)


def test_eidolons_share_eight_seeds():
    assert np.array_equal(shown("eidolonII", "8-3-10", 3), shown("eidolonII", "8-3-10", 11))
    assert not np.array_equal(shown("eidolonII", "8-3-10", 3), shown("eidolonII", "8-3-10", 4))


def test_nearest_monitor_value_is_that_of_a_full_search():
    table = np.random.default_rng(1).permutation(np.repeat(np.linspace(0, 1, 128), 2))  # ties, and no order
    light = np.concatenate([np.random.default_rng(2).uniform(0, 1, 500), table[:50], (table[:50] + table[50:100]) / 2])
    assert np.array_equal(distortions._nearest(light, table), np.abs(light[:, None] - table).argmin(1))


def test_levels_are_spread_evenly_within_classes():
    truth = np.repeat(np.arange(5), 16)
    levels = EXPERIMENTS["contrast"].conditions
    found = levels_for(truth, levels, seed=0)
    for value in range(5):
        counts = [int((found[truth == value] == level).sum()) for level in levels]
        assert counts == [2] * 8
    assert not np.array_equal(found, levels_for(truth, levels, seed=1))


def test_a_set_shows_each_image_once_or_at_every_level():
    truth = np.arange(10) % 2
    once = made("rotation", IMAGES, truth, SETTING, seed=0)
    every = made("rotation", IMAGES, truth, SETTING, seed=0, every_level=True)
    assert sorted(once.image_N.tolist()) == sorted(str(n) for n in range(10))
    assert len(every) == 40
    at = (every.condition_N == "90") & (every.image_N == "7")
    assert np.array_equal(np.rot90(every.pixels_NSS3[(every.condition_N == "0") & (every.image_N == "7")][0]),
                          every.pixels_NSS3[at][0])  # fmt: skip


def test_unknown_experiments_are_told_with_the_nearest():
    with pytest.raises(InputError, match="did you mean 'low-pass'"):
        experiment("lowpass")
    with pytest.raises(InputError, match="sketch"):
        stimuli("sketch", IMAGES, ["0"] * 10, [0] * 10, SETTING)
