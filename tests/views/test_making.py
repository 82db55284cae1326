"""All views of a batch at once: the parts put together, whatever the batch, the process or the precision around it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from PIL import Image
from torchvision import transforms as v1

from likewise.errors import InputError
from likewise.views import centre, crop_and_flip, draw, from_callable, make_views, multi_crop, photometric, strong, weak

MEAN, STD = (0.45, 0.5, 0.4), (0.25, 0.2, 0.3)
STRONG, WEAK = strong(32, mean=MEAN, std=STD, solarise=0.2), weak(24, mean=MEAN, std=STD)
BOTH = {"teacher": WEAK, "student": STRONG}


def made(pixels, sizes=None, policies=BOTH, seed=0, step=0, **place):
    sizes = torch.tensor([pixels.shape[1:3]] * len(pixels)) if sizes is None else sizes
    return make_views(policies, pixels, sizes, seed=seed, step=step, **place)


def test_every_role_gets_its_view(small):
    views = made(small)
    assert list(views) == ["teacher", "student"]
    for role, size in (("teacher", 24), ("student", 32)):
        view = views[role]
        assert view.image.shape == (260, 3, size, size)
        assert view.image.dtype == torch.float32
        assert view.image.is_contiguous(memory_format=torch.channels_last)
        assert view.box.shape == (260, 4)
        assert view.flip.dtype == torch.bool
        assert view.mask is None
        assert bool((view.box[:, :2] >= 0).all() and (view.box[:, :2] + view.box[:, 2:] <= 1 + 1e-6).all())


@pytest.mark.parametrize("name", ["small", "patches"])
def test_it_is_draw_then_crop_then_photometric(request, name):
    pixels = request.getfixturevalue(name)
    sizes = torch.tensor([pixels.shape[1:3]] * len(pixels))
    views = made(pixels, seed=5, step=9)
    for role, policy in BOTH.items():
        one = draw(policy, sizes, seed=5, step=9, role=role)
        image = photometric(crop_and_flip(pixels, one.geometry, policy.size), one.look, policy)
        torch.testing.assert_close(views[role].image, image, rtol=0, atol=1e-5)
        torch.testing.assert_close(views[role].box, one.geometry.fractions())
        assert torch.equal(views[role].flip, one.geometry.flip)


def test_repeated_exactly_and_different_in_every_step(small):
    one, again, later = made(small), made(small), made(small, step=1)
    for role in BOTH:
        assert torch.equal(one[role].image, again[role].image)
        assert not torch.equal(one[role].image, later[role].image)
    assert not torch.equal(one["teacher"].box, one["student"].box)


@pytest.mark.parametrize("world", [2, 5])
def test_processes_make_the_views_of_one(small, world):
    whole = made(small)
    for rank in range(world):
        share = made(small[rank::world], rank=rank, world=world)
        for role in BOTH:
            torch.testing.assert_close(share[role].image, whole[role].image[rank::world], rtol=0, atol=1e-5)
            assert torch.equal(share[role].box, whole[role].box[rank::world])


@pytest.mark.parametrize("size", [8, 32, 120])
def test_padded_batches_equal_images_alone(ragged, size):
    pixels, sizes = ragged
    policies = {"any": strong(size, mean=MEAN, std=STD)}
    together = made(pixels, sizes, policies)["any"].image
    for row, (height, width) in enumerate(sizes.tolist()):
        alone = torch.zeros(len(sizes), height, width, 3, dtype=torch.uint8)
        alone[row] = pixels[row, :height, :width]
        of_its_size = sizes.minimum(torch.tensor([height, width]))
        of_its_size[row] = sizes[row]
        view = made(alone, of_its_size, policies)["any"].image[row]
        # a smaller canvas may be resampled in floats where the larger one is rounded to 8 bits
        torch.testing.assert_close(together[row], view, rtol=0, atol=2.5 / 255 / min(STD))


def test_single_pixels_make_flat_views():
    pixels = torch.tensor([[[[255, 0, 128]]], [[[10, 20, 30]]]], dtype=torch.uint8)
    view = made(pixels, policies={"any": centre(16, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))})["any"]
    torch.testing.assert_close(view.image, (pixels[:, 0, 0, :, None, None] / 255).expand(-1, -1, 16, 16))
    assert bool(made(pixels)["student"].image.isfinite().all())


def test_centre_views_show_the_middle_unchanged(patches):
    view = made(patches, policies={"any": centre(32, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), fraction=0.5)})["any"]
    torch.testing.assert_close(view.image, patches[:, 16:48, 16:48].permute(0, 3, 1, 2) / 255)
    assert view.box[0].tolist() == [0.25, 0.25, 0.5, 0.5]
    assert not view.flip.any()


def test_multi_crop_views_are_drawn_one_by_one(small):
    small_views = strong(16, mean=MEAN, std=STD, scale=(0.05, 0.14))
    views = made(small, policies=multi_crop(STRONG, small_views, large_count=2, small_count=3))
    assert list(views) == ["large_0", "large_1", "small_0", "small_1", "small_2"]
    assert not torch.equal(views["small_0"].box, views["small_1"].box)
    area = views["small_0"].box[:, 2] * views["small_0"].box[:, 3]
    assert 0.03 < float(area.min()) < float(area.max()) < 0.17


def test_autocast_around_it_changes_nothing(small):
    plain = made(small)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = made(small)
    for role in BOTH:
        assert inside[role].image.dtype == torch.float32
        assert torch.equal(inside[role].image, plain[role].image)


def test_pixels_and_global_randomness_are_left_alone(small):
    before, state = small.clone(), torch.get_rng_state()
    views = made(small)
    assert torch.equal(small, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert not views["student"].image.requires_grad


def test_every_second_row_of_a_tensor_is_a_batch_too(small):
    strided, copied = made(small[::2]), made(small[::2].contiguous())
    assert torch.equal(strided["student"].image, copied["student"].image)


def test_own_transforms_stand_beside_batched_ones(small):
    own = from_callable(v1.Compose([v1.RandomCrop(20), v1.ToTensor()]), 20)
    views = made(small[:8], policies={"own": own, "student": STRONG})
    assert list(views) == ["own", "student"]
    assert views["own"].box is None
    assert torch.equal(views["student"].image, made(small[:8])["student"].image)


@pytest.mark.parametrize(
    ("pixels", "sizes", "says"),
    [
        (torch.zeros(2, 3, 8, 8), torch.full((2, 2), 8), "uint8 images (B, H, W, 3), found float32 (2, 3, 8, 8)"),
        (torch.zeros(2, 8, 8, 3).byte(), torch.full((3, 2), 8), "shape (2, 2), found (3, 2)"),
        (torch.zeros(2, 8, 8, 3).byte(), torch.tensor([[8, 8], [9, 8]]), "between 1 and the padded 8x8"),
        (torch.zeros(2, 8, 8, 3).byte(), torch.tensor([[8, 8], [0, 8]]), "between 1 and the padded 8x8"),
    ],
)
def test_images_and_sizes_that_do_not_fit_are_refused_in_one_line(pixels, sizes, says):
    with pytest.raises(InputError) as caught:
        made(pixels, sizes)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_own_transforms_get_pillow_images_without_padding(ragged):
    seen = []

    def note(image: Image.Image) -> torch.Tensor:
        seen.append((image.height, image.width))
        return torch.zeros(3, 4, 4)

    pixels, sizes = ragged
    made(pixels, sizes, {"own": from_callable(note, 4)})
    assert seen == [tuple(size) for size in sizes.tolist()]


def greyed(world: int, rank: int):
    """Half of the images of the global batch become one grey level in role `student`, which is drawn for all."""

    def compose(crops, generator):
        assert set(crops) == set(BOTH)
        image = crops["student"].image
        assert 0 <= float(image.min()) <= float(image.max()) <= 1 + 1e-6, "before colours and normalising"
        assert crops["student"].box.shape == (len(image), 4)
        level = torch.rand(len(image) * world, generator=generator)[rank::world].view(-1, 1, 1, 1)
        return {"student": torch.where(level < 0.5, level, image)}

    return compose


def test_images_are_composed_between_crop_and_colours(small):
    policies = {**BOTH, "student": replace(STRONG, blur=None, solarise=None, colour=None, grey=0.0)}
    plain, composed = made(small, policies=policies), made(small, policies=policies, compose=greyed(1, 0))
    assert torch.equal(plain["teacher"].image, composed["teacher"].image)
    flat = composed["student"].image.flatten(2).std(dim=2).amax(dim=1) < 1e-5
    assert 0.35 < float(flat.float().mean()) < 0.65
    torch.testing.assert_close(plain["student"].image[~flat], composed["student"].image[~flat], atol=1e-6, rtol=0)
    assert torch.equal(plain["student"].box, composed["student"].box)
    unchanged = made(small, compose=lambda crops, generator: {})
    for role, view in made(small).items():
        torch.testing.assert_close(view.image, unchanged[role].image, rtol=0, atol=1e-5)
        assert view.image.is_contiguous(memory_format=torch.channels_last)
    other = made(small, policies=policies, step=1, compose=greyed(1, 0))
    assert not torch.equal(other["student"].image.flatten(2).std(dim=2).amax(dim=1) < 1e-5, flat)


def test_processes_compose_as_one(small):
    whole = made(small, compose=greyed(1, 0))["student"].image
    for rank in (0, 1):
        share = made(small[rank::2], rank=rank, world=2, compose=greyed(2, rank))["student"].image
        torch.testing.assert_close(share, whole[rank::2], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (lambda crops: {"studnet": crops["student"].image}, "did you mean 'student'"),
        (lambda crops: {"teacher": crops["teacher"].image[:3]}, "'teacher' have the shape .* needed is"),
    ],
)
def test_composed_images_that_do_not_fit_are_refused(small, result, says):
    with pytest.raises(InputError, match=says):
        made(small, compose=lambda crops, generator: result(crops))
