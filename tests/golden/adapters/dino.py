"""DINO: loss, gradient and centre, the head, the schedules, and clipping by tensor."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adapters import Vectors, same
from likewise import schedules
from likewise.encoders import heads
from likewise.gradients import clip_each
from likewise.methods.dino import DINO, teacher_temperature
from likewise.methods.method import Progress
from likewise.similarity import similarities, unit
from likewise.similarity.prototypes.across_views import across_views
from likewise.similarity.prototypes.centring import Centre, centred

TOLERANCE = 1e-8


def check_loss(v: Vectors) -> None:
    batch = int(v.number("batch_size"))
    student, teacher = v.leaf("student"), v["teacher"]
    assert student.shape[1] == v.number("out_dim")
    scores, taught = student.unflatten(0, (-1, batch)), teacher.unflatten(0, (-1, batch))
    assert len(scores) == v.number("ncrops")
    target = centred(taught, v["center_before"], v.number("temperature_teacher"))
    loss = across_views(scores, target, v.number("temperature_student"))
    loss.backward()
    same(loss, v["loss"], TOLERANCE)
    assert student.grad is not None
    same(student.grad, v["grad_student"], TOLERANCE)


def check_centre(v: Vectors) -> None:
    before = v["center_before"]
    centre = Centre(before.shape[1], v.number("center_momentum")).double()
    centre.mean.copy_(before)
    centre.update(v["teacher"].unflatten(0, (-1, int(v.number("batch_size")))))
    same(centre.mean, v["center_after"], TOLERANCE)


def check_teacher_temperature(v: Vectors) -> None:
    table = v["teacher_temp_schedule"]
    start, end, epochs = table[0].item(), table[-1].item(), len(table)
    warm = int((table != end).sum()) + 1  # the line has both of its ends
    settings = DINO.Settings(
        warmup_temperature=start, temperature_teacher=end, temperature_warmup=warm / epochs, temperature_stairs=True
    )
    steps = 7  # of an epoch
    found = [
        teacher_temperature(settings, Progress(step, step / (epochs * steps), step // steps), steps)
        for step in range(epochs * steps)
    ]
    same(torch.tensor(found).double(), table.repeat_interleave(steps), 1e-7)
    same(torch.tensor(found[int(v.number("epoch")) * steps]).double(), v["temperature_teacher"], 1e-7)


def check_head(v: Vectors) -> None:
    weights = v.group("head")
    shapes = [weights[key].shape for key in sorted(weights) if key.startswith("mlp.") and key.endswith(".weight")]
    prototypes, bottleneck = weights["last_layer.weight_v"].shape
    widths = [shapes[0][1], *(shape[0] for shape in shapes)]
    assert widths[-1] == bottleneck
    head = nn.ModuleDict({
        "mlp": heads.mlp(widths, hidden_norm=None, activation="gelu"),
        "last_layer": heads.WeightNormalisedLinear(bottleneck, prototypes),
    }).double()  # fmt: skip
    head.load_state_dict(weights)
    x = v.leaf("head_in")
    last: heads.WeightNormalisedLinear = head["last_layer"]  # type: ignore[assignment]
    out: Tensor = similarities(unit(head["mlp"](x)), last.prototypes())
    same(out, v["head_out"], TOLERANCE)
    out.square().sum().backward()
    assert x.grad is not None
    same(x.grad, v["head_grad_in"], TOLERANCE)


def check_schedules(v: Vectors) -> None:
    """The rate's peak stands in its table twice, at the end of the warm-up and at the start of the cosine."""
    steps = len(v["sched_lr"])
    warm = int(v["sched_lr"].argmax()) + 1
    rates = [
        schedules.tabulated_cosine(i, base=0.002, steps=steps, warmup_steps=warm, final=1e-6) for i in range(steps)
    ]
    same(torch.tensor(rates).double() / 0.002, v["sched_lr"] / 0.002, 1e-6)
    decays = [schedules.cosine(0.04, i / steps, 0.4) for i in range(steps)]
    same(torch.tensor(decays).double(), v["sched_wd"], 1e-7)
    momenta = [schedules.rising_momentum(0.996, i / steps) for i in range(steps)]
    same(torch.tensor(momenta).double(), v["sched_mom"], 1e-7)


def check_clipping(v: Vectors) -> None:
    names = ("weight", "bias")
    parameters = [nn.Parameter(torch.zeros_like(v[f"clip_in_{name}"])) for name in names]
    for parameter, name in zip(parameters, names, strict=True):
        parameter.grad = v[f"clip_in_{name}"]
    clip_each(parameters, v.number("clip_value"))
    for parameter, name in zip(parameters, names, strict=True):
        assert parameter.grad is not None
        same(parameter.grad, v[f"clip_out_{name}"], TOLERANCE)
