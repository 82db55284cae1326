"""A method that wraps another: it changes the input of the other, or adds to its step."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from likewise.checking import check_kinds
from likewise.distributed import gather, positions
from likewise.encoders import Encoder
from likewise.errors import InputError, unknown
from likewise.methods import find
from likewise.methods.method import Batch, Facts, Method, Progress, Terms, Views
from likewise.methods.parts.checks import at_least

MASKS = ("mbd", "contracam", "given", "grabcut", "center", "onnx")
"""Names of the sources of masks (`likewise.localisation.sources`)."""


@dataclass(frozen=True, kw_only=True)
class AroundSettings:
    """Settings of methods around another one. Subclasses add `base`, the name of the other."""

    base_preset: str = "small"
    """Preset of the base that its settings are from."""
    base_settings: tuple[str, ...] = ()
    """Settings of the base that differ from its preset, each as name=value."""
    queue_size: int = 4096
    """Rows of the base's memory, where it has one."""
    masks: str = "mbd"
    """Where foreground masks come from: mbd, contracam:RUN, given or given:FOLDER, grabcut, center, onnx:FILE."""

    def __post_init__(self) -> None:
        at_least("queue_size", self.queue_size, 1)
        if (name := self.masks.partition(":")[0]) not in MASKS:
            raise unknown("masks", name, MASKS)
        base_settings(self)

    def idle(self) -> dict[str, str]:
        """The length of a memory that is not there."""
        known = {field.name for field in dataclasses.fields(find(base_name(self)).Settings)}
        return {} if "queue_size" in known else {"queue_size": "a base with a memory"}


def base_name(settings: AroundSettings) -> str:
    """The base that the settings name."""
    return str(getattr(settings, "base"))  # noqa: B009  # subclasses say which are allowed


def base_settings(settings: AroundSettings) -> Any:
    """The base's own settings. Raises InputError for a preset, a name or a value that the base does not have."""
    method = find(base_name(settings))
    if settings.base_preset not in method.presets:
        raise unknown(f"base_preset of {base_name(settings)}", settings.base_preset, method.presets)
    known = {field.name for field in dataclasses.fields(method.Settings)}
    changes: dict[str, Any] = {}
    for text in settings.base_settings:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"base_settings {text!r} must be name=value, such as temperature=0.1")
        if name not in known - {"queue_size"}:
            raise unknown(f"base_settings of {base_name(settings)}", name, known - {"queue_size"})
        changes[name] = _value(value)
    if "queue_size" in known:
        changes["queue_size"] = settings.queue_size
    check_kinds(method.Settings, changes)
    return dataclasses.replace(method.presets[settings.base_preset].settings, **changes)


def _value(text: str) -> Any:
    """A number, yes or no, or a tuple, where the text is one; else the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


class Around(Method):
    """A method that hands everything to its `base` but what it changes."""

    base: Method

    def __init__(self, encoder: Encoder, settings: AroundSettings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        self.base = find(base_name(settings))(encoder, base_settings(settings), facts)
        self.views = dict(self.base.views)
        self.masks = settings.masks

    @classmethod
    def within_batch(cls, settings: Any) -> bool:
        """As the base is."""
        return find(base_name(settings)).within_batch(base_settings(settings))

    def step(self, views: Views, batch: Batch) -> Terms:
        """The base's step."""
        return self.base.step(views, batch)

    def encoders(self) -> dict[str, nn.Module]:
        """The base's."""
        return self.base.encoders()

    def before_step(self, progress: Progress) -> None:
        """As the base does."""
        self.base.before_step(progress)

    def after_backward(self, progress: Progress) -> None:
        """As the base does."""
        self.base.after_backward(progress)

    def after_step(self, progress: Progress) -> None:
        """As the base does."""
        self.base.after_step(progress)

    def parameter_groups(self) -> Iterable[dict[str, Any]]:
        """The base's."""
        return self.base.parameter_groups()


def global_rows(tensor_B: Tensor) -> Tensor:
    """Positions of this process's rows in the global batch, on the CPU, where draws for that batch are made."""
    return positions(tensor_B).cpu()


def partners(count: int, generator: torch.Generator) -> Tensor:
    """(count,) int64: for each row another one, every row once; itself only where there is no other."""
    order = torch.randperm(count, generator=generator)
    partner = torch.empty_like(order)
    partner[order] = order.roll(1)
    return partner


def coins(count: int, probability: float, generator: torch.Generator) -> Tensor:
    """(count,) bool, each true with that probability."""
    return torch.rand(count, generator=generator) < probability


def of_all(parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Images or masks of all processes, by role, in the order of the whole batch."""
    return {role: gather(part) for role, part in parts.items()}
