"""Images of more than 8 bits, and others that Pillow reads wrongly without an error."""

from __future__ import annotations

import io
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from likewise.data import open_source
from likewise.data.decoding.decode import decode, from_pil, look_at
from likewise.data.decoding.deep import depth_of
from likewise.data.source import BrokenImage
from tests.data.images import encoded, noise, png, tiff

_RNG = np.random.default_rng(5)
TWELVE = _RNG.integers(0, 4096, (6, 9, 3)).astype(np.uint16)
"""(6, 9, 3) numbers of 12 bits."""
TWELVE[0, 0] = 4095
SHADES = np.rint(TWELVE * (255 / 4095)).astype(np.uint8)
"""What they should become."""


def grey(values: Any) -> Any:
    """(H, W) as three equal channels."""
    return np.repeat(np.asarray(values)[..., None], 3, axis=2)


def deep_tiff(values: Any, *, photometric: int, **tags: Any) -> bytes:
    """(H, W) or (H, W, C) numbers as an uncompressed TIFF file."""
    array = np.asarray(values)
    height, width = array.shape[:2]
    channels = array.shape[2] if array.ndim == 3 else 1
    sample = {"u": 1, "i": 2, "f": 3}[array.dtype.kind]
    described = {256: (width,), 257: (height,), 258: (8 * array.itemsize,) * channels, 262: (photometric,)}
    described |= {277: (channels,), 339: (sample,) * channels}
    planes = [array.tobytes()]
    if tags.get("planar"):
        planes = [np.ascontiguousarray(array[..., band]).tobytes() for band in range(channels)]
        described[284] = (2,)
    return tiff(planes, described | tags.get("more", {}))


# PNG ---------------------------------------------------------------------------------------------------------------


def test_twelve_bits_in_sixteen_of_colour_are_not_black() -> None:
    np.testing.assert_array_equal(decode(png(TWELVE, bits=16, kind=2)), SHADES)


def test_sixteen_bits_of_colour_with_opacity() -> None:
    opaque = np.full((6, 9, 1), 4095)
    opaque[2] = 0
    expected = SHADES.copy()
    expected[2] = 255
    np.testing.assert_array_equal(decode(png(np.concatenate([TWELVE, opaque], 2), bits=16, kind=6)), expected)
    values = np.concatenate([TWELVE[..., :1], opaque], 2)
    np.testing.assert_array_equal(decode(png(values, bits=16, kind=4)), grey(expected[..., 0]))


def test_transparent_shade_of_sixteen_bits_is_white() -> None:
    values = TWELVE[..., :1].copy()
    values[1, 2] = 77
    expected = grey(np.rint(values[..., 0] * (255 / 4095)))
    expected[values[..., 0] == 77] = 255
    np.testing.assert_array_equal(decode(png(values, bits=16, kind=0, transparent=(77,))), expected)
    colour = TWELVE.copy()
    colour[3, 3] = (1, 2, 3)
    shown = decode(png(colour, bits=16, kind=2, transparent=(1, 2, 3)))
    assert shown[3, 3].tolist() == [255, 255, 255]
    np.testing.assert_array_equal(np.delete(shown, 3, axis=0), np.delete(SHADES, 3, axis=0))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_transparent_shade_of_few_bits_is_white(bits: int) -> None:
    most = 2**bits - 1
    values = np.array([[0, most, most - 1, 0]])
    expected = np.rint(values * 255 / most)
    expected[values == most - 1] = 255
    data = png(values[..., None], bits=bits, kind=0, transparent=(most - 1,))
    np.testing.assert_array_equal(decode(data), grey(expected))


def test_pillow_images_that_are_not_loaded_yet_are_read_from_their_file(tmp_path: Path) -> None:
    place = tmp_path / "a.png"
    place.write_bytes(png(TWELVE, bits=16, kind=2))
    with Image.open(place) as image:
        np.testing.assert_array_equal(from_pil(image), SHADES)
        np.testing.assert_array_equal(open_source([image]).read(0), SHADES)


# PNM ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "channels"), [(b"P5", 1), (b"P6", 3)])
def test_pnm_of_sixteen_bits(kind: bytes, channels: int) -> None:
    values = TWELVE[..., :channels]
    header = kind + b"\n# camera 3\n9 6\n"
    expected = np.broadcast_to(SHADES[..., :channels], (6, 9, 3))
    np.testing.assert_array_equal(decode(header + b"65535\n" + values.astype(">u2").tobytes()), expected)
    dark = values // 5  # 4095 is white where the file says so
    shown = decode(header + b"4095\n" + dark.astype(">u2").tobytes())
    np.testing.assert_allclose(shown, np.broadcast_to(dark * (255 / 4095), (6, 9, 3)), atol=0.51)
    with pytest.raises(BrokenImage, match="truncated"):
        decode(header + b"4095\n" + b"\0" * 20)
    written = kind.replace(b"5", b"2").replace(b"6", b"3") + b" 9 6 65535\n" + b" ".join(b"%d" % v for v in values.flat)
    np.testing.assert_array_equal(decode(written), expected)
    assert depth_of(io.BytesIO(written)) == "short"


# TIFF --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("planar", [False, True])
def test_tiff_of_sixteen_bits_of_colour(planar: bool) -> None:
    np.testing.assert_array_equal(decode(deep_tiff(TWELVE, photometric=2, planar=planar)), SHADES)


def test_tiff_in_which_0_is_white() -> None:
    for values in (TWELVE[..., 0], TWELVE[..., 0].astype(np.float32) / 4095):
        np.testing.assert_array_equal(decode(deep_tiff(values, photometric=0)), grey(255 - SHADES[..., 0]))


def test_tiff_of_12_bits_packed() -> None:
    values = TWELVE[..., 0]
    bits = (values[..., None] >> np.arange(11, -1, -1)) & 1
    packed = np.packbits(bits.reshape(6, -1).astype(np.uint8), axis=1).tobytes()
    tags = {256: (9,), 257: (6,), 258: (12,)}
    np.testing.assert_array_equal(decode(tiff([packed], tags | {262: (1,)})), grey(SHADES[..., 0]))
    np.testing.assert_array_equal(decode(tiff([packed], tags | {262: (0,)})), grey(255 - SHADES[..., 0]))


@pytest.mark.parametrize("kind", ["i1", "i2", "u4", "i4", "f2", "f4", "f8"])
@pytest.mark.parametrize("channels", [1, 3])
def test_tiff_of_other_numbers(kind: str, channels: int) -> None:
    values = np.linspace(0, 1, 6 * 9 * channels).reshape(6, 9, channels)
    if kind[0] != "f":
        low, high = {"i1": (-100, 100), "u4": (0, 2**32 - 1)}.get(kind, (-3000, 3000))
        values = np.rint(low + values * (high - low))
        expected = (values - low) * (255 / (high - low))
    else:
        expected = values * 255
    shown = decode(deep_tiff(values.astype(kind), photometric=1 if channels == 1 else 2))
    np.testing.assert_allclose(shown, np.broadcast_to(expected, (6, 9, 3)), atol=0.6)


def test_tiff_with_differences_of_neighbours_compressed() -> None:
    differences = np.diff(TWELVE, axis=1, prepend=np.zeros((6, 1, 3), np.uint16))
    tags = {256: (9,), 257: (6,), 258: (16,) * 3, 262: (2,), 277: (3,), 259: (8,), 317: (2,)}
    data = tiff([zlib.compress(differences.astype("<u2").tobytes())], tags)
    np.testing.assert_array_equal(decode(data), SHADES)
    values = np.linspace(0, 1, 54, dtype=np.float32).reshape(6, 9)
    planes = values.astype(">f4").view(np.uint8).reshape(6, 9, 4).transpose(0, 2, 1).reshape(6, 36)
    rows = np.diff(planes, axis=1, prepend=np.zeros((6, 1), np.uint8))
    tags = {256: (9,), 257: (6,), 258: (32,), 262: (1,), 339: (3,), 259: (8,), 317: (3,)}
    np.testing.assert_allclose(decode(tiff([zlib.compress(rows.tobytes())], tags)), grey(values * 255), atol=0.51)


@pytest.mark.parametrize(("extra", "multiplied"), [(1, True), (2, False)])
def test_tiff_of_sixteen_bits_with_opacity(extra: int, multiplied: bool) -> None:
    shades = np.full((2, 3, 3), 40000.0)
    opaque = np.array([0.0, 0.5, 1.0])[None, :, None].repeat(2, axis=0)
    values = np.concatenate([shades * opaque if multiplied else shades, 65535 * opaque], axis=2)
    expected = (shades * opaque + 65535 * (1 - opaque)) / 257
    data = deep_tiff(np.rint(values).astype(np.uint16), photometric=2, more={338: (extra,)})
    np.testing.assert_allclose(decode(data), expected, atol=1)


def test_turned_tiff_of_sixteen_bits() -> None:
    data = deep_tiff(TWELVE, photometric=2, more={274: (6,)})
    np.testing.assert_array_equal(decode(data), np.rot90(SHADES, -1))
    assert look_at(data)[:2] == (9, 6)
    assert look_at(data).stored_as == "TIFF"


def test_palette_that_was_written_in_8_bits() -> None:
    values = np.array([[0, 1, 2, 3]], np.uint8)
    colours = np.zeros((3, 256), int)
    colours[:, :4] = [[255, 0, 9, 1], [0, 255, 9, 2], [0, 0, 9, 3]]
    tags = {256: (4,), 257: (1,), 258: (8,), 262: (3,)}
    expected = [[[255, 0, 0], [0, 255, 0], [9, 9, 9], [1, 2, 3]]]
    for scale in (1, 257):
        data = tiff([values.tobytes()], tags | {320: tuple((colours * scale).ravel().tolist())})
        np.testing.assert_array_equal(decode(data), expected)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (deep_tiff(np.zeros((4, 4, 5), np.uint16), photometric=1), "5 channels"),
        (deep_tiff(np.zeros((4, 4), np.uint16), photometric=1, more={259: (7,)}), "compressed by method 7"),
        (deep_tiff(np.zeros((4, 4), np.uint16), photometric=1, more={339: (6,), 258: (64,)}), "not read"),
        (deep_tiff(np.zeros((4, 4, 4), np.uint16), photometric=5, planar=True), "in planes"),
        (deep_tiff(np.zeros((4, 4, 3), np.uint8), photometric=6, more={530: (2, 2)}), "fewer colours"),
        (deep_tiff(np.full((4, 4), np.nan, np.float32), photometric=1), "no finite values"),
        (deep_tiff(TWELVE, photometric=2)[:90], r"."),
        (b"II*\0\xff\xff\xff\x00" + bytes(40), "not whole"),
    ],
)
def test_what_cannot_be_read_rightly_is_broken(data: bytes, reason: str) -> None:
    for reads in (decode, look_at):
        with pytest.raises(BrokenImage, match=reason):
            reads(data)


def test_damage_to_deep_images_is_broken_or_an_image() -> None:
    rng = np.random.default_rng(1)
    for whole in (deep_tiff(TWELVE, photometric=2), png(TWELVE, bits=16, kind=2)):
        for _ in range(100):
            damaged = bytearray(whole)
            for place in rng.integers(0, len(whole), 4):
                damaged[place] = int(rng.integers(0, 256))
            with suppress(BrokenImage):
                assert decode(bytes(damaged)).shape[2] == 3


def test_cmyk_of_adobe_is_not_inverted() -> None:
    data = encoded(Image.fromarray(noise(16, 16) // 2 + 100).convert("CMYK"), "JPEG", quality=98)
    assert b"Adobe" in data
    shown = decode(data).astype(int)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert abs(shown.mean() - expected.mean()) < 1
    assert abs(shown.mean() - (noise(16, 16) // 2 + 100).mean()) < 12
