"""EsViT: view and region loss, both centres, the matching, and timm's Swin against the official one."""

from __future__ import annotations

from functools import partial

import torch
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn

from adapters import Vectors, same
from likewise.similarity.dense.regions import across_regions, best_tokens
from likewise.similarity.prototypes.across_views import across_views
from likewise.similarity.prototypes.centring import Centre, centred

TOLERANCE = 1e-7
GLOBAL = 2


def crops_of(v: Vectors, rows: Tensor) -> list[Tensor]:
    """The tokens of each crop, (B, T, .), from rows that go by resolution, view, image, token."""
    batch, large, small = (v.number(key) for key in ("batch_size", "tokens_global", "tokens_local"))
    first, rest = rows[: GLOBAL * batch * large], rows[GLOBAL * batch * large :]
    crops = list(first.view(GLOBAL, batch, large, -1))
    if len(rest):
        crops += list(rest.view(v.number("ncrops") - GLOBAL, batch, small, -1))
    return crops


def check_loss(v: Vectors) -> None:
    batch, warm = v.number("batch_size"), v.number("temperature_teacher")
    student, regions, feature = (v.leaf(f"student_{name}") for name in ("cls", "region", "feature"))
    target = centred(v["teacher_cls"].view(GLOBAL, batch, -1), v["center_before"], warm)
    taught = torch.stack(crops_of(v, v["teacher_region"]))
    region_target = ((taught - v["center_grid_before"]) / warm).softmax(3)
    temperature = v.number("temperature_student")
    view = across_views(student.view(v.number("ncrops"), batch, -1), target, temperature)
    region = across_regions(
        crops_of(v, regions),
        crops_of(v, feature),
        region_target,
        torch.stack(crops_of(v, v["teacher_feature"])),
        temperature,
    )
    loss = 0.5 * view + 0.5 * region
    same(loss, v["loss"], TOLERANCE)
    of_student, of_regions, of_feature = torch.autograd.grad(loss, (student, regions, feature), allow_unused=True)
    same(of_student, v["grad_student_cls"], TOLERANCE)
    same(of_regions, v["grad_student_region"], TOLERANCE)
    assert (of_feature is None) == bool(v.number("grad_student_feature_is_none"))


def check_matches(v: Vectors) -> None:
    student, teacher = crops_of(v, v["student_feature"]), crops_of(v, v["teacher_feature"])
    assert best_tokens(student[1], teacher[0]).equal(v["match_teacher0_student1"])
    assert best_tokens(student[-1], teacher[1]).equal(v["match_teacher1_studentlast"])


def check_centres(v: Vectors) -> None:
    assert v.number("epoch") >= 0
    batch = v.number("batch_size")
    for name, rows in (
        ("center", v["teacher_cls"].view(GLOBAL, batch, -1)),
        ("center_grid", v["teacher_region"].unsqueeze(0)),
    ):
        before = v[f"{name}_before"]
        centre = Centre(before.shape[1], v.number("center_momentum")).double()
        centre.mean.copy_(before)
        centre.update(rows)
        same(centre.mean, v[f"{name}_after"], TOLERANCE)


def check_swin(v: Vectors) -> None:
    """timm keeps the merging of patches at the start of a stage, the official code at the end of the one before."""
    swin = SwinTransformer(
        img_size=v.number("swin_img"),
        patch_size=v.number("swin_patch"),
        embed_dim=v.number("swin_embed"),
        depths=tuple(v["swin_depths"].tolist()),
        num_heads=tuple(v["swin_heads"].tolist()),
        window_size=v.number("swin_window"),
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        num_classes=0,
        strict_img_size=False,
    )
    weights = {}
    for key, value in v.group("swin").items():
        parts = key.split(".")
        if "downsample" in parts:
            parts[1] = str(int(parts[1]) + 1)
        weights[".".join(parts)] = value
    swin.load_state_dict(weights)
    swin.double().eval()
    for prefix in ("swin", "swin_small"):
        x = v[f"{prefix}_in"].double()
        map_BHWC = swin.forward_features(x)
        same(map_BHWC.flatten(1, 2), v[f"{prefix}_region"], 1e-5)
        same(map_BHWC.mean((1, 2)), v[f"{prefix}_pooled"], 1e-5)
