"""The distortions of the model-vs-human benchmark, exactly (arXiv 2106.07411; stimuli of arXiv 1808.08750).

All take and give float64 images in 0..1: grey (H, W), colour (H, W, 3). `as_uint8` is how stimuli are stored. Seeds are
those of NumPy's legacy RandomState, whose numbers the published stimuli were made of.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from likewise.errors import InputError

Image = NDArray[np.float64]

BACKGROUND = 0.4423
"""Mean grey of the benchmark's images: what lies beyond the border of a filtered image."""
NOISE_CONTRAST = 0.3
"""Contrast that images are reduced to before noise is added."""
_GREY = np.array([0.2125, 0.7154, 0.0721])
_TO_CONES = np.array(
    [
        [0.1619982647, 0.208049264, 0.0389347448],
        [0.0330275785, 0.2496504557, 0.0618343518],
        [0.0015524055, 0.0198861001, 0.1890224274],
    ]
)
_WHITE = np.array([0.20449114, 0.17225619, 0.10523047])
_TO_OPPONENT = np.array(
    [[9.27590805, 9.27590805, 0.0], [7.86421647, -9.33587662, 0.0], [-3.39709047, -3.39709047, 12.16230246]]
)


def _cut(image: Image) -> Image:
    found: Image = np.clip(image, 0.0, 1.0)
    return found


def as_uint8(image: Image) -> NDArray[np.uint8]:
    """A stimulus as it is stored: cut to 0..1, times 255, truncated."""
    return (255.0 * _cut(image)).astype(np.uint8)


def grey(image_HW3: Image) -> Image:
    """(H, W) luminance."""
    found: Image = image_HW3 @ _GREY
    return found


def contrast(grey_HW: Image, level: float) -> Image:
    """(1 - c) / 2 + c g."""
    return _cut((1.0 - level) / 2.0 + level * grey_HW)


def uniform_noise(grey_HW: Image, width: float, seed: int) -> Image:
    """At a contrast of .3, plus uniform noise within -width..width."""
    field = np.random.RandomState(seed).uniform(-width, width, grey_HW.shape)
    return _cut(contrast(grey_HW, NOISE_CONTRAST) + field)


def salt_and_pepper(grey_HW: Image, share: float, seed: int) -> Image:
    """At a contrast of .3, with half of `share` of the pixels white and half black."""
    field = np.random.RandomState(seed).uniform(0.0, 1.0, grey_HW.shape)
    moved = (field >= 1.0 - share / 2.0).astype(float) - (field < share / 2.0)
    return _cut(contrast(grey_HW, NOISE_CONTRAST) + moved)


def low_pass(grey_HW: Image, std: float) -> Image:
    """Gaussian filter of `std` pixels, cut at 4 of them, the benchmark's mean grey beyond the border; 0: as it is."""
    if std == 0:
        return grey_HW
    return _cut(gaussian_filter(grey_HW, std, mode="constant", cval=BACKGROUND, truncate=4.0))


def high_pass(grey_HW: Image, std: float) -> Image:
    """What a low pass of `std` pixels takes away, at the benchmark's mean grey; infinity changes nothing."""
    if math.isinf(std):
        return grey_HW
    rest = grey_HW - gaussian_filter(grey_HW, std, mode="constant", cval=BACKGROUND, truncate=4.0)
    return _cut(rest + BACKGROUND - rest.mean())


def phase_noise(grey_HW: Image, width: float, seed: int, *, paired: bool = False) -> Image:
    """Each frequency's phase moved by up to `width` degrees. Raises InputError for images of an odd side.

    The published code adds its draws to the first half of the spectrum and takes them off the second half in the SAME
    order; `paired` takes each off its own conjugate, so that the image stays real.
    """
    height, columns = grey_HW.shape
    if height % 2 or columns % 2:
        raise InputError(f"phase noise needs even sides, not {height} x {columns}: resize the image first")
    spectrum = np.fft.fftshift(np.fft.fft2(grey_HW))
    phase, amplitude = np.angle(spectrum), np.abs(spectrum)
    block = phase[1:, 1:].flatten()
    half = len(block) // 2
    drawn = (np.random.RandomState(seed).uniform(0.0, 1.0, half) - 0.5) * 2.0 * width / 180.0 * np.pi
    block[:half] += drawn
    block[half + 1 :] -= drawn[::-1] if paired else drawn
    phase[1:, 1:] = block.reshape(height - 1, columns - 1)
    return _cut(np.fft.ifft2(np.fft.ifftshift(amplitude * np.exp(1j * phase))).real)


def amplitudes(grey_HW: Image) -> Image:
    """(H, W) amplitude spectrum, frequency 0 in the middle; the mean of many is what `equalised` takes."""
    return np.abs(np.fft.fftshift(np.fft.fft2(grey_HW)))


def equalised(grey_HW: Image, amplitude_HW: Image) -> Image:
    """The image's phases with another amplitude spectrum. Raises InputError for one of another size."""
    if grey_HW.shape != amplitude_HW.shape:
        raise InputError(f"an amplitude spectrum of {amplitude_HW.shape} does not fit an image of {grey_HW.shape}")
    phase = np.angle(np.fft.fftshift(np.fft.fft2(grey_HW)))
    return _cut(np.fft.ifft2(np.fft.ifftshift(amplitude_HW * np.exp(1j * phase))).real)


def rotated(grey_HW: Image, degrees: int) -> Image:
    """Turned counter-clockwise by a multiple of 90 degrees. Raises InputError for other angles."""
    if degrees % 90:
        raise InputError(f"rotation by {degrees} degrees: allowed are 0, 90, 180 and 270")
    return np.rot90(grey_HW, degrees // 90)


def opponent_colour(image_HW3: NDArray[np.uint8], monitor_256: Image) -> Image:
    """False colours: both opponent-colour axes reversed, luminance kept, as seen on the monitor of the experiments.

    `monitor_256` is the monitor's light output for each 8-bit value. The result takes the values k / 255 whose output
    is nearest. Raises InputError for images that are not 8 bits.
    """
    if image_HW3.dtype != np.uint8:
        raise InputError(f"false colours are made of 8-bit values, not of {image_HW3.dtype}")
    cones = monitor_256[image_HW3] @ _TO_CONES.T
    opponent = (cones - _WHITE) @ _TO_OPPONENT.T
    opponent[..., 1:] *= -1.0
    cones = opponent @ np.linalg.inv(_TO_OPPONENT).T + _WHITE
    light = np.clip(cones @ np.linalg.inv(_TO_CONES).T, 0.0, 1.0)
    found: Image = _nearest(light, monitor_256) / 255.0
    return found


def _nearest(light: Image, monitor_256: Image) -> NDArray[np.int64]:
    """Index of the table's value that is nearest to each light, the first of equally near ones."""
    values, first = np.unique(monitor_256, return_index=True)
    above = np.searchsorted(values, light).clip(1, len(values) - 1)
    below = above - 1
    far_above, far_below = np.abs(light - values[above]), np.abs(light - values[below])
    takes_above = (far_above < far_below) | ((far_above == far_below) & (first[above] < first[below]))
    found: NDArray[np.int64] = np.where(takes_above, first[above], first[below])
    return found
