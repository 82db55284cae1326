"""Cross-pixel flow similarity: kernels, both losses with gradients, and hypercolumns."""

from __future__ import annotations

import torch

from adapters import Vectors, same
from likewise.similarity.dense.motion import (
    embedding_kernel,
    flow_kernel,
    hypercolumns,
    kernel_alignment,
    kernel_cross_entropy,
)

TOLERANCE = 1e-7


def check_losses(v: Vectors) -> None:
    for case in ("paper", "small"):
        embedding = v.leaf("embedding")
        kernel = embedding_kernel(embedding, v.number(f"{case}_embedding_scale"))
        flow = flow_kernel(v["flow"], v.number(f"{case}_sigma"))
        same(kernel, v[f"{case}_kernel_embedding"], TOLERANCE)
        same(flow, v[f"{case}_kernel_flow"], TOLERANCE)
        told = kernel_cross_entropy(
            kernel,
            flow,
            v.number(f"{case}_temperature_embedding"),
            v.number(f"{case}_temperature_flow"),
            exclude_diagonal=bool(v.number(f"{case}_exclude_diagonal")),
        )
        for name, loss in (("ce", told), ("kta", kernel_alignment(kernel, flow))):
            same(loss, v[f"{case}_loss_{name}"], TOLERANCE)
            gradient = torch.autograd.grad(loss, embedding, retain_graph=True)[0]
            same(gradient, v[f"{case}_grad_{name}"], TOLERANCE)


def check_hypercolumns(v: Vectors) -> None:
    maps = [v["hyper_map_stride2"].unsqueeze(0), v["hyper_map_stride4"].unsqueeze(0)]
    found = hypercolumns(maps, v["hyper_xy"].unsqueeze(0), v.number("hyper_image_size"))
    same(found[0], v["hyper_out"], TOLERANCE)
