"""Video and speech: levels of affinity, the contrast at each stage, and the pair classifier."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from adapters import Vectors, same
from likewise.similarity.texts.narration import affinity_levels, contrast_by_level

STAGES = range(4)


def check_levels(v: Vectors) -> None:
    edges = v["affinity_edges"].tolist()
    assert affinity_levels(v["scan"], v["time"], edges).equal(v["affinity_level"])
    one_scan = torch.zeros(len(v["solo_time"]), dtype=torch.int64)
    assert affinity_levels(one_scan, v["solo_time"], edges).equal(v["solo_affinity_level"])


def check_stages(v: Vectors) -> None:
    for stage in STAGES:
        leaves = [v.leaf(key) for key in ("video", "speech", "pair_logits")]
        told = F.cross_entropy(leaves[2], v["pair_label"])
        same(told, v["loss_classification"])
        found = contrast_by_level(leaves[0], leaves[1], v["affinity_level"], stage, v.number("temperature"))
        same(found.loss, v[f"loss_contrastive_level{stage}"])
        total = v.number("weight_classification") * told + v.number("weight_contrastive") * found.loss
        same(total, v[f"loss_level{stage}"])
        of_video, of_speech, of_logits = torch.autograd.grad(total, leaves)
        same(of_video, v[f"grad_video_level{stage}"])
        same(of_speech, v[f"grad_speech_level{stage}"])
        same(of_logits, v["grad_pair_logits"])


def check_one_scan(v: Vectors) -> None:
    for stage in STAGES:
        found = contrast_by_level(
            v["solo_video"], v["solo_speech"], v["solo_affinity_level"], stage, v.number("temperature")
        )
        same(found.loss, v[f"solo_loss_contrastive_level{stage}"])
        assert int(found.anchors) == v.number(f"solo_anchors_level{stage}")
