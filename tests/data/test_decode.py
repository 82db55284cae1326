"""Every mode and format that a folder may hold becomes upright RGB on white; what cannot be read says why."""

from __future__ import annotations

import io
import struct
import threading
import zlib
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from likewise.data.decoding.decode import decode, from_pil, look_at
from likewise.data.source import BrokenImage
from tests.data.images import cmyk_profile, encoded, flat, noise, rgb_profile

LOSSLESS = ["PNG", "TIFF", "BMP", "PPM"]


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_formats_give_the_pixels_back(kind: str) -> None:
    np.testing.assert_array_equal(decode(encoded(noise(), kind)), noise())


def test_webp_gives_the_pixels_back() -> None:
    np.testing.assert_array_equal(decode(encoded(noise(), "WEBP", lossless=True)), noise())


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF", "MPO"])
def test_lossy_formats_come_close(kind: str) -> None:
    pixels = decode(encoded(flat((200, 60, 30)), kind))
    assert pixels.shape == (8, 10, 3)
    np.testing.assert_allclose(pixels, flat((200, 60, 30)), atol=8)


def test_result_is_contiguous_uint8_rgb() -> None:
    pixels = decode(encoded(noise()))
    assert pixels.dtype == np.uint8
    assert pixels.shape == (12, 16, 3)
    assert pixels.flags.c_contiguous


# Modes -------------------------------------------------------------------------------------------------------------


def test_grey_is_repeated() -> None:
    grey = noise()[..., 0]
    np.testing.assert_array_equal(decode(encoded(grey)), np.repeat(grey[..., None], 3, axis=2))


def test_one_bit_is_black_and_white() -> None:
    bits = noise()[..., 0] > 127
    np.testing.assert_array_equal(decode(encoded(bits))[..., 1], np.where(bits, 255, 0))


def test_palette_is_looked_up() -> None:
    image = Image.fromarray(np.repeat(np.arange(4, dtype=np.uint8)[:, None], 5, axis=1), "P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    expected = np.repeat(np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]])[:, None], 5, axis=1)
    np.testing.assert_array_equal(decode(encoded(image)), expected)


def test_transparent_palette_entry_is_white() -> None:
    image = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 0, 255])
    np.testing.assert_array_equal(decode(encoded(image, transparency=0)), [[[255, 255, 255], [0, 0, 255]]])


def test_transparent_colour_of_an_rgb_png_is_white() -> None:
    pixels = np.array([[[10, 20, 30], [40, 50, 60]]], dtype=np.uint8)
    data = encoded(Image.fromarray(pixels), transparency=(10, 20, 30))
    np.testing.assert_array_equal(decode(data), [[[255, 255, 255], [40, 50, 60]]])


@pytest.mark.parametrize(("alpha", "expected"), [(0, (255, 255, 255)), (255, (100, 50, 0)), (128, (177, 152, 127))])
def test_alpha_is_laid_on_white(alpha: int, expected: tuple[int, int, int]) -> None:
    np.testing.assert_allclose(decode(encoded(flat((100, 50, 0, alpha)))), flat(expected), atol=1)


def test_grey_with_alpha_is_laid_on_white() -> None:
    image = Image.fromarray(flat((40, 0)), "LA")
    np.testing.assert_array_equal(decode(encoded(image)), flat((255, 255, 255)))


def test_cmyk_jpeg_is_converted() -> None:
    image = Image.fromarray(flat((230, 40, 40))).convert("CMYK")
    np.testing.assert_allclose(decode(encoded(image, "JPEG", quality=95)), flat((230, 40, 40)), atol=6)


def test_lab_tiff_is_converted() -> None:
    there = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    image = ImageCms.applyTransform(Image.fromarray(flat((200, 90, 40))), there)
    assert image is not None
    assert image.mode == "LAB"
    np.testing.assert_allclose(decode(encoded(image, "TIFF")), flat((200, 90, 40)), atol=4)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_keep_their_upper_byte(kind: str) -> None:
    values = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    np.testing.assert_array_equal(decode(encoded(values, kind))[0, :, 0], [0, 1, 128, 255])


def test_twelve_bits_in_sixteen_use_the_whole_range() -> None:
    values = np.array([[0, 2048, 4095]], dtype=np.uint16)
    np.testing.assert_array_equal(decode(encoded(values, "TIFF"))[0, :, 0], [0, 128, 255])


def test_an_opened_jpeg_is_read_as_its_file_is() -> None:
    data = encoded(noise(200, 300), "JPEG")
    image = Image.open(io.BytesIO(data))
    np.testing.assert_array_equal(from_pil(image, short_side=40), decode(data, 40))
    np.testing.assert_array_equal(from_pil(image), decode(data))
    assert from_pil(image, short_side=40).shape == (200, 300, 3)  # it was loaded by the line before


def test_a_page_that_was_turned_to_is_the_one_that_is_read() -> None:
    pages = [Image.fromarray(np.full((4, 4), value, np.uint16)) for value in (0, 65535)]
    image = Image.open(io.BytesIO(encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])))
    image.seek(1)
    assert from_pil(image).min() == 255
    photos = [Image.fromarray(flat(colour, 64, 64)) for colour in ((255, 0, 0), (0, 0, 255))]
    image = Image.open(io.BytesIO(encoded(photos[0], "MPO", save_all=True, append_images=photos[1:])))
    image.seek(1)
    np.testing.assert_allclose(from_pil(image, short_side=16)[0, 0], (0, 0, 255), atol=8)


def test_big_endian_sixteen_bits() -> None:
    values = np.array([[0, 30000, 65535]], dtype=">u2")
    image = Image.frombytes("I;16B", (3, 1), values.tobytes())
    np.testing.assert_array_equal(from_pil(image)[0, :, 0], [0, 117, 255])


def test_integers_of_32_bits_are_stretched() -> None:
    values = np.array([[-1000, 0, 1000]], dtype=np.int32)
    np.testing.assert_array_equal(decode(encoded(values, "TIFF"))[0, :, 0], [0, 128, 255])


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_fractions_of_one_and_of_255(scale: float) -> None:
    values = np.array([[0.0, 0.2, 1.0]], dtype=np.float32) * np.float32(scale)
    np.testing.assert_array_equal(decode(encoded(values, "TIFF"))[0, :, 2], [0, 51, 255])


def test_what_is_not_a_number_is_black() -> None:
    values = np.array([[np.nan, 0.5, 1.0]], dtype=np.float32)
    np.testing.assert_array_equal(decode(encoded(values, "TIFF"))[0, :, 0], [0, 128, 255])


def test_nothing_but_not_a_number_is_broken() -> None:
    with pytest.raises(BrokenImage, match="no finite values"):
        decode(encoded(np.full((2, 2), np.nan, dtype=np.float32), "TIFF"))


def test_first_frame_of_an_animation() -> None:
    frames = [Image.fromarray(flat(colour)) for colour in ((255, 0, 0), (0, 255, 0))]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        np.testing.assert_allclose(decode(data), flat((255, 0, 0)), atol=4, err_msg=kind)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_exif_orientation_is_undone(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.kron(noise(3, 4), np.ones((8, 8, 1), dtype=np.uint8))  # blocks that JPEG keeps apart
    options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    data = encoded(pixels, kind, exif=exif, **options)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    np.testing.assert_array_equal(decode(data), expected)
    assert decode(data).shape == ((32, 24, 3) if orientation > 4 else (24, 32, 3))
    look = look_at(data)
    assert (look.height, look.width) == decode(data).shape[:2]


def test_damaged_exif_does_not_spoil_the_image() -> None:
    data = encoded(flat((9, 9, 9)), "JPEG", exif=b"Exif\0\0" + b"\xff" * 40)
    assert decode(data).shape == (8, 10, 3)


def test_one_pixel_is_an_image() -> None:
    np.testing.assert_array_equal(decode(encoded(flat((1, 2, 3), 1, 1))), [[[1, 2, 3]]])


# Profiles ----------------------------------------------------------------------------------------------------------

ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
"""XYZ (D50) of red, green and blue."""


def as_srgb(colour: tuple[int, ...], primaries: tuple[tuple[float, ...], ...], gamma: float) -> tuple[int, ...]:
    """A colour of a display as IEC 61966-2-1 writes it."""
    linear = np.linalg.solve(np.array(SRGB).T, np.array(primaries).T @ (np.array(colour) / 255) ** gamma).clip(0, 1)
    return tuple(np.rint(255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_colours_of_an_embedded_profile_become_srgb(kind: str) -> None:
    colour, profile = (150, 110, 60), rgb_profile(*ADOBE, gamma=2.2)
    options = {"lossless": True} if kind == "WEBP" else {"quality": 98, "subsampling": 0} if kind == "JPEG" else {}
    data = encoded(flat(colour), kind, icc_profile=profile, **options)
    expected = as_srgb(colour, ADOBE, 2.2)
    assert max(np.abs(np.subtract(expected, colour))) > 8
    np.testing.assert_allclose(decode(data), flat(expected), atol=2)
    np.testing.assert_allclose(from_pil(Image.open(io.BytesIO(data))), flat(expected), atol=2)


def test_opacity_and_palettes_have_the_profile_too() -> None:
    profile, expected = rgb_profile(*ADOBE, gamma=2.2), flat(as_srgb((150, 110, 60), ADOBE, 2.2))
    np.testing.assert_allclose(decode(encoded(flat((150, 110, 60, 255)), icc_profile=profile)), expected, atol=2)
    palette = Image.fromarray(np.zeros((8, 10), np.uint8), "P")
    palette.putpalette([150, 110, 60])
    np.testing.assert_allclose(decode(encoded(palette, icc_profile=profile)), expected, atol=2)


@pytest.mark.parametrize(
    "profile",
    [
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        rgb_profile(*ADOBE, gamma=2.2)[:200],
        b"no profile at all",
        cmyk_profile(),  # of another mode than the image
    ],
)
def test_srgb_and_profiles_that_cannot_be_used_change_nothing(profile: bytes) -> None:
    np.testing.assert_array_equal(decode(encoded(noise(), icc_profile=profile)), noise())


def test_inks_are_those_of_their_profile() -> None:
    data = encoded(Image.fromarray(flat((200, 30, 0, 128)), "CMYK"), "JPEG", quality=98, icc_profile=cmyk_profile())
    np.testing.assert_allclose(decode(data), flat((119, 119, 119)), atol=4)  # half of the black: L* = 50


# Sizes -------------------------------------------------------------------------------------------------------------


def test_jpeg_is_decoded_small_where_that_is_enough() -> None:
    data = encoded(noise(800, 1200), "JPEG")
    assert decode(data).shape == (800, 1200, 3)
    assert decode(data, 50).shape == (100, 150, 3)  # twice what was asked for
    assert decode(data, 700).shape == (800, 1200, 3)


def test_images_of_20000_pixels_are_fine() -> None:
    assert decode(encoded(np.zeros((5000, 20000), dtype=bool))).shape == (5000, 20000, 3)


def test_pillows_own_limit_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    data = encoded(noise())
    threads = [threading.Thread(target=decode, args=(data,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Image.MAX_IMAGE_PIXELS == 10
    assert decode(data).shape == (12, 16, 3)


def test_absurd_sizes_are_broken_without_decoding() -> None:
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    data += encoded(noise())[33:]
    with pytest.raises(BrokenImage, match="100000 x 100000 pixels: more than 500 million"):
        decode(data)


# Broken ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"hello, I am no image\n", "text, not an image"),
        (b"\x00\x01\x02\x03" * 20, "not an image in a known format"),
        (encoded(noise(64, 64), "JPEG")[:900], "truncated"),
        (encoded(noise(64, 64), "PNG")[:2000], "truncated"),
        (encoded(noise(64, 64), "PNG")[:20], "."),
        (encoded(noise(64, 64), "BMP")[:2000], "truncated"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "text"),  # would start Ghostscript
    ],
)
def test_broken_files_say_why_in_one_line(data: bytes, reason: str) -> None:
    for reads in (decode, look_at):
        with pytest.raises(BrokenImage, match=reason) as caught:
            reads(data)
        assert 0 < len(caught.value.reason) < 200
        assert "\n" not in caught.value.reason


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_damage_anywhere_is_an_image_or_broken(kind: str) -> None:
    whole = encoded(noise(40, 40), kind)
    rng = np.random.default_rng(1)
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 4):
            damaged[place] = int(rng.integers(0, 256))
        with suppress(BrokenImage):
            pixels = decode(bytes(damaged))
            assert pixels.ndim == 3
            assert pixels.shape[2] == 3


def test_look_names_format_colour_and_size() -> None:
    assert look_at(encoded(noise(), "GIF"))[:2] == (12, 16)
    assert look_at(encoded(noise(), "WEBP")).stored_as == "WEBP"
    assert not look_at(encoded(noise())).grey
    assert look_at(encoded(noise()[..., 0])).grey
