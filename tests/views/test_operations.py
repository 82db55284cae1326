"""Operations of RandAugment: image by image equal to torchvision's on bytes, drawn as the settings say."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, RandAugment
from torchvision.transforms import functional as tv
from torchvision.transforms.autoaugment import _apply_op

from likewise.errors import InputError
from likewise.views import (
    CutOut,
    Operation,
    Operations,
    Solarise,
    draw,
    photometric,
    rand_augment,
    random_magnitudes,
    weak,
)
from likewise.views.colours.operating import operate_

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.2, 0.2)
PLAIN = weak(32, mean=MEAN, std=STD)


def done(pixels_BHWC: Tensor, name: str, strengths: list[float] | None) -> Tensor:
    """(B, 3, H, W) bytes after one operation, strengths in turn."""
    image = pixels_BHWC.permute(0, 3, 1, 2).float() / 255
    choice = Operation(name=name, strength=None if strengths is None else (min(strengths), max(strengths)))
    chosen = torch.zeros(len(image), 1, dtype=torch.int64)
    strength = torch.zeros(len(image), 1, dtype=torch.float64)
    if strengths is not None:
        strength[:, 0] = torch.tensor(strengths, dtype=torch.float64).repeat(len(image))[: len(image)]
    levels = operate_(image, [choice], chosen, strength).mul(255)
    torch.testing.assert_close(levels, levels.round(), atol=1e-3, rtol=0)
    return levels.round().to(torch.uint8)


def expected(pixels_BHWC: Tensor, function: object, strengths: list[float] | None) -> Tensor:
    images = pixels_BHWC.permute(0, 3, 1, 2).contiguous()
    if strengths is None:
        return torch.stack([function(image) for image in images])
    return torch.stack([function(image, strengths[row % len(strengths)]) for row, image in enumerate(images)])


def shear(across: bool):
    def function(image: Tensor, slope: float) -> Tensor:
        degrees = math.degrees(math.atan(slope))
        return tv.affine(image, 0.0, [0, 0], 1.0, [degrees, 0.0] if across else [0.0, degrees], center=[0, 0])

    return function


def move(across: bool):
    def function(image: Tensor, share: float) -> Tensor:
        pixels = int(share * image.shape[-1])
        return tv.affine(image, 0.0, [pixels, 0] if across else [0, pixels], 1.0, [0.0, 0.0])

    return function


FACTORS = [0.05, 0.4, 0.95, 1.0, 1.3, 1.9]
BOTH = [-0.3, -0.11, 0.0, 0.07, 0.3]
CASES = {
    "autocontrast": (tv.autocontrast, None),
    "equalise": (tv.equalize, None),
    "invert": (tv.invert, None),
    "posterise": (lambda image, bits: tv.posterize(image, int(bits)), [0.0, 1.0, 4.0, 7.0, 8.0]),
    "solarise": (lambda image, share: tv.solarize(image, round(share * 255)), [0.0, 0.2, 77 / 255, 1.0]),
    "brightness": (tv.adjust_brightness, FACTORS),
    "contrast": (tv.adjust_contrast, FACTORS),
    "colour": (tv.adjust_saturation, FACTORS),
    "sharpness": (tv.adjust_sharpness, FACTORS),
    "rotate": (tv.rotate, [-30.0, -7.5, 0.0, 13.0, 90.0]),
    "shear_across": (shear(True), BOTH),
    "shear_down": (shear(False), BOTH),
    "move_across": (move(True), BOTH),
    "move_down": (move(False), BOTH),
}


@pytest.mark.parametrize("name", CASES)
def test_each_operation_equals_torchvision_on_bytes(small: Tensor, name: str) -> None:
    function, strengths = CASES[name]
    found, wanted = done(small[:60], name, strengths), expected(small[:60], function, strengths)
    different = (found != wanted).any(dim=1).float().mean()
    assert float(different) < (0.002 if name in {"rotate", "shear_across", "shear_down", "contrast"} else 1e-6), name
    if name not in {"rotate", "shear_across", "shear_down"}:
        assert int((found.int() - wanted.int()).abs().max()) <= 1


def test_images_that_are_not_square_and_flat_ones(photos) -> None:
    wide = torch.from_numpy(photos[0][100:130, 50:97].copy()).unsqueeze(0)
    flat = torch.full((2, 5, 2, 3), 77, dtype=torch.uint8)
    for pixels in (wide, flat):
        for name, (function, strengths) in CASES.items():
            if name in {"move_down", "move_across"}:
                continue  # the helper above takes the width for the side
            found = done(pixels, name, None if strengths is None else strengths[-1:])
            wanted = expected(pixels, function, None if strengths is None else strengths[-1:])
            assert float((found != wanted).float().mean()) < 0.01, name


def test_rand_augment_is_that_of_torchvision(small: Tensor) -> None:
    operations = rand_augment(1, magnitude=10)
    space = RandAugment()._augmentation_space(31, (32, 32))
    names = {
        "Identity": "identity", "ShearX": "shear_across", "ShearY": "shear_down", "TranslateX": "move_across",
        "TranslateY": "move_down", "Rotate": "rotate", "Brightness": "brightness", "Color": "colour",
        "Contrast": "contrast", "Sharpness": "sharpness", "Posterize": "posterise", "Solarize": "solarise",
        "AutoContrast": "autocontrast", "Equalize": "equalise",
    }  # fmt: skip
    assert sorted(names.values()) == sorted(choice.name for choice in operations.choices)
    image = small[:40].permute(0, 3, 1, 2)
    for theirs, ours in names.items():
        magnitudes, signed = space[theirs]
        magnitude = float(magnitudes[10]) if magnitudes.ndim else 0.0
        number = [choice.name for choice in operations.choices].index(ours)
        choice = operations.choices[number]
        assert choice.opposite == signed
        strength = 0.0 if choice.strength is None else choice.strength[0]
        for turned in (False, True) if signed else (False,):
            taken = (
                (2.0 - strength if ours in CASES and CASES[ours][1] is FACTORS else -strength) if turned else strength
            )
            found = operate_(
                image.float() / 255,
                operations.choices,
                torch.full((40, 1), number),
                torch.full((40, 1), taken, dtype=torch.float64),
            )
            wanted = _apply_op(image, theirs, -magnitude if turned else magnitude, InterpolationMode.NEAREST, None)
            away = (found.mul(255).round() - wanted.float()).abs()
            assert float((away > 1).float().mean()) < 0.003, (theirs, turned)


def finished(policy, image: Tensor, role: str = "a", **place) -> tuple[Tensor, object]:
    look = draw(policy, torch.full((len(image), 2), 32), seed=0, step=3, role=role, **place).look
    made = photometric(image, look, policy)
    return made * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1), look


@pytest.fixture(scope="module")
def image(small: Tensor) -> Tensor:
    return small.permute(0, 3, 1, 2).float() / 255


def test_operations_are_drawn_equally_often_with_their_strengths(small: Tensor) -> None:
    operations = Operations(
        choices=(
            Operation(name="invert"),
            Operation(name="rotate", strength=(10.0, 20.0), opposite=True),
            Operation(name="brightness", strength=(1.2, 1.5), opposite=True),
        ),
        count=2,
        probability=0.6,
    )
    look = draw(replace(PLAIN, operations=operations), torch.full((9000, 2), 32), seed=1, step=0, role="a").look
    assert look.operation.shape == look.strength.shape == (9000, 2)
    for column in look.operation.T:
        shares = torch.bincount(column + 1, minlength=4) / 9000
        torch.testing.assert_close(shares, torch.tensor([0.4, 0.2, 0.2, 0.2]), atol=0.02, rtol=0)
    assert abs(torch.corrcoef(look.operation.T.float())[0, 1]) < 0.05, "one after the other, on their own"
    degrees = look.strength[look.operation == 1]
    assert float(degrees.abs().min()) >= 10
    assert float(degrees.abs().max()) <= 20
    assert float((degrees < 0).float().mean()) == pytest.approx(0.5, abs=0.03)
    factors = look.strength[look.operation == 2]
    assert float(torch.minimum(factors, 2 - factors).max()) <= 0.8
    assert float((factors < 1).float().mean()) == pytest.approx(0.5, abs=0.03)


def test_operations_of_an_image_come_one_after_the_other(image: Tensor) -> None:
    operations = Operations(choices=(Operation(name="invert"),), count=2)
    torch.testing.assert_close(finished(replace(PLAIN, operations=operations), image)[0], image, atol=1e-6, rtol=0)
    once = replace(PLAIN, operations=replace(operations, count=1, probability=0.5))
    found, look = finished(once, image)
    chosen = look.operation[:, 0] == 0
    assert 0.3 < float(chosen.float().mean()) < 0.7
    torch.testing.assert_close(found[chosen], 1 - image[chosen], atol=1e-6, rtol=0)
    torch.testing.assert_close(found[~chosen], image[~chosen], atol=1e-6, rtol=0)


def test_the_list_of_fixmatch_changes_every_image_within_range(image: Tensor) -> None:
    operations = random_magnitudes(4, reach=0.1)
    assert len(operations.choices) == 14
    found, _ = finished(replace(PLAIN, operations=operations), image)
    assert float(found.min()) >= -1e-6
    assert float(found.max()) <= 1 + 1e-6
    assert bool(((found - image).abs().flatten(1).amax(dim=1) > 0.01).float().mean() > 0.9)
    far = [choice.strength for choice in random_magnitudes().choices if choice.name.startswith(("move", "shear"))]
    assert far == [(-0.3, 0.3)] * 4


@pytest.mark.parametrize("world", [2, 4])
def test_processes_draw_the_operations_of_one(image: Tensor, world: int) -> None:
    policy = replace(
        PLAIN,
        operations=random_magnitudes(3, probability=0.7),
        cut_out=CutOut(side=0.4, probability=0.8),
        solarise=Solarise(probability=0.5, threshold=(0.1, 0.9)),
    )
    whole, _ = finished(policy, image)
    for rank in range(world):
        share, _ = finished(policy, image[rank::world], rank=rank, world=world)
        assert torch.equal(share, whole[rank::world])


def test_new_steps_leave_the_other_draws_as_they_were() -> None:
    sizes = torch.full((50, 2), 32)
    before = draw(PLAIN, sizes, seed=0, step=0, role="a")
    more = replace(PLAIN, operations=rand_augment(), cut_out=CutOut(), solarise=Solarise(threshold=(0.0, 1.0)))
    after = draw(more, sizes, seed=0, step=0, role="a")
    assert torch.equal(before.geometry.box, after.geometry.box)
    assert torch.equal(before.geometry.flip, after.geometry.flip)
    other = draw(replace(more, cut_out=None), sizes, seed=0, step=0, role="a").look
    assert torch.equal(other.operation, after.look.operation)
    assert torch.equal(other.threshold, after.look.threshold)
    assert not torch.equal(after.look.operation, draw(more, sizes, seed=0, step=1, role="a").look.operation)
    assert not torch.equal(after.look.operation, draw(more, sizes, seed=0, step=0, role="b").look.operation)


def test_every_image_has_its_threshold(image: Tensor) -> None:
    policy = replace(PLAIN, solarise=Solarise(probability=0.7, threshold=(0.2, 0.6)))
    found, look = finished(policy, image)
    assert float(look.threshold.min()) >= 0.2
    assert float(look.threshold.max()) <= 0.6
    assert float(look.threshold.std()) == pytest.approx(0.4 / math.sqrt(12), rel=0.1)
    for row in range(20):
        one = tv.solarize(image[row], float(look.threshold[row])) if look.solarise[row] else image[row]
        torch.testing.assert_close(found[row], one, atol=1e-6, rtol=0)


def test_cut_out_hides_squares_of_one_colour(image: Tensor) -> None:
    policy = replace(PLAIN, cut_out=CutOut(side=0.5, probability=0.75, colour=(0.1, 0.2, 0.3)))
    found, look = finished(policy, image)
    hidden = ((found - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)).abs() < 1e-6).all(dim=1)
    for one, view, hole, (top, left, height, width) in zip(image, found, hidden, look.hole.tolist(), strict=True):
        assert (height == 0) or (8 <= height <= 16 and 8 <= width <= 16)
        if height:
            assert bool(hole[top : top + height, left : left + width].all())
            inside = (slice(None), slice(top, top + height), slice(left, left + width))
            view[inside] = one[inside]
        torch.testing.assert_close(view, one, atol=1e-6, rtol=0)
    assert float((look.hole[:, 2] > 0).float().mean()) == pytest.approx(0.75, abs=0.08)
    mean, _ = finished(replace(PLAIN, cut_out=CutOut(side=1.0)), image)
    middle = mean[:, :, 15, 15]
    torch.testing.assert_close(middle, torch.tensor(MEAN).expand_as(middle), atol=1e-6, rtol=0)
    holes = draw(policy, torch.full((20000, 2), 32), seed=0, step=0, role="a").look.hole
    inner = holes[(holes[:, 0] > 0) & (holes[:, 0] < 16) & (holes[:, 2] > 0)][:, 0]
    assert float(torch.bincount(inner)[1:].float().std() / 450) < 0.15, "every middle is equally likely"


def test_smaller_views_have_smaller_squares_and_moves() -> None:
    policy = replace(PLAIN, cut_out=CutOut(side=0.5)).shrunk(0.5)
    assert policy.size == 16
    assert int(draw(policy, torch.full((50, 2), 32), seed=0, step=0, role="a").look.hole[:, 2].max()) == 8


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: Operation(name="equalize"), "did you mean 'equalise'"),
        (lambda: Operation(name="invert", strength=(0.0, 1.0)), "invert has no strength"),
        (lambda: Operation(name="rotate"), "rotate needs a strength"),
        (lambda: Operation(name="rotate", strength=(20.0, 10.0)), "20 to 10 is no range"),
        (lambda: Operation(name="posterise", strength=(4.0, 9.0)), "allowed are two numbers from 0 to 8"),
        (lambda: Operation(name="solarise", strength=(0.0, 1.0), opposite=True), "has no opposite"),
        (lambda: Operation(name="colour", strength=(1.0, 2.5), opposite=True), "from 0 to 2"),
        (lambda: Operation(name="colour", strength=(-1.0, 2.5)), "two numbers from 0, smaller first"),
        (lambda: Operations(choices=()), "at least one"),
        (lambda: Operations(choices=(Operation(name="invert"),), count=0), "number of operations 0 .* from 1"),
        (lambda: Operations(choices=(Operation(name="invert"),), probability=2.0), "not a probability"),
        (lambda: rand_augment(magnitude=31), "31 is not valid: allowed are whole numbers from 0 to 30"),
        (lambda: CutOut(side=0.0), "cut-out side 0.0 is no share"),
        (lambda: CutOut(colour=(0.5, 0.5)), "three numbers"),
        (lambda: Solarise(threshold=(0.5, 1.5)), "allowed are two numbers from 0 to 1"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(build, says) -> None:
    with pytest.raises(InputError, match=says) as caught:
        build()
    assert "\n" not in str(caught.value)
