"""What a preset comes to on the data set it was published for, as rows that can be compared with a paper.

Everything is read off the plan, the built method and its hooks, as `train` would have them; nothing is computed with:
networks stand on torch's `meta` device, so heads and memories have their published sizes and cost no memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import nn

from likewise.encoders import Encoder, EncoderSpec, heads, norms
from likewise.encoders.norms import GroupedBatchNorm
from likewise.encoders.own import Staged
from likewise.memory import Bank, Clusters, Queue
from likewise.methods import compress, disco, hsakd, mcl, mcl_supervised, nccl, s2bnn, seed_kd, simreg
from likewise.methods.method import Beside, Facts, Method, Optimisation, Progress, made
from likewise.methods.parts import taught as parts_taught
from likewise.methods.parts.around import Around
from likewise.methods.parts.cmsf.constraints import SameCluster
from likewise.methods.parts.cmsf.labeller import Labeller
from likewise.teachers import Momentum
from likewise.training.optimising import optimisers, scheduled
from likewise.training.planning.asked import Asked
from likewise.training.planning.resolve import STATISTICS, Choice, DataFacts, Machine, Plan, resolve
from likewise.views import IMAGENET_MEAN, IMAGENET_STD
from likewise.views.policies.policy import Centre, ViewPolicy


@dataclass(frozen=True)
class Published:
    """The data set and the encoder that a recipe was published for."""

    images: int
    side: int
    classes: int
    encoder: str
    features: int
    widths: Mapping[str, int] = field(default_factory=dict)
    """Classes of columns beside the label."""
    beside: Beside | None = None
    """The second data set."""
    old: int = 0
    """Dimensions of the vectors that new ones stay comparable with, where there is an old encoder."""


IMAGENET_R50 = Published(images=1_281_167, side=224, classes=1000, encoder="resnet50", features=2048)
IMAGENET_R18 = replace(IMAGENET_R50, encoder="resnet18", features=512)
IMAGENET_VIT_S = replace(IMAGENET_R50, encoder="vit_small_patch16_224", features=384)
IMAGENET_SWIN_T = replace(IMAGENET_R50, encoder="swin_tiny_patch4_window7_224", features=768)
CIFAR10_R18 = Published(images=50_000, side=32, classes=10, encoder="resnet18", features=512)


NAMES = {"imagenet": "ImageNet", "cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}
"""Data sets by whose channel means and deviations views are normalised."""


class Ours(NamedTuple):
    """A number that differs from the published one on purpose; the preset says so in `differs`."""

    value: Any
    published: Any


def plan_of(name: str, method: type[Method], variant: str, on: Published, batch: int | None = None) -> Plan:
    """What `train --variant` settles on that data set, on one GPU."""
    asked = Asked(method=name, variant=variant, encoder=on.encoder, batch_size=batch)
    data = DataFacts(on.images, on.side, on.classes, IMAGENET_MEAN, IMAGENET_STD)
    given = {"teacher": "published"} if "frozen teacher" in method.card.needs else {}
    given |= {"old": "published"} if on.old else {}
    size = Choice("image_size", on.side, "published")
    with frozen_teachers():
        return resolve(asked, given, method, data, Machine("cuda", bf16=True), size)


def sheet(name: str, method_class: type[Method], variant: str, on: Published) -> dict[str, Any]:
    """All rows of one preset; networks, groups and temperatures of a method around another are those of the other."""
    plan = plan_of(name, method_class, variant, on)
    method = built(method_class, plan, on)
    inner = method.base if isinstance(method, Around) else method
    settings = inner.settings if isinstance(method, Around) else plan.settings
    doubled = plan_of(name, method_class, variant, on, batch=2 * plan.batch_size)
    return {
        "batch": plan.batch_size,
        "epochs": plan.epochs,
        "optimiser": _optimiser(plan.optimisation),
        "rate": _rates(plan, on),
        "rate at twice the batch": doubled.optimisation.learning_rate,
        "decay": [scheduled.weight_decay(plan.optimisation, at) for at in _moments(plan, on)],
        "groups": _groups(inner, plan.optimisation),
        "teacher": _teacher(method, plan, on),
        "temperatures": {key: value for key, value in asdict(settings).items() if "temperature" in key},
        "heads": {part: head(module) for part, module in _heads(inner)},
        "views": {role: policy(view) for role, view in method.views.items()},
        "batch norm": _batch_norm(inner),
        "memory": {part: m.rows.shape[0] for part, m in method.named_modules() if isinstance(m, Queue | Bank)},
        "deployed": method_class.card.deploy,
    }


def built(method_class: type[Method], plan: Plan, on: Published) -> Method:
    """The method with its networks and memories at full size, on the meta device."""
    facts = Facts(
        images=on.images,
        batch_size=plan.batch_size,
        image_size=on.side,
        classes=on.classes,
        steps_per_epoch=on.images // plan.batch_size,
        mean=plan.encoder.mean,
        std=plan.encoder.std,
        widths=on.widths,
        beside=on.beside,
    )
    with torch.device("meta"), frozen_teachers(), mock.patch.object(nccl, "Old", return_value=_Old(on.old)):
        return made(method_class, _encoder(plan.encoder, on.features), plan.settings, facts)


def _encoder(spec: EncoderSpec, features: int) -> Encoder:
    blocks = 12 if spec.name.startswith(("vit_", "swin_tiny")) else 0
    return Encoder(spec, _Backbone(features, blocks))


@contextlib.contextmanager
def frozen_teachers() -> Iterator[None]:
    """Teachers of published recipes are not at hand: vectors of the published length stand for them."""
    with contextlib.ExitStack() as held:
        for module in (compress, seed_kd, simreg):
            held.enter_context(mock.patch.object(module, "teacher_of", return_value=_Features()))
        held.enter_context(mock.patch.object(parts_taught, "check_pretrained"))
        held.enter_context(mock.patch.object(simreg, "check_pretrained"))
        held.enter_context(mock.patch.object(nccl, "check_old"))
        for module in (mcl, mcl_supervised):
            held.enter_context(mock.patch.object(module, "encoders", side_effect=_alike))
        for module in (disco, s2bnn, seed_kd):
            held.enter_context(mock.patch.object(module, "headed", return_value=_Taught()))
            held.enter_context(mock.patch.object(module, "check_headed"))
        held.enter_context(mock.patch.object(hsakd, "_check_teacher"))
        held.enter_context(mock.patch.object(hsakd, "_trained", return_value=nn.Identity()))
        held.enter_context(mock.patch.object(hsakd, "Shown", return_value=nn.Identity()))
        held.enter_context(mock.patch.object(hsakd, "branches", return_value=nn.ModuleList()))
        yield


class _Taught(nn.Module):
    """A frozen teacher with the head of MoCo v2."""

    name, features = "published", 128


class _Features(nn.Module):
    """A frozen teacher whose pooled features are looked at: a ResNet-50."""

    name, features = "published", 2048


class _Old(nn.Module):
    """The vectors of an old encoder."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim


def _alike(first: Encoder, networks: int) -> list[Encoder]:
    """The networks of a cohort."""
    return [first, *(_encoder(first.spec, first.features) for _ in range(networks - 1))]


class _Backbone(nn.Module):
    """Stands for the encoder: its width, and a batch norm that is what its batch norms are; blocks of a transformer."""

    def __init__(self, features: int, blocks: int = 0) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Module() for _ in range(blocks))
        for block in self.blocks:
            block.drop_path1, block.drop_path2 = nn.Identity(), nn.Identity()
        self.head_hidden_size = self.num_features = features
        self.conv, self.norm = nn.Conv2d(3, features, 1, bias=False), nn.BatchNorm2d(features)


# Over the budget -----------------------------------------------------------------------------------------------------


def _moments(plan: Plan, on: Published) -> Iterator[Progress]:
    """The first step, the one after warm-up, the middle, and the last step."""
    each = on.images // plan.batch_size
    assert plan.epochs is not None
    total = round(plan.epochs * each)
    for step in (0, round(plan.optimisation.warmup * total), total // 2, total - 1):
        yield Progress(step, step / total, step // each)


def _rates(plan: Plan, on: Published) -> list[float]:
    return [scheduled.learning_rate(plan.optimisation, at, plan.epochs) for at in _moments(plan, on)]


def _optimiser(optimisation: Optimisation) -> str:
    words = [optimisation.optimiser, f"momentum {optimisation.momentum:g}"]
    if optimisation.nesterov:
        words.append("nesterov")
    if optimisation.optimiser == "lars":
        words += [f"{optimisation.lars_form} form", f"trust {optimisation.trust:g}"]
    if optimisation.clip_norm is not None:
        words.append(f"gradients no longer than {optimisation.clip_norm:g}")
    return ", ".join(words)


def _teacher(method: Method, plan: Plan, on: Published) -> str | None:
    """When the moving average moves, and with which momentum at each of the moments."""
    if not any(isinstance(module, Momentum) for module in method.modules()):
        return None
    told: dict[str, list[str]] = {}
    for at in _moments(plan, on):
        for hook in ("before_step", "after_backward", "after_step"):
            with (
                mock.patch.object(Momentum, "update", autospec=True) as update,
                mock.patch.multiple(Clusters, repair=mock.DEFAULT, recompute=mock.DEFAULT),  # these want values,
                mock.patch.object(SameCluster, "begin"),  # and so do these
                mock.patch.object(Labeller, "begin"),
            ):
                getattr(method, hook)(at)
            momenta = dict.fromkeys(f"{call.args[2]:.4g}" for call in update.call_args_list)  # of all networks
            if momenta:
                told.setdefault(hook, []).append(" or ".join(momenta))
    if not told:  # by no hook, so by the step itself
        return f"in the step: {plan.settings.momentum:.4g}"
    ((hook, each),) = told.items()
    return f"{hook}: {', '.join(each)}"


# Networks ------------------------------------------------------------------------------------------------------------


def _groups(method: Method, optimisation: Optimisation) -> dict[str, str]:
    """Rate and decay of matrices and of vectors (norms and biases), and of parts that differ from the rest."""
    optimiser = optimisers.build(method.parameter_groups(), optimisation)
    of = {parameter: part for part, parameter in method.named_parameters()}
    told: dict[str, set[str]] = {}
    for group in optimiser.param_groups:
        scaled = f", scaled by {optimisation.optimiser}" if group.get("adapt") or group.get("matrices") else ""
        text = f"rate x{group.get('rate', 1.0):g}, decay {group['weight_decay']:g}{scaled}"
        for parameter in group["params"]:
            kind = "matrices" if parameter.ndim > 1 else "norms and biases"
            told.setdefault(f"{of[parameter].split('.')[0]}: {kind}", set()).add(text)
    return {part: " | ".join(sorted(texts)) for part, texts in told.items()}


def _heads(method: Method) -> Iterator[tuple[str, nn.Module]]:
    """The parts that are trained beside the encoder, in a sequence behind it or on their own."""
    for part, module in method.named_children():
        if isinstance(module, nn.Sequential) and isinstance(module[0], Encoder | Staged):
            yield f"{part} after the encoder", module[1:]
        elif any(p.requires_grad for p in module.parameters()) and not isinstance(module, Encoder):
            yield part, module


def head(module: nn.Module) -> str:
    """A head in words: `512>1024, bn, relu, 1024>128 without bias`; an empty text where there is none."""
    words: list[str] = []
    within = {id(layer) for part in module.modules() if isinstance(part, Encoder) for layer in part.modules()}
    for layer in module.modules():
        if id(layer) in within:
            continue
        if isinstance(layer, heads.Prototypes):
            words.append(f"{layer.weight.shape[1]}>{layer.weight.shape[0]} unit rows before each step")
        elif isinstance(layer, heads.WeightNormalisedLinear):
            kept = "" if layer.weight_g.requires_grad else " of fixed length"
            words.append(f"{layer.weight_v.shape[1]}>{layer.weight_v.shape[0]} weight-normalised{kept}")
        elif isinstance(layer, heads.Unit):
            words.append("unit")
        elif isinstance(layer, nn.Linear):
            words.append(f"{layer.in_features}>{layer.out_features}" + (" without bias" if layer.bias is None else ""))
        elif isinstance(layer, nn.modules.batchnorm._BatchNorm):
            shifted = layer.affine and layer.bias.requires_grad
            words.append("bn" if shifted else "bn without shift" if layer.affine else "bn without affine")
        elif isinstance(layer, nn.ReLU | nn.GELU):
            words.append(type(layer).__name__.lower())
    return ", ".join(words)


def _batch_norm(method: Method) -> str:
    """Groups of the batch norms of what is trained and of the teacher; whether the teacher's images are permuted."""
    teacher = [module for module in method.modules() if isinstance(module, Momentum)]
    slow = {id(norm) for module in teacher for norm in module.modules()}
    trained = [norm for norm in method.modules() if id(norm) not in slow]
    text = f"student: {_split(trained)}"
    if teacher:
        permuted = getattr(method.settings, "shuffle", True) and any(map(norms.see_a_part, teacher))
        text += f"; teacher: {_split(m for t in teacher for m in t.modules())}{', permuted' if permuted else ''}"
    return text


def _split(modules: Iterable[nn.Module]) -> str:
    found = {
        module.splits if isinstance(module, GroupedBatchNorm) else 1
        for module in modules
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
    }
    return " or ".join("whole batch" if splits == 1 else f"{splits} groups" for splits in sorted(found)) or "none"


# Views ---------------------------------------------------------------------------------------------------------------


def policy(view: ViewPolicy) -> str:
    """A view in words; what is left out does not happen."""
    words = [f"{view.size} px"]
    if isinstance(view.crop, Centre):
        words.append(f"centre {view.crop.fraction:g}")
    else:
        words.append(f"crop {view.crop.scale[0]:g}-{view.crop.scale[1]:g} {view.interpolation}")
    words.append(f"flip {view.flip:g}{' shared' if view.shared_flip else ''}")
    if view.shift is not None:
        words.append(f"shift {view.shift.reach * view.size:g} px {view.shift.fill} at {view.shift.probability:g}")
    if view.colour is not None:
        c = view.colour
        words.append(f"jitter {c.brightness:g} {c.contrast:g} {c.saturation:g} {c.hue:g} at {c.probability:g}")
    if view.grey:
        words.append(f"grey {view.grey:g}")
    if view.blur is not None:
        words.append(f"blur {view.blur.sigma[0]:g}-{view.blur.sigma[1]:g} at {view.blur.probability:g}")
    if view.solarise is not None:
        limit = view.solarise.threshold
        drawn = f" from {limit[0]:g}-{limit[1]:g}" if isinstance(limit, tuple) else ""
        words.append(f"solarise {view.solarise.probability:g}{drawn}")
    if view.operations is not None:
        choices = [operation.name for operation in view.operations.choices]
        names = " or ".join(choices) if len(choices) < 4 else f"{len(choices)} operations"
        words.append(f"{view.operations.count} of {names} at {view.operations.probability:g}")
    if view.cut_out is not None:
        words.append(f"cut-out {view.cut_out.side:g}")
    whose = [name for name, found in STATISTICS.items() if found == (view.mean, view.std)]
    words.append(f"normalised as {NAMES[whose[0]]}" if whose else f"normalised by {view.mean} {view.std}")
    return ", ".join(words)


def equal(found: Any, expected: Any) -> bool:
    """Whether a row is as the table has it; numbers to six digits."""
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(map(equal, found, expected))
    if isinstance(found, dict) and isinstance(expected, dict):
        return found.keys() == expected.keys() and all(equal(found[key], expected[key]) for key in found)
    if isinstance(found, float) or isinstance(expected, float):
        return isinstance(found, int | float) and abs(found - expected) <= 1e-6 * max(abs(found), abs(expected), 1e-9)
    return bool(found == expected)
