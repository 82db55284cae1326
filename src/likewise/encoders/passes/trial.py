"""A trial pass without data: whether an encoder can be trained at an image size.

On PyTorch's meta device a network has shapes and no values, so that the largest takes no memory and little time.
"""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from likewise.encoders.encoder import Encoder
from likewise.errors import InputError

STEP = 4
"""Pixels between the sides that are tried where another is to be named."""
LARGEST = 512
"""Pixels of the largest side that is tried."""
_COARSE = 32
_FINE = 16
"""How many sides are tried between the one that does not fit and the nearest multiple of 32 that does."""
_PATCHES = (12, 14)
"""Sides of patches that do not divide a multiple of four pixels evenly."""
_LONGEST = 90


def fault(make: Callable[[], Encoder], side: int) -> str | None:
    """What keeps the encoder that `make` makes from being trained on images of `side` px, in a few words, or None.

    It is made and run once on the meta device; one that needs values for that is made of real ones. What `make` raises
    as an InputError is passed on.
    """
    for device in ("meta", "cpu"):
        try:
            # whatever the caller computes without a gradient, training has one
            with torch.inference_mode(False), torch.enable_grad(), torch.device(device):
                _step(make(), side)
        except InputError as error:
            if device == "meta" and _wants_values(error.__cause__):
                continue
            raise
        except Exception as error:  # noqa: BLE001  # a model raises whatever it stumbles over
            if device == "meta" and _wants_values(error):
                continue
            return reason(error)
        return None
    return None


def made(make: Callable[[], Encoder]) -> Encoder:
    """The encoder without memory for its weights. Raises what `make` raises."""
    with torch.device("meta"):
        return make()


def nearest(make: Callable[[int], Encoder], side: int, usual: Iterable[int]) -> int | None:
    """A side near `side` that the encoder which `make` makes for it takes, or None where none of those tried is.

    Tried are `usual` and multiples of 32 up to 512, and then those of 4, 12 and 14 that lie nearer than what was found.
    """

    def takes(other: int) -> bool:
        try:
            with torch.no_grad():
                _look(made(lambda: make(other)).train(), other, 2)
        except Exception:  # noqa: BLE001  # whatever a model raises means that it does not
            return False
        return True

    def nearest_first(sides: Iterable[int]) -> list[int]:
        return sorted(set(sides) - {side}, key=lambda other: (abs(other - side), other))

    coarse = nearest_first([*usual, *range(_COARSE, LARGEST + 1, _COARSE)])
    found = next((other for other in coarse if takes(other)), None)
    if found is None:
        return None
    steps = {other for step in (STEP, *_PATCHES) for other in range(step, LARGEST + 1, step)}
    between = [other for other in nearest_first(steps) if abs(other - side) < abs(found - side)]
    return next((other for other in between[:_FINE] if takes(other)), found)


def reason(error: BaseException) -> str:
    """The first line of an error's text, shortened, or the line of the model that raised it without a word."""
    text = str(error).strip().partition("\n")[0]
    if not text:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "timm" in frame.filename]
        text = (frames[-1].line or "") if frames else ""
    text = text or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _step(encoder: Encoder, side: int) -> None:
    """A step of training, a look at one image and a copy, as far as shapes go. Raises what the model raises."""
    torch.autograd.backward(_look(encoder.train(), side, 2).sum())
    with torch.no_grad():
        _look(encoder.eval(), side, 1)
    copy.deepcopy(encoder)  # as momentum teachers and saving do


def _look(encoder: Encoder, side: int, batch: int) -> Tensor:
    """The features of a batch without content. Raises what the model raises, and where they are not (B, F)."""
    device = next(encoder.parameters()).device
    features_BF: object = encoder(torch.empty(batch, 3, side, side, device=device))
    if not isinstance(features_BF, Tensor):
        raise TypeError(f"its features are a {type(features_BF).__name__}, not a tensor")
    if tuple(features_BF.shape) != (batch, encoder.features):
        raise ValueError(f"its features have the shape {tuple(features_BF.shape)}, not ({batch}, {encoder.features})")
    return features_BF


def _wants_values(error: BaseException | None) -> bool:
    """Whether an error says that the meta device is what the model cannot do with."""
    return isinstance(error, NotImplementedError) or "meta" in str(error).lower()
