"""Numbers of published presets that no sheet holds: sizes off the published data set, and SEED's rates."""

from __future__ import annotations

from dataclasses import replace
from math import cos, pi
from typing import Any, cast

import numpy as np
import pytest

from likewise import methods
from likewise.data.batches.streams import MAIN, Rows
from likewise.methods.method import Facts, Progress
from likewise.methods.parts.cmsf.constraints import SameCluster
from likewise.training.optimising import scheduled
from tests.recipes.reader import (
    CIFAR10_R18,
    IMAGENET_R18,
    IMAGENET_R50,
    IMAGENET_SWIN_T,
    Published,
    built,
    plan_of,
    sheet,
)


def test_the_heads_of_the_small_batch_byol_follow_the_encoder() -> None:
    heads = sheet("byol", methods.find("byol"), "asymmetric", IMAGENET_R18)["heads"]
    assert heads["student after the encoder"] == "512>1024, bn, relu, 1024>128"
    assert heads["predictor"] == "128>1024, bn, relu, 1024>128"


@pytest.mark.parametrize(("on", "clusters"), [(IMAGENET_R50, 51_246), (CIFAR10_R18, 2000)])
def test_cmsf_has_a_cluster_for_every_25_images(on: Published, clusters: int) -> None:
    method: Any = built(methods.find("cmsf"), plan_of("cmsf", methods.find("cmsf"), "km", on), on)
    assert cast("SameCluster", method.constraint).clusters == clusters


def test_cmsf_with_few_labels_uses_a_tenth_of_them() -> None:
    plan = plan_of("cmsf_semi", methods.find("cmsf_semi"), "imagenet", IMAGENET_R50)
    assert plan.settings.label_share == 0.1


def test_mcl_with_labels_has_two_images_of_each_of_64_classes_in_a_batch() -> None:
    method = methods.find("mcl_supervised")
    plan = plan_of("mcl_supervised", method, "cifar", CIFAR10_R18)
    labels = np.arange(50_000) % 100
    facts = Facts(images=50_000, batch_size=plan.batch_size, image_size=32, classes=100)
    order = method.streams(plan.settings, facts)[MAIN].draw(Rows(labels, {}), plan.batch_size, 0)
    assert np.unique(labels[order.batch(3)], return_counts=True)[1].tolist() == [2] * 64
    assert order.steps_per_epoch == 390


def test_esvit_begins_the_region_task_at_once_or_in_the_last_third() -> None:
    method = methods.find("esvit")
    begins = [plan_of("esvit", method, name, IMAGENET_SWIN_T).settings.region_from for name in method.presets]
    assert begins == [0.0, 0.0, 0.0, 200 / 300]


@pytest.mark.parametrize("name", ["dino", "esvit"])
def test_large_crops_show_more_or_less_where_there_are_no_small_ones(name: str) -> None:
    method = methods.find(name)
    alone = {"small_crops": 0, "drop_path": 0.0}
    plan = plan_of(name, method, "imagenet", IMAGENET_R50)
    views = built(method, replace(plan, settings=replace(plan.settings, **alone)), IMAGENET_R50).views
    assert list(views) == ["large_0", "large_1"]
    assert {view.crop.scale for view in views.values()} == {(0.14, 1.0)}  # type: ignore[union-attr]


def test_seed_warms_up_from_the_base_rate_on_a_cosine_over_all_epochs() -> None:
    optimisation = methods.find("seed_kd").presets["imagenet"].optimisation
    rates = [
        scheduled.learning_rate(optimisation, Progress(epoch, epoch / 200, epoch), 200) for epoch in (0, 3, 5, 100, 199)
    ]
    after = [0.03 * (1 + cos(pi * epoch / 200)) / 2 for epoch in (5, 100, 199)]
    assert rates == pytest.approx([0.03, 0.03, *after])
