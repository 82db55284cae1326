"""MoCHi: hard rows, logits with both kinds of mixes, loss and gradient, all with recorded draws."""

from __future__ import annotations

import torch

from adapters import Vectors, same
from likewise.methods.mochi import Mix, contrast_mixed, synthetic
from likewise.similarity import neighbours, similarities, unit


def mix(v: Vectors) -> Mix:
    """The recorded draws."""
    drawn = Mix(v["mix_first"], v["mix_second"], v["alpha"], v["query_mix_negative"], v["beta"])
    assert drawn.first.shape[1] == v["s1"]
    assert drawn.negative.shape[1] == v["s2"]
    return drawn


def check_hard_rows(v: Vectors) -> None:
    found = neighbours(unit(v["query"]), v["queue"], v.number("n_hard")).rows
    assert found.sort(1).values.equal(v["hard_indices"].sort(1).values)


def check_logits(v: Vectors) -> None:
    q, temperature = unit(v["query"]), v.number("temperature")
    positive = (q * unit(v["key"])).sum(1, keepdim=True) / temperature
    mixed = torch.einsum("bd,bsd->bs", q, synthetic(q, v["queue"], mix(v))) / temperature
    same(torch.cat([positive, similarities(q, v["queue"], temperature), mixed], 1), v["logits"], 1e-8)


def check_loss(v: Vectors) -> None:
    for suffix, drawn in (("", mix(v)), ("_without_mixing", None)):
        query = v.leaf("query")
        loss = contrast_mixed(query, v["key"], v["queue"], v.number("temperature"), drawn).loss
        loss.backward()
        same(loss, v[f"loss{suffix}"], 1e-8)
        assert query.grad is not None
        same(query.grad, v[f"grad_query{suffix}"], 1e-8)
