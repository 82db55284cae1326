"""MoDist: the four terms over two queues with their gradients, and flow edges."""

from __future__ import annotations

import torch

from adapters import Vectors, same
from likewise.similarity import contrast
from likewise.similarity.dense.motion import flow_edges

TOLERANCE = 1e-7
QUERIES = ("v1", "v2", "m1", "m2")
TERMS = {  # query, key: the queue is that of the key's pathway
    "vv": (("v1", "v2"), ("v2", "v1")),
    "mm": (("m1", "m2"), ("m2", "m1")),
    "vm": (("v1", "m1"), ("v2", "m2")),
    "mv": (("m1", "v1"), ("m2", "v2")),
}


def check_terms(v: Vectors) -> None:
    queries = {name: v.leaf(f"query_{name}") for name in QUERIES}
    queues = {"v": v["queue_visual"], "m": v["queue_motion"]}
    found = {}
    for name, pairs in TERMS.items():
        losses = [contrast(queries[q], v[f"key_{k}"], queues[k[0]], v.number("temperature")) for q, k in pairs]
        found[name] = torch.stack(losses).mean()
        same(found[name], v[f"loss_{name}"], TOLERANCE)
    weights = {name: v.number(f"weight_{name if name in {'vv', 'mm'} else 'cross'}") for name in TERMS}
    total = torch.stack([weights[name] * loss for name, loss in found.items()]).sum()
    same(total, v["loss"], TOLERANCE)
    for name, gradient in zip(QUERIES, torch.autograd.grad(total, list(queries.values())), strict=True):
        same(gradient, v[f"grad_query_{name}"], TOLERANCE)


def check_flow_edges(v: Vectors) -> None:
    flow = v["flow"]
    same(flow.norm(dim=1), v["flow_magnitude"], TOLERANCE)
    same(flow_edges(flow, v.number("flow_edge_clip")).squeeze(1), v["flow_edge"], TOLERANCE)
