"""FNC: the detected pairs, and the objective with its gradient, for every view as anchor. Kept in the file of IFND."""

from __future__ import annotations

from torch import Tensor

from adapters import Vectors, same
from likewise.methods.fnc import detect, objective, own
from likewise.similarity import unit


def mask(v: Vectors) -> Tensor:
    views = v["fnc_views"]
    columns = unit(views.flatten(0, 1))
    return detect(views, columns, own(views, views.shape[1]).any(0), v.number("fnc_topk"), v.number("fnc_threshold"))


def check_false_negatives(v: Vectors) -> None:
    assert mask(v).equal(v["fnc_mask"].bool())


def check_objective(v: Vectors) -> None:
    views = v.leaf("fnc_views")
    loss = objective(views, unit(views.flatten(0, 1)), own(views, views.shape[1]), mask(v), v.number("fnc_temperature"))
    loss.backward()
    same(loss, v["fnc_loss"], 1e-8)
    assert views.grad is not None
    same(views.grad, v["fnc_grad_views"], 1e-8)
