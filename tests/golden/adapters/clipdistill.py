"""CLIP with soft targets: hard pairs, smoothing, softmax and transport targets, Sinkhorn, and the moving average."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from adapters import Vectors, same
from likewise.schedules import young_momentum
from likewise.similarity.texts.image_text import divergence, pair_contrast, soft_targets, transported
from likewise.teachers import Momentum


def check_hard_pairs(v: Vectors) -> None:
    for kind, smoothing in (("infonce", 0.0), ("smooth", v.number("label_smoothing"))):
        leaves = [v.leaf(key) for key in ("image", "text", "log_scale")]
        loss = pair_contrast(*leaves, smoothing=smoothing)
        same(loss, v[f"loss_{kind}"])
        for key, gradient in zip(("image", "text", "log_scale"), torch.autograd.grad(loss, leaves), strict=True):
            same(gradient, v[f"grad_{key}_{kind}"])


def check_soft_targets(v: Vectors) -> None:
    forms: dict[str, tuple[Literal["softmax", "transport"], bool]] = {
        "kd": ("softmax", False),
        "ot": ("transport", False),
        "ot_keepdiag": ("transport", True),
    }
    alpha = v.number("alpha")
    for kind, (form, keep_own) in forms.items():
        image, text, scale, own_scale = (v.leaf(key) for key in ("image", "text", "log_scale", "log_scale"))
        targets = soft_targets(
            v["teacher_image"],
            v["teacher_text"],
            form,
            scale=v.number("teacher_scale"),
            regularisation=v.number("sinkhorn_lambda"),
            iterations=v.number("sinkhorn_iterations"),
            keep_own=keep_own,
        )
        same(targets.texts, v[f"target_image_{kind}"])
        same(targets.images, v[f"target_text_{kind}"])
        hard = alpha * pair_contrast(image, text, scale)
        soft = (1 - alpha) * divergence(image, text, own_scale, targets)
        same(hard, v[f"loss_{kind}_contrastive_part"])
        same(soft, v[f"loss_{kind}_distillation_part"])
        same(hard + soft, v[f"loss_{kind}"])
        names = ("grad_image", "grad_text", "grad_log_scale", "grad_log_scale_distill")
        found = torch.autograd.grad(hard + soft, (image, text, scale, own_scale))
        for name, gradient in zip(names, found, strict=True):
            same(gradient, v[f"{name}_{kind}"])


def check_transport(v: Vectors) -> None:
    plan = transported(-v["sinkhorn_cost"], v.number("sinkhorn_lambda"), v.number("sinkhorn_iterations"))
    before_rows = v["sinkhorn_plan"]  # columns came last: the published function leaves it to its caller to scale rows
    same(plan, before_rows / before_rows.sum(1, keepdim=True))


def check_moving_average(v: Vectors) -> None:
    sequence, expected = v["ema_parameter_sequence"], v["ema_shadow_sequence"]

    def layer(row: torch.Tensor) -> nn.Linear:
        made = nn.Linear(len(row), 1, bias=False).double()
        made.weight.data.copy_(row.unsqueeze(0))
        return made

    teacher = Momentum(layer(sequence[0]))
    for number in range(1, len(sequence)):
        teacher.update(layer(sequence[number]), young_momentum(number, v.number("ema_decay")))
        same(next(teacher.network.parameters())[0], expected[number])
    same(sequence[0], expected[0])
