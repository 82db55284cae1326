"""Builds an encoder from a spec: the timm model, fitted to width, stem and image size, with initial weights."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import nn

import likewise._torchvision  # noqa: F401  (has to be imported before timm)

# isort: split
import timm
from timm.layers.patch_embed import PatchEmbed
from timm.models.convnext import ConvNeXt
from timm.models.efficientnet import EfficientNet
from timm.models.mobilenetv3 import MobileNetV3
from timm.models.resnet import ResNet

from likewise.encoders.encoder import Encoder, patch_sides
from likewise.encoders.files.published import at_hand
from likewise.encoders.own import ConvNet, SmallSwin, Staged
from likewise.encoders.passes import trial
from likewise.encoders.resnet import USUAL_WIDTH, narrow, small_stem
from likewise.encoders.spec import EncoderSpec
from likewise.errors import InputError, unknown

_GRID = 8
"""Patches a side that a transformer with the small stem aims at: 4 px patches at 32 px, 8 px at 64 px."""


class _NotMade(InputError):
    """timm cannot make a model for the size that is asked for."""

    def __init__(self, spec: EncoderSpec, reason: str) -> None:
        super().__init__(f"encoder {spec.name!r} cannot be made for {spec.image_size} px: {reason}")
        self.reason = reason


def build(spec: EncoderSpec, seed: int = 0) -> Encoder:
    """The encoder that `spec` describes, its random weights drawn from `seed` alone.

    The state of PyTorch's own generators is left as it was. Initialisation is timm's: for ResNets, He normal with
    fan-out, and 1 for every norm (timm would start the last norm of each block at zero). Raises `InputError` for
    names timm does not know, and for widths, stems, sizes or published weights that the model does not have.
    """
    check(spec)
    with _seeded(seed):
        return _made(spec)


def rebuild(spec: EncoderSpec) -> Encoder:
    """The encoder that `spec` describes, to be filled with saved weights: published ones are not fetched for it."""
    with _seeded(0):
        return Encoder(spec, _backbone(replace(spec, pretrained=False)))


def check(spec: EncoderSpec, side: int | None = None) -> None:
    """Raise `InputError` unless the encoder can be trained on images of `side` px, by default those of the spec.

    Takes a pass without data the first time (`likewise.encoders.passes.trial`), and nothing for the same spec again.
    The error names the model, what it stumbled over, and the nearest side that it does take.
    """
    side = spec.image_size if side is None else side
    bare = EncoderSpec(name=spec.name, width=spec.width, stem=spec.stem, image_size=spec.image_size)
    found = _fault(bare, side)
    if found is None:
        return
    near = _nearest(bare, side)
    hint = f"; {near} px can be taken" if near else ", nor on others: choose another model, such as resnet18"
    raise InputError(f"encoder {spec.name!r} does not take images of {side} px ({found}){hint}")


@cache
def _fault(spec: EncoderSpec, side: int) -> str | None:
    """What keeps the encoder of `spec` from being trained on images of `side` px, or None."""
    with _seeded(0):
        try:
            return trial.fault(lambda: _made(spec), side)
        except _NotMade as error:
            return error.reason


@cache
def _nearest(spec: EncoderSpec, side: int) -> int | None:
    """A side near `side` that the encoder of `spec` takes, or None where none is found.

    Where `side` is that of the spec, models that have to be are made for each side that is tried.
    """
    published = timm.get_pretrained_cfg(spec.name)
    usual = [] if published is None else [max(published.input_size[1:])]
    with _seeded(0):
        if side == spec.image_size and "img_size" in arguments_for(spec):
            return trial.nearest(lambda other: _made(replace(spec, image_size=other)), side, usual)
        try:
            one = trial.made(lambda: _made(spec))
        except InputError:
            return None
        return trial.nearest(lambda _: one, side, [*usual, spec.image_size])


def _made(spec: EncoderSpec) -> Encoder:
    return Encoder(spec, _backbone(spec))


@cache
def has_small_stem(name: str) -> bool:
    """Whether the model called `name` can have first layers for small images: ResNets, ConvNeXts, ViTs, ..."""
    check_name(name)
    return _can_be(EncoderSpec(name=name, stem="small", image_size=32))


@cache
def has_width(name: str) -> bool:
    """Whether the model called `name` can be narrower than usual: plain ResNets."""
    check_name(name)
    return _can_be(EncoderSpec(name=name, width=USUAL_WIDTH // 4))


def normalisation(name: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Channel means and deviations that the published weights of `name` were trained with."""
    check_name(name)
    published = timm.get_pretrained_cfg(name)
    if published is None:
        default = EncoderSpec()
        return default.mean, default.std
    mean, std = published.mean, published.std
    return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])


def check_name(name: str) -> None:
    """Raise `InputError` with the nearest spelling where timm has no model, or no weights of it, called `name`."""
    model, _, tag = name.partition(".")
    if timm.is_model(model):
        tags = [known.partition(".")[2] for known in timm.list_models(f"{model}.*", pretrained=True)] if tag else []
        if tag and tag not in tags:
            raise unknown(f"weights of {model}", tag, tags)
        return
    known = timm.list_models()
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise InputError(f"unknown encoder {name!r}: {hint}allowed is any of timm's {len(known)} models, such as resnet18")


def _can_be(spec: EncoderSpec) -> bool:
    """Whether the spec can be met, found by making the model without memory for its weights."""
    try:
        trial.made(lambda: _made(spec))
    except InputError:
        return False
    return True


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw from `seed` inside, and give the global generator back its state afterwards.

    Weights are made on the CPU, so only its generator is seeded: `torch.manual_seed` would also reseed the others.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def _backbone(spec: EncoderSpec) -> nn.Module:
    """The timm model without classifier, adapted to the spec."""
    check_name(spec.name)
    if spec.pretrained and not timm.is_model_pretrained(spec.name):
        raise InputError(f"timm has no published weights for {spec.name!r}: leave pretrained off")
    if spec.pretrained and spec.width != USUAL_WIDTH:
        raise InputError(f"published weights of {spec.name!r} have width {USUAL_WIDTH}, not {spec.width}")
    model = _create(spec)
    if spec.width != USUAL_WIDTH:
        if not isinstance(model, ResNet):
            raise InputError(f"encoder {spec.name!r} has no width: only ResNets do (resnet18, resnet50, ...)")
        narrow(model, spec.width, spec.name)
    if spec.stem == "small":
        _shrink_stem(model, spec)
    embed = getattr(model, "patch_embed", None)  # of the models that do not pad; others may cut patches as they like
    patch = embed.patch_size[0] if isinstance(embed, PatchEmbed) and not embed.dynamic_img_pad else 1
    if spec.image_size % patch:
        near = max(1, round(spec.image_size / patch)) * patch
        raise InputError(f"image size {spec.image_size} is not whole {patch} px patches of {spec.name!r}; {near} is")
    return model


def _create(spec: EncoderSpec) -> nn.Module:
    """Ask timm for the model, with its input size, and with smaller patches where the stem is to be small."""
    arguments = {"num_classes": 0, "pretrained": spec.pretrained, **arguments_for(spec)}
    if _family(spec.name) == ResNet.__module__:
        arguments["zero_init_last"] = False  # the ResNets of these papers start every norm at 1
    if "img_size" not in arguments:
        return _ask_timm(spec, arguments)
    # models that can interpolate their positions take other sizes too, such as small crops, and those with windows
    for other_sizes in ({"dynamic_img_size": True}, {"strict_img_size": False}):
        try:
            return _ask_timm(spec, {**arguments, **other_sizes})
        except InputError as error:
            if not isinstance(error.__cause__, TypeError):
                raise
    return _ask_timm(spec, arguments)


def arguments_for(spec: EncoderSpec) -> dict[str, Any]:
    """What `timm.create_model` has to be told of the size of the input, and of the stem as far as it can make it."""
    small = spec.stem == "small"
    published = timm.get_pretrained_cfg(spec.name)
    if published is not None and published.fixed_input_size:
        sized = {"img_size": spec.image_size}
        return sized | {"patch_size": _small_patch(spec)} if small else sized
    if _family(spec.name) in {ConvNet.__module__, SmallSwin.__module__}:
        return {"img_size": spec.image_size}  # which decides how many features there are, or how large windows are
    # a total stride of 8, as in a ResNet with the small stem
    return {"patch_size": 1} if small and _family(spec.name) == ConvNeXt.__module__ else {}


def side_step(encoder: Encoder) -> int:
    """What the sides of images that the encoder takes are multiples of; 1 where it takes any.

    Of a transformer that is its patch, of what takes one side alone (ONNX, functions, windows of one size) that side.
    A backbone that knows it says so as `side_step`, 0 for its own side alone.
    """
    backbone, side = encoder.backbone, encoder.spec.image_size
    known = getattr(backbone, "side_step", None)
    if known is not None:
        return int(known) or side
    embed = getattr(backbone, "patch_embed", None)
    if isinstance(embed, PatchEmbed) and not embed.strict_img_size:
        return 1 if embed.dynamic_img_pad else int(embed.patch_size[0])
    return side if "img_size" in arguments_for(encoder.spec) else 1


def _ask_timm(spec: EncoderSpec, arguments: dict[str, Any]) -> nn.Module:
    """`timm.create_model`, whose many kinds of refusal become one `InputError`."""
    if spec.pretrained and (found := at_hand(spec.name)):
        arguments = {**arguments, "pretrained_cfg_overlay": found}
    try:
        return timm.create_model(spec.name, **arguments)
    except Exception as error:
        reason = trial.reason(error)
        if spec.pretrained:
            raise InputError(f"the published weights of {spec.name!r} cannot be had: {reason}") from error
        if spec.stem == "small":
            raise InputError(_no_small_stem(spec)) from error
        raise _NotMade(spec, reason) from error


def _small_patch(spec: EncoderSpec) -> int:
    """Patch side that cuts the image into a grid as near to 8 x 8 as its side allows."""
    size = spec.image_size
    sides = [patch for patch in range(1, size + 1) if size % patch == 0 and _GRID // 2 <= size // patch <= 2 * _GRID]
    if not sides:
        near = round(size / _GRID) * _GRID or _GRID
        raise InputError(f"a {size} px image does not divide into patches for {spec.name!r}; {near} px does")
    return min(sides, key=lambda patch: abs(math.log(size / patch / _GRID)))


def _family(name: str) -> str:
    """The module of timm that makes the model called `name`."""
    return str(timm.model_entrypoint(name.partition(".")[0]).__module__)


def _shrink_stem(model: nn.Module, spec: EncoderSpec) -> None:
    """Give the model first layers for small images, in place, or check that timm did so when it made the model."""
    patches = patch_sides(model)
    reductions = {stage["reduction"] for stage in getattr(model, "feature_info", [])}
    if isinstance(model, Staged | SmallSwin):
        return  # the first layers of ours are made for small images
    if isinstance(model, ResNet):
        small_stem(model, keep_weights=spec.pretrained)
    elif isinstance(model, EfficientNet | MobileNetV3):
        model.conv_stem.stride = (1, 1)
    elif not (
        (isinstance(model, ConvNeXt) and reductions == {1, 2, 4, 8})
        or (patches is not None and reductions == {patches[0]})
    ):
        raise InputError(_no_small_stem(spec))


def _no_small_stem(spec: EncoderSpec) -> str:
    return f"encoder {spec.name!r} has no small stem: plain ResNets, ConvNeXts, EfficientNets and ViTs have one"
