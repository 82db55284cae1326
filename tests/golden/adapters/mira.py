"""MIRA: targets, loss and gradients at three strengths of the mutual information."""

from __future__ import annotations

import torch
from torch import Tensor

from adapters import Vectors, same
from likewise.similarity.prototypes.across_views import across_views
from likewise.similarity.prototypes.assign import mira


def cases(v: Vectors) -> list[int]:
    return [int(key.removeprefix("beta_")) for key in v.arrays if key.startswith("beta_")]


def stacked(v: Vectors, name: str) -> Tensor:
    """`name_0`, `name_1`, ... as one tensor."""
    count = sum(key.startswith(name) for key in v.arrays)
    return torch.stack([v[f"{name}{i}"] for i in range(count)])


def targets(v: Vectors, case: int, iterations: int) -> Tensor:
    how = {"temperature": v.number("tau_teacher"), "beta": v.number(f"beta_{case}"), "iterations": iterations}
    return torch.stack([mira(scores, **how) for scores in stacked(v, "teacher_scores_")])


def check_targets(v: Vectors) -> None:
    for case in cases(v):
        same(targets(v, case, int(v.number("iterations"))), stacked(v, f"target_b{case}_"), 1e-8)


def check_convergence(v: Vectors) -> None:
    for case in cases(v):
        same(targets(v, case, 3000)[:1], stacked(v, f"converged_b{case}_"), 1e-8)


def check_loss(v: Vectors) -> None:
    for case in cases(v):
        scores = stacked(v, "student_scores_").requires_grad_(True)
        loss = across_views(scores, targets(v, case, int(v.number("iterations"))), v.number("tau_student"))
        loss.backward()
        same(loss, v[f"loss_b{case}"], 1e-8)
        assert scores.grad is not None
        same(scores.grad, stacked(v, f"grad_student_b{case}_"), 1e-8)
