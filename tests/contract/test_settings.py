"""No setting of any method is silent: another value changes what is seen, built, optimised or learned, or is refused.

Every field of every preset's settings is set to other valid values, one at a time, on a stand-in for the encoder that
costs next to nothing. What differs is looked for in the cheapest place first. A field that a method itself calls idle
(`likewise.methods.known_settings.idle`), which `train` refuses, must indeed change nothing.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from likewise import methods
from likewise.data.batches.streams import MAIN, evenly, order_of, shuffled
from likewise.encoders import Encoder
from likewise.encoders.files.chosen import Chosen
from likewise.encoders.own.branches import Branches
from likewise.errors import InputError
from likewise.methods import disco, hsakd, mcl, modist, s2bnn, seed_kd
from likewise.methods.known_settings import idle
from likewise.methods.method import Batch, Beside, Facts, Method, Preset, Progress, Views
from likewise.methods.parts import taught
from likewise.teachers import finding
from likewise.training.optimising import optimisers
from likewise.training.update import stream_roles
from likewise.views import ViewPolicy
from likewise.views.view import View
from tests.contract.gauntlet import SPEC, column_called, flows

IMAGES, BATCH, CLASSES, LARGEST = 24, 8, 2, 12
SIDE = 68
"""Pixels of an image: smaller ones are not blurred."""
MOMENTS = (Progress(0, 0.0, 0), Progress(1, 0.03, 0), Progress(9, 0.4, 1), Progress(10, 0.96, 10))
"""Beginning, middle and end of a run of eleven epochs: no steps in a row, so that what happens every ten is seen."""
CREDIBLE = {"filter_old": False}
"""Old vectors of noise lie clearly in no class."""
WITH: dict[str, dict[str, Any]] = {
    "shuffle": {"split_batch_norm": 2},  # statistics of a part of the batch
    "few": {"topk": 10, "topk_prime": 10, "clusters": 3},  # more than there are candidates
    "unwritten": {"queue_size": 40, "topk": 10, "topk_prime": 10, "clusters": 3},  # rows that are not written yet
    "empty_rows": {"bank_size": 24},  # the same in the bank
    "kmeans_iterations": {"clusters": 4},  # more than one image in a cluster
    "repair_every": {"clusters": 3, "min_cluster": 8},
    "min_cluster": {"clusters": 5, "repair_every": 1},
    "confidence_temperature": {"clusters": 6},
    "confidence": {"label_share": 0.5},  # labels to guess
    **dict.fromkeys(("temperature", "temperature_scores", "weight_vectors", "weight_scores", "scores"), CREDIBLE),
    "quantile": {"neighbours": 2},  # in a graph this small many neighbours tie all images to all
    "power": {"law": "power"},
    "cache_confident": {"label_share": 0.5, "confidence": 0.3},
    "unlabelled_weight": {"threshold": 0.3},  # guesses that are believed
    "balanced": {"threshold": 0.2},
    "mean": {"threshold": 0.2},
}
"""What a setting is tried beside, where it is the data and the moment that decide whether it matters."""


class Backbone(nn.Module):
    """What `Encoder` and methods ask of a timm model: one layer, and a norm at the end of a residual branch."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.head_hidden_size = self.num_features = features
        self.conv, self.norm = nn.Conv2d(3, features, 8, stride=8, padding=3), nn.BatchNorm2d(features)

    def zero_init_last(self) -> None:
        nn.init.zeros_(self.norm.weight)

    def forward_features(self, x_B3HW: Tensor) -> Tensor:
        x_BCHW = self.conv(x_B3HW)
        return cast("Tensor", x_BCHW + self.norm(x_BCHW)).tanh()

    def forward_head(self, last: Tensor, pre_logits: bool = True) -> Tensor:
        return last.mean((2, 3))


def reduced(settings: Any) -> Any:
    """The settings with everything large made small, so that presets of papers cost no more than others."""
    small: dict[str, Any] = {}
    for name, value in _values(settings).items():
        if isinstance(value, int) and not isinstance(value, bool):
            small[name] = min(value, LARGEST)
        elif isinstance(value, tuple) and value and isinstance(value[0], int):
            small[name] = tuple(min(each, LARGEST - 2 * at) for at, each in enumerate(value))
    small |= {name: "/" for name in ("teacher", "old") if name in _values(settings)}
    if {"frames", "stride"} <= small.keys():  # clips that are shorter than the videos
        small |= {"frames": 2, "stride": 1}
    return dataclasses.replace(settings, **small)


def _values(settings: Any) -> dict[str, Any]:
    return {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}


def others(hint: Any, value: Any) -> tuple[list[Any], bool]:
    """Other values to try, and whether each of them has to matter."""
    if get_origin(hint) is Literal or hint is bool:
        words = (False, True) if hint is bool else get_args(hint)
        return [word for word in words if word != value], True
    if hint is int:
        return [
            each for each in (value + 1, value + 3, 2 * value, value // 2, 1, 2, 5, LARGEST, 0) if each != value
        ], False
    if hint is float:
        return [
            each for each in (value / 2, value * 2, 0.3, 0.9, 0.0, 1.0, value + 1, 0.01, -value) if each != value
        ], False
    if get_origin(hint) is tuple:
        if hint == tuple[str, ...] or not value or isinstance(value[0], int):
            return ([(*value, "/another")] if hint == tuple[str, ...] else [(4,), (3, 5)]), False
        return [(value[0] / 2, value[1]), (value[0], value[1] / 2), (0.1, 0.9), (0.3, 0.6)], False
    assert hint is str, f"no other values are known of {hint}"
    return [f"{value}/another"], False


def stand_in(seed: int, features: int = 8) -> Encoder:
    """An encoder for tests: its own weights for each seed."""
    torch.default_generator.manual_seed(seed)  # not that of all devices, which takes longer than a step here
    return Encoder(SPEC, Backbone(features))


class Headed(Method):
    """A trained method with a projection head, for those that learn from one."""

    card = methods.find("moco_v2").card

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.student = nn.Sequential(stand_in(seed), nn.Linear(8, 6))


def _joint(seed: int) -> hsakd.Joint:
    return hsakd.Joint(stand_in(seed), CLASSES)


def _branch(outputs: int) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, outputs))


class MotionBackbone(nn.Module):
    """What MoDist asks of its network for motion: one layer over the means of all frames."""

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.head_hidden_size = features
        self.layer = nn.Linear(channels, features)

    def forward(self, x_BCFHW: Tensor) -> Tensor:
        x_BC = (x_BCFHW * torch.linspace(-1, 1, x_BCFHW.shape[-1])).mean((2, 3, 4))
        return cast("Tensor", self.layer(x_BC)).tanh()


def motion_stand_in(settings: Any) -> nn.Module:
    """As wide as the settings have it; another one for each layout."""
    features = settings.motion_width + {"tiny": 0, "r50": 1}[settings.layout]
    return MotionBackbone(modist.CHANNELS[settings.motion], features)


@dataclasses.dataclass
class Traces:
    """What a method shows when it is built and run, from the cheapest place to the dearest."""

    source: Iterator[Any]
    seen: list[Any] = dataclasses.field(default_factory=list)

    def __iter__(self) -> Iterator[Any]:
        """All of it, each place looked at once however often it is asked for."""
        at = 0
        while True:
            if at == len(self.seen):
                try:
                    self.seen.append(next(self.source))
                except StopIteration:
                    return
            yield self.seen[at]
            at += 1


def traces(method_class: type[Method], preset: Preset, settings: Any) -> Iterator[Any]:
    """Views; the network; its optimiser; when it looks at all images; then steps, with all that they change."""
    facts = _facts(method_class.columns(settings))
    encoder = stand_in(0)
    method = method_class(encoder, settings, facts).train()  # type: ignore[call-arg]
    yield method.views, method.masks, method.flow
    if method.flow is not None:
        method.flows = flows(IMAGES)
    yield {name: value.clone() for name, value in method.state_dict().items()}
    optimiser = optimisers.build(method.parameter_groups(), preset.optimisation)
    yield [{k: v if k != "params" else len(v) for k, v in group.items()} for group in optimiser.param_groups]
    yield [method.refresh_due(epoch) for epoch in range(12)]
    for at, progress in enumerate(MOMENTS):
        begins = at == 0 or progress.epoch > MOMENTS[at - 1].epoch
        if begins and method.needs_refresh and method.refresh_due(progress.epoch):
            torch.default_generator.manual_seed(at)
            network = method.refresh_with()
            method.know([str(number) for number in range(IMAGES)], torch.arange(IMAGES) % CLASSES)
            with torch.no_grad():
                features = network(_images(IMAGES, SIDE))
            method.refresh(features, progress)
            yield method.sample_weights()
        yield from _step(method, optimiser, at, progress)


def _step(method: Method, optimiser: torch.optim.Optimizer, at: int, progress: Progress) -> Iterator[Any]:
    torch.default_generator.manual_seed(10 + at)
    optimisers.set_rate(optimiser, 0.1)
    method.before_step(progress)
    terms = method(*_batch(method, at))
    yield terms.loss.detach(), {name: value.clone() for name, value in terms.parts.items()}
    optimiser.zero_grad()
    terms.loss.backward()
    method.after_backward(progress)
    yield [p.grad is not None for p in method.parameters()]
    optimiser.step()
    method.after_step(progress)
    yield {name: value.clone() for name, value in method.state_dict().items()}


@functools.cache
def _images(count: int, side: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    colour = torch.randn(count, 3, 1, 1, generator=generator)  # noise alone has the same features in all images
    return colour + torch.randn(count, 3, side, side, generator=generator)


def _facts(names: tuple[str, ...]) -> Facts:
    columns = {name: column_called(name).at(np.arange(IMAGES)) for name in names}
    told = {"images": IMAGES, "classes": CLASSES, "labelled": IMAGES, "beside": Beside(images=IMAGES, classes=CLASSES)}
    return Facts(**told, batch_size=BATCH, image_size=SIDE, steps_per_epoch=3, columns=columns)


class _Known:
    """What streams draw from: as many images, every fourth with a label where a stream asks for some."""

    name = "noise"

    def __init__(self, names: tuple[str, ...], *, few: bool) -> None:
        place = np.arange(IMAGES)
        self.labels = np.where(place // 2 % 4 == 0, place % CLASSES, -1) if few else place % CLASSES
        self.columns = {name: column_called(name).at(place) for name in names}

    def __len__(self) -> int:
        return IMAGES


def _batch(method: Method, at: int) -> tuple[Views, Batch]:
    """Images of noise, as the roles ask for them; most of an image is common to its views."""
    settings = getattr(method, "settings", None)
    names = method.columns(settings)
    streams = method.streams(settings, _facts(names))
    known = _Known(names, few=any(stream.keep != "all" or stream.draw is evenly for stream in streams.values()))
    batches, views = {}, {}
    for name, roles in stream_roles(method, {key: stream.views for key, stream in streams.items()}).items():
        index = torch.arange(BATCH) + (16, 5)[at % 2]  # some come again and again, the last one too, some never
        if streams[name].draw is not shuffled or streams[name].keep != "all" or streams[name].where is not None:
            index = torch.from_numpy(order_of(name, streams[name], known, BATCH, 0).batch(at))  # type: ignore[arg-type]
        for number, (role, policy) in enumerate(roles.items()):
            views[role] = _view(policy, number, index)
        first = index.reshape(len(index), -1)[:, 0]
        columns = {key: torch.from_numpy(column.values)[first] for key, column in known.columns.items()}
        batches[name] = Batch(index, torch.from_numpy(known.labels)[first], columns)
    main = batches.pop(MAIN)
    batch = main._replace(others=batches)
    return _composed(method, _masked(method, views), batch, at), batch


def _masked(method: Method, views: dict[str, View]) -> dict[str, View]:
    """The views, with masks where the method wants some."""
    if not method.masks:
        return views
    return {role: view._replace(mask=_masks(view.image.shape[-1])) for role, view in views.items()}


def _composed(method: Method, views: dict[str, View], batch: Batch, at: int) -> dict[str, View]:
    """The views, put together where the method does so."""
    if not method.composes:
        return views
    placed = method.compose(views, batch, torch.Generator().manual_seed(at))
    return views | {role: views[role]._replace(image=image) for role, image in placed.items()}


@functools.cache
def _masks(side: int) -> Tensor:
    """Masks of squares that grow from image to image."""
    masks = torch.zeros(BATCH, 1, side, side)
    for row in range(BATCH):
        masks[row, :, row : side // 3 + 4 * row, row : side // 2] = 1.0
    return masks


def _view(policy: ViewPolicy, number: int, index: Tensor) -> View:
    """Noise for the images `index`; of clips, (B, C, F), the one that is this role's."""
    own = index[:, number % index.shape[1]] if index.dim() > 1 else index
    flat = own.reshape(-1)
    image = _images(IMAGES, policy.size)[flat] + 0.5 * _images(len(flat), policy.size, 1 + number)
    if own.dim() > 1:
        image = image.reshape(*own.shape, *image.shape[1:]).transpose(1, 2)
        image = image[:, :, 0] if own.shape[1] == 1 else image
    shown = torch.rand(len(own), 4, generator=torch.Generator().manual_seed(number)) / 2  # a corner, and a size to fit
    return View(image, shown, shown[:, 0] > 0.25)


def same(first: Any, second: Any) -> bool:
    """Whether two traces are equal, number by number."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first.shape == second.shape and bool(torch.equal(first, second))
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second)


def matters(base: Traces, other: Traces) -> bool:
    """Whether two runs differ anywhere. They are compared no further than to the first difference."""
    return not all(same(first, second) for first, second in zip_longest(base, other))


def starts(method_class: type[Method]) -> dict[str, tuple[Preset, Any]]:
    """What is changed field by field: each preset, and the first with each of its switches thrown.

    A switch is a word, a yes or no, or a number where 0 says that something is not there. Where two have all switches
    alike, one is enough.
    """
    first = next(iter(method_class.presets.values()))
    found = {name: (preset, reduced(preset.settings)) for name, preset in method_class.presets.items()}
    for name, hint in get_type_hints(method_class.Settings).items():
        values, words = others(hint, getattr(first.settings, name))
        for value in values if words else [each for each in values if hint is int and each in {0, 2}]:
            with suppress(InputError):
                found[f"{name}={value!r}"] = first, dataclasses.replace(reduced(first.settings), **{name: value})
    alike: dict[tuple[Any, ...], tuple[str, tuple[Preset, Any]]] = {}
    for label, start in found.items():
        values = _values(start[1]).values()
        key = tuple(value if isinstance(value, bool | str) else value != 0 for value in values)
        alike.setdefault(key, (label, start))
    return dict(alike.values())


def beside(name: str, settings: Any) -> dict[str, Any]:
    """What the setting is tried beside; numbers in a tuple where the method takes several."""
    wanted = {key: value for key, value in WITH.get(name, {}).items() if hasattr(settings, key)}
    return {key: (value,) if isinstance(getattr(settings, key), tuple) else value for key, value in wanted.items()}


def silent(method_class: type[Method], preset: Preset, start: Any) -> list[str]:
    """Settings that can be changed without any change, or that are called idle and are not."""
    bases: dict[Any, Traces] = {}
    found = []
    for name, hint in get_type_hints(method_class.Settings).items():
        settings = dataclasses.replace(start, **beside(name, start))
        if settings not in bases:
            bases[settings] = Traces(traces(method_class, preset, settings))
        values, each = others(hint, getattr(settings, name))
        told = []
        for value in values:
            try:
                changed = dataclasses.replace(settings, **{name: value})
                differs = matters(bases[settings], Traces(traces(method_class, preset, changed)))
            except InputError:
                continue
            if (name in idle(changed)) == differs:
                told.append(f"{name}={value!r}" + (" is called idle" if differs else ""))
            elif not each:
                told.clear()
                break
        found += told
    return found


@pytest.fixture(autouse=True)
def _stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoders that methods make or load themselves cost next to nothing, too."""
    monkeypatch.setattr(mcl, "build", lambda spec, seed: stand_in(seed))
    monkeypatch.setattr(modist, "motion_network", motion_stand_in)
    monkeypatch.setattr(finding, "check_pretrained", lambda *_: None)
    monkeypatch.setattr(finding, "choose", lambda path, role: Chosen(path, "student", ""))
    monkeypatch.setattr(finding, "load_encoder", lambda path: stand_in(len(str(path)), 6))
    monkeypatch.setattr(finding, "weights_digest", str)
    monkeypatch.setattr(Path, "exists", lambda path: True)
    for module in (disco, s2bnn, seed_kd):
        monkeypatch.setattr(module, "check_headed", lambda *_: None)
    monkeypatch.setattr(taught, "restore", lambda path: Headed(len(str(path))))
    monkeypatch.setattr(taught, "choose", lambda path, role: Chosen(path, "student", ""))
    monkeypatch.setattr(taught, "weights_digest", str)
    monkeypatch.setattr(hsakd, "_check_teacher", lambda name, role: None)
    monkeypatch.setattr(hsakd, "_trained", lambda name, student, names: hsakd.Joint(stand_in(len(name)), CLASSES))
    monkeypatch.setattr(hsakd, "_take", lambda net, name, names: net.load_state_dict(_joint(len(name)).state_dict()))
    monkeypatch.setattr(hsakd, "build", lambda spec, seed: stand_in(seed))
    monkeypatch.setattr(hsakd, "branches", lambda encoder, outputs: Branches([_branch(outputs)]))
    monkeypatch.setattr(hsakd, "maps", lambda encoder, image: (encoder(image), [encoder.map(image)]))


@pytest.mark.parametrize("name", methods.names())
def test_no_setting_is_silent(name: str) -> None:
    method_class = methods.find(name)
    found = {label: silent(method_class, preset, start) for label, (preset, start) in starts(method_class).items()}
    assert {label: settings for label, settings in found.items() if settings} == {}
