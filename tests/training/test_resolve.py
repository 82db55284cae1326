"""What is chosen from which facts, and why: a pure function, so a table."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from likewise.errors import InputError
from likewise.methods.ascl import ASCL
from likewise.methods.barlow_twins import BarlowTwins
from likewise.methods.byol import BYOL
from likewise.methods.dino import DINO
from likewise.methods.fnc import FNC
from likewise.methods.isd import ISD
from likewise.methods.method import Method
from likewise.methods.nnclr import NNCLR
from likewise.methods.simclr import SimCLR
from likewise.methods.ultrasound import Ultrasound
from likewise.training.planning.asked import Asked
from likewise.training.planning.resolve import Choice, DataFacts, Machine, Plan, image_size, passes, resolve

CIFAR = DataFacts(images=50_000, side=32, classes=10, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
LAPTOP, SERVER = Machine("cpu", bf16=True), Machine("cuda", bf16=True, processes=4)


def planned(data: DataFacts = CIFAR, machine: Machine = LAPTOP, given: Any = None, **asked: Any) -> Plan:
    wanted = Asked(**asked)
    return resolve(wanted, given or {}, ISD, data, machine, image_size(wanted, data.side, machine.device))


@pytest.mark.parametrize(
    ("side", "device", "size"),
    [
        (28, "cpu", 28),
        (32, "cpu", 32),
        (64, "cuda", 64),
        (12, "cpu", 16),
        (112, "cpu", 96),
        (500, "cpu", 128),
        (500, "cuda", 224),
    ],
)
def test_image_size(side: int, device: str, size: int) -> None:
    assert image_size(Asked(), side, device).value == size


def test_small_images_on_a_laptop() -> None:
    plan = planned()
    assert (plan.encoder.width, plan.encoder.stem, plan.precision) == (16, "small", "bf16")
    assert plan.encoder.mean == CIFAR.mean
    assert {choice.setting for choice in plan.choices} >= {"width", "stem", "precision", "normalisation"}
    assert all(choice.reason for choice in plan.choices)


def test_a_published_recipe_keeps_its_numbers() -> None:
    plan = planned(DataFacts(1_281_167, 400, 1000, CIFAR.mean, CIFAR.std), SERVER, variant="plus")
    assert plan.precision == "float32"
    assert plan.encoder.width == 64
    assert plan.encoder.mean == (0.485, 0.456, 0.406)
    assert plan.settings.queue_size == 128_000
    assert plan.optimisation.learning_rate == 0.05
    assert (plan.optimisation.first_size, plan.optimisation.last_size) == (1.0, 1.0)


def test_views_are_smaller_only_where_the_encoder_takes_any_size() -> None:
    def sizes(**asked: Any) -> tuple[float, float]:
        optimisation = planned(**asked).optimisation
        return optimisation.first_size, optimisation.last_size

    assert sizes() == (0.5, 0.75)
    assert sizes(optimiser="sgd") == (0.75, 0.75)
    assert sizes(image_size=28) == (0.75, 0.75)  # half of it is less than 16 px
    assert sizes(first_size=0.625) == (0.625, 0.75)
    assert sizes(first_size=1.0, last_size=1.0) == (1.0, 1.0)
    assert sizes(encoder="vit_tiny_patch16_224", image_size=32) == (1.0, 1.0)
    assert sizes(pretrained=True) == (1.0, 1.0)
    for name in ("first_size", "last_size"):
        with pytest.raises(InputError, match=rf"{name}=0.5 needs a ResNet"):
            planned(encoder="vit_tiny_patch16_224", image_size=32, **{name: 0.5})
        with pytest.raises(InputError, match=rf"{name}=1.5 is out of range"):
            planned(**{name: 1.5})


def test_a_pretrained_encoder_is_not_trained_with_muon() -> None:
    assert planned().optimisation.optimiser == "muon"
    assert planned().optimisation.learning_rate == 0.1
    for asked in ({"pretrained": True}, {"optimiser": "sgd"}, {"pretrained": True, "optimiser": "sgd"}):
        plan = planned(**asked)
        assert (plan.optimisation.optimiser, plan.optimisation.learning_rate) == ("sgd", 0.06)
    assert planned(optimiser="sgd", learning_rate=0.2).optimisation.learning_rate == 0.2
    assert planned(optimiser="sgd", batch_size=256).optimisation.learning_rate == pytest.approx(0.12)
    assert planned(pretrained=True, optimiser="muon").optimisation.optimiser == "muon"
    assert any(choice.setting == "optimiser" for choice in planned(pretrained=True).choices)
    size = image_size(Asked(), CIFAR.side, "cpu")
    assert resolve(Asked(), {}, ISD, CIFAR, LAPTOP, size, from_file=True).optimisation.optimiser == "sgd"


def test_published_weights_see_images_as_they_were_trained() -> None:
    spec = planned(pretrained=True, encoder="mobilenetv2_100").encoder
    assert (spec.mean, spec.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    spec = planned(pretrained=True, encoder="vit_tiny_patch16_224.augreg_in21k", image_size=224).encoder
    assert (spec.mean, spec.std) == ((0.5,) * 3, (0.5,) * 3)


def test_few_images_get_a_small_batch_and_queue() -> None:
    plan = planned(CIFAR._replace(images=100))
    assert plan.batch_size <= 25
    assert plan.settings.queue_size == 50


def test_learning_rate_follows_the_batch_and_says_so() -> None:
    preset = ISD.presets["small"].optimisation
    plan = planned(batch_size=2 * preset.batch_size)
    assert plan.optimisation.learning_rate == pytest.approx(2 * preset.learning_rate)
    assert any(choice.setting == "learning_rate" for choice in plan.choices)
    assert planned(batch_size=2 * preset.batch_size, learning_rate=0.1).optimisation.learning_rate == 0.1


def test_what_is_asked_is_kept() -> None:
    plan = planned(width=32, stem="imagenet", precision="float32", minutes=3.0, given={"momentum": 0.5})
    assert (plan.encoder.width, plan.encoder.stem, plan.precision, plan.minutes) == (32, "imagenet", "float32", 3.0)
    assert plan.settings.momentum == 0.5
    assert plan.epochs is None


def test_an_encoder_without_widths_keeps_its_own() -> None:
    assert planned(encoder="mobilenetv3_small_050").encoder.width == 64


def test_batches_are_shared_evenly() -> None:
    with pytest.raises(InputError, match="batch_size=30 cannot be shared by 4 processes: the nearest that can is 28"):
        planned(machine=SERVER, batch_size=30)


def test_methods_without_a_queue_need_no_queue_size() -> None:
    wanted = Asked(method="byol")
    plan = resolve(wanted, {}, BYOL, CIFAR, LAPTOP, image_size(wanted, 32, "cpu"))
    assert not any(choice.setting == "queue_size" for choice in plan.choices)


def test_the_smallest_batch_of_a_method_is_enforced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ISD, "card", dataclasses.replace(ISD.card, smallest_batch=6))
    assert planned(batch_size=6).batch_size == 6
    with pytest.raises(InputError, match=r"batch_size=4 is too small: isd .* allowed is 6 or more"):
        planned(batch_size=4)
    with pytest.raises(InputError, match=r"batch_size=16 in 4 parts is too small: .* allowed is 24 or more"):
        planned(batch_size=16, accumulate=4)
    few = DataFacts(40, 32, 0, CIFAR.mean, CIFAR.std)
    with pytest.raises(InputError, match="data of 40 images: allowed are 6 to that many"):
        planned(few, batch_size=41)


@pytest.mark.parametrize(
    ("method", "given"), [(BarlowTwins, {}), (SimCLR, {}), (NNCLR, {}), (FNC, {}), (ASCL, {"form": "byol"})]
)
def test_a_loss_within_the_batch_is_not_cut_into_parts(method: type[Method], given: dict[str, Any]) -> None:
    size = Choice("image_size", 32, "")
    plan = resolve(Asked(batch_size=256, accumulate=4), given, method, CIFAR, LAPTOP, size)
    assert passes(method, plan) == 1
    assert reason_of(plan, "accumulate").startswith("the encoder sees a part at a time, twice; the loss is that of")
    with pytest.raises(InputError, match=r"accumulate=4 .* cannot be compiled: leave one of accumulate"):
        resolve(Asked(accumulate=4, compile=True), given, method, CIFAR, LAPTOP, size)


def test_a_loss_against_a_memory_may_be() -> None:
    size = Choice("image_size", 32, "")
    plan = resolve(Asked(accumulate=4), {}, ASCL, CIFAR, LAPTOP, size)
    assert passes(ASCL, plan) == 4


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        (ISD, {"projector": False, "centred": True}, "centred=True has no effect without projector=True"),
        (NNCLR, {"views": "crops", "solarise": 0.1}, "solarise=0.1 has no effect without views=strong"),
        (FNC, {"momentum": 0.5}, "momentum=0.5 has no effect without memory_batches above 0: set that, or leave"),
    ],
)
def test_a_setting_that_would_change_nothing_is_refused(method: type[Method], given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        resolve(Asked(), given, method, CIFAR, LAPTOP, Choice("image_size", 32, ""))


def test_an_idle_setting_that_nobody_asked_for_is_let_pass() -> None:
    assert planned(given={"projector": False}).settings.centred


def settled(method: type[Method], data: DataFacts = CIFAR, given: Any = None, **asked: Any) -> Plan:
    wanted = Asked(method=method.__module__.rpartition(".")[2], **asked)
    return resolve(wanted, given or {}, method, data, SERVER, image_size(wanted, data.side, "cuda"))


def reason_of(plan: Plan, setting: str) -> str:
    return next(choice.reason for choice in reversed(plan.choices) if choice.setting == setting)


def test_a_recipe_for_cifar_is_normalised_by_its_statistics_and_any_by_those_asked_for() -> None:
    own, imagenet = (CIFAR.mean, CIFAR.std), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    cifar10 = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))

    def used(**asked: Any) -> tuple[Any, Any]:
        encoder = settled(ASCL, **asked).encoder
        return encoder.mean, encoder.std

    assert used() == own
    assert used(variant="cifar") == cifar10
    assert used(variant="imagenet") == imagenet
    assert used(pretrained=True) == imagenet
    assert used(variant="cifar", normalisation="imagenet") == imagenet
    assert used(variant="imagenet", normalisation="data") == own
    assert used(normalisation="cifar10") == cifar10
    assert reason_of(settled(ASCL, variant="cifar"), "normalisation") == "mean and deviation of cifar10, as published"


def test_another_update_rule_has_a_rate_that_suits_it() -> None:
    large = DataFacts(1_281_167, 224, 1000, CIFAR.mean, CIFAR.std)
    byol = settled(BYOL, large, variant="imagenet", optimiser="sgd")
    assert byol.optimisation.learning_rate == pytest.approx(0.06 * 16)  # for 4096 images; its own 3.2 is for lars
    assert reason_of(byol, "learning_rate") == "usual for sgd, 0.06 for 256 images: the preset's 3.2 is for lars"
    small = settled(BYOL, large, variant="imagenet", optimiser="sgd", batch_size=512)
    assert small.optimisation.learning_rate == pytest.approx(0.12)
    kept = settled(BYOL, large, variant="imagenet", optimiser="sgd", learning_rate=0.5)
    assert kept.optimisation.learning_rate == 0.5
    assert settled(ASCL, optimiser="adamw").optimisation.learning_rate == pytest.approx(1e-3)
    assert settled(ASCL, optimiser="muon").optimisation.learning_rate == settled(ASCL).optimisation.learning_rate


def test_a_rate_may_follow_the_root_of_the_batch() -> None:
    large = DataFacts(1_281_167, 224, 1000, CIFAR.mean, CIFAR.std)
    plan = settled(FNC, large, variant="imagenet", batch_size=1024)
    assert plan.optimisation.learning_rate == pytest.approx(3.2)
    assert reason_of(plan, "learning_rate").endswith("scaled by the root of the batch")


def test_a_small_recipe_of_adamw_follows_the_root_of_the_batch_and_a_published_one_its_own_rule() -> None:
    small = settled(Ultrasound, batch_size=16)
    assert small.optimisation.learning_rate == pytest.approx(5e-4)  # 1e-3 for 64 images
    assert reason_of(small, "learning_rate") == "0.001 at batch 64, scaled by the root of the batch"
    assert settled(ASCL, optimiser="adamw", batch_size=64).optimisation.learning_rate == pytest.approx(5e-4)
    large = DataFacts(1_281_167, 224, 1000, CIFAR.mean, CIFAR.std)
    dino = settled(DINO, large, variant="imagenet", batch_size=256, encoder="vit_small_patch16_224")
    assert dino.optimisation.learning_rate == pytest.approx(5e-4)  # 2e-3 for 1024 images


def test_a_support_set_may_be_longer_than_the_data() -> None:
    assert settled(NNCLR, variant="cifar").settings.queue_size == 65_536
    assert settled(NNCLR, given={"queue_size": 70_000}).settings.queue_size == 70_000
    with pytest.raises(InputError, match="longer than the data"):
        settled(ASCL, given={"queue_size": 70_000})


@pytest.mark.parametrize("name", ["minutes", "epochs", "learning_rate"])
def test_a_budget_without_an_end_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"{name}=inf has no end"):
        Asked(**{name: float("inf")})
