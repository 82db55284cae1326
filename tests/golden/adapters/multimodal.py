"""Multimodal contrast: image, tags, captions and both crossings, with their gradients."""

from __future__ import annotations

import torch

from adapters import Vectors, same
from likewise.similarity import contrast
from likewise.similarity.texts.tags import contrast_matches, rank_by_margin, shared_tags

QUERIES = (
    "image_query_intra",
    "image_query_tag",
    "caption_query_intra",
    "image_query_cross",
    "caption_query_cross",
)


def check_terms(v: Vectors) -> None:
    queries = {name: v.leaf(name) for name in QUERIES}
    temperature, margin = v.number("temperature"), v.number("margin")
    match = shared_tags(v["tags"], v["queue_tags"], v.number("tag_threshold"))
    assert match.sum(1).equal(v["tag_positives_per_query"])
    across = (queries["image_query_cross"], v["caption_key_cross"], v["queue_caption_cross"])
    found = {
        "image": contrast(queries["image_query_intra"], v["image_key_intra"], v["queue_image_intra"], temperature),
        "tag": contrast_matches(queries["image_query_tag"], v["queue_image_tag"], match, temperature),
        "caption": contrast(
            queries["caption_query_intra"], v["caption_key_intra"], v["queue_caption_intra"], temperature
        ),
        "image_to_caption": rank_by_margin(*across, margin),
        "caption_to_image": rank_by_margin(
            queries["caption_query_cross"], v["image_key_cross"], v["queue_image_cross"], margin
        ),
    }
    for name, loss in found.items():
        same(loss, v[f"loss_{name}"])
    same(rank_by_margin(*across, margin, reduction="mean"), v["loss_image_to_caption_mean"])
    same(contrast(*across, temperature), v["loss_image_to_caption_nce"])
    total = torch.stack([v.number(f"weight_{name}") * loss for name, loss in found.items()]).sum()
    same(total, v["loss"])
    for name, gradient in zip(QUERIES, torch.autograd.grad(total, list(queries.values())), strict=True):
        same(gradient, v[f"grad_{name}"])
