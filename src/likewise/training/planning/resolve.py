"""Resolves settings that were not given, from the facts, each with its reason. Pure functions only."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from likewise.encoders import EncoderSpec, has_small_stem, has_width
from likewise.encoders.build import normalisation as published_normalisation
from likewise.errors import InputError, unknown
from likewise.methods import known_settings
from likewise.methods.method import Method, Normalisation, Optimisation, Preset, UpdateRule
from likewise.training.planning.asked import SIZES, AsAsked, Asked, Precision
from likewise.views import (
    CIFAR10_MEAN,
    CIFAR10_STD,
    CIFAR100_MEAN,
    CIFAR100_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
)
from likewise.views.policies.pair import SMALL_IMAGE

Channels = tuple[float, float, float]
"""Red, green, blue."""
VIEW_SIZE = 0.75
"""Side of the views, as a share of the encoder's input, in this project's own recipes. It is the mean side of a crop
that covers .2 to 1 of an image: things are as large in such a view as in the whole image, which is what the encoder
is shown later (Touvron, Vedaldi, Douze, Jegou, NeurIPS 2019, arXiv 1906.06423). 24 of 32 pixels are .56 of the work."""
FIRST_SIZE_MUON = 0.5
"""Side that they begin with where Muon updates the encoder, which learns enough from the first small ones for that to
pay; with SGD it did not (docs/performance.md)."""
LEAST_FIRST = 16
"""Pixels. Where that side would have fewer, views begin at `VIEW_SIZE`: 28 px digits were learned worse otherwise."""
USUAL_RATES: Mapping[UpdateRule, float] = {"sgd": Optimisation.learning_rate, "adamw": 1e-3, "lars": 0.3, "muon": 0.1}
"""Rates for 256 images, for an update rule that is not the preset's: LARS wants a hundred times AdamW's."""
STATISTICS: Mapping[Normalisation, tuple[Channels, Channels]] = {
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "cifar10": (CIFAR10_MEAN, CIFAR10_STD),
    "cifar100": (CIFAR100_MEAN, CIFAR100_STD),
}
"""Channel means and deviations of published data sets."""


class DataFacts(NamedTuple):
    """The facts of the data that resolving needs."""

    images: int
    """Images that can be read."""
    side: int
    """Median short side in pixels."""
    classes: int
    """Classes where labels are known, else 0."""
    mean: tuple[float, float, float]
    """Channel means in 0..1."""
    std: tuple[float, float, float]
    """Channel deviations in 0..1."""


class Machine(NamedTuple):
    """The facts of the machine that resolving needs."""

    device: Literal["cpu", "cuda", "mps"]
    """Where training runs."""
    bf16: bool
    """Whether bfloat16 products run in hardware."""
    processes: int = 1
    """Processes that share each batch."""


class Choice(NamedTuple):
    """One setting that was chosen automatically."""

    setting: str
    value: Any
    reason: str


@dataclass(frozen=True, kw_only=True)
class Plan(AsAsked):
    """A training run with nothing left open."""

    method: str
    variant: str
    settings: Any
    optimisation: Optimisation
    encoder: EncoderSpec
    batch_size: int
    epochs: float | None
    minutes: float | None
    accumulate: int
    precision: Precision
    device: Literal["cpu", "cuda", "mps"]
    choices: tuple[Choice, ...] = ()


def passes(method: Method | type[Method], plan: Plan) -> int:
    """Passes of the method in a step: the parts of a batch, but one where it compares the images of a batch."""
    return 1 if method.within_batch(plan.settings) else plan.accumulate


def preset_of(method: type[Method], variant: str | None) -> tuple[str, Preset]:
    """The preset called `variant`, the method's first where None. Raises InputError for an unknown name."""
    name = next(iter(method.presets)) if variant is None else variant
    if name not in method.presets:
        raise unknown("variant", name, method.presets)
    return name, method.presets[name]


def image_size(asked: Asked, side: int, device: str) -> Choice:
    """Side of the encoder's input for images of a median short `side`, and why."""
    if asked.image_size is not None:
        return Choice("image_size", asked.image_size, "as asked")
    if side <= SMALL_IMAGE:
        size = max(16, 4 * round(side / 4))
        return Choice("image_size", size, f"images of {side} px are used at their own size")
    largest = 224 if device == "cuda" else 128
    size = min(largest, 32 * max(2, side // 32))
    why = "the largest that pays off here" if size == largest else "the next multiple of 32 below"
    return Choice("image_size", size, f"images of {side} px on {device}: {why}")


def resolve(
    asked: Asked,
    given_settings: dict[str, Any],
    method: type[Method],
    data: DataFacts,
    machine: Machine,
    size: Choice,
    *,
    from_file: bool = False,
) -> Plan:
    """Resolve all settings. `given_settings` are the method's own settings that were given explicitly.

    `from_file`: the encoder begins with a weights file.

    Raises InputError where what was asked for cannot be: a batch or a queue longer than the data, a wrong name.
    """
    choices: list[Choice] = [size]
    variant, preset = preset_of(method, asked.variant)
    own_recipe = is_own_recipe(method, variant)
    precision = precision_for(asked, machine, own_recipe=own_recipe)
    batch = _batch_size(asked, preset, data, machine, choices, least=max(2, method.card.smallest_batch))
    settings = _settings(method, preset, given_settings, data, choices)
    return Plan(
        method=asked.method,
        variant=variant,
        settings=settings,
        optimisation=_optimisation(
            asked,
            _following(preset.optimisation, asked, variant),
            batch,
            size.value,
            trained=from_file or asked.pretrained or (asked.anchor > 0 and not asked.compatible_with),
            own_recipe=own_recipe and not method.card.whole_images,
            choices=choices,
        ),
        encoder=_encoder(asked, preset, data, machine.device, size.value, own_recipe=own_recipe, choices=choices),
        batch_size=batch,
        epochs=_epochs(asked, preset, choices),
        minutes=asked.minutes,
        accumulate=_accumulate(asked, batch, machine, choices, within_batch=method.within_batch(settings)),
        precision=precision.value,
        device=machine.device,
        choices=(*choices, precision),
        **{one.name: getattr(asked, one.name) for one in dataclasses.fields(AsAsked)},
    )


def _batch_size(
    asked: Asked, preset: Preset, data: DataFacts, machine: Machine, choices: list[Choice], *, least: int
) -> int:
    batch = asked.batch_size or preset.optimisation.batch_size
    if asked.batch_size is None and batch * 4 > data.images:
        batch = max(8, 1 << max(0, (data.images // 4)).bit_length() - 1) if data.images >= 8 else data.images
        choices.append(Choice("batch_size", batch, f"{data.images:,} images: at least four steps an epoch"))
    if batch > data.images:
        raise InputError(
            f"batch_size={batch} is larger than the data of {data.images} images: allowed are {least} to that many"
        )
    if batch // asked.accumulate < least:
        parts = "" if asked.accumulate == 1 else f" in {asked.accumulate} parts"
        raise InputError(
            f"batch_size={batch}{parts} is too small: {asked.method} compares images of one part, so allowed is "
            f"{least * asked.accumulate} or more (the data has {data.images})"
        )
    if batch % machine.processes:
        raise InputError(
            f"batch_size={batch} cannot be shared by {machine.processes} processes: the nearest that can "
            f"is {max(1, batch // machine.processes) * machine.processes}"
        )
    return batch


def _settings(
    method: type[Method], preset: Preset, given: dict[str, Any], data: DataFacts, choices: list[Choice]
) -> Any:
    known = {field.name for field in dataclasses.fields(method.Settings)}
    for name in given:
        if name not in known:
            raise unknown("setting", name, known)
    settings = dataclasses.replace(preset.settings, **given)
    known_settings.refuse_idle(settings, given)
    taught = "frozen teacher" in method.card.needs and "teacher" not in known_settings.idle(settings)
    if taught and not known_settings.teacher(settings):
        raise InputError(
            f"{method.card.title} learns from a trained encoder: name a run directory, a .safetensors file or a timm "
            "model with --teacher"
        )
    if (queue := known_settings.queue_size(settings)) is None or method.card.repeats:
        return settings
    if "queue_size" in given and queue > data.images:
        raise InputError(
            f"queue_size={queue} is longer than the data of {data.images} images: the memory would hold "
            f"the same image twice; allowed are 1 to {data.images}"
        )
    limit = max(1, data.images // 2)
    if "queue_size" not in given and queue > limit:
        choices.append(Choice("queue_size", limit, f"half of {data.images:,} images, so that none is in it twice"))
        settings = dataclasses.replace(settings, queue_size=limit)
    return settings


def _optimisation(
    asked: Asked,
    preset: Optimisation,
    batch: int,
    size: int,
    *,
    trained: bool,
    own_recipe: bool,
    choices: list[Choice],
) -> Optimisation:
    preset = _with_rule(asked, preset, choices, trained=trained)
    changes: dict[str, Any] = {
        name: value
        for name in ("learning_rate", "weight_decay", "optimiser", "warmup", *SIZES)
        if (value := getattr(asked, name)) is not None
    }
    if asked.learning_rate is None and batch != preset.batch_size:
        share = batch / preset.batch_size
        rate = preset.learning_rate * (share if preset.scaling == "linear" else share**0.5)
        how = "scaled" if preset.scaling == "linear" else "scaled by the root of the batch"
        changes["learning_rate"] = rate
        choices.append(Choice("learning_rate", rate, f"{preset.learning_rate:g} at batch {preset.batch_size}, {how}"))
    rule = _rule(asked, preset)
    changes |= _view_sizes(asked, rule, size, own_recipe=own_recipe, choices=choices)
    return dataclasses.replace(preset, batch_size=batch, **changes)


def _following(preset: Optimisation, asked: Asked, variant: str) -> Optimisation:
    """The preset, whose rate follows another batch size as published; by the root where it is a small one of adamw.

    The size of an Adam step does not grow with the gradient, so a rate in proportion to a small batch would be tiny
    (Malladi et al., arXiv 2205.10287, section 4). Published recipes keep their own rule: DINO's is linear.
    """
    own = variant.partition("_")[0] == "small"
    return dataclasses.replace(preset, scaling="root") if own and _rule(asked, preset) == "adamw" else preset


def _rule(asked: Asked, preset: Optimisation) -> UpdateRule:
    """The update rule that is used."""
    return asked.optimiser or preset.optimiser


def _view_sizes(
    asked: Asked, rule: UpdateRule, size: int, *, own_recipe: bool, choices: list[Choice]
) -> dict[str, float]:
    """First and last side of the views, where they were not asked for and need not be the encoder's input of `size`."""
    any_size = has_width(asked.encoder)  # ResNets take views of any size; the positions of a transformer do not
    usual = dict.fromkeys(SIZES, (VIEW_SIZE, "a crop shows things larger, so its view may be smaller"))
    if rule == "muon" and size * FIRST_SIZE_MUON >= LEAST_FIRST:
        usual["first_size"] = (FIRST_SIZE_MUON, "small views cost less, and Muon learns enough from them")
    chosen: dict[str, float] = {}
    for name, (value, reason) in usual.items():
        share = getattr(asked, name)
        if share is None and own_recipe and any_size and not asked.pretrained:
            chosen[name] = value
            choices.append(Choice(name, value, reason))
        elif share is not None and share < 1 and not any_size:
            raise InputError(f"{name}={share} needs a ResNet: {asked.encoder} takes one size only, allowed is 1")
    return chosen


def _with_rule(asked: Asked, preset: Optimisation, choices: list[Choice], *, trained: bool) -> Optimisation:
    """The preset with the update rule that is used, and a rate that suits it: a rate of LARS would ruin SGD."""
    rule, own = _rule(asked, preset), preset.optimiser
    if own == "muon":
        preset = _muon_or_sgd(asked, preset, choices, trained=trained)
    if rule == own or {rule, own} == {"sgd", "muon"} or asked.learning_rate is not None:
        return preset
    rate = USUAL_RATES[rule] * preset.batch_size / 256
    why = f"usual for {rule}, {USUAL_RATES[rule]:g} for 256 images: the preset's {preset.learning_rate:g} is for {own}"
    choices.append(Choice("learning_rate", rate, why))
    return dataclasses.replace(preset, optimiser=rule, learning_rate=rate)


def _muon_or_sgd(asked: Asked, preset: Optimisation, choices: list[Choice], *, trained: bool) -> Optimisation:
    """A preset with Muon, or with SGD at the usual rate where that was asked for or the encoder is trained already.

    EfficientNet-Lite0 continued by ISD on aerial scenes for two minutes: 74.2 % before, 71.5 % with SGD, 58.6 % with
    Muon (benchmarks/results/adapting.json).
    """
    if trained and asked.optimiser is None:
        reason = "muon changes all directions alike, which suits no pretrained encoder"
        choices.append(Choice("optimiser", "sgd", reason))
    elif asked.optimiser != "sgd":
        return preset
    return dataclasses.replace(preset, optimiser="sgd", learning_rate=Optimisation.learning_rate)


def _encoder(
    asked: Asked, preset: Preset, data: DataFacts, device: str, size: int, *, own_recipe: bool, choices: list[Choice]
) -> EncoderSpec:
    width = asked.width
    if width is None:
        width = 64
        if own_recipe and device == "cpu" and has_width(asked.encoder) and not asked.pretrained:
            width = 16
            choices.append(Choice("width", width, "no accelerator: about a tenth of the work of the full width 64"))
    stem = asked.stem
    if stem is None:
        small = size <= SMALL_IMAGE and has_small_stem(asked.encoder) and not asked.pretrained
        stem = "small" if small else "imagenet"
        if small:
            choices.append(Choice("stem", stem, f"images of {size} px: 3x3 stride 1, no max-pool"))
    mean, std = _normalisation(asked, preset, data, own_recipe=own_recipe, choices=choices)
    return EncoderSpec(
        name=asked.encoder, width=width, stem=stem, image_size=size, pretrained=asked.pretrained, mean=mean, std=std
    )


def normalisation_of(encoder: EncoderSpec) -> Normalisation:
    """Whose channel means and deviations these are: those of a published data set, else of the data."""
    found = (name for name, known in STATISTICS.items() if known == (encoder.mean, encoder.std))
    return next(found, "data")


def _normalisation(
    asked: Asked, preset: Preset, data: DataFacts, *, own_recipe: bool, choices: list[Choice]
) -> tuple[Channels, Channels]:
    """Channel means and deviations: those asked for, of the pretrained weights, of the data, or of the recipe."""
    if asked.normalisation is not None:
        whose, reason = asked.normalisation, "as asked"
    elif asked.pretrained:
        return published_normalisation(asked.encoder)
    elif own_recipe:
        whose, reason = "data", "mean and deviation of this data"
    else:
        whose, reason = preset.normalisation, f"mean and deviation of {preset.normalisation}, as published"
    mean, std = STATISTICS.get(whose, (data.mean, data.std))
    if (mean, std) != STATISTICS["imagenet"]:
        choices.append(Choice("normalisation", [list(mean), list(std)], reason))
    return mean, std


def _epochs(asked: Asked, preset: Preset, choices: list[Choice]) -> float | None:
    if asked.epochs is not None or asked.minutes is not None:
        return asked.epochs
    epochs = preset.optimisation.epochs
    choices.append(Choice("epochs", epochs, "the preset's budget; --minutes sets a time instead"))
    return epochs


def _accumulate(asked: Asked, batch: int, machine: Machine, choices: list[Choice], *, within_batch: bool) -> int:
    if asked.accumulate > 1 and within_batch:
        if asked.compile:
            result = f"accumulate={asked.accumulate} shows the encoder of {asked.method} a part of the batch at a time"
            raise InputError(f"{result}, which cannot be compiled: leave one of accumulate and compile out")
        reason = "the encoder sees a part at a time, twice; the loss is that of the whole batch, batch norm a part's"
        choices.append(Choice("accumulate", asked.accumulate, reason))
    if (share := batch // machine.processes) % asked.accumulate:
        raise InputError(f"accumulate={asked.accumulate} does not divide the {share} images of a step")
    return asked.accumulate


def precision_for(asked: Asked, machine: Machine, *, own_recipe: bool) -> Choice:
    """Number format of the encoder's forward pass, and why."""
    if asked.precision is not None:
        return Choice("precision", asked.precision, "as asked")
    if not own_recipe:
        return Choice("precision", "float32", "a published recipe keeps its numerics")
    if machine.bf16:
        return Choice("precision", "bf16", "this processor multiplies bfloat16 in hardware")
    return Choice("precision", "float32", "no bfloat16 hardware here")


def is_own_recipe(method: type[Method], variant: str) -> bool:
    """Whether `variant` is the method's small default, which may adapt to data and machine, and not a paper's."""
    return variant == next(iter(method.presets))
