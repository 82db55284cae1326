"""SetSim: attention, the matches of all five modes with loss and gradient, the global term, and what is enqueued."""

from __future__ import annotations

import torch
from torch import Tensor

from adapters import Vectors, same
from likewise.similarity import contrast, unit
from likewise.similarity.dense.sets import (
    attention,
    attentional,
    cosines,
    geometric,
    placed,
    set_contrast,
    with_nearest,
)

MODES = ("att", "geo", "attgeo", "attnn", "attgeonn")
RELATIVE = 1e-6


def rows(map_BCHW: Tensor) -> Tensor:
    """(B, N, C) cells of a map in rows."""
    return map_BCHW.flatten(2).transpose(1, 2)


def matched(v: Vectors, mode: str) -> Tensor:
    query, key = rows(v["query_backbone"]), rows(v["key_backbone"])
    height, width = v["query_backbone"].shape[-2:]
    near = geometric(
        placed(v["coord_query"], height, width), placed(v["coord_key"], height, width), v.number("geometry_threshold")
    )
    match = torch.zeros_like(near)
    if "att" in mode:
        match = attentional(query, key, v.number("attention_threshold"), v.number("similarity_threshold"))
    if "geo" in mode:
        match = match | near
    return with_nearest(match, cosines(query, key)) if "nn" in mode else match


def check_attention(v: Vectors) -> None:
    found = attention(rows(v["query_backbone"]), v.number("attention_threshold"))
    same(found.double(), v["attention_query"].double().view(found.shape))


def check_modes(v: Vectors) -> None:
    assert len(v["query_backbone"]) == v.number("batch_size")
    for mode in MODES:
        match = matched(v, mode)
        same(match.double(), v[f"mask_{mode}"].double())
        query = v.leaf("query_map_raw")
        loss = set_contrast(rows(query), rows(v["key_map"]), v["queue_dense"].T, match, v.number("temperature"))
        same(loss, v[f"loss_{mode}"], RELATIVE)
        same(torch.autograd.grad(loss, query)[0], v[f"grad_{mode}"], RELATIVE)


def check_global(v: Vectors) -> None:
    query = v.leaf("query_global")
    loss = contrast(query, v["key_global"], v["queue_global"].T, v.number("temperature"))
    same(loss, v["loss_global"], RELATIVE)
    q = query.detach()  # the official gradient is that of unit vectors taken as they are
    along = v["grad_query_global"] - (v["grad_query_global"] * q).sum(1, keepdim=True) * q
    same(torch.autograd.grad(loss, query)[0], along, RELATIVE)
    same(0.5 * loss.detach() + 0.5 * v["loss_att"], v["loss_total_att_w05"], RELATIVE)


def check_enqueued(v: Vectors) -> None:
    same(unit(rows(v["dense_key_raw"]).mean(1)), v["dense_key_enqueued"], RELATIVE)
