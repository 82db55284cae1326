"""NCCL: affinity, both consensus losses with their gradients, and the credible samples."""

from __future__ import annotations

import math

import torch

from adapters import Vectors, same
from likewise.similarity import unit
from likewise.similarity.compatible import affinity, consensus, credible


def check_losses(v: Vectors) -> None:
    weight = affinity(v["old_embedding"], v["queue_embedding"])
    same(weight, v["affinity"])
    match = v["labels"].unsqueeze(1) == v["queue_labels"]
    temperature = v.number("temperature")
    embedding, logits = v.leaf("new_embedding"), v.leaf("new_logits")
    first = consensus(unit(embedding), v["queue_embedding"], weight, match, temperature)
    second = consensus(logits, v["queue_logits"], weight, match, temperature)
    same(first, v["loss_embedding"])
    same(second, v["loss_discrimination"])
    same(torch.autograd.grad(first, embedding)[0], v["grad_embedding"])
    same(torch.autograd.grad(second, logits)[0], v["grad_logits"])
    total = v.number("weight_embedding") * first + v.number("weight_discrimination") * second
    same(total, v["loss"])


def check_the_batch_is_in_the_queue(v: Vectors) -> None:
    for name, batch in (("embedding", v["old_embedding"]), ("logits", v["old_logits"])):
        same(v[f"queue_{name}"][-len(batch) :], batch)


def check_credible(v: Vectors) -> None:
    centres = v["credible_centres"]
    found = credible(v["queue_embedding"], v["queue_labels"], len(centres))
    same(found.centres, centres)
    same(found.variance, v["credible_variance"])
    same(found.probability, v["credible_probability"])
    same(found.entropy, v["credible_entropy"])
    assert math.isclose(v.number("credible_threshold"), math.log(len(centres)) / 2)
    assert found.mask.equal(v["credible_mask"])
