"""Policies: the usual ones by name, and what is refused."""

from __future__ import annotations

import pytest

from likewise.errors import InputError
from likewise.views import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Blur,
    Centre,
    Colour,
    Crop,
    Solarise,
    ViewPolicy,
    centre,
    from_callable,
    multi_crop,
    strong,
    weak,
)

STATS = {"mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2)}


def test_strong_is_the_recipe_of_moco_v2():
    assert strong(224, **STATS) == ViewPolicy(
        size=224,
        crop=Crop(scale=(0.2, 1.0), ratio=(3 / 4, 4 / 3)),
        flip=0.5,
        colour=Colour(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, probability=0.8),
        grey=0.2,
        blur=Blur(sigma=(0.1, 2.0), probability=0.5),
        solarise=None,
        **STATS,
    )


def test_the_other_usual_policies():
    assert weak(32, **STATS) == ViewPolicy(size=32, crop=Crop(scale=(0.2, 1.0)), **STATS)
    assert centre(32, fraction=0.875, **STATS) == ViewPolicy(size=32, crop=Centre(fraction=0.875), flip=0, **STATS)
    assert strong(32, blur=0.0, **STATS).blur is None
    assert strong(32, solarise=0.2, **STATS).solarise == Solarise(probability=0.2, threshold=0.5)
    assert from_callable(repr, 9).per_sample is repr


def test_a_view_is_normalised_as_it_says_or_else_as_it_is_told():
    assert weak(32).statistics == (IMAGENET_MEAN, IMAGENET_STD)
    assert weak(32).normalised(*STATS.values()) == weak(32, **STATS)
    own = weak(32, mean=(0.0, 0.0, 0.0))
    assert own.normalised(*STATS.values()).statistics == ((0.0, 0.0, 0.0), STATS["std"])


def test_multi_crop_names_its_roles():
    large, small = weak(32, **STATS), weak(16, **STATS)
    assert multi_crop(large, small) == {"large_0": large, "large_1": large} | {f"small_{n}": small for n in range(6)}


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: Crop(scale=(0.0, 1.0)), "crop scale 0 to 1 is no range: allowed are two numbers above 0 up to 1"),
        (lambda: Crop(scale=(0.5, 0.2)), "crop scale 0.5 to 0.2"),
        (lambda: Crop(scale=(0.5, 1.2)), "crop scale 0.5 to 1.2"),
        (lambda: Crop(scale=(0.5,)), "not a pair"),
        (lambda: Crop(ratio=(0.0, 1.0)), "crop ratio"),
        (lambda: Crop(ratio=(1.0, float("inf"))), "crop ratio"),
        (lambda: Crop(scale=(float("nan"), 1.0)), "crop scale"),
        (lambda: Centre(fraction=0.0), "centre fraction 0.0"),
        (lambda: Centre(fraction=1.5), "nearest 1.0"),
        (lambda: Colour(brightness=-0.1), "brightness -0.1"),
        (lambda: Colour(contrast=float("inf")), "contrast"),
        (lambda: Colour(hue=0.7), "hue 0.7 is no strength of jitter: allowed is 0 to 0.5, nearest 0.5"),
        (lambda: Colour(probability=1.1), "jitter probability 1.1 is not a probability: allowed is 0 to 1, nearest 1"),
        (lambda: Blur(sigma=(0.0, 1.0)), "blur sigma"),
        (lambda: Blur(sigma=(2.0, 1.0)), "blur sigma 2 to 1"),
        (lambda: strong(32, blur=-0.5, **STATS), "blur probability -0.5"),
        (lambda: strong(32, blur=float("nan"), **STATS), "blur probability nan"),
        (lambda: Solarise(threshold=128), "solarise threshold 128"),
        (lambda: Solarise(probability=2), "solarise probability 2"),
        (lambda: ViewPolicy(size=0), "view size 0 is not valid: allowed are whole numbers from 1"),
        (lambda: ViewPolicy(size=32.0), "view size 32.0"),
        (lambda: ViewPolicy(size=True), "view size True"),
        (lambda: ViewPolicy(size=8, flip=3), "flip probability 3"),
        (lambda: ViewPolicy(size=8, grey=-1), "grey probability -1"),
        (lambda: ViewPolicy(size=8, mean=(0.5,)), "mean (0.5,)"),
        (lambda: ViewPolicy(size=8, mean=(0.5, 0.5, float("nan"))), "mean"),
        (lambda: ViewPolicy(size=8, std=(0.2, 0.0, 0.2)), "std (0.2, 0.0, 0.2) is not valid"),
        (lambda: ViewPolicy(size=8, interpolation="bicubik"), "did you mean 'bicubic'?"),
        (lambda: from_callable("no function", 8), "must be a function of a PIL image, found str"),
        (lambda: multi_crop(weak(8, **STATS), weak(8, **STATS), large_count=0, small_count=0), "found 0 large and 0"),
        (lambda: multi_crop(weak(8, **STATS), weak(8, **STATS), small_count=-1), "found 2 large and -1 small"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(build, says):
    with pytest.raises(InputError) as caught:
        build()
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_shrunk_view_is_smaller_and_otherwise_the_same():
    policy = strong(32, **STATS, blur=0.5)
    small = policy.shrunk(0.625)
    assert small.size == 20
    assert small.blur == Blur(sigma=(0.1 * 20 / 32, 2.0 * 20 / 32))
    assert small.crop == policy.crop
    assert policy.shrunk(1.0) is policy
    assert policy.shrunk(0.01).size == 12
    assert strong(8, **STATS).shrunk(0.5).size == 8
    own = from_callable(lambda image: image, 32)
    assert own.shrunk(0.5) is own
