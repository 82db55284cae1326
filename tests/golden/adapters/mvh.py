"""The model-vs-human benchmark: every distortion, the eidolon in steps, the 16 categories, and the metrics."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from adapters import Vectors, same
from likewise.auditing import consistency as measured
from likewise.auditing import distortions, eidolon
from likewise.auditing.categories import category_scores, ranked

LEVELS = {
    "contrast": distortions.contrast,
    "low_pass": distortions.low_pass,
    "high_pass": distortions.high_pass,
}
EIDOLONS = {
    "I_2": eidolon.Eidolon(reach=2),
    "I_8": eidolon.Eidolon(reach=8),
    "II_4": eidolon.Eidolon(reach=4, coherence=0.3),
    "III_4": eidolon.Eidolon(reach=4, coherence=0.0),
    "zero": eidolon.Eidolon(reach=0, coherence=0.5),
}


def equal(found: NDArray[np.float64], v: Vectors, key: str) -> None:
    same(torch.from_numpy(np.ascontiguousarray(found)), v[key])


def check_grey_and_levels(v: Vectors) -> None:
    image = v["image_uint8"].numpy() / 255.0
    grey = distortions.grey(image)
    equal(grey, v, "grey")
    for name, function in LEVELS.items():
        for key in (key for key in v.arrays if key.startswith(f"{name}_")):
            equal(function(grey, float(key.rsplit("_", 1)[1])), v, key)


def check_noise(v: Vectors) -> None:
    grey = v["grey"].numpy()
    assert v.number("uniform_noise_contrast") == distortions.NOISE_CONTRAST
    seed = v.number("uniform_noise_seed")
    for key in (key for key in v.arrays if key.startswith("uniform_noise_0")):
        equal(distortions.uniform_noise(grey, float(key.rsplit("_", 1)[1]), seed), v, key)


def check_spectrum(v: Vectors) -> None:
    grey, seed = v["grey"].numpy(), v.number("phase_noise_seed")
    drawn = v["phase_noise_unit_draws"].numpy()
    assert np.array_equal(np.random.RandomState(seed).uniform(0.0, 1.0, len(drawn)), drawn)
    for width in (30, 90, 180):
        equal(distortions.phase_noise(grey, width, seed), v, f"phase_noise_{width}")
    equal(distortions.equalised(grey, v["power_spectrum_centred"].numpy()), v, "power_equalised")


def check_rotation_and_colour(v: Vectors) -> None:
    for degrees in (90, 180, 270):
        equal(distortions.rotated(v["grey"].numpy(), degrees), v, f"rotate_{degrees}")
    equal(distortions.opponent_colour(v["image_uint8"].numpy(), v["gamma_table"].numpy()), v, "opponent_colour")


def check_eidolon_steps(v: Vectors) -> None:
    size = v.number("eidolon_size")
    grey = eidolon.luma(v["eidolon_image_uint8"].numpy(), size)
    assert torch.from_numpy(grey.copy()).equal(v["eidolon_grey"])
    plane = eidolon.padded(grey)
    assert torch.from_numpy(plane.copy()).equal(v["eidolon_fat_plane"])
    stds = eidolon.scales(size)
    same(torch.tensor(stds, dtype=torch.float64), v["eidolon_scale_levels"])
    layers = eidolon.slices(plane.astype(float), stds)
    equal(layers[:, len(plane) // 2], v, "eidolon_dog_row0")


def check_eidolons(v: Vectors) -> None:
    """Rounding of a Fourier transform before truncation may move single pixels by a grey level."""
    image, seed, size = v["eidolon_image_uint8"].numpy(), v.number("eidolon_seed"), v.number("eidolon_size")
    for name, how in EIDOLONS.items():
        found = torch.from_numpy(eidolon.eidolon(image, how, seed, size=size)).int()
        near = (found - v[f"eidolon_{name}"].int()).abs() <= 1
        assert near.double().mean() >= 0.995, name


def check_categories(v: Vectors) -> None:
    found = ranked(category_scores(v["mapping_probabilities"].numpy()))
    assert torch.from_numpy(found.copy()).equal(v["mapping_ranked_categories"])


def check_metrics(v: Vectors) -> None:
    truth, texture = v["metric_category"].numpy(), v["metric_texture"].numpy()
    right = {}
    for name in ("a", "b"):
        answers = v[f"metric_response_{name}"].numpy()
        answers = np.where(answers == 16, measured.NONE, answers)
        right[name] = answers == truth
        bias = measured.shape_bias(answers, truth, texture)
        found = {
            "accuracy": measured.accuracy(answers, truth),
            "entropy": measured.answer_entropy(answers, 16),
            "shape_bias": bias.bias,
            "fraction_shape": bias.shape,
            "fraction_texture": bias.texture,
        }
        for key, value in found.items():
            same(torch.tensor(value, dtype=torch.float64), v[f"metric_{key}_{name}"])
        table = measured.confusion(answers, truth, 16)
        assert np.allclose(table.sum(0), 100.0)
        assert np.isclose(np.diag(table[:16]) @ np.bincount(truth, minlength=16) / len(truth) / 100, found["accuracy"])
    both = measured.consistency(right["a"], right["b"])
    for key in ("expected", "observed", "error"):
        same(torch.tensor(getattr(both, key), dtype=torch.float64), v[f"metric_{key}_consistency"])
    difference = measured.accuracy_difference(right["a"].mean(), right["b"].mean())
    same(torch.tensor(difference, dtype=torch.float64), v["metric_accuracy_difference"])
