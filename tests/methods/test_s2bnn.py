"""S2-BNN: the three regimes, the order of a step with contrast, and binarisation in two steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from likewise.encoders import EncoderSpec, build, load_encoder
from likewise.encoders.own.binary import BinaryConv2d
from likewise.errors import InputError
from likewise.methods.method import Facts, Progress
from likewise.methods.s2bnn import S2BNN
from likewise.methods.whole import save_method
from likewise.recipes import carry_out
from likewise.recipes.s2bnn import STAGES, Recipe, stages
from likewise.runs import RunDirectory, plain
from likewise.similarity import contrast, unit
from tests.contract.gauntlet import BATCH, SIDE, batch_at, make, one_step, optimizer_of, teacher


def s2bnn(**changes: Any) -> S2BNN:
    method = make("s2bnn", **changes)
    assert isinstance(method, S2BNN)
    return method


def test_both_is_contrast_and_distillation_in_the_order_of_the_paper() -> None:
    method = s2bnn(regime="both", momentum=0.5).eval()
    with torch.no_grad():
        for weight in method.student.parameters():
            weight.add_(0.1)
    before = [weight.clone() for weight in method.teacher.parameters()]
    method.before_step(Progress(0, 0.0, 0))
    for slow, old, new in zip(method.teacher.parameters(), before, method.student.parameters(), strict=True):
        torch.testing.assert_close(slow, 0.5 * (old + new))
    method.teacher.network.eval()
    views, batch = batch_at(method, 0)
    rows = method.queue.rows.clone()
    with torch.no_grad():
        q, y = unit(method.student(views["first"].image)), unit(method.frozen(views["first"].image))
        k = unit(method.teacher(views["second"].image))
        calibration = -((y / 0.2).softmax(1) * functional.log_softmax(q / 0.2, 1)).sum(1).mean()
        torch.testing.assert_close(method.step(views, batch).loss, calibration + contrast(q, k, rows, 0.2))
    torch.testing.assert_close(method.queue.rows[:BATCH], k)


def test_each_regime_has_only_what_it_needs() -> None:
    distil, contrasting = s2bnn(), s2bnn(regime="contrast", teacher="")
    assert list(distil.views) == ["first"]
    assert not hasattr(distil, "queue")
    assert not hasattr(contrasting, "frozen")
    for method in (distil, contrasting):
        loss = method(*batch_at(method, 0)).loss
        loss.backward()
        assert loss.isfinite()


def binary(name: str, **changes: Any) -> tuple[S2BNN, Facts, Any]:
    facts = Facts(images=96, batch_size=BATCH, image_size=SIDE)
    settings = S2BNN.Settings(regime="contrast", queue_size=16, **changes)
    torch.manual_seed(1)
    return S2BNN(build(EncoderSpec(name=name, image_size=SIDE), seed=2), settings, facts), facts, settings


def test_the_second_step_takes_over_all_networks_of_the_first_and_binarises(tmp_path: Path) -> None:
    first, facts, settings = binary("reactnet_small_real")
    one_step(first, optimizer_of(first), 0)
    save_method(first, facts, tmp_path)
    encoder = plain(EncoderSpec(name="reactnet_small_real", image_size=SIDE))
    RunDirectory(tmp_path).write(method="s2bnn", settings=plain(settings), encoder=encoder)
    second, _, _ = binary("reactnet_small", first_step=str(tmp_path))
    held = first.state_dict()
    assert all(value.equal(held[key]) for key, value in second.state_dict().items() if not key.startswith("queue"))
    assert all(conv.binary for conv in second.modules() if isinstance(conv, BinaryConv2d))
    assert not any(conv.binary for conv in first.modules() if isinstance(conv, BinaryConv2d))
    loss = second(*batch_at(second, 0)).loss
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in second.student[0].parameters())


def test_a_first_step_of_another_shape_is_refused() -> None:
    with pytest.raises(InputError, match="first_step='no/such/run': no/such/run does not exist"):
        s2bnn(first_step="no/such/run")
    with pytest.raises(InputError, match=r"first_step='.*' does not fit: it has no student"):
        s2bnn(first_step=teacher(), regime="contrast", teacher="")


def test_the_recipe_trains_both_steps_and_goes_on_with_the_one_that_is_not_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "images.npz"
    np.savez(path, images=np.random.default_rng(0).integers(0, 256, (32, 16, 16, 3)).astype(np.uint8))
    quiet: dict[str, Any] = {"quiet": True, "report": False, "loggers": (), "learning_rate": 1e-9}
    recipe = Recipe(data=str(path), out=str(tmp_path / "runs"), teacher=teacher(), epochs=1, batch_size=16)
    real, binary = stages(recipe, **quiet)
    assert [stage.asked["encoder"] for stage in (real, binary)] == ["reactnet_small_real", "reactnet_small"]
    (first,) = carry_out(recipe.out, [real])
    written = first.weights().stat().st_mtime_ns
    runs = carry_out(recipe.out, stages(recipe, **quiet))
    assert [run.path.name for run in runs] == list(STAGES)
    assert runs[0].weights().stat().st_mtime_ns == written, "what is finished is not trained again"
    before, after = (load_encoder(run.weights()) for run in runs)
    assert not [part for part in before.modules() if isinstance(part, BinaryConv2d) and part.binary]
    assert [part for part in after.modules() if isinstance(part, BinaryConv2d) and part.binary]
    for key, value in before.backbone.named_parameters():
        torch.testing.assert_close(dict(after.backbone.named_parameters())[key], value)
    for change, words in (
        ({"epochs": 2}, r"epochs=1\S*, so"),
        ({"data": str(tmp_path)}, "was trained on .*images.npz"),
    ):
        with pytest.raises(InputError, match=f"{words}.*: choose another --out"):
            carry_out(recipe.out, stages(replace(recipe, **change), **quiet))
    monkeypatch.chdir(tmp_path)  # the same data by another way of writing where they are
    carry_out(recipe.out, stages(replace(recipe, data="images.npz"), **quiet))
    with pytest.raises(InputError, match="teacher"):
        carry_out(tmp_path / "others", stages(replace(recipe, teacher="", out=str(tmp_path / "others")), **quiet))
