"""SimReg: the head of four layers and the distance of unit vectors, with all gradients."""

from __future__ import annotations

import torch
from torch import nn

from adapters import Vectors, same
from likewise.encoders import heads
from likewise.similarity import pull, unit


def check_head_and_loss(v: Vectors) -> None:
    widths = [v[f"w{n}"].shape for n in range(v.number("n_layers"))]
    projector = heads.mlp([widths[0][1], widths[0][0], widths[1][0]])
    predictor = heads.mlp([widths[2][1], widths[2][0], widths[3][0]])
    head = nn.Sequential(projector, predictor).double()
    linear = [layer for layer in head.modules() if isinstance(layer, nn.Linear)]
    norms = [layer for layer in head.modules() if isinstance(layer, nn.BatchNorm1d)]
    for number, layer in enumerate(linear):
        layer.weight.data.copy_(v[f"w{number}"])
        layer.bias.data.copy_(v[f"b{number}"])
    for number, norm in enumerate(norms):
        norm.weight.data.copy_(v[f"bn{number}_weight"])
        norm.bias.data.copy_(v[f"bn{number}_bias"])
        assert norm.eps == v.number(f"bn{number}_eps")
    features = v.leaf("feat_student")
    student = head(features)
    same(student, v["student"], 1e-10)
    loss = pull(student, unit(v["teacher"]))
    same(loss, v["loss"], 1e-10)
    same(loss, v["loss_squared_distance"], 1e-10)
    found = torch.autograd.grad(loss, (student, features, *(layer.weight for layer in linear)))
    same(found[0], v["grad_student"], 1e-10)
    same(found[1], v["grad_feat_student"], 1e-10)
    for number, gradient in enumerate(found[2:]):
        same(gradient, v[f"grad_w{number}"], 1e-10)
