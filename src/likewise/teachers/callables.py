"""Python functions and modules from images to vectors as teachers, by their import path.

`package.module:function` takes (B, 3, S, S) float32 RGB and returns (B, F). Its attributes `image_size`, `mean` and
`std`, where it has them, say at which side and how normalised; by default the student's side, in 0..1. It is shown that
side alone, whatever the size of the views.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from likewise.data.fingerprints import digest, digest_array
from likewise.encoders import Encoder, EncoderSpec
from likewise.errors import InputError, LikewiseError

HERE = "python:"
"""How names begin of what cannot be imported by another process: a lambda, a network made in a notebook."""
_GIVEN: dict[str, Callable[..., Any]] = {}


class _Called(nn.Module):
    """What `Encoder` asks of a timm model, for a function."""

    side_step = 0

    def __init__(self, function: Callable[..., Any], features: int) -> None:
        super().__init__()
        self.function = function
        self.head_hidden_size = self.num_features = features
        self.anchor = nn.Parameter(torch.zeros(1), requires_grad=False)  # says on which device this is

    def forward_features(self, x_B3HW: Tensor) -> Tensor:
        return torch.as_tensor(self.function(x_B3HW.float())).to(x_B3HW.device).float()

    def forward_head(self, x_BF: Tensor, pre_logits: bool = True) -> Tensor:
        return x_BF


def named(teacher: Any) -> Any:
    """The name of a callable that is given as a teacher; anything else as it is, sequences item by item."""
    if isinstance(teacher, list | tuple):
        return tuple(named(each) for each in teacher)
    if isinstance(teacher, str) or not callable(teacher):
        return teacher
    module, name = getattr(teacher, "__module__", None), getattr(teacher, "__qualname__", None)
    if module and name and module != "__main__" and "<" not in name:
        return f"{module}:{name}"
    name = f"{HERE}{name or type(teacher).__name__}-{len(_GIVEN)}"
    _GIVEN[name] = teacher
    return name


def is_callable(teacher: str) -> bool:
    """Whether the name of a teacher is that of something in Python."""
    module, colon, name = teacher.partition(":")
    return bool(colon) and all(part.isidentifier() for part in module.split(".")) and bool(name)


def find_callable(teacher: str) -> Callable[..., Any]:
    """The function or module of that name. Raises InputError, one line, where there is none."""
    if teacher.startswith(HERE):
        if teacher not in _GIVEN:
            raise InputError(
                f"teacher={teacher!r} was given by another process: give it again, or name module:function"
            )
        return _GIVEN[teacher]
    module, _, name = teacher.partition(":")
    try:
        found = functools.reduce(getattr, name.split("."), cast("Any", importlib.import_module(module)))
    except (ImportError, AttributeError) as error:
        raise InputError(f"teacher={teacher!r} cannot be imported: {error}") from error
    if not callable(found):
        raise InputError(f"teacher={teacher!r} is a {type(found).__name__}: a function of (B, 3, H, W) is needed")
    return cast("Callable[..., Any]", found)


def called(teacher: str, image_size: int) -> tuple[Encoder, str]:
    """The encoder that a callable is, and a key that says what it gives: for a fixed input, its output.

    Raises InputError where it does not return one vector an image.
    """
    function = find_callable(teacher)
    spec = _described(teacher, function, image_size)
    if isinstance(function, nn.Module):
        function.eval()
    side = spec.image_size
    noise = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            rows = torch.as_tensor(function(noise)).float().cpu()
    except LikewiseError:
        raise
    except Exception as error:  # whatever a person's own code raises
        result = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"teacher={teacher!r} does not take (2, 3, {side}, {side}) images: {result}") from error
    if rows.ndim != 2 or len(rows) != 2:
        raise InputError(f"teacher={teacher!r} gives {tuple(rows.shape)} for 2 images: (images, length) is needed")
    encoder = Encoder(spec, _Called(function, rows.shape[1]))
    return encoder.eval(), digest("callable", spec, digest_array(rows.numpy()), *_weights(function))


def _described(teacher: str, function: Callable[..., Any], image_size: int) -> EncoderSpec:
    """Side and normalisation of what a function sees. Raises InputError for attributes that do not say them."""
    given = {"image_size": image_size, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    found: dict[str, Any] = {}
    for name, usual in given.items():
        value = getattr(function, name, usual)
        try:
            found[name] = torch.as_tensor(value).flatten().tolist()
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"teacher={teacher!r}: its {name} is a {type(value).__name__}: numbers say it") from error
    sides = set(found["image_size"])
    if len(sides) != 1:
        raise InputError(f"teacher={teacher!r}: its image_size is {found['image_size']}: one side of a square says it")
    return EncoderSpec.from_mapping({**found, "name": teacher, "image_size": sides.pop()})


def _weights(function: Callable[..., Any]) -> list[str]:
    """What a module was trained to: two of them may say the same of noise."""
    held = function.state_dict().values() if isinstance(function, nn.Module) else ()
    flat = [value.detach().cpu().contiguous().view(-1) for value in held if isinstance(value, Tensor)]
    return [digest_array(value.view(torch.uint8).numpy()) for value in flat]
